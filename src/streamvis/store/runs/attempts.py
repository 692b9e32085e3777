"""The attempts of a run: which there are, in which order, and at which step a later one took the place of an earlier one.

A record stays exactly if no attempt later than its own resumed at its step or before. So it does not matter which of them reaches
the store first: what is there is cut when an attempt resumes (see `cutting`), and what comes after that is left out.

Attempts that reach the store live are in the order in which they did, since clocks differ. One that is first heard of from a
spool that was left behind is put where its clock says.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pyarrow as pa

from streamvis.records import RowsChunk, Start, ValueChunk
from streamvis.store import statements as sql
from streamvis.store.chunks.tables import body_of_rows, numbers_of, rows_of_body
from streamvis.store.database import Database

__all__ = ["Attempt", "attempt_of", "before_step", "join_attempt", "resume", "would_join"]


_NOT_MADE = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt. `began` orders them, then `no`; see `schema.SCHEMA` for the steps."""

    no: int
    began: float
    resume_at: int | None
    ends_at: int | None


def attempt_of(db: Database, run: int, producer: str) -> Attempt | None:
    """The attempt that a producer started with; of one that sent no start, the latest there is."""
    found = db.execute(sql.GET_ATTEMPT_OF_PRODUCER, (run, producer)).fetchone() if producer else None
    found = found or db.execute(sql.GET_LATEST_ATTEMPT, (run,)).fetchone()
    return Attempt(*found) if found else None


def join_attempt(db: Database, run: int, start: Start, *, live: bool) -> Attempt:
    """The attempt that a start names, made where it is new."""
    attempt = would_join(db, run, start, live=live)
    if attempt.no == _NOT_MADE:
        no = db.execute(sql.ADD_ATTEMPT, (run, start.attempt or None, attempt.began)).lastrowid
        attempt = Attempt(*db.execute(sql.GET_ATTEMPT, (no,)).fetchone())
    return attempt


def would_join(db: Database, run: int, start: Start, *, live: bool) -> Attempt:
    """The attempt that a start names, with a number above all others where it is still to be made."""
    found = db.execute(sql.GET_ATTEMPT_NAMED, (run, start.attempt)).fetchone() if start.attempt else None
    if found is not None:
        return Attempt(*found)
    latest = db.execute(sql.GET_LATEST_ATTEMPT, (run,)).fetchone()
    return Attempt(_NOT_MADE, max(start.time, latest[1]) if live and latest else start.time, None, None)


def resume(db: Database, run: int, attempt: Attempt, step: int) -> Attempt:
    """From now on the attempt is one that resumed at the step."""
    db.execute(sql.SET_RESUMED, (step, attempt.no))
    db.execute(sql.END_EARLIER_ATTEMPTS, (step, run, attempt.began, attempt.no))
    return replace(attempt, resume_at=step)


def before_step(chunk: RowsChunk | ValueChunk, step: int) -> tuple[RowsChunk | ValueChunk | None, int]:
    """What of a chunk is of earlier steps, and how many records are not."""
    if isinstance(chunk, ValueChunk):
        return (chunk, 0) if chunk.step < step else (None, 1)
    if chunk.last_step < step:
        return chunk, 0
    if chunk.first_step >= step:
        return None, chunk.count
    _, table = rows_of_body(chunk.body)
    steps = numbers_of(table, "step")
    body = body_of_rows(chunk.key, table.filter(pa.array(steps < step)))
    steps = steps[steps < step]
    kept = replace(chunk, count=len(steps), first_step=int(steps.min()), last_step=int(steps.max()), body=body)
    return kept, chunk.count - kept.count
