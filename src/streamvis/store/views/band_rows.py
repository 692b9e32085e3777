"""Rows of one key in several runs, out of the chunks of the SQLite store."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from streamvis.errors import InvalidData, UnknownRun
from streamvis.records import RUNNING
from streamvis.store import statements as sql
from streamvis.store.chunks.column_types import dtypes_of
from streamvis.store.chunks.tables import inner_name
from streamvis.store.database import Database
from streamvis.store.repairing.damage import Broken
from streamvis.store.runs.rows import find_run
from streamvis.store.views.as_of_step import levels_of
from streamvis.store.views.band import RunRows
from streamvis.store.views.history import axis_name
from streamvis.store.views.summaries import Sizes

__all__ = ["rows_of_runs"]


def rows_of_runs(
    db: Database,
    runs: Sequence[str],
    key: str,
    *,
    x: str,
    columns: Sequence[str],
    sizes: Sizes,
    at: int | None,
    note: Callable[[Broken], object],
) -> list[RunRows]:
    """The rows of a key in each of the runs that has it, with this x, as they were at the step `at` (None: now).

    Raises UnknownRun where none of the runs is there.
    """
    found, is_there = [], not runs
    for run in dict.fromkeys(runs):
        row = find_run(db, run)
        if row is None or row.deleted:
            continue
        is_there = True
        its = db.execute(sql.GET_KEY, (row.log, key)).fetchone()
        dtypes = dtypes_of(its[2]) if its is not None and its[1] == "rows" else {}
        try:
            name = axis_name(x, dtypes)
        except InvalidData:
            continue
        if its is not None and dtypes:
            levels = levels_of(db, its[0], sizes, at, note=note)
            names = [inner_name(column) if column in dtypes else None for column in columns]
            found.append(RunRows(run, row.state == RUNNING, levels, name, names))
    if not is_there:
        raise UnknownRun(runs[0])
    return found
