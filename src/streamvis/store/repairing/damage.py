"""What a store knows of damage to its file: how it shows, and which keys it was met in since the store was opened.

Damage is bytes that differ from those written, and places that SQLite cannot read. Whoever meets it under a key raises `Broken`;
the store turns that into a DamagedData with names, which is logged once for each key.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Sequence

from streamvis.errors import DamagedData
from streamvis.store.interface import Damage

__all__ = ["Broken", "Damages", "is_damage"]

_log = logging.getLogger("streamvis")

_MOST_NAMED = 1000
"""So many damaged keys are remembered and logged; the file is beyond naming them one by one then."""
_CODES = (
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
)
_READING_CODES = (
    sqlite3.SQLITE_IOERR_READ,
    sqlite3.SQLITE_IOERR_SHORT_READ,
    sqlite3.SQLITE_IOERR_CORRUPTFS,
)
"""Of a disk that cannot read a place of the file."""

_STATES = ("XX001", "XX002")
"""Of a table and an index of PostgreSQL's."""


class Broken(Exception):
    """Something under the key of this number cannot be read, or is not what was written."""

    def __init__(self, key: int, problem: str) -> None:
        self.key, self.problem = key, problem
        super().__init__(problem)


def is_damage(error: Exception) -> bool:
    """Whether SQLite or PostgreSQL says by this error that a file of its own is damaged."""
    if getattr(error, "sqlstate", None) in _STATES:
        return True
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:  # an error of Python's own, such as a text that is not UTF-8
        return isinstance(error, sqlite3.OperationalError) and "UTF-8" in str(error)
    return code & 0xFF in _CODES or code in _READING_CODES


class Damages:
    """The damaged keys of a store. From any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[tuple[str, str], Damage] = {}

    def found(self) -> Sequence[Damage]:
        """All that is known, in the order in which it was met."""
        with self._lock:
            return list(self._found.values())

    def note(self, problem: str, *, run: str = "", key: str = "") -> DamagedData:
        """Remember the damage, and log it where its key is new. Returns the error to raise.

        Without a key it is news only where no damage is known: changing a page that is sound touches damaged ones beside it.
        """
        error = DamagedData(problem, run=run, key=key)
        with self._lock:
            is_new = (run, key) not in self._found and len(self._found) < _MOST_NAMED and bool(key or run or not self._found)
            if is_new:
                self._found[run, key] = Damage(run, key, problem)
        if is_new:
            _log.error("%s", error)
        return error
