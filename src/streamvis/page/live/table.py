"""Rows as a live source holds them, and how rows that came later are joined to them. Pure: no Bokeh, no I/O.

Numbers are float64, times and durations datetime64[us] and timedelta64[us], and anything else is a list, as in `new_data`. A row
that has nothing for any of the columns that are drawn is not in a table: between rows of other columns, single values would not
show. A NaN that was sent is a value, and stays as a gap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from streamvis.records import Rows
from streamvis.wire.moments import microseconds

__all__ = ["ELAPSED", "Column", "Shows", "Table", "newest_start", "rises"]

Column = np.ndarray | list[Any]
ELAPSED = "elapsed"
"""The x that is the seconds since the run started."""


class Shows(Protocol):
    """What a table has to know of what a source shows: its columns over x, their smoothed ones, and others that it carries."""

    @property
    def x(self) -> str: ...
    @property
    def columns(self) -> Sequence[str]: ...
    @property
    def smoothed(self) -> Mapping[str, str]: ...
    @property
    def carry(self) -> Sequence[str]: ...
    @property
    def origin(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of a source: the number of each in the key's log, x in the endpoint's units (NaN where it has no place on an axis),
    and the columns as pages take them."""

    numbers: np.ndarray
    x: np.ndarray
    columns: Mapping[str, Column]

    @classmethod
    def of(cls, first: int | np.ndarray, rows: Rows, spec: Shows) -> Table:
        """The rows of a key that have something in a column that is drawn. `first` is the number of the first, or of each."""
        count = len(rows.steps)
        numbers = first if isinstance(first, np.ndarray) else np.arange(first, first + count)
        names = dict.fromkeys([spec.x, *spec.columns, *spec.smoothed.values(), *spec.carry])
        columns = {name: _drawable(_column(rows, name, numbers), count) for name in names}
        if spec.x == ELAPSED:
            columns[ELAPSED] = rows.times - spec.origin
        table = cls(numbers, _places(columns[spec.x]), columns)
        there = np.zeros(count, dtype=bool)
        for name in spec.columns:
            there |= _is_there(rows, name)
        return table if there.all() else table.take(np.flatnonzero(there))

    def take(self, positions: np.ndarray) -> Table:
        """The rows at these positions."""
        columns = {
            name: column[positions] if isinstance(column, np.ndarray) else [column[i] for i in positions.tolist()]
            for name, column in self.columns.items()
        }
        return Table(self.numbers[positions], self.x[positions], columns)

    def since(self, number: int) -> Table:
        """The rows from this number on."""
        return self.take(np.flatnonzero(self.numbers >= number))

    def joined(self, other: Table) -> Table | None:
        """These rows and those; None where a column holds different kinds of things."""
        columns: dict[str, Column] = {}
        for name, column in self.columns.items():
            joined = _joined(column, other.columns[name])
            if joined is None:
                return None
            columns[name] = joined
        return Table(np.concatenate([self.numbers, other.numbers]), np.concatenate([self.x, other.x]), columns)

    @property
    def forms(self) -> list[str]:
        """The form of each column."""
        return ["list" if isinstance(column, list) else column.dtype.kind for column in self.columns.values()]


def newest_start(x: np.ndarray, window: float) -> int:
    """Where the rows stored last begin that span no more than `window` in x; rows without x belong to those around them."""
    back = x[::-1]
    with np.errstate(invalid="ignore", over="ignore"):
        beyond = np.flatnonzero(np.fmax.accumulate(back) - np.fmin.accumulate(back) > window)
    return len(x) - int(beyond[0]) if len(beyond) else 0


def rises(x: np.ndarray) -> bool:
    """Whether x has a place in every row, and never falls."""
    return bool((x[1:] >= x[:-1]).all()) and not np.isnan(x).any()


def _column(rows: Rows, name: str, numbers: np.ndarray) -> Any:
    column = rows.columns.get(name)
    if column is None and name == "row":
        return numbers
    if column is None and name == "step":
        return rows.steps
    if column is None and name == "time":
        return np.rint(rows.times * 1e6).astype(np.int64).view("M8[us]")
    return column


def _is_there(rows: Rows, name: str) -> np.ndarray | bool:
    if name not in rows.columns:
        return name in ("row", "step", "time", ELAPSED)
    return ~rows.missing[name] if name in rows.missing else True


def _drawable(column: Any, count: int) -> Column:
    if column is None:
        return np.full(count, np.nan)
    if isinstance(column, np.ndarray) and column.dtype.kind in "iuf":
        return column.astype(np.float64)
    if isinstance(column, np.ndarray) and column.dtype.kind in "mM":
        return microseconds(column)
    return column.tolist() if isinstance(column, np.ndarray) else list(column)


def _places(x: Column) -> np.ndarray:
    """x as floats, times in seconds: NaN for what has no place on an axis, the infinities among it."""
    if isinstance(x, list):
        return np.full(len(x), np.nan)
    if x.dtype.kind in "mM":
        return np.where(np.isnat(x), np.nan, x.view(np.int64) / 1e6)
    return np.where(np.isfinite(x), x, np.nan)


def _joined(one: Column, other: Column) -> Column | None:
    if isinstance(one, list) and isinstance(other, list):
        return one + other
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray) and one.dtype == other.dtype:
        return np.concatenate([one, other])
    # Where a key has no such column yet nothing says what it will hold.
    if _is_empty(other):
        return _joined(one, _nothing(len(other), one))
    if _is_empty(one):
        return _joined(_nothing(len(one), other), other)
    return None


def _is_empty(column: Column) -> bool:
    return isinstance(column, np.ndarray) and column.dtype.kind == "f" and bool(np.isnan(column).all())


def _nothing(count: int, like: Column) -> Column:
    return [None] * count if isinstance(like, list) else np.full(count, "NaT", dtype=like.dtype)
