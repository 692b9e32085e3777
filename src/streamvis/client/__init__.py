"""The producer's half: `Client`, what carries its records to the endpoint, and `run` and `log`, which need no client.

A record's way: `intake` checks and copies it in the call (with `copying` and `describing`), `outbox` holds it, `writer` writes it
to the `producer_log` (`segments` of `frames`, in one of the `folders`), `sender` reads it there and brings it to the endpoint by
an `exchange`, in the form that `encoding` makes. A `producer` is these in one process; a `road` belongs to one client, across
forks. `ending` closes roads when they, or the program, end, and `leftovers` delivers what producers left behind.
"""

from streamvis.client.active import log, run
from streamvis.client.client import Client

__all__ = ["Client", "log", "run"]
