"""What storing does to a run: the rules of batches, keys, values, states and configs, over one open transaction.

`LogWriter` knows SQL by name alone and commits nothing; whoever opened the transaction does. What it changed is in `changes`, to
be told once the commit has happened.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from streamvis.errors import DeletedRun, InvalidData, RunConflict, UnknownRun
from streamvis.records import (
    FAILED,
    FINISHED,
    INTERRUPTED,
    RUNNING,
    Ack,
    Batch,
    Chunk,
    Clear,
    Finish,
    Refusal,
    RowsChunk,
    Start,
    ValueChunk,
)
from streamvis.store import statements as sql
from streamvis.wire.columns import unify_dtypes

__all__ = ["LogWriter", "RunRow", "find_run", "same_config"]

_NO_CONFIG = ({}, None)


@dataclass(slots=True)
class RunRow:
    """A run's row as it is read, changed, and written back."""

    no: int
    id: str
    app_no: int
    app: str
    name: str | None
    config: str
    state: str
    created: float
    updated: float
    first_step: int | None
    last_step: int | None
    epoch: int
    seq: int
    log: int
    deleted: int
    newest: int


def find_run(db: sqlite3.Connection, run: str) -> RunRow:
    """The run's row. Raises UnknownRun or DeletedRun."""
    found = db.execute(sql.GET_RUN, (run,)).fetchone()
    if found is None:
        raise UnknownRun(run)
    row = RunRow(*found)
    if row.deleted:
        raise DeletedRun(run)
    return row


def same_config(one: str, other: str) -> bool:
    """Whether two configs say the same, in whatever order. NaN equals NaN here."""
    return one == other or _canonical(one) == _canonical(other)


def _canonical(config: str) -> str:
    return json.dumps(json.loads(config), sort_keys=True)


@dataclass(slots=True)
class LogWriter:
    """Writes to runs' logs within one transaction of `db`."""

    db: sqlite3.Connection
    clock: Callable[[], float]
    max_columns: int
    runs: set[str] = field(default_factory=set)
    apps: set[str] = field(default_factory=set)

    def append(self, batch: Batch) -> Ack:
        """Store the batch at the end of its run's log. Raises UnknownRun, DeletedRun or RunConflict."""
        row = self._run_for(batch)
        known = self.db.execute(sql.GET_PRODUCER, (row.no, batch.producer)).fetchone()
        if known and batch.producer and batch.number <= known[0]:
            return _known_ack(known, same=batch.number == known[0])
        row.seq += 1
        row.updated = self.clock()
        refused: dict[str, str] = {}
        warnings: list[str] = []
        for chunk in batch.chunks:
            self._apply(row, chunk, batch.producer, refused, warnings)
        self._save(row)
        ack = Ack(row.seq, refused=tuple(Refusal(*item) for item in refused.items()), warnings=tuple(warnings))
        if batch.producer:
            self._remember(row, batch, ack)
        return ack

    def rename(self, row: RunRow, name: str) -> None:
        """Give the run a name."""
        row.name = name
        self._log_change(row)

    def finish(self, row: RunRow, state: str) -> None:
        """Set the run's state; producers that had not ended count as ended with it."""
        row.state = state
        self.db.execute(sql.END_PRODUCERS, (state, row.no))
        self._log_change(row)

    def clear(self, row: RunRow) -> None:
        """Take back rows and values."""
        self._new_log(row)
        row.seq += 1
        self._save(row)

    def delete(self, row: RunRow) -> None:
        """Leave of the run no more than its id."""
        self.db.execute(sql.DROP_LOG, (row.log,))
        self.db.execute(sql.DELETE_PRODUCERS, (row.no,))
        self.db.execute(sql.BURY_RUN, (row.no,))
        self.db.execute(sql.COUNT_RUN, (-1, row.app_no))
        if row.newest:
            no, run = self.db.execute(sql.NEXT_NEWEST, (row.app_no,)).fetchone() or (None, None)
            self.db.execute(sql.SET_NEWEST, (no, row.app_no))
            if run is not None:
                self._touch(no, run)
        self.runs.add(row.id)
        self.apps.add(row.app)

    # --- one batch

    def _run_for(self, batch: Batch) -> RunRow:
        try:
            row = find_run(self.db, batch.run)
        except UnknownRun:
            first = batch.chunks[0] if batch.chunks else None
            if not isinstance(first, Start):
                raise
            return self._make_run(batch, first)
        if batch.app and batch.app != row.app:
            raise RunConflict(
                f"The run {batch.run!r} belongs to the app {row.app!r}, not to {batch.app!r}. Name that app, or start another run.",
                code="other_app",
            )
        return row

    def _make_run(self, batch: Batch, start: Start) -> RunRow:
        if not batch.app:
            raise InvalidData("a new run needs an app", where="app", allowed="the app's name")
        self.db.execute(sql.ADD_APP, (batch.app,))
        app_no, _, _, lives, newest = self.db.execute(sql.GET_APP, (batch.app,)).fetchone()
        log = self.db.execute(sql.ADD_LOG).lastrowid
        live = lives + 1 if batch.live else None
        values = (batch.run, app_no, start.name, start.config, RUNNING, start.time, self.clock(), live, log)
        no = self.db.execute(sql.ADD_RUN, values).lastrowid
        self.db.execute(sql.COUNT_RUN, (1, app_no))
        if live is not None:
            self.db.execute(sql.TAKE_LIVE, (no, app_no))
            if newest is not None:
                self._touch(newest, self.db.execute(sql.GET_RUN_ID, (newest,)).fetchone()[0])
        self.apps.add(batch.app)
        return find_run(self.db, batch.run)

    def _apply(self, row: RunRow, chunk: Chunk, producer: str, refused: dict[str, str], warnings: list[str]) -> None:
        if isinstance(chunk, (RowsChunk, ValueChunk)):
            reason = self._add_rows(row, chunk) if isinstance(chunk, RowsChunk) else self._add_value(row, chunk)
            if reason:
                refused.setdefault(chunk.key, reason)
        elif isinstance(chunk, Start):
            self._start(row, chunk, producer, warnings)
        elif isinstance(chunk, Clear):
            self._new_log(row)
        elif isinstance(chunk, Finish):
            self._end(row, chunk, producer)

    def _add_rows(self, row: RunRow, chunk: RowsChunk) -> str | None:
        key = self.db.execute(sql.GET_KEY, (row.log, chunk.key)).fetchone()
        columns = json.loads(key[2]) if key else {}
        if key and key[1] != "rows":
            return _OTHER_KIND.format(has="a value", got="rows", call="sendl", other="send")
        grown = {**columns, **{name: unify_dtypes(columns.get(name, word), word) for name, word in chunk.columns.items()}}
        if len(grown) > self.max_columns:
            return f"it would have {len(grown):,} columns; at most {self.max_columns:,} are kept"
        if key is None:
            key_no = self.db.execute(sql.ADD_KEY, (row.log, chunk.key, "rows", json.dumps(grown))).lastrowid
        else:
            key_no = key[0]
            if grown != columns:
                self.db.execute(sql.SET_KEY_COLUMNS, (json.dumps(grown), key_no))
        values = (row.log, key_no, row.seq, row.seq, chunk.first_step, chunk.last_step, chunk.count, len(chunk.body), chunk.body)
        self.db.execute(sql.ADD_CHUNK, values)
        _widen(row, chunk.first_step, chunk.last_step)
        return None

    def _add_value(self, row: RunRow, chunk: ValueChunk) -> str | None:
        key = self.db.execute(sql.GET_KEY, (row.log, chunk.key)).fetchone()
        if key and key[1] != "value":
            return _OTHER_KIND.format(has="rows", got="a value", call="send", other="sendl")
        if key is None:
            key = (self.db.execute(sql.ADD_KEY, (row.log, chunk.key, "value", "{}")).lastrowid, "value", "{}", None)
        self.db.execute(sql.SAVE_VALUE, (key[0], chunk.step, row.seq, chunk.time, len(chunk.body), chunk.body))
        if key[3] is None or chunk.step >= key[3]:
            self.db.execute(sql.SET_KEY_NEWEST, (chunk.step, row.seq, len(chunk.body), key[0]))
        _widen(row, chunk.step, chunk.step)
        return None

    def _start(self, row: RunRow, start: Start, producer: str, warnings: list[str]) -> None:
        self.db.execute(sql.START_PRODUCER, (row.no, producer))
        if row.state != RUNNING:
            row.state = RUNNING
            self.apps.add(row.app)
        if row.name is None and start.name is not None:
            row.name = start.name
            self.apps.add(row.app)
        if json.loads(start.config) in _NO_CONFIG or same_config(row.config, start.config):
            return
        if json.loads(row.config) in _NO_CONFIG:
            # Ranks start in any order: one without a config may make the run before the one that has it. Pages that began
            # without it start over.
            row.config = start.config
            row.epoch += 1
            self.apps.add(row.app)
        else:
            warnings.append(
                f"The run {row.id!r} has another config already, and keeps it. A different config needs a run of its own."
            )

    def _end(self, row: RunRow, finish: Finish, producer: str) -> None:
        self.db.execute(sql.END_PRODUCER, (row.no, producer, finish.state))
        states = {state for (state,) in self.db.execute(sql.GET_PRODUCER_STATES, (row.no,))}
        if None in states:
            return
        ended = next(state for state in (FAILED, INTERRUPTED, FINISHED) if state in states)
        if row.state != ended:
            row.state = ended
            self.apps.add(row.app)

    def _remember(self, row: RunRow, batch: Batch, ack: Ack) -> None:
        refused = json.dumps([[refusal.key, refusal.reason] for refusal in ack.refused])
        values = (row.no, batch.producer, batch.number, ack.seq, refused, json.dumps(ack.warnings))
        self.db.execute(sql.SAVE_PRODUCER, values)

    # --- rows of the tables

    def _new_log(self, row: RunRow) -> None:
        self.db.execute(sql.DROP_LOG, (row.log,))
        row.log = self.db.execute(sql.ADD_LOG).lastrowid
        row.epoch += 1
        row.first_step = row.last_step = None

    def _log_change(self, row: RunRow) -> None:
        row.seq += 1
        self.apps.add(row.app)
        self._save(row)

    def _save(self, row: RunRow) -> None:
        values = (row.name, row.config, row.state, row.updated, row.first_step, row.last_step, row.epoch, row.seq, row.log, row.no)
        self.db.execute(sql.SAVE_RUN, values)
        self.runs.add(row.id)

    def _touch(self, no: int, run: str) -> None:
        """The run's readers learn that it became, or is no longer, the newest: a change of its log like any other."""
        self.db.execute(sql.TOUCH_RUN, (no,))
        self.runs.add(run)


_OTHER_KIND = "it holds {has} in this run, so {got} cannot be added. Use another key for `{call}`, or `{other}` for this one"


def _known_ack(known: Any, *, same: bool) -> Ack:
    """The first answer again. Of a batch before the last one nothing is kept but that it was stored."""
    _, seq, refused, warnings = known
    if not same:
        return Ack(seq, duplicate=True)
    return Ack(seq, True, tuple(Refusal(*item) for item in json.loads(refused)), tuple(json.loads(warnings)))


def _widen(row: RunRow, first: int, last: int) -> None:
    row.first_step = first if row.first_step is None else min(row.first_step, first)
    row.last_step = last if row.last_step is None else max(row.last_step, last)
