"""Copies what can be read of a damaged store into an empty one, in which everything fits together again.

Bodies are copied if they are sound. A key whose description cannot be read is known by what an index says, or by its data; a run
whose description cannot be read is put under the app `recovered`. Summaries are not copied: tidying makes them again.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from streamvis.records import FINISHED
from streamvis.store import statements as sql
from streamvis.store.chunks.bodies import StoredChunk, checked_value, chunk_row, decode_value, read_chunk, value_row
from streamvis.store.chunks.tables import columns_of
from streamvis.store.database import SqliteDatabase
from streamvis.store.interface import Damage
from streamvis.store.repairing import scan_statements as whole
from streamvis.store.repairing.checking import Progress
from streamvis.store.repairing.damage import Broken
from streamvis.store.repairing.salvage import one_row, row_numbers, rows_from_both_ends

__all__ = ["RECOVERED", "save_readable"]

RECOVERED = "recovered"
"""The app of runs whose description is lost."""


@dataclass(slots=True)
class _Key:
    log: int
    name: str
    kind: str
    rows: int
    sealed: int


def save_readable(source: SqliteDatabase, target: sqlite3.Connection, progress: Progress) -> list[Damage]:
    """Copy all that can be read; returns what was lost. `target` is a store without runs."""
    target.execute("BEGIN")
    lost = _Saving(source, target).run(progress)
    target.execute("COMMIT")
    return lost


class _Saving:
    def __init__(self, source: SqliteDatabase, target: sqlite3.Connection) -> None:
        self._source, self._target = source, target
        self._lost: list[Damage] = []
        self._run_of: dict[int, str] = {}

    def run(self, progress: Progress) -> list[Damage]:
        for table in ("apps", "runs", "configs", "logs", "attempts", "keys", "cuts"):
            self._copy(table)
        for table, order in (("stretches", ("log", "seq")), ("producers", ("run", "id"))):
            rows, is_whole = rows_from_both_ends(self._source, table, self._columns(table), order)
            self._add(table, rows)
            self._lost += [] if is_whole else [Damage("", "", f"some rows of the table {table}")]
        for no, run in self._target.execute(whole.GET_RUNS_WITHOUT_CONFIG).fetchall():
            self._target.execute(whole.SET_CONFIG, (no, "{}"))
            self._lost.append(Damage(run, "", "its config"))
        self._run_of = dict(self._target.execute("SELECT log, id FROM runs WHERE deleted = 0"))
        chunks, values = self._numbers("chunks"), self._numbers("key_values")
        dropped = {no for (no,) in self._target.execute("SELECT no FROM logs WHERE dropped = 1")}
        known = self._keys()
        for done, no in enumerate(numbers := sorted({*known, *chunks, *values})):
            progress(done, len(numbers))
            key = known.get(no)
            if key is not None and key.log in dropped:
                continue
            if no in chunks or (key is not None and key.kind == "rows"):
                self._save_rows(no, key, chunks.get(no, ()), dropped)
            else:
                self._save_values(no, key, values.get(no, ()))
        for statement in whole.DROP_WHAT_NO_RUN_HAS:
            self._target.execute(statement)
        return self._lost

    # Tables

    def _columns(self, table: str) -> list[str]:
        return [row[1] for row in self._target.execute(f"PRAGMA table_info({table})")]

    def _copy(self, table: str) -> None:
        columns = self._columns(table)
        rows = [one_row(self._source, table, columns, no) for no in row_numbers(self._source, table)]
        self._add(table, [row for row in rows if row is not None])
        if unread := rows.count(None):
            self._lost.append(Damage("", "", f"{unread:,} rows of the table {table}"))

    def _add(self, table: str, rows: Iterable[tuple]) -> None:
        columns = self._columns(table)
        places = ", ".join("?" * len(columns))
        self._target.executemany(f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({places})", rows)

    def _numbers(self, table: str) -> dict[int, list[int]]:
        """Of each key the numbers of its chunks or values."""
        found: dict[int, int] = {}
        for no, key in rows_from_both_ends(self._source, table, ("no", "key"), ("key",))[0]:
            found[no] = key
        for no in row_numbers(self._source, table):
            if no not in found and (row := one_row(self._source, table, ("key",), no)) is not None:
                found[no] = row[0]
        by_key = defaultdict(list)
        for no, key in sorted(found.items()):
            by_key[key].append(no)
        return by_key

    def _keys(self) -> dict[int, _Key]:
        """The keys that were copied, and those of which an index still has the name."""
        rows = self._target.execute("SELECT no, log, name, kind, rows, sealed FROM keys")
        known = {no: _Key(*about) for no, *about in rows}
        for no, log, name in rows_from_both_ends(self._source, "keys", ("no", "log", "name"), ("log", "name"))[0]:
            known.setdefault(no, _Key(log, name, "", 0, 0))
        return known

    # Keys

    def _save_rows(self, no: int, key: _Key | None, numbers: Sequence[int], dropped: set[int]) -> None:
        places, problems = [], []
        for chunk in numbers:
            place = one_row(self._source, "chunks", ("first_row", "count", "log", "first_step", "last_step"), chunk)
            if place is None:
                problems.append("rows that cannot be read")
            else:
                places.append((*place, chunk))
        if key is None:
            if not places or places[0][2] in dropped:
                return
            key = _Key(places[0][2], "", "rows", 0, 0)
        columns: dict[str, str] = {}
        rows, seen, first_changed = 0, 0, None
        for first_row, count, _, first_step, last_step, chunk in sorted(places, key=lambda place: (place[0], -place[1])):
            if first_row + count <= seen:
                continue  # an old page: what it holds was merged into the chunk before
            try:
                stored = read_chunk(self._source, no, chunk)
                name, table = stored.rows()
            except Broken as broken:
                problems.append(f"steps {first_step} to {last_step}: {broken.problem}")
                seen = first_row + count
                continue
            if first_row != rows and first_changed is None:
                first_changed = rows
            key.name = key.name or name
            columns |= columns_of(table, columns)
            self._target.execute(sql.ADD_CHUNK, _again(stored, key.log, no, rows, (first_step, last_step)))
            rows, seen = rows + count, first_row + count
        self._describe(no, key, "rows", json.dumps(columns))
        if rows != key.rows and first_changed is None:
            first_changed = rows
        self._lose(key, problems or ([f"{key.rows - rows:,} rows"] if rows < key.rows else []))
        if rows:
            sealed = key.sealed if first_changed is None else min(key.sealed, first_changed)
            self._target.execute(sql.SET_KEY_CUT, (rows, sealed, 0, no))
        else:
            self._target.execute(sql.DELETE_KEY, (no,))

    def _save_values(self, no: int, key: _Key | None, numbers: Sequence[int]) -> None:
        key = key or _Key(0, f"{RECOVERED}-{no}", "value", 0, 0)
        self._describe(no, key, "value", "{}")
        problems = []
        for value in numbers:
            row = one_row(self._source, "key_values", ("step", "seq", "time", "checksum", "body"), value)
            if row is None:
                problems.append("a value that cannot be read")
                continue
            step, seq, sent, checksum, body = row
            try:
                decode_value(no, step, checked_value(no, step, seq, checksum, body))
            except Broken as broken:
                problems.append(broken.problem)
            else:
                self._target.execute(sql.SAVE_VALUE, value_row(no, step, seq, sent, body))
        self._lose(key, problems)
        newest = self._target.execute(sql.GET_NEWEST_VALUE, (no,)).fetchone()
        self._target.execute(*((sql.SET_KEY_NEWEST, (*newest, no)) if newest else (sql.DELETE_KEY, (no,))))

    def _describe(self, no: int, key: _Key, kind: str, columns: str) -> None:
        """See to it that the key and its run are there."""
        if key.log not in self._run_of:
            self._add_run(key)
        if not key.kind or not self._target.execute(sql.GET_KEY_BY_NO, (no,)).fetchone():
            key.name = key.name or f"{RECOVERED}-{no}"
            taken = self._target.execute(sql.GET_KEY, (key.log, key.name)).fetchone()
            key.name = f"{key.name} ({RECOVERED} {no})" if taken else key.name
            self._target.execute(whole.ADD_KEY_AT, (no, key.log, key.name, kind, columns))
            self._lost.append(Damage(self._run_of[key.log], key.name, "its description, which was rebuilt of its data"))

    def _add_run(self, key: _Key) -> None:
        self._target.execute(sql.ADD_APP, (RECOVERED,))
        app = self._target.execute(sql.GET_APP, (RECOVERED,)).fetchone()[0]
        if not key.log:
            log = self._target.execute(sql.ADD_LOG).lastrowid
            assert log is not None  # a row was added
            key.log = log
        self._target.execute(whole.KEEP_LOG, (key.log,))
        run, now = f"{RECOVERED}-{key.log}", time.time()
        no = self._target.execute(sql.ADD_RUN, (run, app, None, FINISHED, now, now, None, key.log)).lastrowid
        self._target.execute(whole.SET_CONFIG, (no, "{}"))
        self._target.execute(sql.COUNT_RUN, (1, app))
        self._target.execute(whole.SET_SEQ_OF_LOG, (key.log, key.log))
        self._run_of[key.log] = run
        self._lost.append(Damage(run, "", "its id, name and config; what it holds was saved under this id"))

    def _lose(self, key: _Key, problems: Sequence[str]) -> None:
        if problems:
            more = f", and {len(problems) - 1:,} more pieces" if len(problems) > 1 else ""
            self._lost.append(Damage(self._run_of[key.log], key.name, f"{problems[0]}{more}"))


def _again(chunk: StoredChunk, log: int, key: int, first_row: int, steps: tuple[int, int]) -> tuple[object, ...]:
    seqs = (chunk.first_seq, chunk.last_seq)
    return chunk_row(log, key, first_row, seqs, steps, chunk.count, chunk.body, is_packed=chunk.is_packed, marks=chunk.marks)
