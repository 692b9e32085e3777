"""Rows of a key, by their numbers, out of the chunks of the SQLite store: of one run, or of several."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa

from streamvis.errors import InvalidData, UnknownRun
from streamvis.store import statements as sql
from streamvis.store.band import RunRows
from streamvis.store.bodies import read_chunk, read_summary
from streamvis.store.columns import dtypes_of
from streamvis.store.damage import Broken
from streamvis.store.history import axis_name
from streamvis.store.run_rows import find_run
from streamvis.store.summaries import Sizes
from streamvis.store.tables import inner_name, with_numbers

__all__ = ["KeyLevels", "read_rows", "rows_of_runs"]


def read_rows(
    db: sqlite3.Connection, key: int, first: int, last: int, *, names: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """The rows from number `first` to `last` (exclusive), in order, with their numbers in `row`; all columns, or those named."""
    wanted = names and (lambda _, schema: _positions(schema, names))
    for no, first_row, count in db.execute(sql.GET_CHUNKS_IN, (key, first, last)):
        if first_row + count <= first:
            continue
        _, table = read_chunk(db, key, no).rows(wanted)
        start = max(0, first - first_row)
        yield with_numbers(table, first_row).slice(start, min(count, last - first_row) - start)


class KeyLevels:
    """One key's rows and summaries inside a read transaction, see `parts.Levels`. `note` is told of a damaged summary."""

    def __init__(self, db: sqlite3.Connection, key: int, sizes: Sizes, *, note: Callable[[Broken], object]) -> None:
        self._db, self._key, self.sizes, self._note = db, key, sizes, note
        self.count, self.summed = db.execute(sql.GET_KEY_LENGTHS, (key,)).fetchone()

    def rows(self, first: int, last: int, names: Sequence[str]) -> Iterator[pa.Table]:
        """The rows from number `first` to `last` (exclusive), of the columns named."""
        return read_rows(self._db, self._key, first, last, names=names)

    def summary(self, level: int, first: int) -> bytes | None:
        """The body of the level that begins at the row `first`; None where it is damaged."""
        try:
            return read_summary(self._db, self._key, level, first)
        except Broken as broken:
            self._note(broken)
            return None


def rows_of_runs(
    db: sqlite3.Connection,
    runs: Sequence[str],
    key: str,
    *,
    x: str,
    columns: Sequence[str],
    sizes: Sizes,
    note: Callable[[Broken], object],
) -> list[RunRows]:
    """The rows of a key in each of the runs that has it, with this x. Raises UnknownRun where none of the runs is there."""
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
            levels = KeyLevels(db, its[0], sizes, note=note)
            found.append(RunRows(run, levels, name, [inner_name(column) if column in dtypes else None for column in columns]))
    if not is_there:
        raise UnknownRun(runs[0])
    return found


def _positions(schema: pa.Schema, names: Sequence[str]) -> list[int]:
    return [i for i in (schema.get_field_index(name) for name in names) if i >= 0]
