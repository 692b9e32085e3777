"""Resuming a long run: what it takes back goes in pieces, each a short transaction, so that other producers need not wait.

What a resuming batch will take back is written down first, as a cut. From then on it is done whatever happens: the pieces
continue after a crash. Readers are told to start over when the last piece is done. The batch itself is stored after that, and
takes back what little is left. A reader may see a past that is taken back in part, for as long as the pieces take.

What fits into one piece is left to the batch's own transaction.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from streamvis.records import Batch, Clear, Start
from streamvis.store import statements as sql
from streamvis.store.database import Database
from streamvis.store.removing.cutting import Place, Reach, cut_piece, log_steps
from streamvis.store.runs.attempts import would_join
from streamvis.store.runs.rows import RunRow
from streamvis.store.views.summaries import Sizes

__all__ = ["CutDone", "begin_cut", "go_on_cutting"]


@dataclass(frozen=True, slots=True)
class CutDone:
    """A cut is done. `run` is the run as it is now, to be saved; None where nothing was changed, or the log was dropped."""

    run: RunRow | None


def begin_cut(db: Database, run: RunRow, batch: Batch, sizes: Sizes) -> int | None:
    """Write down what the batch will take back, and do the first piece; None where there is no more than a piece."""
    found = _stretches_to_cut(db, run, batch)
    if found is None:
        return None
    step, stretches = found
    db.execute("SAVEPOINT cut")
    cut = int(db.execute(sql.ADD_CUT, (run.log, step, json.dumps(stretches))).lastrowid)
    is_done = go_on_cutting(db, cut, sizes) is not None
    if is_done:
        db.execute("ROLLBACK TO cut")
    db.execute("RELEASE cut")
    return None if is_done else cut


def go_on_cutting(db: Database, cut: int, sizes: Sizes) -> CutDone | None:
    """Do a piece of the cut; None while there is more to do."""
    if (log := db.execute(sql.GET_LOG_OF_CUT, (cut,)).fetchone()) is not None:
        db.hold_logs(log)
    found = db.execute(sql.GET_CUT, (cut,)).fetchone()
    if found is None:
        return CutDone(None)
    log, step, stretches, key, through, changed = found
    its_changed, place = cut_piece(db, log, step, Reach(json.loads(stretches)), sizes, Place(key, through))
    changed = changed or its_changed
    if place is not None:
        db.execute(sql.SET_CUT_DONE, (place.key, place.through, changed, cut))
        return None
    db.execute(sql.DELETE_CUT, (cut,))
    row = db.execute(sql.GET_RUN_OF_LOG, (log,)).fetchone() if changed else None
    if row is None:
        return CutDone(None)
    run = RunRow(*row)
    run.epoch += 1
    run.first_step, run.last_step = log_steps(db, log)
    return CutDone(run)


def _stretches_to_cut(db: Database, run: RunRow, batch: Batch) -> tuple[int, list[tuple[int, int]]] | None:
    """From which step on the batch takes back what is in the log now, and which stretches of it; None where it does not."""
    if run.deleted or (batch.app and batch.app != run.app):
        return None
    known = db.execute(sql.GET_PRODUCER, (run.no, batch.producer)).fetchone() if batch.producer else None
    if known and batch.number <= known[0]:
        return None
    for chunk in batch.chunks:
        if isinstance(chunk, Clear):
            return None
        if isinstance(chunk, Start) and chunk.resume_at is not None:
            attempt = would_join(db, run.no, chunk, live=batch.live)
            if attempt.resume_at is not None:
                return None
            stretches = db.execute(sql.GET_STRETCHES, (run.log, attempt.began, attempt.no)).fetchall() or [(0, 1)]
            # What comes from now on is not this cut's.
            return chunk.resume_at, [(0, stretches[0][1]), *stretches, (run.seq + 1, 0)]
    return None
