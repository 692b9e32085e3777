"""Makes a sound store of what can still be read of a damaged one, which is kept beside it as it was.

What cannot be read, or does not fit its checksum, is left out, and the rows after it are numbered again. The rest is in the new
file as it was. It has another id, so that everybody who reads starts over, as after a restore.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from streamvis.errors import FolderInUse, FolderUnusable, StoreError
from streamvis.store.database import SqliteDatabase
from streamvis.store.folder import DataFolder, make_own, sync
from streamvis.store.interface import Damage
from streamvis.store.repairing.checking import Checked, Progress, check_file
from streamvis.store.repairing.recovery import save_readable
from streamvis.store.schema import SCHEMA_VERSION
from streamvis.store.sqlite import FILE, SqliteStore, files_of

__all__ = ["Repaired", "repair"]


@dataclass(frozen=True, slots=True)
class Repaired:
    """What the check found, what was lost, and where the damaged store is kept (None: it is not damaged, and as it was)."""

    checked: Checked
    lost: list[Damage] = field(default_factory=list)
    kept: Path | None = None


def repair(folder: Path, *, progress: Progress) -> Repaired:
    """Repair the store in a folder that no endpoint uses.

    Raises FolderUnusable where there is no store, and StoreError where it cannot be repaired, and changes nothing then.
    """
    store = folder / FILE
    if not store.exists():
        raise FolderUnusable(str(folder), f"there is no {FILE} in it. Name the data folder of an endpoint.")
    try:
        held = DataFolder(folder)
    except FolderInUse as error:
        at = f" at {error.listening}" if error.listening else ""
        raise StoreError(f"An endpoint{at} is using {folder}. Stop it, repair the store, and start it again.") from error
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix="repair-") as made:
            return _repaired(store, Path(made), progress)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"The store in {folder} could not be repaired: {error}. It is unchanged.") from error
    finally:
        held.release()


def _repaired(store: Path, made: Path, progress: Progress) -> Repaired:
    with closing(_opened(store)) as db:
        # All in one file, where that can be: it is easier to keep.
        with suppress(sqlite3.Error):
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise StoreError(f"The store was written by a newer Streamvis (schema {version}). Update this one.")
    source = store if version == SCHEMA_VERSION else _migrated(store, made / "older")
    with closing(_opened(source)) as db:
        checked = check_file(db, progress)
        if not checked.damages:
            return Repaired(checked)
        SqliteStore(made).close()
        with closing(_opened(made / FILE)) as target:
            lost = save_readable(db, target, progress)
            if left := check_file(target, progress).damages:
                raise StoreError(f"The store could not be repaired: {left[0].problem}. It is unchanged.")
    return Repaired(checked, lost, _put_in_place(made / FILE, store))


def _opened(file: Path) -> SqliteDatabase:
    return sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None, factory=SqliteDatabase)


def _migrated(store: Path, folder: Path) -> Path:
    """A copy of the store, of our schema."""
    folder.mkdir()
    for path, copy in zip(files_of(store.parent), files_of(folder), strict=True):
        if path.exists():
            make_own(copy)
            shutil.copyfile(path, copy)
    SqliteStore(folder).close()
    return folder / FILE


def _put_in_place(made: Path, store: Path) -> Path:
    """Take the place of the store, which is kept under another name. Whatever ends us, both are there, and whole."""
    kept = store.with_name(f"{store.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
    beside = [path for path in files_of(store.parent)[1:] if path.exists()]
    sync(made)
    for path in (store, *beside):
        os.link(path, f"{kept}{path.name.removeprefix(store.name)}")
    for path in beside:
        path.unlink()
    made.replace(store)
    sync(store.parent)
    return kept
