"""The producer's half: `Client`, what carries its records to the endpoint, and `run` and `log`, which need no client.

A record's way: `intake` checks and copies it in the call, `outbox` holds it, `writer` writes it to the `producer_log`, `sender`
reads it there and brings it to the endpoint by an `exchange`, in the form that `encoding` makes. A `producer` is these in one
process; a `road` belongs to one client, across forks. `active` is the run of this process for those who want no client.

`values` are what a program hands over, `spool` is what lies on the disk, `process` is how the client starts and ends.
"""

from streamvis.client.active import log, run
from streamvis.client.client import Client

__all__ = ["Client", "log", "run"]
