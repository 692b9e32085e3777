"""A data folder that is only read: nothing of it is changed, and an endpoint may have it, or take it, at any time.

SQLite reads what a killed endpoint left in its write-ahead log, for which it may make the index of that again. A folder that
cannot be written to is read as it lies there.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from streamvis.errors import FolderUnusable, StoreUnavailable
from streamvis.store.database import SqliteDatabase
from streamvis.store.schema import SCHEMA_VERSION
from streamvis.store.sqlite import FILE, SqliteStore

__all__ = ["ReadOnlySqliteStore", "is_store"]

_BUSY_S = 10.0


def is_store(folder: Path) -> bool:
    """Whether an endpoint has kept runs in this folder."""
    return (folder / FILE).is_file()


class ReadOnlySqliteStore(SqliteStore):
    """The store in `folder`, for its methods that read. The others raise StoreUnavailable.

    Raises FolderUnusable when the store is of another version, or cannot be read without writing.
    """

    def _open(self, folder: Path) -> None:
        wal = folder / f"{FILE}-wal"
        self._is_fixed = not os.access(folder, os.W_OK)
        if self._is_fixed and wal.exists() and wal.stat().st_size and not (folder / f"{FILE}-shm").exists():
            reason = "its last changes can only be read where the folder can be written to. Copy it, and open the copy."
            raise FolderUnusable(str(folder), reason)
        self._writer = self._connect()
        self._files = []
        (version,) = self._writer.execute("PRAGMA user_version").fetchone()
        if version != SCHEMA_VERSION:
            age = "an older" if version < SCHEMA_VERSION else "a newer"
            fix = "Start an endpoint on it once" if version < SCHEMA_VERSION else "Update this Streamvis"
            raise FolderUnusable(str(folder), f"it was written by {age} Streamvis. {fix}.")

    def _connect(self) -> SqliteDatabase:
        how = "immutable=1" if self._is_fixed else "mode=ro"
        address = f"{self._path.absolute().as_uri()}?{how}"
        connection = sqlite3.connect(
            address, uri=True, timeout=_BUSY_S, isolation_level=None, check_same_thread=False, factory=SqliteDatabase
        )
        connection.execute("PRAGMA query_only = 1")
        return connection

    def tidy(self, *, only_merge: bool = False) -> bool:
        """There is nothing to do."""
        return False

    @contextmanager
    def _writing(self) -> Iterator[NoReturn]:
        raise StoreUnavailable(f"{self._path.parent} is only read here. To change runs, start an endpoint on it.")
        yield
