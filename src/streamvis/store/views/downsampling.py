"""Which of the rows that are loaded for a screen are its answer: see `Axis` for the buckets, `extremes` for what is kept of each.

Where x does not rise, there may be as many rows to look at as there are. Of those that were looked at so far, only what may still
be part of the answer is kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from streamvis.series.extremes import extreme_rows
from streamvis.store.chunks.tables import concat_common, is_missing, numbers_of
from streamvis.store.views.levels import Part

__all__ = ["Axis", "Choice", "Frame", "table_of_names"]

_FEW_ROWS = 2
"""So many rows a bucket and all of them are given: its lowest and its highest would be as many."""
_LEAST_ROWS = 2**16
"""No fewer rows than these are thinned out while more are still to come."""


@dataclass(frozen=True, slots=True)
class Axis:
    """What is asked for: the column `x`, its range from `start` to `stop` (None: all), and its buckets; with `window`, only the
    rows stored last that span no more than that in x; with `having`, only those that have something in one of these columns.

    Bucket b of N, each of width w = (f(stop) - f(start)) / N, holds the rows with b <= (f(x) - f(start)) / w < b + 1, and the
    last of them `stop` too (so edges are exact where w is a power of two and the range begins at a multiple of it); f is the
    logarithm on a logarithmic axis, where x <= 0 lies in no bucket, and nothing otherwise.
    """

    x: str
    start: float | None
    stop: float | None
    buckets: int
    log: bool = False
    window: float | None = None
    having: Sequence[str] = ()

    def places(self, x: np.ndarray, start: float, stop: float) -> np.ndarray:
        """The bucket of each x, counted from 1; 0 before the range, N + 1 after it, and 0 for what has no place at all."""
        places = np.zeros(len(x), dtype=np.int64)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            inside, after = (x >= start) & (x <= stop), x > stop
            low, high, at = (np.log10(v) for v in (start, stop, x)) if self.log else (start, stop, x)
            if not math.isfinite(high - low):
                low, high, at = low / 4, high / 4, at / 4
            width = (high - low) / self.buckets
            place = (at[inside] - low) / width if width > 0 else np.zeros(int(inside.sum()))
        places[inside] = 1 + np.clip(place.astype(np.int64), 0, self.buckets - 1)
        places[after] = self.buckets + 1
        return places


@dataclass(frozen=True, slots=True)
class Frame:
    """Where buckets are: x from `start` to `stop`, and where x does not rise, of the rows from `first` to `last` (exclusive)."""

    start: float
    stop: float
    first: int
    last: int
    rises: bool

    def places(self, part: Part, axis: Axis) -> np.ndarray:
        """The bucket of each row, counted from 1; 0 before all of them, and for all that are outside where x does not rise."""
        if self.rises:
            return axis.places(part.x, self.start, self.stop)
        by_row = 1 + (part.row - self.first) * axis.buckets // max(1, self.last - self.first)
        with np.errstate(invalid="ignore"):
            is_inside = (part.x >= self.start) & (part.x <= self.stop) & (part.row >= self.first)
        return np.where(is_inside, by_row, 0)


class Choice:
    """The rows to give, of all that are added: the columns `names`, and of `measured` the extremes."""

    def __init__(self, axis: Axis, frame: Frame, names: Sequence[str], measured: Sequence[str]) -> None:
        self._axis, self._frame, self._names, self._measured = axis, frame, names, measured
        self._tables: list[pa.Table] = []
        self._places: list[np.ndarray] = []
        self._count = 0
        self._most = max(_LEAST_ROWS, _FEW_ROWS * axis.buckets)
        self._is_whole = True

    def add(self, part: Part, places: np.ndarray) -> None:
        """Take in rows, of which some may be there already."""
        chosen = part.there if self._frame.rises else part.there & (places > 0) & (places <= self._axis.buckets)
        self._is_whole &= part.level == 0
        if not chosen.any():
            return
        self._tables.append(part.table if chosen.all() else part.table.filter(pa.array(chosen)))
        self._places.append(places[chosen])
        self._count += len(self._places[-1])
        if self._count > self._most and not self._frame.rises:
            self._thin_out()

    def chosen(self) -> tuple[pa.Table, bool]:
        """The rows, and whether these are all that the range has."""
        if not self._tables:
            return table_of_names(self._names, []), True
        table, order, places = self._in_order()
        inside = np.flatnonzero((places > 0) & (places <= self._axis.buckets))
        if len(inside) <= _FEW_ROWS * self._axis.buckets and self._is_whole:
            kept, is_complete = inside, True
        else:
            kept = self._kept(table, order, places, inside)
            is_complete = len(kept) == len(inside) and self._is_whole
        if self._frame.rises:
            if not self._axis.having:
                # The first and the last row inside are known exactly, and so is how many there are between them.
                numbers = numbers_of(table, "row")[order[kept]]
                is_complete = not len(kept) or int(numbers[-1] - numbers[0]) + 1 == len(kept)
            kept = np.concatenate([np.flatnonzero(places == 0)[-1:], kept, np.flatnonzero(places > self._axis.buckets)[:1]])
        return table_of_names(self._names, [table.take(pa.array(order[kept]))]), is_complete

    def _thin_out(self) -> None:
        """Leave out what is not an extreme of its bucket, and never will be."""
        table, order, places = self._in_order()
        kept = self._kept(table, order, places, np.arange(len(places)))
        self._is_whole &= len(kept) == len(places)
        self._tables, self._places = [table.take(pa.array(order[kept])).combine_chunks()], [places[kept]]
        self._count = len(kept)
        self._most = max(self._most, 2 * self._count)

    def _in_order(self) -> tuple[pa.Table, np.ndarray, np.ndarray]:
        """All rows, the position of each row in the order of their numbers and once only, and the bucket of each of these."""
        table = concat_common(self._tables, mixed=True) if len(self._tables) > 1 else self._tables[0]
        order = np.unique(numbers_of(table, "row"), return_index=True)[1]
        return table, order, np.concatenate(self._places)[order]

    def _kept(self, table: pa.Table, order: np.ndarray, places: np.ndarray, inside: np.ndarray) -> np.ndarray:
        if not len(inside):
            return inside
        starts = np.flatnonzero(np.diff(places[inside], prepend=-1))
        columns = [numbers_of(table, name)[order[inside]] for name in self._measured]
        missing = [is_missing(table, name)[order[inside]] for name in self._measured]
        kept = extreme_rows(columns or [order[inside]], starts, missing=missing)
        # The first and the last row of all show how far the rows go.
        return inside[np.unique(np.concatenate([[0], kept, [len(inside) - 1]]))]


def table_of_names(names: Sequence[str], tables: Sequence[pa.Table]) -> pa.Table:
    """The rows with the columns of these names; one that no table has is missing in all of them."""
    table = concat_common(tables, mixed=True).combine_chunks() if tables else pa.table({"row": pa.array([], pa.int64())})
    for name in names:
        if table.schema.get_field_index(name) < 0:
            table = table.append_column(name, pa.nulls(table.num_rows, pa.float64()))
    return table.select(names)
