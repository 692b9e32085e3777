"""Pieces of one key, as they are stored: rows of a range of steps, and values spread over one. Inside a read transaction."""

from __future__ import annotations

from collections.abc import Mapping

from streamvis.records import KeyInfo
from streamvis.store import statements as sql
from streamvis.store.bodies import read_chunk, read_value
from streamvis.store.database import Database
from streamvis.store.interface import RowsPiece
from streamvis.store.tables import body_of_rows

__all__ = ["rows_piece", "spread_values"]

_ALL = 2**63 - 1


def rows_piece(
    db: Database,
    key: int,
    columns: Mapping[str, str],
    *,
    from_step: int,
    to_step: int | None,
    limit: int | None,
    max_bytes: int | None,
) -> RowsPiece:
    """Bodies of rows that overlap the steps, see `Store.rows`."""
    last = _ALL if to_step is None else to_step
    bodies: list[bytes] = []
    count = size = 0
    for chunk, first_step, last_step, rows, nbytes in db.execute(sql.GET_CHUNKS_OF_KEY, (key, from_step, last)).fetchall():
        if (limit is not None and count >= limit) or (max_bytes is not None and bodies and size + nbytes > max_bytes):
            return RowsPiece(KeyInfo("rows", columns), bodies, more=True)
        stored = read_chunk(db, key, chunk)
        bodies.append(body_of_rows(*stored.rows()) if stored.is_packed else stored.body)
        # Only a chunk that lies inside the range is sure to give all of its rows.
        count += rows if from_step <= first_step and last_step <= last else 0
        size += nbytes
    return RowsPiece(KeyInfo("rows", columns), bodies, more=False)


def spread_values(db: Database, key: int, *, from_step: int, to_step: int | None, limit: int, max_bytes: int) -> list[bytes]:
    """The bodies of values of the steps, evenly spread, see `Store.values`."""
    steps = (from_step, _ALL if to_step is None else to_step)
    first, last = db.execute(sql.GET_VALUE_SPAN, (key, *steps)).fetchone()
    if first is None:
        return []
    # A search in the index for each, however many values there are.
    at = [first + (last - first) * i // max(1, limit - 1) for i in range(limit - 1)] + [last]
    found = dict(db.execute(sql.GET_LATEST_VALUE, (key, first, step)).fetchone() for step in at)
    bodies: list[bytes] = []
    for step, size in found.items():
        max_bytes -= size
        if max_bytes < 0 and bodies:
            break
        bodies.append(read_value(db, key, step))
    return bodies
