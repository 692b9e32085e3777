"""Reads everything that a store keeps and says what of it is damaged, while an endpoint may be using it. Changes nothing.

SQLite looks at the structure of its file; then every body is read, key by key, held against its checksum, and decoded.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from streamvis.errors import FolderUnusable, StoreError
from streamvis.store import statements as sql
from streamvis.store.chunks.bodies import decode_value, read_chunk, read_summary, read_value
from streamvis.store.chunks.packed_rows import unpack
from streamvis.store.database import Database, SqliteDatabase
from streamvis.store.interface import Damage
from streamvis.store.repairing import scan_statements as whole
from streamvis.store.repairing.damage import Broken, is_damage
from streamvis.store.schema import SCHEMA_VERSION
from streamvis.store.sqlite import FILE

__all__ = ["Checked", "Progress", "check", "check_all", "check_file"]

_MOST_OF_STRUCTURE = 100
_BUSY_S = 60.0

Progress = Callable[[int, int], None]
"""Called with how much is done, and of how much."""


@dataclass(slots=True)
class Checked:
    """What was read, how many bodies of it have no checksum since they are older, and all damage that was found."""

    runs: int = 0
    keys: int = 0
    bodies: int = 0
    size_bytes: int = 0
    unchecked: int = 0
    damages: list[Damage] = field(default_factory=list)


def check(folder: Path, *, progress: Progress) -> Checked:
    """Read the whole store in `folder`.

    Raises FolderUnusable where there is no store, and StoreError where SQLite cannot open it or its schema is not this version's.
    """
    source = folder / FILE
    if not source.exists():
        raise FolderUnusable(str(folder), f"there is no {FILE} in it. Name the data folder of an endpoint.")
    address = f"{source.absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=_BUSY_S, isolation_level=None, factory=SqliteDatabase)) as db:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version != SCHEMA_VERSION:
                older = f"Start an endpoint on it once, or say --repair: either brings it to schema {SCHEMA_VERSION}."
                told = older if version < SCHEMA_VERSION else "Update this Streamvis."
                raise StoreError(f"The store in {folder} is of schema {version}, which this version cannot check. {told}")
            return check_file(db, progress)
    except sqlite3.Error as error:
        raise StoreError(f"The store in {folder} cannot be opened: {error}. Restore a backup.") from error


def check_file(db: SqliteDatabase, progress: Progress) -> Checked:
    """Read everything in a file of this version's schema."""
    checked = Checked()
    try:
        found = [line for (line,) in db.execute(f"PRAGMA integrity_check({_MOST_OF_STRUCTURE})")]
    except sqlite3.Error as error:
        found = [str(error)]
    checked.damages += [Damage("", "", f"structure of the file: {line}") for line in found if line != "ok"]
    return check_all(lambda: _snapshot(db), checked, progress, error=sqlite3.Error)


def check_all(
    snapshot: Callable[[], AbstractContextManager[Database]], checked: Checked, progress: Progress, *, error: type[Exception]
) -> Checked:
    """Read every body, each key's in one of the snapshots. `error` is what the database raises.

    It is raised from here where it is not about damage, as when the connection to a database is lost.
    """
    try:
        with snapshot() as db:
            (checked.runs,) = db.execute(whole.COUNT_RUNS).fetchone()
            keys = db.execute(whole.GET_ALL_KEYS).fetchall()
    except error as trouble:
        if not _is_of_file(trouble):
            raise
        checked.damages.append(Damage("", "", f"the list of runs and keys cannot be read ({trouble})"))
        return checked
    with suppress(error), snapshot() as db:  # it reads through what is looked at below, piece by piece
        (checked.unchecked,) = db.execute(whole.COUNT_WITHOUT_CHECKSUM).fetchone()
    for done, (no, run, name, kind) in enumerate(keys):
        progress(done, len(keys))
        with snapshot() as db:
            broken = list(_of_key(db, no, kind, checked))
        checked.keys += 1
        if broken:
            more = f", and {len(broken) - 1:,} more of its pieces" if len(broken) > 1 else ""
            checked.damages.append(Damage(run, name, f"{broken[0]}{more}"))
    progress(len(keys), len(keys))
    return checked


def _of_key(db: Database, key: int, kind: str, checked: Checked) -> Iterator[str]:
    """What is wrong under a key, piece by piece."""
    try:
        if kind == "rows":
            yield from _rows(db, key, checked)
            for level, first_row in db.execute(whole.GET_SUMMARIES_OF_KEY, (key,)).fetchall():
                yield from _piece(db, checked, lambda at=(level, first_row): unpack(read_summary(db, key, *at)))
        else:
            for (step,) in db.execute(whole.GET_STEPS_OF_VALUES, (key,)).fetchall():
                yield from _piece(db, checked, lambda at=step: decode_value(key, at, read_value(db, key, at)))
    except db.Error as error:
        if not _is_of_file(error):
            raise
        yield f"the list of its pieces cannot be read ({error})"


def _rows(db: Database, key: int, checked: Checked) -> Iterator[str]:
    found = db.execute(sql.GET_KEY_LENGTHS, (key,)).fetchone()
    if found is None:
        return  # it was deleted meanwhile
    expected = 0
    for no, first_step, last_step, count, size, first_row in db.execute(whole.GET_CHUNKS_TO_CHECK, (key,)).fetchall():
        checked.size_bytes += size
        for problem in _piece(db, checked, lambda at=no: read_chunk(db, key, at).rows()):
            yield f"{problem}, steps {first_step} to {last_step}"
        if first_row != expected:
            yield f"the rows from number {expected:,} on are not where they should be"
        expected = first_row + count
    if expected != found[0]:
        yield f"{expected:,} rows are there, and should be {found[0]:,}"


def _piece(db: Database, checked: Checked, read: Callable[[], object]) -> Iterator[str]:
    checked.bodies += 1
    try:
        read()
    except Broken as broken:
        yield broken.problem
    except db.Error as error:
        if not is_damage(error):
            raise
        yield str(error)


def _is_of_file(error: Exception) -> bool:
    """Whether a database says by this error that it cannot read its files. In an open file of SQLite, nothing else goes wrong."""
    return isinstance(error, sqlite3.Error) or is_damage(error)


@contextmanager
def _snapshot(db: SqliteDatabase) -> Iterator[SqliteDatabase]:
    db.execute("BEGIN")
    try:
        yield db
    finally:
        db.execute("ROLLBACK")
