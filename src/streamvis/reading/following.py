"""New rows and values of a run as they arrive, until it has ended."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from streamvis.errors import EndpointUnreachable
from streamvis.reading.connection import Connection
from streamvis.reading.rows import named
from streamvis.records import STATES, Value
from streamvis.wire.joining import join_rows

__all__ = ["Update", "follow"]

_WAIT_S = 25.0
_RETRY_S = 0.5


@dataclass(frozen=True, slots=True)
class Update:
    """News of one key: `rows` as a table with step and time, or a `value` (the newest at that moment).

    `restart` tells that the run's past was taken back: what was given out before does not count, and the run is read again.
    `more` tells that more is there already.
    """

    key: str
    rows: pa.Table | None
    value: Value | None
    restart: bool = False
    more: bool = False


def follow(
    connection: Connection, run: str, *, keys: Sequence[str] = (), past: bool = True, patience_s: float = 60.0
) -> Iterator[Update]:
    """What the run's log has, and then what comes to it; of some keys where they are named. With `past` false, only what comes.

    Ends when the run has ended and all was given. A run that vanished is waited for. An endpoint that is away is asked again
    for `patience_s` seconds; then EndpointUnreachable is raised.
    """
    cursor = None if past else connection.json("runs", run, run=run)["cursor"]
    is_known, away_since = False, None
    while True:
        try:
            # The first answer is not waited for: it also tells whether the run has ended.
            piece = connection.tail(run, after=cursor, wait_s=_WAIT_S if is_known else 0, only=keys)
        except EndpointUnreachable:
            away_since = away_since or time.monotonic()
            if time.monotonic() - away_since > patience_s:
                raise
            time.sleep(_RETRY_S)
            continue
        restart, away_since, is_known = piece.restart, None, True
        yield from _updates(piece.items, piece.dtypes, restart=restart, more=piece.more)
        if restart and not piece.items:
            yield Update("", None, None, restart=True)
        cursor = piece.cursor
        if piece.state in STATES[1:] and not piece.more:
            return


def _updates(
    items: Sequence[tuple[str, pa.Table | Value]], dtypes: Mapping[str, Mapping[str, str]], *, restart: bool, more: bool
) -> Iterator[Update]:
    """Neighbouring rows of a key come as one table."""
    tables: dict[str, list[pa.Table]] = {}
    values: list[Value] = []
    for key, item in items:
        if isinstance(item, Value):
            values.append(item)
        else:
            tables.setdefault(key, []).append(item)
    for key, its in tables.items():
        yield Update(key, named(join_rows(its, dtypes[key])), None, restart, more)
        restart = False
    for value in values:
        yield Update(value.key, None, value, restart, more)
        restart = False
