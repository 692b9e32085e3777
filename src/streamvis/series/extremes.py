"""Which rows of a group to keep so that no lowest and no highest value is lost. Pure; rows are numbered by position.

Downsampling here never chooses at random and never averages: of each group of neighbouring rows, and for each column, the row
with the lowest and the row with the highest value stay. So do one row with a gap that was sent (NaN), and one for which nothing
was sent. No figure can draw an infinity: where there is one, the lowest and the highest finite value stay too.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

import numpy as np

__all__ = ["Extremes", "extreme_rows", "is_gap"]


def is_gap(column: np.ndarray) -> np.ndarray:
    """Where a column of numbers or times has nothing: NaN or NaT."""
    return np.isnat(column) if column.dtype.kind in "mM" else np.isnan(column)


def extreme_rows(
    columns: Sequence[np.ndarray],
    starts: np.ndarray,
    *,
    missing: Sequence[np.ndarray | None] = (),
    ends_too: bool = False,
) -> np.ndarray:
    """Positions of the rows to keep, rising, where group i begins at `starts[i]` and ends before `starts[i + 1]`.

    Args:
        columns: arrays of shape (n,), numbers or times
        starts: rising positions, the first of them 0; int64 of shape (groups,)
        missing: for each column which of its gaps are cells that were never sent, as booleans; None or left out: none of them
        ends_too: keep the first and the last row of each group as well
    """
    count = len(columns[0]) if columns else 0
    keep = np.zeros(count, dtype=bool)
    if not count:
        return np.flatnonzero(keep)
    group = np.repeat(np.arange(len(starts)), np.diff(starts, append=count))
    for column, unsent in zip_longest(columns, missing):
        values = _comparable(column)
        is_float = values.dtype.kind == "f"
        candidates = [values]
        if is_float and np.isinf(values).any():
            candidates.append(np.where(np.isinf(values), np.nan, values))
        for numbers in candidates:
            for reduce in (np.fmin, np.fmax):
                keep[_first_of_each(numbers == reduce.reduceat(numbers, starts)[group], group)] = True
        if is_float:
            gaps = np.isnan(values)
            for chosen in (gaps,) if unsent is None else (gaps & ~unsent, gaps & unsent):
                if chosen.any():
                    keep[_first_of_each(chosen, group)] = True
    if ends_too:
        keep[starts] = True
        keep[np.append(starts[1:], count) - 1] = True
    return np.flatnonzero(keep)


class Extremes:
    """The lowest and highest finite value of each group so far, for one column of floats or integers, and in `odd` whether it has
    a gap (1), infinity (2), or its negative (4)."""

    def __init__(self, groups: int) -> None:
        self.lowest = np.full(groups, np.nan)
        self.highest = np.full(groups, np.nan)
        self.odd = np.zeros(groups, dtype=np.uint8)

    def add(self, column: np.ndarray, group: np.ndarray, there: np.ndarray | None = None) -> None:
        """Take in rows; `group` is the group of each, in any order. A row that is not `there` is not a gap."""
        if not len(column):
            return
        values = _comparable(column).astype(np.float64)
        is_odd = ~np.isfinite(values)
        if is_odd.any():
            odd = np.select([values == np.inf, values == -np.inf], [2, 4], 1).astype(np.uint8)[is_odd]
            if there is not None:
                odd[~there[is_odd]] = 0
            np.bitwise_or.at(self.odd, group[is_odd], odd)
            values[is_odd] = np.nan
        starts = np.flatnonzero(np.diff(group, prepend=group[0] - 1))
        at = group[starts]
        np.fmin.at(self.lowest, at, np.fmin.reduceat(values, starts))
        np.fmax.at(self.highest, at, np.fmax.reduceat(values, starts))


def _comparable(column: np.ndarray) -> np.ndarray:
    """The column as numbers that NumPy's fmin and fmax compare: times as whole numbers, or as floats where there are NaT."""
    if column.dtype.kind in "mM":
        numbers, gaps = column.view(np.int64), np.isnat(column)
        return np.where(gaps, np.nan, numbers) if gaps.any() else numbers
    return column.astype(np.float32) if column.dtype == np.float16 else column


def _first_of_each(chosen: np.ndarray, group: np.ndarray) -> np.ndarray:
    """The first chosen position in each group."""
    positions = np.flatnonzero(chosen)
    groups = group[positions]
    return positions[np.diff(groups, prepend=-1) > 0]
