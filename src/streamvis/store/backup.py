"""Copies of a store, made and put back while an endpoint may be using it.

A backup is one SQLite file, as the store was at one moment. A store that is put back is another store: it has an id of its own,
so that every cursor that was ever given out starts over, and nobody takes old and new for one history. What producers had
sent after the backup was made is gone with that.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from streamvis.errors import FolderInUse, FolderUnusable, StoreError
from streamvis.store import statements as sql
from streamvis.store.folder import DataFolder
from streamvis.store.sqlite import FILE, SqliteStore

__all__ = ["backup", "restore"]

_PAGES_AT_ONCE = 4000
_BUSY_S = 60.0

Progress = Callable[[int, int], None]
"""Called with how many pages are done, and of how many."""


def backup(folder: Path, file: Path, *, overwrite: bool = False, progress: Progress) -> None:
    """Copy the store in `folder` to `file`. An endpoint may go on writing meanwhile.

    Raises FolderUnusable where there is no store, and StoreError where the file is there already or cannot be written.
    """
    source = folder / FILE
    if not source.exists():
        raise FolderUnusable(str(folder), f"there is no {FILE} in it. Name the endpoint's folder with --data.")
    if file.exists() and not overwrite:
        raise StoreError(f"{file} is there already. Choose another name, or say --force.")
    partial = file.with_name(f"{file.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        with closing(sqlite3.connect(source, timeout=_BUSY_S, isolation_level=None)) as live:
            # One snapshot from the first page to the last: without it a write would make the copy begin again.
            live.execute("BEGIN")
            live.execute("PRAGMA user_version").fetchone()
            live.execute(sql.GET_META, ("id",)).fetchone()
            with closing(sqlite3.connect(partial, isolation_level=None)) as copy:
                live.backup(copy, pages=_PAGES_AT_ONCE, progress=lambda _, left, all_: progress(all_ - left, all_))
                copy.execute("PRAGMA journal_mode = DELETE")
                _check(copy, partial)
        _sync(partial)
        partial.replace(file)
    except (OSError, sqlite3.Error) as error:
        partial.unlink(missing_ok=True)
        raise StoreError(f"The store in {folder} could not be copied to {file}: {error}.") from error


def restore(file: Path, folder: Path, *, progress: Progress) -> bool:
    """Put the backup `file` in place of the store in `folder`; True when an endpoint was using it, and now uses this one.

    Raises StoreError where the file is no backup, or was made by a newer Streamvis, and changes nothing then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="restore-") as made:
        copied = Path(made) / FILE
        try:
            shutil.copyfile(file, copied)
            with closing(sqlite3.connect(copied, isolation_level=None)) as copy:
                _check(copy, file)
                copy.execute("UPDATE meta SET value = ? WHERE name = 'id'", (uuid.uuid4().hex[:12],))
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{file} is no backup of a store ({error}).") from error
        SqliteStore(Path(made)).close()  # brings an older schema to ours, or says that it is newer
        try:
            held = DataFolder(folder)
        except FolderInUse:
            _copy_into(copied, folder / FILE, progress)
            return True
        try:
            _sync(copied)
            for ending in ("-wal", "-shm"):
                (folder / f"{FILE}{ending}").unlink(missing_ok=True)
            copied.replace(folder / FILE)
            progress(1, 1)
        finally:
            held.release()
    return False


def _copy_into(source: Path, live: Path, progress: Progress) -> None:
    """Write all pages in one transaction of the live file: its readers see all of it or nothing."""
    try:
        with closing(sqlite3.connect(source)) as copy, closing(sqlite3.connect(live, timeout=_BUSY_S)) as target:
            copy.backup(target, pages=_PAGES_AT_ONCE, progress=lambda _, left, all_: progress(all_ - left, all_), sleep=0.05)
    except sqlite3.Error as error:
        raise StoreError(f"The store at {live} could not be replaced: {error}. It is as it was.") from error


def _check(copy: sqlite3.Connection, file: Path) -> None:
    (found,) = copy.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok" or copy.execute(sql.GET_META, ("id",)).fetchone() is None:
        raise StoreError(f"{file} is damaged, or no backup of a store ({found}).")


def _sync(file: Path) -> None:
    opened = os.open(file, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
