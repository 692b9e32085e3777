"""Opening what keeps runs, of either kind, for the programs that read or copy all of it: a data folder, or a database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from streamvis.addresses.database import DatabaseAddress
from streamvis.errors import FolderUnusable, StoreError
from streamvis.store.copying import Copied, Snapshot, copy_store
from streamvis.store.database import SqliteDatabase
from streamvis.store.folder import DataFolder
from streamvis.store.postgresql import importing
from streamvis.store.repairing.checking import Checked, Progress, check, check_all
from streamvis.store.schema import SCHEMA_VERSION
from streamvis.store.sqlite import FILE, SqliteStore
from streamvis.store.writes import Writes

__all__ = ["check_place", "copy_places", "migrate_place"]

_BUSY_S = 60.0


def check_place(place: Path | DatabaseAddress, *, progress: Progress) -> Checked:
    """Read all of a store. Raises StoreError where that cannot be opened."""
    if isinstance(place, Path):
        return check(place, progress=progress)
    with importing():
        import psycopg

    with _reading(place) as snapshot:
        try:
            return check_all(snapshot, Checked(), progress, error=psycopg.Error)
        except psycopg.Error as error:
            told = " ".join(str(error).split())
            raise StoreError(f"The database {place.shown} could not be read to the end ({told}). Check it again.") from error


def copy_places(source: Path | DatabaseAddress, target: Path | DatabaseAddress, *, progress: Progress) -> Copied:
    """Copy a store, see `copying`. Raises StoreError where either cannot be opened, FolderInUse for a target in use."""
    with _reading(source) as snapshot, _writing(target) as store:
        return copy_store(snapshot, store, progress)


def migrate_place(place: Path | DatabaseAddress) -> None:
    """Make the tables of this version, or those of an older one into it. Raises StoreError, as for a folder in use."""
    with _writing(place):
        pass


@contextmanager
def _writing(place: Path | DatabaseAddress) -> Iterator[Writes]:
    """A store that no endpoint of ours may be using, if it is in a folder."""
    if isinstance(place, DatabaseAddress):
        with importing():
            from streamvis.store.postgresql.store import PostgresStore
        with closing(PostgresStore(place, may_lose=True)) as store:
            yield store
        return
    held = DataFolder(place)
    try:
        with closing(SqliteStore(place)) as store:
            yield store
    finally:
        held.release()


@contextmanager
def _reading(place: Path | DatabaseAddress) -> Iterator[Snapshot]:
    """What opens snapshots of a store that may be in use, and changes nothing."""
    if isinstance(place, Path):
        with closing(_opened(place)) as db:

            @contextmanager
            def snapshot() -> Iterator[SqliteDatabase]:
                db.execute("BEGIN")
                try:
                    yield db
                finally:
                    db.execute("ROLLBACK")

            yield snapshot
        return
    with importing():
        from streamvis.store.postgresql.connections import READING, Connections, connect, is_pooled, usable
        from streamvis.store.postgresql.installing import check_installed
    with usable(place):
        with connect(place) as connection:
            check_installed(connection, place.schema)
            prepares = not is_pooled(connection)
        with closing(Connections(place, kind=READING, most=2, prepares=prepares)) as connections:
            yield connections.transaction


def _opened(folder: Path) -> SqliteDatabase:
    file = folder / FILE
    if not file.exists():
        raise FolderUnusable(str(folder), f"there is no {FILE} in it. Name the data folder of an endpoint.")
    try:
        address = f"{file.absolute().as_uri()}?mode=ro"
        db = sqlite3.connect(address, uri=True, timeout=_BUSY_S, isolation_level=None, factory=SqliteDatabase)
        (version,) = db.execute("PRAGMA user_version").fetchone()
    except sqlite3.Error as error:
        raise StoreError(f"The store in {folder} cannot be opened: {error}.") from error
    if version != SCHEMA_VERSION:
        told = "Start an endpoint on it once." if version < SCHEMA_VERSION else "Update this Streamvis."
        raise StoreError(f"The store in {folder} is of schema {version}, not {SCHEMA_VERSION}. {told}")
    return db
