"""The store in one SQLite file: WAL, synchronous to disk at every commit, one writer, and connections to read as they are needed.

Owns the file, its connections, and the space in it. What is written and read stands in `writes` and `reads`.
"""

from __future__ import annotations

import os
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from streamvis.errors import FolderUnusable, StoreError, StoreUnavailable
from streamvis.store import statements as sql
from streamvis.store.database import SqliteDatabase
from streamvis.store.fair_lock import Turns
from streamvis.store.folder import make_own
from streamvis.store.readers import Readers
from streamvis.store.removing.retention import KeepValues
from streamvis.store.repairing.damage import is_damage
from streamvis.store.schema import MIGRATIONS, SCHEMA, SCHEMA_VERSION
from streamvis.store.views.summaries import Sizes
from streamvis.store.writes import Changed, Writes

__all__ = ["FILE", "SqliteStore", "files_of"]

FILE = "streamvis.sqlite"
_BUSY_S = 10.0
_WAL_BYTES = 64 * 2**20
"""What the write-ahead log keeps of the disk after it was larger, as it is after a restore."""
_VACUUM_PAGES = 2000
_SPARE_SHARE = 0.05
"""How much of the file may be free before space is given back: merging frees space all the time, and takes it again."""
_SHORTEN_EVERY_S = 2.0
_PAUSE_S = 0.5
_MOST_PAUSE_S = 10.0
"""How long reads pause at most so that the write-ahead log can be reset: some of it when it is just too large, then more."""


class SqliteStore(Writes):
    """The store in the file `streamvis.sqlite` of `folder`. See `Store` for its methods.

    Raises FolderUnusable when the file was made by a newer version, or is none of ours.
    """

    def __init__(
        self,
        folder: Path,
        *,
        clock: Callable[[], float] = time.time,
        sizes: Sizes = Sizes(),  # noqa: B008
        keep_values: KeepValues = KeepValues(),  # noqa: B008
    ) -> None:
        self._path = folder / FILE
        self._write_lock = Turns()
        self._readers = Readers(self._connect)
        self._shorten_at = 0.0
        super().__init__(clock=clock, sizes=sizes, error=sqlite3.Error, keep_values=keep_values)
        try:
            self._open(folder)
        except (sqlite3.DatabaseError, OSError) as error:
            raise FolderUnusable(str(folder), f"{self._path.name} is not usable ({error}).") from error

    def _open(self, folder: Path) -> None:
        make_own(self._path)
        self._writer = self._connect()
        self._open_schema()
        self._files = [(path, path.stat()) for path in files_of(folder)]

    def _connect(self) -> SqliteDatabase:
        # This never makes the file: where it was deleted, an empty one would look like a store without runs.
        address = f"{self._path.absolute().as_uri()}?mode=rw"
        connection = sqlite3.connect(
            address, uri=True, timeout=_BUSY_S, isolation_level=None, check_same_thread=False, factory=SqliteDatabase
        )
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
        return connection

    def _open_schema(self) -> None:
        (version,) = self._writer.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise FolderUnusable(
                str(self._path.parent), f"it was written by a newer Streamvis (schema {version}). Update this one."
            )
        if version == 0:
            self._writer.executescript(f"BEGIN; {SCHEMA}; PRAGMA user_version = {SCHEMA_VERSION};")
            self._writer.execute(sql.SET_META, ("id", uuid.uuid4().hex[:12]))
            self._writer.execute("COMMIT")
        for older in range(version, SCHEMA_VERSION) if version else ():
            self._writer.executescript(f"BEGIN; {self._migration(older)}; PRAGMA user_version = {older + 1}; COMMIT;")

    def _migration(self, older: int) -> str:
        columns = {name for _, name, *_ in self._writer.execute("PRAGMA table_info(keys)")}
        return "" if older == 7 and "first_missing" in columns else MIGRATIONS[older]

    def close(self) -> None:
        """Close all connections."""
        with self._write_lock:
            self._readers.close()
            # By the connection that wrote it: where the log was deleted, one that was opened later has another, empty one.
            with suppress(sqlite3.Error):
                self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            self._writer.close()

    def tidy(self, *, only_merge: bool = False) -> bool:
        """Do a short piece of housekeeping; True when there may be more to do."""
        self._shorten_log()
        return super().tidy(only_merge=only_merge)

    def _own_work(self) -> Sequence[Callable[[], bool]]:
        return (self._give_space_back,)

    def _shorten_log(self) -> None:
        """Reset the write-ahead log where it has grown, for which all reads pause: the longer, the longer it is."""
        try:
            size = self._path.with_name(f"{FILE}-wal").stat().st_size
        except OSError:
            return  # the next commit says so
        if size <= _WAL_BYTES or time.monotonic() < self._shorten_at:
            return
        self._shorten_at = time.monotonic() + _SHORTEN_EVERY_S
        with self._readers.paused(min(_MOST_PAUSE_S, _PAUSE_S * size / _WAL_BYTES)) as is_quiet:
            if is_quiet:
                with self._write_lock:
                    try:
                        # Who reads now is another program, such as a backup. It is not waited for.
                        self._writer.execute("PRAGMA busy_timeout = 0")
                        self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                        self._writer.execute(f"PRAGMA busy_timeout = {int(1000 * _BUSY_S)}")
                    except sqlite3.Error as error:
                        raise self._trouble(error) from error

    def _give_space_back(self) -> bool:
        with self._reading() as db:
            (free,), (pages,) = (db.execute(f"PRAGMA {name}").fetchone() for name in ("freelist_count", "page_count"))
        if free <= max(_VACUUM_PAGES, _SPARE_SHARE * pages):
            return False
        with self._write_lock:
            try:
                # A statement that is stepped once gives one page back; a script runs to its end.
                self._writer.executescript(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})")
            except sqlite3.Error as error:
                raise self._trouble(error) from error
        return True

    def _snapshot(self) -> AbstractContextManager[SqliteDatabase]:
        return self._readers.snapshot()

    def _tidying(self) -> AbstractContextManager[tuple[SqliteDatabase, Changed]]:
        return self._writing()  # the data folder is held by this process alone

    @contextmanager
    def _writing(self) -> Iterator[tuple[SqliteDatabase, Changed]]:
        """One transaction of the writer; the listeners hear of it after the commit."""
        changes = Changed()
        with self._write_lock:
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                try:
                    yield self._writer, changes
                    self._writer.execute("COMMIT")
                    self._check_files()
                finally:
                    if self._writer.in_transaction:
                        self._writer.execute("ROLLBACK")
            except sqlite3.Error as error:
                raise self._trouble(error) from error
        self._tell(changes)

    def _check_files(self) -> None:
        """Raises StoreUnavailable when what was just written is in no file that anybody will ever find again."""
        for path, known in self._files:
            try:
                found = path.stat()
            except OSError:
                found = None
            if found is None or not os.path.samestat(found, known):
                what = "gone" if found is None else "another one now"
                told = "End the endpoint (not with kill -9) and start it again; producers keep their data."
                raise StoreUnavailable(f"The store's file {path} is {what}. {told}")

    def _trouble(self, error: sqlite3.Error) -> StoreError:
        return self._damages.note(str(error)) if is_damage(error) else _unavailable(error)


def files_of(folder: Path) -> list[Path]:
    """The files of a store that is in use: the store, what was written last, and the index of that."""
    return [folder / f"{FILE}{ending}" for ending in ("", "-wal", "-shm")]


def _unavailable(error: sqlite3.Error) -> StoreUnavailable:
    full = "full" in str(error)
    what = "The disk of the data folder is full. Make room; producers keep their data and try again." if full else ""
    return StoreUnavailable(what or f"The store cannot be used now: {error}.", full=full)
