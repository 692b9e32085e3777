"""Rows of one key in several runs, out of the chunks of the SQLite store."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from streamvis.errors import InvalidData, UnknownRun
from streamvis.records import RUNNING
from streamvis.store import statements as sql
from streamvis.store.as_of_step import levels_of
from streamvis.store.band import RunRows
from streamvis.store.column_types import dtypes_of
from streamvis.store.damage import Broken
from streamvis.store.database import Database
from streamvis.store.history import axis_name
from streamvis.store.run_rows import find_run
from streamvis.store.summaries import Sizes
from streamvis.store.tables import inner_name

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
        if dtypes:
            levels = levels_of(db, its[0], sizes, at, note=note)
            names = [inner_name(column) if column in dtypes else None for column in columns]
            found.append(RunRows(run, row.state == RUNNING, levels, name, names))
    if not is_there:
        raise UnknownRun(runs[0])
    return found
