"""All values of a key, one after another by rising step."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from streamvis.reading.connection import Connection
from streamvis.wire.arrow import streams_of, value_of

__all__ = ["read_value_bodies", "read_values"]

_WINDOW = 1000
"""So many steps are asked for at a time. The endpoint gives at most as many values, evenly spread: here it can leave none out."""


def read_values(connection: Connection, run: str, key: str, *, first: int = 0, last: int | None = None) -> Iterator:
    """Each value (`records.Value`) of the steps, some megabytes of them in memory at a time."""
    for meta, table, _ in _streams(connection, run, key, first, last):
        yield value_of(meta, table)


def read_value_bodies(connection: Connection, run: str, key: str) -> Iterator[tuple[int, bytes]]:
    """The step and the Arrow form of each value, as it is stored."""
    for meta, _, body in _streams(connection, run, key, 0, None):
        yield meta["step"], bytes(body)


def _streams(
    connection: Connection, run: str, key: str, first: int, last: int | None
) -> Iterator[tuple[dict, pa.Table, memoryview]]:
    def ask(start: int, stop: int | None, limit: int) -> list[tuple[dict, pa.Table, memoryview]]:
        params = {"key": key, "from_step": start, "to_step": stop, "limit": limit}
        return list(streams_of(connection.arrow("runs", run, "values", run=run, key=key, params=params)))

    at = first
    while last is None or at <= last:
        stop = at + _WINDOW - 1
        found = ask(at, stop if last is None else min(stop, last), _WINDOW)
        if not found:
            # The first that there is beyond the gap; the last one is included, and not used yet.
            found = ask(at, last, 2)[:1]
        if not found:
            return
        yield from found
        # The answer may have been cut off after some megabytes: continue after what came.
        at = found[-1][0]["step"] + 1
