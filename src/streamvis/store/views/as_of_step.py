"""A key as it was at a step: its rows of that step and earlier ones, as if no others had ever been sent.

Rows are numbered again. Where steps rise from row to row, as they mostly do, those rows are the first of all rows, and what is
kept of those in summaries counts as it does for the whole key. Where steps fall, all rows up to the step are looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from streamvis.store import statements as sql
from streamvis.store.chunks.bodies import read_chunk
from streamvis.store.chunks.rows import KeyLevels, positions
from streamvis.store.chunks.tables import numbers_of, with_numbers
from streamvis.store.database import Database
from streamvis.store.repairing.damage import Broken
from streamvis.store.views.summaries import Sizes

__all__ = ["levels_of", "rows_until"]


def levels_of(
    db: Database, key: int, sizes: Sizes, at: int | None, *, note: Callable[[Broken], object]
) -> KeyLevels | _PastLevels:
    """The key as it is now (`at` None), or as it was at that step. Inside a read transaction."""
    whole = KeyLevels(db, key, sizes, note=note)
    return whole if at is None else _PastLevels(db, key, whole, at)


def rows_until(table: pa.Table, at: int) -> pa.Table:
    """The rows of a table, as `tables` has them, whose step is at most `at`."""
    return table.filter(pa.array(numbers_of(table, "step") <= at))


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A chunk with rows to show: `count` of them, the first with the number `first`. `is_whole` where these are all it has."""

    no: int
    first: int
    count: int
    is_whole: bool


class _PastLevels:
    """See `levels.Levels`."""

    def __init__(self, db: Database, key: int, whole: KeyLevels, at: int) -> None:
        self._db, self._key, self._whole, self._at = db, key, whole, at
        self.sizes = whole.sizes
        self._chunks: list[_Chunk] = []
        self.count, is_first = 0, True
        for no, first_row, count, last_step in db.execute(sql.GET_CHUNKS_UNTIL, (key, at)).fetchall():
            is_first = is_first and first_row == self.count
            shown = count
            if last_step > at:
                is_shown = numbers_of(self._table(no, ()), "step") <= at
                shown = int(is_shown.sum())
                # More rows of a later chunk would not follow on these, and their chunk would not either.
                is_first = is_first and bool(is_shown[:shown].all())
            self._chunks.append(_Chunk(no, self.count, shown, shown == count))
            self.count += shown
        self._firsts = np.array([chunk.first for chunk in self._chunks])
        self.summed = min(whole.summed, self.count) if is_first else 0

    def rows(self, first: int, last: int, names: Sequence[str]) -> Iterator[pa.Table]:
        """The rows from number `first` to `last` (exclusive), of the columns named."""
        for chunk in self._chunks[max(0, int(np.searchsorted(self._firsts, first, side="right")) - 1) :]:
            if chunk.first >= last:
                return
            table = self._table(chunk.no, names)
            if not chunk.is_whole:
                table = rows_until(table, self._at)
            if "step" not in names:
                table = table.drop_columns(["step"])
            start = max(0, first - chunk.first)
            yield with_numbers(table, chunk.first).slice(start, max(0, min(chunk.count, last - chunk.first) - start))

    def rows_each(self, ranges: Sequence[tuple[int, int]], names: Sequence[str]) -> Iterator[Iterator[pa.Table]]:
        """The same of each of these ranges."""
        return (self.rows(first, last, names) for first, last in ranges)

    def summaries(self, level: int, firsts: Sequence[int]) -> Iterator[bytes | None]:
        """The bodies of the level that begin at these rows; None for one that is damaged."""
        return self._whole.summaries(level, firsts)

    def _table(self, no: int, names: Sequence[str]) -> pa.Table:
        _, table = read_chunk(self._db, self._key, no).rows(lambda _, schema: positions(schema, ["step", *names]))
        return table
