"""Deleting runs, which can be undone for a while. Inside a transaction that somebody else ends.

A deleted run is hidden at once and takes no more records; all that it had stays as it is until its time is over. Then the run is
buried: its log is dropped, which is deleted in the background, and its row alone is left, so that its id is never used again.
"""

from __future__ import annotations

import sqlite3

from streamvis.errors import DeletedRun
from streamvis.store import statements as sql
from streamvis.store.applying import start_over
from streamvis.store.describing import set_newest
from streamvis.store.run_rows import RunRow, save_run

__all__ = ["bury_next", "delete_run", "is_any_due", "restore_run"]

_HIDE = "UPDATE runs SET deleted = 1, restorable_until = ? WHERE no = ?"
_SHOW = "UPDATE runs SET deleted = 0, restorable_until = NULL WHERE no = ? AND restorable_until > ?"
_GET_DUE = "SELECT id FROM runs WHERE restorable_until <= ? ORDER BY restorable_until LIMIT 1"
_BURY = """
UPDATE runs SET name = NULL, live = NULL, tags = '[]', note = '', color = NULL, restorable_until = NULL, seq = seq + 1
WHERE no = ?
"""


def delete_run(db: sqlite3.Connection, run: RunRow, *, restorable_until: float) -> None:
    """Hide the run, until it is restored or buried."""
    run.epoch += 1
    save_run(db, run)
    db.execute(_HIDE, (restorable_until, run.no))
    db.execute(sql.COUNT_RUN, (-1, run.app_no))
    set_newest(db, run.app_no)


def restore_run(db: sqlite3.Connection, run: RunRow, *, now: float) -> None:
    """Show a deleted run again, as it was. Readers start over. Raises DeletedRun where its time is over."""
    if not db.execute(_SHOW, (run.no, now)).rowcount:
        raise DeletedRun(run.id)
    run.epoch += 1
    run.seq += 1
    save_run(db, run)
    db.execute(sql.COUNT_RUN, (1, run.app_no))
    set_newest(db, run.app_no)


def is_any_due(db: sqlite3.Connection, *, now: float) -> bool:
    """Whether there is a run to bury."""
    return db.execute(_GET_DUE, (now,)).fetchone() is not None


def bury_next(db: sqlite3.Connection, *, now: float) -> bool:
    """Bury one of the runs that can no longer be restored; False where there is none."""
    found = db.execute(_GET_DUE, (now,)).fetchone()
    if found is None:
        return False
    run = RunRow(*db.execute(sql.GET_RUN, found).fetchone())
    start_over(db, run)
    save_run(db, run)
    for statement in (sql.DELETE_PRODUCERS, sql.DELETE_ATTEMPTS, sql.DELETE_CONFIG, _BURY):
        db.execute(statement, (run.no,))
    return True
