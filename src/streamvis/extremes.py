"""Which rows of a group to keep so that no lowest and no highest value is lost. Pure; rows are numbered by position.

Downsampling here never chooses at random and never averages: of each group of neighbouring rows, and for each column, the row
with the lowest and the row with the highest value stay, and one row in which the column has a gap.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["Extremes", "extreme_rows", "is_gap"]


def is_gap(column: np.ndarray) -> np.ndarray:
    """Where a column of numbers or times has nothing: NaN or NaT."""
    return np.isnat(column) if column.dtype.kind in "mM" else np.isnan(column)


def extreme_rows(columns: Sequence[np.ndarray], starts: np.ndarray, *, ends_too: bool = False) -> np.ndarray:
    """Positions of the rows to keep, rising, where group i begins at `starts[i]` and ends before `starts[i + 1]`.

    Args:
        columns: arrays of shape (n,), numbers or times
        starts: rising positions, the first of them 0; int64 of shape (groups,)
        ends_too: keep the first and the last row of each group as well
    """
    count = len(columns[0]) if columns else 0
    keep = np.zeros(count, dtype=bool)
    if not count:
        return np.flatnonzero(keep)
    group = np.repeat(np.arange(len(starts)), np.diff(starts, append=count))
    for column in columns:
        values = _comparable(column)
        for reduce in (np.fmin, np.fmax):
            keep[_first_of_each(values == reduce.reduceat(values, starts)[group], group)] = True
        if values.dtype.kind == "f":
            gaps = np.isnan(values)
            if gaps.any():
                keep[_first_of_each(gaps, group)] = True
    if ends_too:
        keep[starts] = True
        keep[np.append(starts[1:], count) - 1] = True
    return np.flatnonzero(keep)


class Extremes:
    """The lowest and highest value of each group so far, and whether it has a gap, for one column of floats or integers."""

    def __init__(self, groups: int) -> None:
        self.lowest = np.full(groups, np.nan)
        self.highest = np.full(groups, np.nan)
        self.has_gap = np.zeros(groups, dtype=bool)

    def add(self, column: np.ndarray, group: np.ndarray) -> None:
        """Take in rows; `group` is the group of each, in any order."""
        if not len(column):
            return
        values = _comparable(column).astype(np.float64)
        starts = np.flatnonzero(np.diff(group, prepend=group[0] - 1))
        at = group[starts]
        np.fmin.at(self.lowest, at, np.fmin.reduceat(values, starts))
        np.fmax.at(self.highest, at, np.fmax.reduceat(values, starts))
        gaps = np.isnan(values)
        if gaps.any():
            self.has_gap[group[gaps]] = True


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
