"""Which chunks and values are in a piece of a run's log, and which of their rows: merging never shows in it."""

from __future__ import annotations

import heapq
import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from streamvis.store import statements as sql
from streamvis.store.packed import Marks, unpack
from streamvis.store.tables import body_of_rows, rows_of_body

__all__ = ["Part", "read_parts"]


@dataclass(frozen=True, slots=True)
class Part:
    """A body of a tail, of which key it is, and the number of its first row."""

    key: int
    body: bytes
    first_row: int = 0


def read_parts(
    db: sqlite3.Connection, log: int, start: int, end: int, *, max_bytes: int, exclude: Sequence[str]
) -> tuple[int, list[Part]]:
    """What came with the batches after `start` and up to `end`, or up to an earlier one that is given back, without some keys."""
    left_out = json.dumps(list(exclude))
    stop = _stop(db, (log, start, end, left_out), max_bytes)
    piece = (log, start, stop, left_out)
    parts = [_part(found, start, stop) for found in db.execute(sql.GET_CHUNKS, piece)]
    for _, _, key, step in db.execute(sql.GET_KEYS_WITH_NEWS, piece).fetchall():
        parts.append(Part(key, db.execute(sql.GET_VALUE, (key, step)).fetchone()[0]))
    return stop, parts


def _part(found: tuple[Any, ...], start: int, stop: int) -> Part:
    """What came with the batches after `start` and up to `stop`, of a chunk."""
    key, first_row, first_seq, last_seq, count, packed, marks, body = found
    first, last = 0, count
    if marks and (first_seq <= start or last_seq > stop):
        marked = Marks.from_bytes(marks)
        first, last = marked.rows_until(start), marked.rows_until(stop)
    if packed or (first, last) != (0, count):
        name, table = _opened(packed, body)
        body = body_of_rows(name, table.slice(first, last - first))
    return Part(key, body, first_row + first)


def _opened(packed: int, body: bytes) -> tuple[str, pa.Table]:
    if not packed:
        return rows_of_body(body)
    meta, table = unpack(body)
    return meta["key"], table


def _stop(db: sqlite3.Connection, piece: tuple[int, int, int, str], max_bytes: int) -> int:
    """The last batch of a piece (log, start, end, what to leave out): at least one batch, and at most `max_bytes` if possible."""
    values = [(seq, size) for seq, size, *_ in db.execute(sql.GET_KEYS_WITH_NEWS, piece)]
    total, last = 0, None
    chunks = db.execute(sql.GET_CHUNK_SIZES, piece)
    for seq, size in _in_order(chunks, iter(values)):
        total += size
        if total > max_bytes and last is not None and seq > last:
            return last
        last = seq
    return piece[2]


def _in_order(one: Iterator[tuple[int, int]], other: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    return heapq.merge(one, other, key=lambda item: item[0])
