"""The row of a run: how it is found, saved, and shown to others."""

from __future__ import annotations

import json
from dataclasses import dataclass

from streamvis.errors import DeletedRun, UnknownRun
from streamvis.naming import readable_name
from streamvis.palette import color_of
from streamvis.records import Cursor, RunInfo
from streamvis.store import statements as sql
from streamvis.store.database import Database

__all__ = ["RunRow", "find_run", "info_of", "required_run", "save_run"]


@dataclass(slots=True)
class RunRow:
    """A run's row, while it is read or changed. See `schema` for what each column means."""

    no: int
    id: str
    app_no: int
    app: str
    name: str | None
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
    late: int
    attempt: int | None
    number: int
    color: str | None
    archived: int
    ended: float | None
    tags: str
    note: str
    store: str


def find_run(db: Database, run: str, *, to_change: bool = False) -> RunRow | None:
    """The run's row, also of one that was deleted. A row that is found `to_change` is held until the transaction ends."""
    row = db.execute(sql.GET_RUN_TO_CHANGE if to_change else sql.GET_RUN, (run,)).fetchone()
    return RunRow(*row) if row else None


def required_run(db: Database, run: str, *, to_change: bool = False) -> RunRow:
    """The run's row, see `find_run`. Raises UnknownRun or DeletedRun."""
    row = find_run(db, run, to_change=to_change)
    if row is None:
        raise UnknownRun(run)
    if row.deleted:
        raise DeletedRun(run)
    return row


def save_run(db: Database, row: RunRow) -> None:
    """Save what records and changes of the run's state have changed."""
    head = (row.name, row.state, row.updated, row.first_step, row.last_step, row.epoch, row.seq, row.log)
    db.execute(sql.SAVE_RUN, (*head, row.dropped, row.late, row.attempt, row.ended, row.no))


def info_of(row: RunRow) -> RunInfo:
    """The run as others see it."""
    return RunInfo(
        id=row.id,
        app=row.app,
        name=row.name or readable_name(row.id),
        state=row.state,
        created=row.created,
        updated=row.updated,
        first_step=row.first_step,
        last_step=row.last_step,
        newest=bool(row.newest),
        dropped=row.dropped,
        late=row.late,
        cursor=Cursor(row.store, row.epoch, row.seq),
        color=row.color or color_of(row.number),
        tags=tuple(json.loads(row.tags)) if row.tags != "[]" else (),
        note=row.note,
        archived=bool(row.archived),
        ended=row.ended,
        named=row.name is not None,
    )
