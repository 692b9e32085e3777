"""Delivering all the spools in a folder at once, for the program `streamvis sync`."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from streamvis.client.delivery import deliver
from streamvis.client.leftovers import Leftover, leftovers
from streamvis.client.spool import REFUSED, SEGMENTS
from streamvis.errors import EndpointError, UsageError
from streamvis.transport import Transport

__all__ = ["Synced", "sync"]


@dataclass(slots=True)
class Synced:
    """What became of the spools in a folder. `busy` are those whose producers live, `troubles` say why others were left."""

    records: int = 0
    runs: set[str] = field(default_factory=set)
    refused: int = 0
    left_bytes: int = 0
    busy: list[Path] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)


def sync(
    folder: Path,
    *,
    url: str | None,
    token: str | None,
    other_hosts: bool,
    begin: Callable[[int], None],
    progress: Callable[[int], None],
) -> Synced:
    """Deliver what is in the folder to `url`, or to where each spool was meant to go.

    `begin` gets the number of bytes to deliver, `progress` how many more of them are done. Spools of other machines are delivered
    with `other_hosts` only: whether their producers still live cannot be known here. Raises UsageError where no url is known.
    """
    synced = Synced()
    host = None if other_hosts else platform.node()
    found = list(leftovers(folder, host=host))
    try:
        for leftover in found:
            if (url or leftover.owner.url) is None:
                raise UsageError(f"{leftover.folder} was written without an endpoint. Say where it goes: --url http://HOST:PORT")
        begin(sum(leftover.bytes for leftover in found))
        for leftover in found:
            _deliver(leftover, Transport(url or leftover.owner.url, token=token), synced, progress)
            synced.left_bytes += leftover.bytes
    finally:
        for leftover in found:
            leftover.close()
    taken = {leftover.folder for leftover in found}
    synced.busy = sorted({path.parent for path in folder.glob(f"*/{SEGMENTS}")} - taken - {folder / REFUSED})
    return synced


def _deliver(leftover: Leftover, transport: Transport, synced: Synced, progress: Callable[[int], None]) -> None:
    try:
        for done in leftover.deliver(partial(deliver, transport, live=False)):
            progress(done.bytes)
            if done.problem:
                synced.refused += done.batch.records
                synced.troubles.append(done.problem)
            else:
                synced.records += done.batch.records
                synced.runs.add(done.batch.run)
    except EndpointError as error:
        synced.troubles.append(str(error))
    finally:
        transport.close()
