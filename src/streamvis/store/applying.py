"""What a batch does to a run: the rules, with the run's row in hand and inside a transaction that somebody else ends."""

from __future__ import annotations

import json

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
from streamvis.store.chunks.bodies import chunk_row, value_row
from streamvis.store.chunks.column_types import columns_with, dtypes_of
from streamvis.store.database import Database
from streamvis.store.removing.cutting import Reach, cut_log
from streamvis.store.removing.retention import keep_newest
from streamvis.store.runs.attempts import Attempt, attempt_of, before_step, join_attempt, resume
from streamvis.store.runs.rows import RunRow
from streamvis.store.views.summaries import Sizes
from streamvis.wire.limits import MAX_COLUMNS

__all__ = ["apply_batch", "end_run", "start_over"]

_OTHER_CONFIG = "This run began with another config, which stays: the first of a run wins."


def apply_batch(db: Database, run: RunRow, batch: Batch, *, is_new: bool, sizes: Sizes) -> tuple[list[Refusal], list[str]]:
    """Apply the chunks in order, at the run's `seq`. Returns the keys that were refused, and warnings."""
    refused: list[Refusal] = []
    warnings: list[str] = []
    attempt = attempt_of(db, run.no, batch.producer)
    for i, chunk in enumerate(batch.chunks):
        if isinstance(chunk, (RowsChunk, ValueChunk)):
            kept = _in_time(run, attempt, chunk, warnings)
            reason = kept and _add(db, run, attempt, kept, sizes)
            if reason and all(refusal.key != chunk.key for refusal in refused):
                refused.append(Refusal(chunk.key, reason))
        elif isinstance(chunk, Start):
            if not is_new:
                _join_config(db, run, chunk.config, warnings)
            # What came before it in this batch may be of another attempt, and a place in the log is of one.
            run.seq += i > 0
            attempt = _start(db, run, batch, chunk, sizes, warnings)
        elif isinstance(chunk, Clear):
            start_over(db, run)
        elif isinstance(chunk, Finish):
            _finish(db, run, attempt, batch.producer, chunk)
    return refused, warnings


def start_over(db: Database, run: RunRow) -> None:
    """Take back the run's past: another log, and the next epoch."""
    db.execute(sql.DROP_LOG, (run.log,))
    db.execute(sql.DELETE_CUTS, (run.log,))
    run.log = db.execute(sql.ADD_LOG).lastrowid
    run.epoch += 1
    run.first_step = run.last_step = run.attempt = None


def end_run(db: Database, run: RunRow, state: str, *, at: float) -> None:
    """Set the state, for the run and for its producers that had not ended."""
    db.execute(sql.END_PRODUCERS, (state, run.no))
    run.state, run.ended = state, at


def _start(db: Database, run: RunRow, batch: Batch, start: Start, sizes: Sizes, warnings: list[str]) -> Attempt:
    """A producer joins its attempt, which takes the place of earlier ones if it is the first of its ranks to resume."""
    attempt = join_attempt(db, run.no, start, live=batch.live)
    if attempt.resume_at is None and start.resume_at is not None:
        attempt = resume(db, run.no, attempt, start.resume_at)
        reach = Reach(db.execute(sql.GET_STRETCHES, (run.log, attempt.began, attempt.no)).fetchall())
        cut = cut_log(db, run.log, start.resume_at, reach, sizes)
        run.epoch += cut.changed
        run.first_step, run.last_step = cut.first_step, cut.last_step
    elif start.resume_at not in (None, attempt.resume_at):
        warnings.append(
            f"This attempt resumed at step {attempt.resume_at}, which stays, and not at {start.resume_at}: "
            "the first of an attempt wins."
        )
    if batch.producer:
        db.execute(sql.START_PRODUCER, (run.no, batch.producer, attempt.no))
    if attempt.ends_at is None:
        run.state, run.ended = RUNNING, None
    return attempt


def _join_config(db: Database, run: RunRow, config: str, warnings: list[str]) -> None:
    """A producer that joins without a config says nothing about it, and a run without one takes the first that comes."""
    stored = db.execute(sql.GET_CONFIG, (run.no,)).fetchone()
    if stored is None or config == stored[0]:
        return
    given, known = (json.dumps(json.loads(text), sort_keys=True) for text in (config, stored[0]))  # as texts: NaN is not NaN
    if given in (known, "{}"):
        return
    if known == "{}":
        db.execute(sql.CHANGE_CONFIG, (config, run.no))
        run.epoch += 1  # open pages were drawn without it: they start over
    else:
        warnings.append(_OTHER_CONFIG)


def _in_time(
    run: RunRow, attempt: Attempt | None, chunk: RowsChunk | ValueChunk, warnings: list[str]
) -> RowsChunk | ValueChunk | None:
    """What of the chunk no later attempt has taken the place of."""
    if attempt is None or attempt.ends_at is None:
        return chunk
    kept, late = before_step(chunk, attempt.ends_at)
    run.late += late
    warning = f"A later attempt resumed this run at step {attempt.ends_at}: from there on, what this one sends is left out."
    if late and warning not in warnings:
        warnings.append(warning)
    return kept


def _finish(db: Database, run: RunRow, attempt: Attempt | None, producer: str, chunk: Finish) -> None:
    if not producer:
        end_run(db, run, chunk.state, at=chunk.time)
        return
    db.execute(sql.END_PRODUCER, (run.no, producer, chunk.state))
    db.executemany(sql.END_OTHER_PRODUCER, [(chunk.state, run.no, other) for other in chunk.others])
    if attempt is not None and attempt.ends_at is not None:
        return
    states = {state for (state,) in db.execute(sql.GET_PRODUCER_STATES, (run.no,))}
    if None not in states:
        run.state = next((state for state in (FAILED, INTERRUPTED) if state in states), FINISHED)
        run.ended = chunk.time


def _add(db: Database, run: RunRow, attempt: Attempt | None, chunk: RowsChunk | ValueChunk, sizes: Sizes) -> str:
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
        known = dtypes_of(columns)
        count = len(known) + sum(name not in known for name in chunk.columns)
        if count > max(MAX_COLUMNS, len(known)):
            return f"The key {chunk.key!r} would have {count:,} columns in this run, more than {MAX_COLUMNS:,}. Use several keys."
        columns = columns_with(columns, chunk.columns)
    if attempt is not None and run.attempt != attempt.no:
        db.execute(sql.ADD_STRETCH, (run.log, run.seq, attempt.no))
        run.attempt = attempt.no
    if isinstance(chunk, RowsChunk):
        _add_rows(db, run, key, columns, rows, chunk, sizes)
    else:
        _add_value(db, run, key, newest_step, chunk)
    return ""


def _add_rows(db: Database, run: RunRow, key: int, columns: str, rows: int, chunk: RowsChunk, sizes: Sizes) -> None:
    db.execute(sql.ADD_KEY_ROWS, (key, columns, chunk.count, len(chunk.body), 1, *sizes.due))
    steps = (chunk.first_step, chunk.last_step)
    db.execute(sql.ADD_CHUNK, chunk_row(run.log, key, rows, (run.seq, run.seq), steps, chunk.count, chunk.body))
    _extend(run, chunk.first_step, chunk.last_step)


def _add_value(db: Database, run: RunRow, key: int, newest_step: int | None, chunk: ValueChunk) -> None:
    db.execute(sql.SAVE_VALUE, value_row(key, chunk.step, run.seq, chunk.time, chunk.body))
    if newest_step is None or chunk.step >= newest_step:
        db.execute(sql.SET_KEY_NEWEST, (chunk.step, run.seq, len(chunk.body), key))
    if chunk.keep is not None:
        keep_newest(db, key, chunk.keep)
    _extend(run, chunk.step, chunk.step)


def _extend(run: RunRow, first: int, last: int) -> None:
    run.first_step = first if run.first_step is None else min(run.first_step, first)
    run.last_step = last if run.last_step is None else max(run.last_step, last)
