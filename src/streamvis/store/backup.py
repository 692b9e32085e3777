"""Copies of a store, made and put back while an endpoint may be using it.

A backup is one SQLite file, as the store was at one moment. A store that is put back is another store: it has an id of its own,
so that every cursor that was ever given out starts over, and no one takes old and new for one history. What producers had
sent after the backup was made is gone with that.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import uuid
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from streamvis.errors import FolderInUse, FolderUnusable, StoreError
from streamvis.store import statements as sql
from streamvis.store.folder import DataFolder, make_own, sync
from streamvis.store.schema import SCHEMA_VERSION
from streamvis.store.sqlite import FILE, SqliteStore, files_of

__all__ = ["backup", "restore"]

_PAGES_AT_ONCE = 4000
_BUSY_S = 60.0

Progress = Callable[[int, int], None]
"""Called with how many pages are done, and of how many."""


def backup(folder: Path, file: Path, *, overwrite: bool = False, progress: Progress) -> None:
    """Copy the store in `folder` to `file`. An endpoint may continue to write meanwhile.

    Raises FolderUnusable where there is no store, and StoreError where the file is there already or cannot be written.
    """
    source = folder / FILE
    if not source.exists():
        raise FolderUnusable(str(folder), f"there is no {FILE} in it. Name the endpoint's folder with --data.")
    if file.absolute().resolve() in [path.resolve() for path in files_of(folder)]:
        raise StoreError(f"{file} is the store itself. Choose another name for the backup.")
    if file.exists() and not overwrite:
        raise StoreError(f"{file} exists already. Choose another name, or use --force.")
    partial = file.with_name(f"{file.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        make_own(partial)
        with closing(sqlite3.connect(source, timeout=_BUSY_S, isolation_level=None)) as live:
            # One snapshot from the first page to the last: without it a write would make the copy begin again.
            live.execute("BEGIN")
            live.execute("PRAGMA user_version").fetchone()
            live.execute(sql.GET_META, ("id",)).fetchone()
            with closing(sqlite3.connect(partial, isolation_level=None)) as copy:
                live.backup(copy, pages=_PAGES_AT_ONCE, progress=lambda _, left, all_: progress(all_ - left, all_))
                copy.execute("PRAGMA journal_mode = DELETE")
                _check(copy, partial)
        sync(partial)
        partial.replace(file)
        sync(file.absolute().parent)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"The store in {folder} could not be copied to {file}: {error}.") from error
    finally:
        partial.unlink(missing_ok=True)


def restore(file: Path, folder: Path, *, progress: Progress) -> bool:
    """Put the backup `file` in place of the store in `folder`; True when an endpoint was using it, and now uses this one.

    Raises StoreError where that cannot be done, as with a file that is not a backup, and changes nothing then.
    """
    try:
        held = DataFolder(folder)
    except FolderInUse:
        held = None
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix="restore-") as made:
            copied = _prepared(file, Path(made))
            if held is None:
                _copy_into(copied, folder / FILE, progress)
            else:
                _replace(copied, folder)
                progress(1, 1)
    except OSError as error:
        raise StoreError(f"{file} could not be put into {folder}: {error}. The old store is unchanged.") from error
    finally:
        if held is not None:
            held.release()
    return held is None


def _prepared(file: Path, made: Path) -> Path:
    """A copy of the backup in the folder `made`, as another store, and of our schema."""
    copied = made / FILE
    make_own(copied)
    shutil.copyfile(file, copied)
    try:
        with closing(sqlite3.connect(copied, isolation_level=None)) as copy:
            _check(copy, file)
            if (version := _version(copy)) > SCHEMA_VERSION:
                raise StoreError(f"{file} was written by a newer Streamvis (schema {version}). Update this one.")
            copy.execute("UPDATE meta SET value = ? WHERE name = 'id'", (uuid.uuid4().hex[:12],))
    except sqlite3.Error as error:
        raise StoreError(f"{file} is not a backup of a store ({error}).") from error
    SqliteStore(made).close()  # brings an older schema to ours
    return copied


def _copy_into(source: Path, live: Path, progress: Progress) -> None:
    """Write all pages in one transaction of the live file: its readers see all of it or nothing."""
    address = f"{live.absolute().as_uri()}?mode=rw"
    try:
        with closing(sqlite3.connect(source)) as copy, closing(sqlite3.connect(address, uri=True, timeout=_BUSY_S)) as target:
            if _version(target) != _version(copy):
                raise StoreError(f"The endpoint that uses {live} has another version. Stop it, restore, and start this version.")
            copy.backup(target, pages=_PAGES_AT_ONCE, progress=lambda _, left, all_: progress(all_ - left, all_), sleep=0.05)
    except sqlite3.Error as error:
        raise StoreError(f"The store at {live} could not be replaced: {error}. It is unchanged.") from error


def _replace(source: Path, folder: Path) -> None:
    """Take the place of the store in a folder that no one uses, which may be damaged, or none."""
    store, *beside = files_of(folder)
    if store.exists():
        # All in one file first: whatever ends us below, the old store or the new one is there, and whole.
        with suppress(sqlite3.Error), closing(sqlite3.connect(store, timeout=_BUSY_S)) as old:
            old.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for path in beside:
        path.unlink(missing_ok=True)
    sync(source)
    source.replace(store)
    sync(folder)


def _check(copy: sqlite3.Connection, file: Path) -> None:
    (found,) = copy.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok" or copy.execute(sql.GET_META, ("id",)).fetchone() is None:
        raise StoreError(f"{file} is damaged, or not a backup of a store ({found}).")


def _version(db: sqlite3.Connection) -> int:
    return db.execute("PRAGMA user_version").fetchone()[0]
