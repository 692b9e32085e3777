"""Copies of a client, however they are made: `copy`, pickle to another process, joblib, a task of some other framework.

In one process all copies are one object: a client stands for something of the process, as a file or a lock does. In another
process they are one client too, however often they arrive there, and it joins the run as a forked child does: as a producer of
its own, with its first record. A client tells of itself what `Traveller` holds: no threads, sockets or files.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping
from typing import Any, NamedTuple

from streamvis.client.entries import Begin
from streamvis.client.folders import Owner

__all__ = ["Traveller", "arrived", "known"]

_clients: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()


class Traveller(NamedTuple):
    """A client on its way to another process. `given` made it; `begin` is None where no run is open.

    `ancestors` are the producers that it descends from, see `Sender`.
    """

    kind: type
    id: str
    pid: int
    given: Mapping[str, Any]
    run: str | None
    begin: Begin | None
    ancestors: tuple[tuple[str, Owner], ...]


def known(client: Any, id: str) -> None:
    """From now on copies of `client` that arrive in this process are the client."""
    _clients[id] = client


def arrived(*told: Any) -> Any:
    """The client in this process that a copy is. For pickle to call."""
    traveller = Traveller(*told)
    client = _clients.get(traveller.id)
    if client is None:
        client = traveller.kind(**traveller.given)
        client.become(traveller)
        known(client, traveller.id)
    elif traveller.pid != os.getpid() and client.run != traveller.run:
        client.become(traveller)  # it was inherited by a fork, before this run began
    return client
