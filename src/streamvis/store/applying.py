"""What a batch does to a run: the rules, with the run's row in hand and inside a transaction that somebody else ends."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass

from streamvis.records import (
    FAILED,
    FINISHED,
    INTERRUPTED,
    RUNNING,
    Batch,
    Clear,
    Finish,
    Refusal,
    RowsChunk,
    Start,
    ValueChunk,
)
from streamvis.store import statements as sql
from streamvis.wire.columns import unify_dtypes

__all__ = ["RunRow", "apply_batch", "end_run", "start_over"]

_OTHER_CONFIG = "This run began with another config, which stays: the first of a run wins."


@dataclass(slots=True)
class RunRow:
    """A run's row, while it is read or changed."""

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
    dropped: int
    store: str


def apply_batch(db: sqlite3.Connection, run: RunRow, batch: Batch, *, is_new: bool) -> tuple[list[Refusal], list[str]]:
    """Apply the chunks in order, at the run's `seq`. Returns the keys that were refused, and warnings."""
    refused: list[Refusal] = []
    warnings: list[str] = []
    for chunk in batch.chunks:
        if isinstance(chunk, (RowsChunk, ValueChunk)):
            reason = _add(db, run, chunk)
            if reason and all(refusal.key != chunk.key for refusal in refused):
                refused.append(Refusal(chunk.key, reason))
        elif isinstance(chunk, Start):
            if not is_new and json.loads(chunk.config) != json.loads(run.config):
                warnings.append(_OTHER_CONFIG)
            if batch.producer:
                db.execute(sql.START_PRODUCER, (run.no, batch.producer))
            run.state = RUNNING
        elif isinstance(chunk, Clear):
            start_over(db, run)
        elif isinstance(chunk, Finish):
            _finish(db, run, batch.producer, chunk)
    return refused, warnings


def start_over(db: sqlite3.Connection, run: RunRow) -> None:
    """Take back the run's past: another log, and the next epoch."""
    db.execute(sql.DROP_LOG, (run.log,))
    run.log = db.execute(sql.ADD_LOG).lastrowid
    run.epoch += 1
    run.first_step = run.last_step = None


def end_run(db: sqlite3.Connection, run: RunRow, state: str) -> None:
    """Set the state, for the run and for its producers that had not ended."""
    db.execute(sql.END_PRODUCERS, (state, run.no))
    run.state = state


def _finish(db: sqlite3.Connection, run: RunRow, producer: str, chunk: Finish) -> None:
    if not producer:
        end_run(db, run, chunk.state)
        return
    db.execute(sql.END_PRODUCER, (run.no, producer, chunk.state))
    states = {state for (state,) in db.execute(sql.GET_PRODUCER_STATES, (run.no,))}
    if None not in states:
        run.state = next((state for state in (FAILED, INTERRUPTED) if state in states), FINISHED)


def _add(db: sqlite3.Connection, run: RunRow, chunk: RowsChunk | ValueChunk) -> str:
    """Store rows or a value. Returns why not, where it cannot be."""
    kind = "rows" if isinstance(chunk, RowsChunk) else "value"
    found = db.execute(sql.GET_KEY, (run.log, chunk.key)).fetchone()
    if found is None:
        columns = json.dumps(dict(chunk.columns) if isinstance(chunk, RowsChunk) else {})
        found = (db.execute(sql.ADD_KEY, (run.log, chunk.key, kind, columns)).lastrowid, kind, columns, None, 0)
    key, its_kind, columns, newest_step, rows = found
    if its_kind != kind:
        holds, sent = ("rows", "a value") if its_kind == "rows" else ("a value", "rows")
        return f"The key {chunk.key!r} holds {holds} in this run, and {sent} came. Use another key for them."
    if isinstance(chunk, RowsChunk):
        _add_rows(db, run, key, columns, rows, chunk)
    else:
        _add_value(db, run, key, newest_step, chunk)
    return ""


def _add_rows(db: sqlite3.Connection, run: RunRow, key: int, columns: str, rows: int, chunk: RowsChunk) -> None:
    known = json.loads(columns)
    unified = known | {name: unify_dtypes(known.get(name, word), word) for name, word in chunk.columns.items()}
    size = len(chunk.body)
    db.execute(sql.ADD_KEY_ROWS, (columns if unified == known else json.dumps(unified), chunk.count, size, key))
    place = (run.log, key, rows, run.seq, run.seq, chunk.first_step, chunk.last_step, chunk.count, size)
    db.execute(sql.ADD_CHUNK, (*place, 0, None, chunk.body))
    _extend(run, chunk.first_step, chunk.last_step)


def _add_value(db: sqlite3.Connection, run: RunRow, key: int, newest_step: int | None, chunk: ValueChunk) -> None:
    db.execute(sql.SAVE_VALUE, (key, chunk.step, run.seq, chunk.time, len(chunk.body), chunk.body))
    if newest_step is None or chunk.step >= newest_step:
        db.execute(sql.SET_KEY_NEWEST, (chunk.step, run.seq, len(chunk.body), key))
    _extend(run, chunk.step, chunk.step)


def _extend(run: RunRow, first: int, last: int) -> None:
    run.first_step = first if run.first_step is None else min(run.first_step, first)
    run.last_step = last if run.last_step is None else max(run.last_step, last)

