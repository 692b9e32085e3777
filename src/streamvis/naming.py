"""Names that people can read, say and remember, for runs that were given none. Pure.

A name follows from the run's id alone, so everybody who knows the id knows the name. Nearly every run has one of its own: of
10,000 runs about five pairs share theirs. Names are for people; programs use the id.
"""

from __future__ import annotations

import hashlib

__all__ = ["readable_name"]

_FIRST = """
able agile airy alert amber ample apt azure balmy bold brave breezy brief bright brisk broad calm candid clean clear clever
cobalt cool coral cosy crisp curious daring deep deft dewy eager early earnest easy even fair fast fine firm fleet fluent fond
frank fresh gentle glad golden good grand green happy hardy hazel honest humble ideal indigo ivory jolly keen kind large late
level light lively long loud lucid lucky lunar mellow merry mild misty modern modest neat new nimble noble open patient plain
polite prime proud pure quick quiet rapid rare ready red rich ripe robust rosy round royal ruby safe sharp shiny silent silver
simple sleek smart smooth snowy soft solar solid sound spry stable steady still stout sunny sure swift tall teal tidy tiny
true vast vivid warm wide wild windy wise young
""".split()
_SECOND = """
acorn alder amber anchor apple arbor arch aspen atlas aurora badger bamboo basin bay beacon birch bird bloom breeze bridge brook
canyon cape castle cedar cherry cliff cloud clover coast comet coral cove crane creek crest crow dawn delta desert dew dove dune
eagle echo elm ember falcon fern field finch fjord flame forest fox galaxy garden glacier glade grove gull harbor hare hawk hazel
heath heron hill ibis inlet iris island ivy jay jetty lagoon lake lantern larch lark leaf lily linden lion lotus lynx maple marsh
meadow mesa meteor mist moon moss mountain nest oak oasis ocean olive orbit orchid otter owl palm path peak pebble pine plain
planet plum pond poplar prairie quartz rain raven reed reef ridge river robin rock rose sage sail sand sea shore sky snow sparrow
spring spruce star stone stork storm stream summit sun swan thicket thistle tide trail tulip valley violet wave willow wind wood
wren
""".split()
_NUMBERS = 999


def readable_name(run_id: str) -> str:
    """Two words and a number from 1 to 999, such as "calm-river-42", always the same for the same id."""
    number = int.from_bytes(hashlib.blake2b(run_id.encode(), digest_size=8).digest(), "big")
    number, first = divmod(number, len(_FIRST))
    number, second = divmod(number, len(_SECOND))
    return f"{_FIRST[first]}-{_SECOND[second]}-{number % _NUMBERS + 1}"
