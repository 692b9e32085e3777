"""A data folder that is only read: nothing of it is changed, and an endpoint may have it, or take it, at any time.

SQLite reads what a killed endpoint left in its write-ahead log, for which it may make the index of that again. In a folder that
cannot be written to, it reads the log by the index that is there. Where there is no log, such a folder is read as it lies there,
until somebody writes to it.
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
    """Whether an endpoint has kept runs in this folder. Raises FolderUnusable where this user may not see that."""
    try:
        return (folder / FILE).is_file()
    except PermissionError as error:
        raise FolderUnusable(str(folder), f"it cannot be read: {error.strerror}.") from error


class ReadOnlySqliteStore(SqliteStore):
    """The store in `folder`, for its methods that read. The others raise StoreUnavailable.

    Raises FolderUnusable when the store is of another version, or cannot be read without writing.
    """

    def _open(self, folder: Path) -> None:
        if not os.access(self._path, os.R_OK):
            raise FolderUnusable(str(folder), f"you may not read its {FILE}.")
        is_writable, has_log = os.access(folder, os.W_OK), self._has_log()
        if has_log and not is_writable and not (folder / f"{FILE}-shm").exists():
            reason = "its last changes can only be read where the folder can be written to. Copy it, and open the copy."
            raise FolderUnusable(str(folder), reason)
        self._fixed = None if is_writable or has_log else self._path.stat()
        self._writer = self._connect()
        self._files = []
        (version,) = self._writer.execute("PRAGMA user_version").fetchone()
        if version != SCHEMA_VERSION:
            age = "an older" if version < SCHEMA_VERSION else "a newer"
            fix = "Start an endpoint on it once" if version < SCHEMA_VERSION else "Update this Streamvis"
            raise FolderUnusable(str(folder), f"it was written by {age} Streamvis. {fix}.")

    def _connect(self) -> SqliteDatabase:
        how = "mode=ro" if self._fixed is None else "immutable=1"
        address = f"{self._path.absolute().as_uri()}?{how}"
        connection = sqlite3.connect(
            address, uri=True, timeout=_BUSY_S, isolation_level=None, check_same_thread=False, factory=SqliteDatabase
        )
        connection.execute("PRAGMA query_only = 1")
        return connection

    def _has_log(self) -> bool:
        """Whether there are changes that are not in the file itself."""
        try:
            return self._path.with_name(f"{FILE}-wal").stat().st_size > 0
        except FileNotFoundError:
            return False

    @contextmanager
    def _snapshot(self) -> Iterator[SqliteDatabase]:
        try:
            with super()._snapshot() as db:
                yield db
        finally:
            if self._fixed is not None:
                self._check_unchanged(self._fixed)

    def _check_unchanged(self, known: os.stat_result) -> None:
        """Raises StoreUnavailable where somebody writes to a file of which SQLite was told that it does not change."""
        found = self._path.stat()
        if self._has_log() or (found.st_ino, found.st_size, found.st_mtime_ns) != (
            known.st_ino,
            known.st_size,
            known.st_mtime_ns,
        ):
            raise StoreUnavailable(f"An endpoint has begun to write to {self._path.parent}. Open it again.")

    def tidy(self, *, only_merge: bool = False) -> bool:
        """There is nothing to do."""
        return False

    @contextmanager
    def _writing(self) -> Iterator[NoReturn]:
        raise StoreUnavailable(f"{self._path.parent} is only read here. To change runs, start an endpoint on it.")
        yield
