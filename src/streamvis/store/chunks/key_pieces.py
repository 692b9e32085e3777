"""Pieces of one key, as they are stored: rows of a range of steps, and values spread over one. Inside a read transaction."""

from __future__ import annotations

from collections.abc import Mapping

from streamvis.records import KeyInfo
from streamvis.series.even_steps import stretch_ends
from streamvis.store import statements as sql
from streamvis.store.chunks.bodies import read_chunks_of, read_value
from streamvis.store.chunks.tables import body_of_rows
from streamvis.store.database import Database
from streamvis.store.interface import RowsPiece
from streamvis.store.repairing.damage import Broken

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
    chosen: list[int] = []
    count = size = 0
    found = db.execute(sql.GET_CHUNKS_OF_KEY, (key, from_step, last)).fetchall()
    for chunk, first_step, last_step, rows, nbytes in found:
        if (limit is not None and count >= limit) or (max_bytes is not None and chosen and size + nbytes > max_bytes):
            break
        chosen.append(chunk)
        # Only a chunk that lies inside the range is sure to give all of its rows.
        count += rows if from_step <= first_step and last_step <= last else 0
        size += nbytes
    stored = read_chunks_of(db, key, chosen)
    bodies = [body_of_rows(*chunk.rows()) if chunk.is_packed else chunk.body for chunk in stored]
    return RowsPiece(KeyInfo("rows", columns), bodies, more=len(chosen) < len(found))


def spread_values(db: Database, key: int, *, from_step: int, to_step: int | None, limit: int, max_bytes: int) -> list[bytes]:
    """The bodies of values of the steps: all, or if they are more than `limit`, evenly spread ones, see `Store.values`."""
    steps = (from_step, _ALL if to_step is None else to_step)
    found = dict(db.execute(sql.GET_VALUE_SIZES, (key, *steps, limit + 1)).fetchall())
    if len(found) > limit:
        first, last = db.execute(sql.GET_VALUE_SPAN, (key, *steps)).fetchone()
        # A search in the index for each, however many values there are.
        asked = [(key, first, end) for end in stretch_ends(first, last, limit)]
        found = dict(one.fetchone() for one in db.execute_each(sql.GET_LATEST_VALUE, asked))
    bodies: list[bytes] = []
    for step, size in found.items():
        max_bytes -= size
        if max_bytes < 0 and bodies:
            break
        body = read_value(db, key, step)
        if body is None:
            raise Broken(key, f"the value of step {step} is gone")
        bodies.append(body)
    return bodies
