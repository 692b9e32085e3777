"""Pieces of a log as readers get them: where a piece ends, and what is in it. Reads only; SQL by name."""

from __future__ import annotations

import json
import sqlite3
from heapq import merge

from streamvis.records import KeyInfo
from streamvis.store import statements as sql

__all__ = ["key_info", "piece_end", "piece_of"]


def key_info(kind: str, columns: str) -> KeyInfo:
    """A key as others see it."""
    return KeyInfo(kind, json.loads(columns))


def piece_end(db: sqlite3.Connection, log: int, start: int, end: int, max_bytes: int) -> int:
    """How far a piece after `start` can go so that it holds at most `max_bytes`, or a single batch."""
    news = [(seq, size) for seq, size, _, _ in db.execute(sql.GET_KEYS_WITH_NEWS, (log, start, end))]
    total, first = 0, None
    for seq, size in merge(db.execute(sql.GET_CHUNK_SIZES, (log, start, end)), news):
        first = seq if first is None else first
        total += size
        if total > max_bytes and seq > first:
            return seq - 1
    return end


def piece_of(db: sqlite3.Connection, log: int, start: int, stop: int) -> tuple[dict[str, KeyInfo], list[bytes]]:
    """The bodies from after `start` to `stop`: rows in log order, then the newest values in theirs; and the keys of both."""
    bodies: list[bytes] = []
    nos: dict[int, None] = {}
    for key_no, body in db.execute(sql.GET_CHUNKS, (log, start, stop)):
        nos[key_no] = None
        bodies.append(body)
    for _, _, key_no, step in db.execute(sql.GET_KEYS_WITH_NEWS, (log, start, stop)):
        nos[key_no] = None
        bodies.append(db.execute(sql.GET_VALUE, (key_no, step)).fetchone()[0])
    keys = {}
    for key_no in nos:
        name, kind, columns = db.execute(sql.GET_KEY_BY_NO, (key_no,)).fetchone()
        keys[name] = key_info(kind, columns)
    return keys, bodies
