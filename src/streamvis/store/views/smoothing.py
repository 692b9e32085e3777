"""Smoothed columns: debiased exponential means (see `exponential_mean`) over all rows, not over the downsampled ones.

Pure, but for the rows that it loads from `Levels`.

The values before a range matter until their weight is below what a double can tell; where so many are read, the mean is the
same as one from the beginning. So a closer look costs the range and a bounded number of rows before it.
A look at a whole long run reads the column once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from streamvis.records import History
from streamvis.series.exponential_mean import DebiasedMean, smoothed_name
from streamvis.series.extremes import extreme_rows
from streamvis.store.chunks.tables import concat_common, inner_name, is_missing, numbers_of
from streamvis.store.views.downsampling import Axis
from streamvis.store.views.levels import Levels, as_floats

__all__ = ["first_that_counts", "smoothed"]

_LEAST_WEIGHT = 1e-17
_PIECE_ROWS = 65_536


def smoothed(levels: Levels, axis: Axis, measured: Sequence[str], history: History, weight: float) -> History:
    """`history` with a smoothed column for each measured one, and the rows with the extremes of those as well.

    `history.means` has, for each, the mean and the count at the end of the log, where the range reaches it.
    """
    measured = [name for name in measured if name != axis.x]
    kept = numbers_of(history.table, "row")
    if not len(kept) or not measured:
        return history
    first, last = int(kept[0]), int(kept[-1]) + 1
    if history.stop is None or history.last_x is None or history.stop >= history.last_x:
        # Rows at the end that are not shown count in the mean from which live rows continue.
        last = levels.count
    means = {name: DebiasedMean(weight) for name in measured}
    parts = []
    for table in _pieces(levels, first_that_counts(levels, measured, first, weight), last, history.table.column_names):
        row = numbers_of(table, "row")
        columns = {name: means[name].add(_finite(table, name)) for name in measured}
        inside = np.isin(row, kept)
        places = _places(axis, history, table, row, first, last)
        drawn = np.flatnonzero((places > 0) & (places <= axis.buckets) & (row >= first) & _is_there(axis, table))
        if len(drawn):
            starts = np.flatnonzero(np.diff(places[drawn], prepend=-1))
            inside[drawn[extreme_rows([column[drawn] for column in columns.values()], starts)]] = True
        for name, column in columns.items():
            table = table.append_column(inner_name(smoothed_name(name.removeprefix("."))), pa.array(column))
        parts.append(table.filter(pa.array(inside)))
    ends: Mapping[str, tuple[float, int]] = {}
    if last >= levels.count:
        ends = {name.removeprefix("."): (one.mean, one.count) for name, one in means.items()}
    return replace(history, table=concat_common(parts).combine_chunks(), means=ends)


def first_that_counts(levels: Levels, measured: Sequence[str], first: int, weight: float) -> int:
    """From where to read so that what lies before the row `first` is in the means, as far as a double can tell."""
    enough = math.ceil(math.log(_LEAST_WEIGHT) / math.log(weight)) if 0 < weight < 1 else 0
    begin, found = first, dict.fromkeys(measured, 0)
    while begin > 0 and min(found.values()) < enough:
        reach = min(begin, max(_PIECE_ROWS, enough))
        for table in _pieces(levels, begin - reach, begin, ["row", *measured]):
            for name in measured:
                found[name] += int(np.isfinite(_finite(table, name)).sum())
        begin -= reach
    return begin


def _pieces(levels: Levels, first: int, last: int, names: Sequence[str]) -> Iterator[pa.Table]:
    """The rows from one to another, in order, with all of these columns."""
    wanted = [name for name in names if name != "row"]
    for table in levels.rows(first, last, wanted):
        row = numbers_of(table, "row")
        low, high = np.searchsorted(row, (first, last))
        table = table.slice(int(low), int(high - low))
        for name in names:
            if table.schema.get_field_index(name) < 0:
                table = table.append_column(name, pa.nulls(table.num_rows, pa.float64()))
        if table.num_rows:
            yield table.select(list(names))


def _is_there(axis: Axis, table: pa.Table) -> np.ndarray:
    """For which rows something was sent in a column that the axis asks for."""
    needed = [name for name in axis.having if name in table.column_names]
    return ~np.logical_and.reduce([is_missing(table, name) for name in needed]) if needed else np.ones(table.num_rows, dtype=bool)


def _places(axis: Axis, history: History, table: pa.Table, row: np.ndarray, first: int, last: int) -> np.ndarray:
    if history.rising and history.start is not None and history.stop is not None:
        return axis.places(as_floats(numbers_of(table, axis.x)), history.start, history.stop)
    return 1 + (row - first) * axis.buckets // max(1, last - first)


def _finite(table: pa.Table, name: str) -> np.ndarray:
    numbers = numbers_of(table, name)
    return numbers.astype(np.float64) if numbers.dtype.kind not in "mM" else np.full(len(numbers), np.nan)
