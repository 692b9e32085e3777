"""Copying a store into another one of either kind, while the first is in use: run by run, each as it is at one moment.

A run that the target cannot hold, such as one with the character NUL in a name, is left out and told of; the others are copied.

Rows keep their numbers, so that what is copied is the same to the last byte and its checksums hold. So the target is empty, or an
earlier copy of the same source, which is brought up to date: runs that are the same are passed over. An endpoint that begins to
use a copy makes it a store of its own. A copy has an id of its own too: cursors of the source start over in it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from streamvis.errors import InvalidData, StoreError
from streamvis.store import statements as sql
from streamvis.store.database import Database
from streamvis.store.runs.labels import set_newest
from streamvis.store.writes import Writes

__all__ = ["Copied", "LeftOut", "copy_store", "end_copying"]

_COPY_OF = "copy_of"
_AT_ONCE = 64

_APPS = ("no", "name", "seq", "runs", "lives", "newest", "made")
_RUNS = (
    *("no", "id", "app", "name", "state", "created", "updated", "first_step", "last_step", "live", "epoch", "seq", "log"),
    *("deleted", "dropped", "late", "attempt", "number", "color", "archived", "ended", "restorable_until", "tags", "note"),
)
_OF_RUN = {
    "configs": ("no", ("no", "config")),
    "producers": (
        "run",
        ("run", "id", "number", "seq", "refused", "warnings", "started", "state", "dropped", "attempt"),
    ),
    "attempts": ("run", ("no", "run", "name", "began", "resume_at", "ends_at")),
}
"""Tables whose rows are of a run: by which column, and what they hold."""
_OF_LOG = {
    "logs": ("no", ("no", "dropped", "cuts")),
    "stretches": ("log", ("log", "seq", "attempt")),
    "cuts": ("log", ("no", "log", "step", "stretches", "key", "through", "changed")),
    "keys": (
        "log",
        (
            *("no", "log", "name", "kind", "columns", "newest_step", "newest_seq", "newest_size", "rows", "sealed", "summed"),
            *("pending", "open_bytes", "due", "digested", "first_missing"),
        ),
    ),
}
_CHUNKS = (
    *("no", "log", "key", "first_row", "first_seq", "last_seq", "first_step", "last_step", "count", "size", "packed", "marks"),
    *("checksum", "body"),
)
_BODIES = {
    "chunks": ("log", _CHUNKS),
    "key_values": ("key", ("no", "key", "step", "seq", "time", "size", "checksum", "body")),
    "summaries": ("key", ("no", "key", "level", "first_row", "checksum", "body")),
}

_NAMES = "SELECT id, app, coalesce(apps.name, '') FROM runs LEFT JOIN apps ON apps.no = runs.app WHERE runs.no = ?"

Snapshot = Callable[[], AbstractContextManager[Database]]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A run that the target cannot hold, by its id and app, and why."""

    run: str
    app: str
    reason: str


@dataclass(slots=True)
class Copied:
    """What was done: runs copied, those that were the same already, bodies that were copied and compared, and runs left out."""

    runs: int = 0
    same: int = 0
    bodies: int = 0
    left_out: list[LeftOut] = field(default_factory=list)


def copy_store(source: Snapshot, target: Writes, progress: Callable[[int, int], None]) -> Copied:
    """Copy all runs. Raises StoreError where the target is not a copy of the source, or differs from it in the end."""
    with source() as db:
        (store,) = db.execute(sql.GET_META, ("id",)).fetchone()
        numbers = [no for (no,) in db.execute("SELECT no FROM runs ORDER BY no")]
    _begin(target, store)
    refused = _copy_apps(source, target)  # first too: a copy that ends early has the apps of its runs
    copied = Copied()
    for done, no in enumerate(numbers):
        progress(done, len(numbers))
        with source() as db:
            run, app, name = db.execute(_NAMES, (no,)).fetchone()
            try:
                if app in refused:
                    raise refused[app]
                _copy_run(db, target, no, copied)
            except InvalidData as error:
                copied.left_out.append(LeftOut(run, name, str(error)))
    _copy_apps(source, target)
    progress(len(numbers), len(numbers))
    return copied


def end_copying(store: Writes) -> None:
    """From now on the store is one of its own, should it have been a copy, however far that came."""
    with store._reading() as db:
        is_copy = db.execute(sql.GET_META, (_COPY_OF,)).fetchone() is not None
    if not is_copy:
        return
    with store._writing() as (db, _):
        # Of two endpoints that start at once the second waits here, and then finds that it was done.
        db.execute("UPDATE meta SET value = value WHERE name = ?", (_COPY_OF,))
        if db.execute(sql.GET_META, (_COPY_OF,)).fetchone() is None:
            return
        store._continue_numbers(db)
        db.execute("UPDATE apps SET runs = (SELECT count(*) FROM runs WHERE app = apps.no AND deleted = 0)")
        gone = "SELECT no FROM apps WHERE newest IS NOT NULL AND newest NOT IN (SELECT no FROM runs)"
        for (app,) in db.execute(gone).fetchall():
            set_newest(db, app)
        db.execute("DELETE FROM meta WHERE name = ?", (_COPY_OF,))


def _copy_apps(source: Snapshot, target: Writes) -> Mapping[int, InvalidData]:
    """Copy all apps. Returns those that the target cannot hold, by their numbers."""
    with source() as db:
        apps = list(_rows(db, "apps", _APPS, "1", 1))
    refused = {}
    try:
        _put_apps(target, apps)
    except InvalidData:
        for app in apps:
            try:
                _put_apps(target, [app])
            except InvalidData as error:
                refused[app[0]] = error
    return refused


def _put_apps(target: Writes, apps: Sequence[Sequence[Any]]) -> None:
    with target._writing() as (to, _):
        for app in apps:
            to.execute("DELETE FROM apps WHERE no = ?", (app[0],))
            to.execute(_insert("apps", _APPS), app)


def _begin(target: Writes, store: str) -> None:
    with target._reading() as db:
        found = db.execute(sql.GET_META, (_COPY_OF,)).fetchone()
        is_empty = db.execute("SELECT no FROM runs LIMIT 1").fetchone() is None
    if found == (store,):
        return
    if found is not None or not is_empty:
        raise StoreError("The target has runs, and is not a copy of this source that no endpoint used yet. Choose an empty one.")
    with target._writing() as (db, _):
        db.execute(sql.SET_META, (_COPY_OF, store))


def _copy_run(db: Database, target: Writes, no: int, copied: Copied) -> None:
    (run,) = _rows(db, "runs", _RUNS, "no", no)
    log = run[_RUNS.index("log")]
    with target._reading() as to:
        known = list(_rows(to, "runs", _RUNS, "no", no))
    if known == [run]:
        copied.same += 1
        return
    with target._writing() as (to, _):
        if known:
            _delete_run(to, no, known[0][_RUNS.index("log")])
        to.execute(_insert("runs", _RUNS), run)
        for table, (column, columns) in _OF_RUN.items():
            to.executemany(_insert(table, columns), _rows(db, table, columns, column, no))
        for table, (column, columns) in _OF_LOG.items():
            to.executemany(_insert(table, columns), _rows(db, table, columns, column, log))
        keys = [key for (key,) in db.execute("SELECT no FROM keys WHERE log = ?", (log,)).fetchall()]
        for table, (column, columns) in _BODIES.items():
            for of in [log] if column == "log" else keys:
                copied.bodies += _copy_bodies(db, to, table, columns, column, of)
        for key in keys:
            to.executemany(sql.SAVE_DIGEST, [(key, *row) for row in db.execute(sql.GET_DIGESTS, (key,)).fetchall()])
    copied.runs += 1


def _copy_bodies(db: Database, to: Database, table: str, columns: Sequence[str], column: str, of: int) -> int:
    numbers = [no for (no,) in db.execute(f"SELECT no FROM {table} WHERE {column} = ? ORDER BY no", (of,)).fetchall()]
    for at in range(0, len(numbers), _AT_ONCE):
        asked = json.dumps(numbers[at : at + _AT_ONCE])
        text = f"SELECT {', '.join(columns)} FROM {table} WHERE no IN (SELECT value FROM json_each(?))"
        to.executemany(_insert(table, columns), db.execute(text, (asked,)).fetchall())
    sums = f"SELECT count(*), CAST(sum(length(body)) AS BIGINT), CAST(sum(checksum) AS BIGINT) FROM {table} WHERE {column} = ?"
    here = db.execute(sums, (of,)).fetchone()  # first: a target may end a transaction that is idle for long
    if (there := to.execute(sums, (of,)).fetchone()) != here:
        raise StoreError(f"What was copied of {table} differs: {here} at the source, {there} at the target. Copy again.")
    return len(numbers)


def _delete_run(to: Database, no: int, log: int) -> None:
    for table, (column, _) in _BODIES.items():
        which = "= ?" if column == "log" else "IN (SELECT no FROM keys WHERE log = ?)"
        to.execute(f"DELETE FROM {table} WHERE {column} {which}", (log,))
    to.execute("DELETE FROM digests WHERE key IN (SELECT no FROM keys WHERE log = ?)", (log,))
    for table, (column, _) in _OF_LOG.items():
        to.execute(f"DELETE FROM {table} WHERE {column} = ?", (log,))
    for table, (column, _) in _OF_RUN.items():
        to.execute(f"DELETE FROM {table} WHERE {column} = ?", (no,))
    to.execute("DELETE FROM runs WHERE no = ?", (no,))


def _rows(db: Database, table: str, columns: Sequence[str], column: str, of: int) -> Iterator[tuple[Any, ...]]:
    where = f"{column} = ?" if column != "1" else "1 = ?"
    return iter([tuple(row) for row in db.execute(f"SELECT {', '.join(columns)} FROM {table} WHERE {where}", (of,)).fetchall()])


def _insert(table: str, columns: Sequence[str]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
