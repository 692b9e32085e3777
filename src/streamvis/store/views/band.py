"""The middle and the spread over runs at each x, for a screen: from all rows in the range, of equal x only.

Within a run, the row stored last at an x counts, of those that have something in the column; a number that is NaN does not count.
The rows of each run come by rising x, a piece at a time, and the runs are merged as they come: what is in memory is a few pieces
of each run, and the rows that may still be part of the answer. Of a run whose x does not rise in the order of its rows, all rows
are read again for each million of them.

A smoothed band is that of the runs' smoothed columns: each run is smoothed alone, in the order of its rows, as in `smoothing`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from streamvis.records import Band
from streamvis.series.exponential_mean import DebiasedMean
from streamvis.series.extremes import extreme_rows
from streamvis.store.chunks.tables import is_missing, numbers_of
from streamvis.store.views.downsampling import Axis
from streamvis.store.views.levels import Levels, Loader, as_floats
from streamvis.store.views.smoothing import first_that_counts
from streamvis.store.views.spread import spread_of

__all__ = ["BandAxis", "RunRows", "band_of"]

_ENOUGH_ROWS = 2**13
"""A run of which fewer rows are at hand reads its next piece."""
_SORTED_AT_ONCE = 2**20
_LEAST_ROWS = 2**14
"""No fewer rows of the answer than these are thinned out while more are still to come."""


@dataclass(frozen=True, slots=True)
class BandAxis:
    """The range of x from `start` to `stop` (None: all), its buckets, and whether its scale is logarithmic.

    `smooth` is the weight of the past in the smoothed columns; with 0 they are as they were sent.
    """

    start: float | None
    stop: float | None
    buckets: int
    log: bool = False
    smooth: float = 0.0


@dataclass(frozen=True, slots=True)
class RunRows:
    """The rows of one run's key: `x` and `columns` are names inside, None for a column that this run does not have."""

    run: str
    is_running: bool
    levels: Levels
    x: str
    columns: Sequence[str | None]


@dataclass(slots=True)
class _Rows:
    """Rows by rising x, those of equal x in the order in which they were stored: float64 (n,), (columns, n), and booleans."""

    x: np.ndarray
    values: np.ndarray
    sent: np.ndarray

    def part(self, first: int, last: int) -> _Rows:
        return _Rows(self.x[first:last], self.values[:, first:last], self.sent[:, first:last])

    def chosen(self, which: np.ndarray) -> _Rows:
        return _Rows(self.x[which], self.values[:, which], self.sent[:, which])

    @classmethod
    def joined(cls, parts: Sequence[_Rows]) -> _Rows:
        if len(parts) == 1:
            return parts[0]
        return cls(*(np.concatenate([getattr(part, name) for part in parts], axis=-1) for name in ("x", "values", "sent")))


def band_of(runs: Sequence[RunRows], axis: BandAxis, names: Sequence[str], stat: str) -> Band:
    """The band of the columns, which are called `names` in the answer."""
    streams = [_Stream(one, axis) for one in runs]
    spans = [(one, *one.span) for one in streams if one.span is not None]
    streams = [one for one, _, _ in spans]
    first_x = min((low for _, low, _ in spans), default=None)
    last_x = max((high for _, _, high in spans), default=None)
    start = first_x if axis.start is None else axis.start
    stop = last_x if axis.stop is None else axis.stop
    answer = _Answer(axis, start, stop, names, ends=[high for _, _, high in spans])
    for window in _windows(streams):
        answer.add(_spread(window, len(names), stat))
    return Band(
        table=answer.table(),
        complete=answer.is_whole,
        runs=len(streams),
        ends=tuple((one.run, high, one.is_running) for one, _, high in spans),
        first_x=first_x,
        last_x=last_x,
        start=answer.start,
        stop=stop,
    )


class _Stream:
    """The rows of a run that lie in the range, by rising x."""

    def __init__(self, run: RunRows, axis: BandAxis) -> None:
        self.run, self.is_running, self._rows, self._columns = run.run, run.is_running, run, run.columns
        self._smooth = axis.smooth
        levels = run.levels
        top = levels.sizes.levels(levels.summed)
        loader = Loader(levels, x=run.x, names=["row", run.x], measured=[], needed=None)
        parts = loader.load(top, [(0, levels.count)]) if levels.count else []
        known = np.concatenate([part.x for part in parts]) if parts else np.zeros(0)
        numbers = known[~np.isnan(known)]
        self.span = (float(numbers.min()), float(numbers.max())) if len(numbers) else None
        rises = all(part.rises for part in parts) and bool((known[1:] >= known[:-1]).all())
        low = -math.inf if axis.start is None else axis.start
        high = math.inf if axis.stop is None else axis.stop
        if axis.log:
            low = max(low, math.nextafter(0.0, 1.0))
        if rises and len(known):
            row = np.concatenate([part.row for part in parts])
            # What is known of the rows is in order, so those outside of the range on either side of it bound what is inside.
            first, last = int(np.searchsorted(known, low)), int(np.searchsorted(known, high, side="right"))
            begin = int(row[first - 1]) if first else 0
            end = int(row[last]) if last < len(row) else levels.count
            self._pieces = (_within(rows, low, high) for rows in self._read(begin, end))
        else:
            self._pieces = self._sorted(low, high)
        self.rows: _Rows | None = None
        self.is_done = False

    def refill(self, horizon: float) -> None:
        """Read on, where few rows are at hand, or none beyond the horizon."""
        if self.is_done or (self.rows is not None and len(self.rows.x) >= _ENOUGH_ROWS and self.rows.x[-1] > horizon):
            return
        found = next((rows for rows in self._pieces if len(rows.x)), None)
        if found is None:
            self.is_done = True
        else:
            self.rows = found if self.rows is None else _Rows.joined([self.rows, found])

    def take(self, horizon: float) -> _Rows | None:
        """The rows below the horizon, which are taken away."""
        if self.rows is None:
            return None
        count = int(np.searchsorted(self.rows.x, horizon)) if math.isfinite(horizon) else len(self.rows.x)
        taken, left = self.rows.part(0, count), self.rows.part(count, len(self.rows.x))
        self.rows = left if len(left.x) else None
        return taken if count else None

    def _read(self, first: int, last: int) -> Iterator[_Rows]:
        columns = [name for name in self._columns if name is not None]
        means = [DebiasedMean(self._smooth) for _ in self._columns]
        if self._smooth and columns:
            first = first_that_counts(self._rows.levels, columns, first, self._smooth)
        wanted = [name for name in dict.fromkeys([self._rows.x, *columns]) if name != "row"]
        for table in self._rows.levels.rows(first, last, wanted):
            rows = self._rows_of(table)
            if self._smooth:
                for mean, values in zip(means, rows.values, strict=True):
                    values[:] = mean.add(values)
            yield rows

    def _rows_of(self, table: pa.Table) -> _Rows:
        nothing = np.full(table.num_rows, np.nan)
        values = [nothing if name is None else _numbers(table, name) for name in self._columns]
        sent = [np.isfinite(nothing) if name is None else ~is_missing(table, name) for name in self._columns]
        x = as_floats(numbers_of(table, self._rows.x))
        return _Rows(x, np.array(values), np.array(sent))

    def _sorted(self, low: float, high: float) -> Iterator[_Rows]:
        """All rows in the range in order, so many at once; those of one x always together."""
        after = -math.inf
        while True:
            kept: list[_Rows] = []
            count, below = 0, math.inf
            for rows in self._read(0, self._rows.levels.count):
                with np.errstate(invalid="ignore"):
                    inside = (rows.x >= low) & (rows.x <= high) & (rows.x > after) & (rows.x <= below) & np.isfinite(rows.x)
                kept.append(rows.chosen(inside))
                count += int(inside.sum())
                if count > 2 * _SORTED_AT_ONCE:
                    joined = _Rows.joined(kept)
                    below = float(np.partition(joined.x, _SORTED_AT_ONCE)[_SORTED_AT_ONCE])
                    kept = [joined.chosen(joined.x <= below)]
                    count = len(kept[0].x)
            joined = _Rows.joined(kept) if kept else None
            if joined is None or not len(joined.x):
                return
            yield joined.chosen(np.argsort(joined.x, kind="stable"))
            after = below
            if not math.isfinite(below):
                return


def _within(rows: _Rows, low: float, high: float) -> _Rows:
    first, last = np.searchsorted(rows.x, low), np.searchsorted(rows.x, high, side="right")
    return rows.part(int(first), int(last))


def _numbers(table: pa.Table, name: str) -> np.ndarray:
    numbers = numbers_of(table, name)
    return numbers.astype(np.float64) if numbers.dtype.kind in "iuf" else np.full(len(numbers), np.nan)


def _windows(streams: Sequence[_Stream]) -> Iterator[list[_Rows]]:
    """The rows of all runs, cut by x: no x is in two windows."""
    open_streams, horizon = list(streams), -math.inf
    while open_streams:
        for one in open_streams:
            one.refill(horizon)
        open_streams = [one for one in open_streams if one.rows is not None or not one.is_done]
        # Of a run that continues, more rows may come at its last x.
        ends = [float(one.rows.x[-1]) for one in open_streams if not one.is_done and one.rows is not None]
        horizon = min(ends, default=math.inf)
        window = [rows for one in open_streams if (rows := one.take(horizon)) is not None]
        if window:
            yield window


def _spread(window: Sequence[_Rows], columns: int, stat: str) -> tuple[np.ndarray, list[np.ndarray]]:
    """The x at which any run has a number, and of each column the middle, low, high and count there."""
    found = []
    for i in range(columns):
        its = [_last_at_each_x(rows.x[rows.sent[i]], rows.values[i][rows.sent[i]]) for rows in window]
        x, values = np.concatenate([one for one, _ in its]), np.concatenate([one for _, one in its])
        order = np.argsort(x, kind="stable")
        x, values = x[order], values[order]
        starts = np.flatnonzero(np.diff(x, prepend=np.nan) != 0)
        found.append((x[starts], spread_of(values, starts, stat) if len(starts) else None))
    xs = np.unique(np.concatenate([x for x, _ in found]))
    shown = []
    for x, spread in found:
        at = np.searchsorted(xs, x)
        for name in ("middle", "low", "high", "runs"):
            column = np.zeros(len(xs), np.int64) if name == "runs" else np.full(len(xs), np.nan)
            if spread is not None:
                column[at] = getattr(spread, name)
            shown.append(column)
    return xs, shown


def _last_at_each_x(x: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    chosen = (np.diff(x, append=np.nan) != 0) & ~np.isnan(values)
    return x[chosen], values[chosen]


class _Answer:
    """The rows to give of all that are added, by rising x: of each bucket those with the lowest and highest of each column, and
    those at which a run ends."""

    def __init__(
        self, axis: BandAxis, start: float | None, stop: float | None, names: Sequence[str], *, ends: Sequence[float]
    ) -> None:
        self._axis, self._names, self._ends = axis, names, np.unique(np.asarray(ends, np.float64))
        self.start, self._stop = start, stop
        self._x: list[np.ndarray] = []
        self._columns: list[list[np.ndarray]] = []
        self._count, self._most = 0, _LEAST_ROWS + 2 * axis.buckets
        self.is_whole = True

    def add(self, rows: tuple[np.ndarray, list[np.ndarray]]) -> None:
        x, columns = rows
        if not len(x):
            return
        if self._axis.log and not (self._x or (self.start or 0) > 0):
            self.start = float(x[0])
        self._x.append(x)
        self._columns.append(columns)
        self._count += len(x)
        if self._count > self._most:
            self._thin_out()

    def table(self) -> pa.Table:
        if self._count > self._axis.buckets or not self.is_whole:
            self._thin_out()
        x, columns = self._joined()
        fields = {"x": pa.array(x)}
        for i, name in enumerate(self._names):
            for j, part in enumerate(("middle", "low", "high", "runs")):
                column = columns[4 * i + j]
                # An infinity less an infinity is not a number either.
                fields[f"{name}.{part}"] = pa.array(column, mask=np.isnan(column) if part != "runs" else None)
        return pa.table(fields)

    def _joined(self) -> tuple[np.ndarray, list[np.ndarray]]:
        if not self._x:
            return np.zeros(0), [np.zeros(0, np.int64 if j % 4 == 3 else np.float64) for j in range(4 * len(self._names))]
        return np.concatenate(self._x), [np.concatenate(parts) for parts in zip(*self._columns, strict=True)]

    def _thin_out(self) -> None:
        if self.start is None or self._stop is None:
            return  # no run has a row
        x, columns = self._joined()
        axis = Axis("x", None, None, self._axis.buckets, self._axis.log)
        places = axis.places(x, self.start, self._stop)
        starts = np.flatnonzero(np.diff(places, prepend=-1))
        kept = extreme_rows(columns, starts)
        kept = np.unique(np.concatenate([[0], kept, np.flatnonzero(np.isin(x, self._ends)), [len(x) - 1]]))
        self.is_whole &= len(kept) == len(x)
        self._x, self._columns = [x[kept]], [[column[kept] for column in columns]]
        self._count = len(kept)
        self._most = max(self._most, 2 * self._count)
