"""What differs in a page between moments of a run's past, so that one document in a browser can show all of them. Pure.

One document is the base. Of each other moment it is known which attributes of which models have another value there. Models that
the base lacks are taken into its graph; values that several moments share are kept once, columns of sources by themselves.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from streamvis.snapshot.graph import Graph, Node, is_reference, pair

__all__ = ["Default", "Moments", "evenly", "spread"]

_LEFT_OUT = frozenset({"js_event_callbacks", "js_property_callbacks", "subscribed_events", "inner_width", "inner_height"})
_MOVED = "streamvis moves this range"
_KEPT_KINDS = ("streamvis.page.live.session_sources.StreamvisLiveControl",)

Default = Callable[[str, str], Any]
"""Gives the value, as Bokeh writes it, of an attribute that has its default: of the model with this id, of this name."""


@dataclass(slots=True)
class Moments:
    """The moments of a page whose document is `base`, added from one to the next.

    `base` takes in the models that only other moments have, which nothing in it mentions. `values` are those that attributes
    take; `changes` says what they are at each moment, as lists of a model's id, an attribute and the place of its value in
    `values`.
    """

    base: Graph
    default: Default
    values: list[Any] = field(default_factory=list)
    changes: list[list[tuple[str, str, int]]] = field(default_factory=list)
    _places: dict[str, int] = field(default_factory=dict)

    def add(self, other: Graph, default: Default) -> None:
        """Add the moment at which the page's document is `other`, which is used up by that."""
        pairs = pair(self.base, other, keep=lambda node: node.kind in _KEPT_KINDS)
        names = dict(pairs.of)
        changes = []
        for its, one in pairs.of.items():
            node, base = other.models[its], self.base.models[one]
            for name in sorted((node.attributes.keys() | base.attributes.keys()) - self._left_out(base)):
                now = self._taken(node.attributes[name] if name in node.attributes else default(its, name), other, names)
                was = base.attributes[name] if name in base.attributes else self.default(one, name)
                if now != was:
                    changes.append((one, name, self._place(now)))
        self.changes.append(changes)

    def _taken(self, part: Any, other: Graph, names: dict[str, str]) -> Any:
        """The part in terms of the base, which gets the models that it lacks; `names` has the id there of each."""
        if isinstance(part, list):
            return [self._taken(item, other, names) for item in part]
        if not isinstance(part, dict):
            return part
        if not is_reference(part):
            return {name: self._taken(its, other, names) for name, its in part.items()}
        its = part["id"]
        if its not in names and its in other.models:
            names[its] = f"{its}-{len(self.changes)}"
            node = self.base.models[names[its]] = Node(other.models[its].kind, {})
            for name, value in other.models[its].attributes.items():
                node.attributes[name] = self._taken(value, other, names)
        return {"id": names.get(its, its)}

    def _left_out(self, node: Node) -> frozenset[str]:
        """What the browser decides, and what changes in every document."""
        is_moved = _MOVED in node.attributes.get("tags", ())
        if node.kind in _KEPT_KINDS:
            return frozenset(node.attributes) | {"news", "views", "read", "tick"}
        return _LEFT_OUT | ({"start", "end"} if is_moved else frozenset())

    def _place(self, value: Any) -> int:
        if isinstance(value, dict) and value.get("type") == "map" and "entries" in value:
            entries = [[name, {"#": self._place(its)}] for name, its in value["entries"]]
            value = {"type": "map", "entries": entries}
        text = json.dumps(value)
        if text not in self._places:
            self._places[text] = len(self.values)
            self.values.append(value)
        return self._places[text]


def evenly(first: int, last: int, count: int) -> list[int]:
    """At most `count` steps from the first to the last, evenly spread."""
    if count < 2 or first >= last:
        return [last]
    return sorted({first + round(i * (last - first) / (count - 1)) for i in range(count)})


def spread(items: Sequence[Any], count: int) -> list[Any]:
    """At most `count` of the items, evenly spread, the first and the last among them."""
    return [items[i] for i in evenly(0, len(items) - 1, min(count, len(items)))] if items else []
