"""Deleting runs, which can be undone for a while. Inside a transaction that somebody else ends.

A deleted run is hidden at once and takes no more records; all that it had stays as it is until its time is over. Then the run is
buried: its log is dropped, which is deleted in the background, and its row alone is left, so that its id is never used again.
"""

from __future__ import annotations

from streamvis.errors import DeletedRun
from streamvis.store import statements as sql
from streamvis.store.applying import start_over
from streamvis.store.database import Database
from streamvis.store.runs.labels import set_newest
from streamvis.store.runs.rows import RunRow, save_run

__all__ = ["bury_next", "delete_run", "is_any_due", "restore_run"]


def delete_run(db: Database, run: RunRow, *, restorable_until: float) -> None:
    """Hide the run, until it is restored or buried."""
    run.epoch += 1
    save_run(db, run)
    db.execute(sql.HIDE_RUN, (restorable_until, run.no))
    db.execute(sql.COUNT_RUN, (-1, run.app_no))
    set_newest(db, run.app_no)


def restore_run(db: Database, run: RunRow, *, now: float) -> None:
    """Show a deleted run again, as it was. Readers start over. Raises DeletedRun where its time is over."""
    if db.execute(sql.GET_RESTORABLE, (run.no, now)).fetchone() is None:
        raise DeletedRun(run.id)
    db.execute(sql.SHOW_RUN, (run.no,))
    run.epoch += 1
    run.seq += 1
    save_run(db, run)
    db.execute(sql.COUNT_RUN, (1, run.app_no))
    set_newest(db, run.app_no)


def is_any_due(db: Database, *, now: float) -> bool:
    """Whether there is a run to bury."""
    return db.execute(sql.GET_RUN_TO_BURY, (now,)).fetchone() is not None


def bury_next(db: Database, *, now: float) -> bool:
    """Bury one of the runs that can no longer be restored; False where there is none."""
    found = db.execute(sql.GET_RUN_TO_BURY, (now,)).fetchone()
    if found is None:
        return False
    db.hold_runs(found)
    run = RunRow(*db.execute(sql.GET_RUN, found).fetchone())
    if not run.deleted:
        return True  # it was restored just now
    start_over(db, run)
    save_run(db, run)
    for statement in (sql.DELETE_PRODUCERS, sql.DELETE_ATTEMPTS, sql.DELETE_CONFIG, sql.BURY_RUN):
        db.execute(statement, (run.no,))
    return True
