"""Which chunks and values are in a piece of a run's log, and which of their rows: merging never shows in it."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from streamvis.store import statements as sql
from streamvis.store.chunks.bodies import StoredChunk, read_chunks, read_value
from streamvis.store.chunks.tables import body_of_rows
from streamvis.store.database import Database
from streamvis.store.repairing.damage import Broken
from streamvis.store.views.as_of_step import rows_until

__all__ = ["Part", "read_parts"]


@dataclass(frozen=True, slots=True)
class Part:
    """A body of a tail, of which key it is, and the number of its first row."""

    key: int
    body: bytes
    first_row: int = 0


def read_parts(
    db: Database,
    log: int,
    start: int,
    end: int,
    *,
    max_bytes: int,
    exclude: Sequence[str] = (),
    only: Sequence[str] = (),
    kind: str | None = None,
    at: int | None = None,
) -> tuple[int, list[Part], list[Broken]]:
    """What came with the batches after `start` and up to `end`, or up to an earlier one that is given back, of some keys.

    With `at`, as they were at that step. What is damaged is left out; of each key that it is met in, the first is given back too.
    """
    chosen = (_names(exclude), _names(only) if only else None, kind, at)
    stop = _stop(db, (log, start, end, *chosen), max_bytes)
    piece = (log, start, stop, *chosen)
    parts: list[Part] = []
    broken: dict[int, Broken] = {}
    for chunk in read_chunks(db, db.execute(sql.GET_CHUNKS, piece).fetchall()):
        try:
            if isinstance(chunk, Broken):
                raise chunk
            parts += _parts(chunk, start, stop, at)
        except Broken as error:
            broken.setdefault(error.key, error)
    for _, _, key, step in db.execute(*_values(piece)).fetchall():
        try:
            body = read_value(db, key, step)
        except Broken as error:
            broken.setdefault(key, error)
        else:
            parts += [Part(key, body)] if body is not None else []
    return stop, parts, list(broken.values())


def _names(names: Sequence[str]) -> str:
    """Names of keys as JSON. No key has one with NUL: SQLite would cut it there, and find another key; PostgreSQL fails."""
    return json.dumps([name for name in names if "\0" not in name])


def _parts(chunk: StoredChunk, start: int, stop: int, at: int | None) -> list[Part]:
    """What came with the batches after `start` and up to `stop`, of a chunk, with steps up to `at`."""
    body, first, last = chunk.body, 0, chunk.count
    if chunk.marks and (chunk.first_seq <= start or chunk.last_seq > stop):
        marked = chunk.marked()
        first, last = marked.rows_until(start), marked.rows_until(stop)
    if chunk.is_packed or at is not None or (first, last) != (0, chunk.count):
        name, table = chunk.rows()
        table = table.slice(first, last - first)
        table = table if at is None else rows_until(table, at)
        if not table.num_rows:
            return []
        body = body_of_rows(name, table)
    return [Part(chunk.key, body, chunk.first_row + first)]


def _values(piece: tuple[object, ...]) -> tuple[str, tuple[object, ...]]:
    """The statement for the values of a piece, and what it takes."""
    *others, at = piece
    return (sql.GET_KEYS_WITH_NEWS, tuple(others)) if at is None else (sql.GET_KEYS_WITH_NEWS_UNTIL, piece)


def _stop(db: Database, piece: tuple[Any, ...], max_bytes: int) -> int:
    """The last batch of a piece (log, start, end, which keys): at least one batch, and at most `max_bytes` if possible."""
    values = [(seq, size) for seq, size, *_ in db.execute(*_values(piece))]
    total, last = 0, None
    chunks = db.execute(sql.GET_CHUNK_SIZES, piece)
    for seq, size in _in_order(chunks, values):
        total += size
        if total > max_bytes and last is not None and seq > last:
            return last
        last = seq
    return piece[2]


def _in_order(one: Iterable[tuple[int, int]], other: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    return heapq.merge(one, other, key=lambda item: item[0])
