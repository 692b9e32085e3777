"""The connections that read a SQLite file: lent to whoever reads, one snapshot each, and a few of them kept for the next.

Threads come and go, so none has a connection of its own. Reads never wait for each other, except that all of them can be paused
for a moment: SQLite can reset its write-ahead log only while no one reads, and where reads always overlap it would grow
without end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from streamvis.store.database import SqliteDatabase

__all__ = ["KEPT", "Readers"]

KEPT = 8
"""How many connections that no one uses stay open. Each takes up to 2 MiB, and a millisecond to open."""


class Readers:
    """Lends what `connect` opens. From any thread."""

    def __init__(self, connect: Callable[[], SqliteDatabase]) -> None:
        self._connect = connect
        self._changed = threading.Condition()
        self._idle: list[SqliteDatabase] = []
        self._reading = 0
        self._is_paused = self._is_closed = False

    @contextmanager
    def snapshot(self) -> Iterator[SqliteDatabase]:
        """A connection for one read transaction. Raises what SQLite raises."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_paused)
            self._reading += 1
            db = self._idle.pop() if self._idle else None
        try:
            db = db or self._connect()
            db.execute("BEGIN")
            try:
                yield db
            finally:
                db.execute("ROLLBACK")  # after damage was met, COMMIT would fail with it again
        finally:
            self._take_back(db)

    def _take_back(self, db: SqliteDatabase | None) -> None:
        with self._changed:
            if db is not None and not db.in_transaction and len(self._idle) < KEPT and not self._is_closed:
                self._idle.append(db)
                db = None
        if db is not None:
            db.close()
        with self._changed:
            self._reading -= 1
            self._changed.notify_all()

    @contextmanager
    def paused(self, wait_s: float) -> Iterator[bool]:
        """Let no one begin to read; True when those who were at it ended within `wait_s`, and no one reads now."""
        with self._changed:
            self._is_paused = True
            is_quiet = self._changed.wait_for(lambda: not self._reading, timeout=wait_s)
        try:
            yield is_quiet
        finally:
            with self._changed:
                self._is_paused = False
                self._changed.notify_all()

    def close(self) -> None:
        """Close what no one uses, and the others when they are given back."""
        with self._changed:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for db in idle:
            db.close()
