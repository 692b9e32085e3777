"""Live sources: a `ColumnDataSource` that Streamvis fills by itself, with a few thousand rows however long the run.

What a source holds follows from what its figures show. While they follow the newest data, that is the whole run; when the
viewer has zoomed or panned, it is that range and as much again on both sides. Of either it holds the rows with the lowest and
the highest value of every bucket. Buckets are a power of two wide and begin at zero, so that two small ones make one large
one: rows that arrive live are reduced by the same buckets, again and again, and no extreme is lost by that.

`LiveTrack` is one source, without Bokeh and without I/O: what to ask the endpoint, and what the rows are. What authors call is in
`sources`; how figures and browser take part is in `session_sources`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from streamvis.errors import StreamvisError
from streamvis.page.feeds.reader import EndpointReader, HistoryAnswer, Piece
from streamvis.page.live.questions import Fetched, Questions, fetch_together
from streamvis.page.live.sources import LiveSpec
from streamvis.page.live.table import ELAPSED, Column, Table, newest_start, rises
from streamvis.records import HistoryQuery, Rows
from streamvis.series.exponential_mean import DebiasedMean
from streamvis.series.extremes import extreme_rows

__all__ = ["Change", "LiveTrack"]

_SECONDS_TO_MS = 1000.0
_LEAST_WIDTH_PX = 100
_FEW_ROWS = 1000
_FEW_BUCKETS = 8
_FIRST_BUCKETS = 256
"""Of a key with few rows, the first question is answered with all of them."""


@dataclass(frozen=True, slots=True)
class Change:
    """What to do to a source: replace its data (`is_new`), or append to them."""

    is_new: bool
    data: Mapping[str, Column]


class LiveTrack:
    """The rows of one live source. `fetch` may run in a thread; everything else under the document lock."""

    def __init__(self, spec: LiveSpec, *, log: bool, origin: float = 0.0) -> None:
        self.spec, self._log = replace(spec, origin=origin), log
        self._most_rows = spec.max_rows
        self._view: tuple[float, float] | None = None
        self._table: Table | None = None
        self._recent: list[Table] = []
        self._recent_end = 0
        self._region: tuple[float, float] | None = None
        self._width = 0.0
        self._rising = True
        self._next_number = 0
        self.is_stale = True
        self.is_fetching = False
        self.trouble = ""
        self._first_x: float | None = None
        self._expected: tuple[float, float] | None = None
        self._means: dict[str, DebiasedMean] | None = None
        self._columns_then: Mapping[str, str] = {}
        self._columns: Mapping[str, str] = {}

    def follow_on(self, before: LiveTrack, at: int | None) -> None:
        """This track shows the same rows as of the step `at`. Where they lie is known, so one question may be enough."""
        first = before._first_x
        is_simple = self.spec.x == "step" and self.spec.window is None and not self._log
        self._expected = (first, float(at)) if is_simple and at is not None and first is not None and first < at else None

    def refused(self, reason: str) -> None:
        """The key has not what is asked for. It is asked again when the key has other columns."""
        self.is_fetching, self.trouble, self._columns_then = False, reason, self._columns
        self._recent.clear()

    def failed(self, reason: str) -> None:
        """Something went wrong here. The rows are read again when it is asked for."""
        self.is_fetching, self.is_stale, self.trouble = False, True, reason
        self._recent.clear()

    @property
    def _held(self) -> Table:
        """The rows. Only once there are any are others joined to them, or some of them dropped."""
        assert self._table is not None
        return self._table

    @property
    def numbers(self) -> np.ndarray:
        """The numbers, in the key's log, of the rows that the source holds."""
        return self._table.numbers if self._table is not None else np.empty(0, np.int64)

    @property
    def scale(self) -> float:
        """How many of the browser's units of x make one of the endpoint's: times are milliseconds there, and seconds here."""
        column = self._table.columns[self.spec.x] if self._table is not None else None
        return _SECONDS_TO_MS if isinstance(column, np.ndarray) and column.dtype.kind in "mM" else 1.0

    def look(self, view: tuple[float, float] | None, *, width_px: int | None = None) -> None:
        """The figures now show this range of x in the browser's units; None: they follow. The widest has `width_px` pixels.

        More rows than a figure can show are not asked for: two buckets a pixel, with the lowest and the highest of each.
        """
        if width_px:
            most_rows = min(self.spec.max_rows, 4 * max(width_px, _LEAST_WIDTH_PX) * self._drawn_columns)
            self.is_stale |= most_rows > self._most_rows
            self._most_rows = most_rows
        view = view and (_finite(view[0] / self.scale), _finite(view[1] / self.scale))
        if view and self._log and view[0] <= 0:
            view = (min(view[1], 1.0) * 1e-12, view[1]) if view[1] > 0 else None
        self.is_stale |= view != self._view
        self._view = view

    # From the endpoint

    pause_s = 0.0

    def fetch(self, reader: EndpointReader, run: str) -> Fetched:
        """Ask for the rows that the figures show: the answer, the region that it covers, and the width of its buckets."""
        (found,) = fetch_together(reader, run, self.spec.key, [self])
        if isinstance(found, StreamvisError):
            raise found
        return found

    def questions(self) -> Questions:
        """What `fetch` asks."""
        spec, view = self.spec, self._view
        carried = [name for name in spec.carry if name not in ("row", "step", "time")]
        ask = HistoryQuery(
            x=spec.x,
            columns=[*spec.columns, *carried],
            buckets=_FIRST_BUCKETS,
            log=self._log,
            having=spec.columns,
            smooth=spec.smooth,
        )
        if view is not None and self._table is not None and self._rising:
            found, width = yield from self._look_closely(self._around(view), ask)
            if found is None or found.rising:
                return found, self._around(view), width
        expected = self._expected
        if view is None and expected is not None:
            found, width = yield from self._look_closely(expected, ask)
            if found is None or self._is_as_expected(found, width, expected):
                return found, None, width
        window = spec.window if view is None else None
        whole = yield from self._history(replace(ask, window=window))
        if whole is None or whole.first_x is None or whole.last_x is None:
            return whole, None, 0.0
        if view is None and window is None and whole.complete and whole.rising and not self._log:
            return whole, None, 0.0
        if not whole.rising:
            start, stop = view or (None, None)
            ask = replace(ask, window=window, buckets=self._most_buckets, start=start, stop=stop)
            return (yield from self._history(ask)), view, 0.0
        region = view and self._around(view)
        first, last = region or (whole.first_x if window is None else whole.start, whole.last_x)
        if self._log and (first is None or first <= 0):
            if whole.start is None or last <= 0:
                return whole, region, 0.0
            first = whole.start
        assert first is not None  # there are rows, so it is known where they begin
        found, width = yield from self._look_closely((first, last), ask, more=region is None)
        if region is None and found is not None and found.last_x is not None and found.last_x > last:
            found = self._since(whole, found)
        return found, region, width

    def _is_as_expected(self, found: HistoryAnswer, width: float, expected: tuple[float, float]) -> bool:
        """Whether the answer has just what it would have, had it been known where the rows begin and end."""
        if not found.rising or found.first_x is None or found.last_x is None:
            return False
        is_inside = expected[0] <= found.first_x and found.last_x <= expected[1]
        return is_inside and _width(found.first_x, found.last_x, self._most_buckets) == width

    def _since(self, whole: HistoryAnswer, found: HistoryAnswer) -> HistoryAnswer:
        """Rows that came between two questions may lie beyond the range of the second: what is known ends before them."""
        count = max(whole.count, int(found.numbers[-1]) + 1 if len(found.numbers) else 0)
        return found if count >= found.count else replace(found, count=count, means=None)

    def _around(self, view: tuple[float, float]) -> tuple[float, float]:
        """The view, and as much again on both sides."""
        low, high = self._scaled(view)
        return self._unscaled((low - (high - low), high + (high - low)))

    def _look_closely(
        self, range_: tuple[float, float], ask: HistoryQuery, *, more: bool = False
    ) -> Generator[HistoryQuery, HistoryAnswer | None, tuple[HistoryAnswer | None, float]]:
        """The rows of the range in as many buckets as there may be, and how wide those are; `more` for what comes meanwhile."""
        low, high = self._scaled(range_)
        width = _width(low, high, self._most_buckets)
        from_, to = math.floor(low / width), math.floor(high / width) + 1
        to += max(_FEW_BUCKETS, (to - from_) // 8) if more else 0
        start, stop = self._unscaled((from_ * width, to * width))
        return (yield from self._history(replace(ask, start=start, stop=stop, buckets=to - from_))), width

    def _history(self, ask: HistoryQuery) -> Generator[HistoryQuery, HistoryAnswer | None, HistoryAnswer | None]:
        """Ask the endpoint, which knows times but not when the run started."""
        if self.spec.x != ELAPSED:
            return (yield ask)
        origin = self.spec.origin
        start, stop = (None if side is None else side + origin for side in (ask.start, ask.stop))
        found = yield replace(ask, x="time", start=start, stop=stop)
        if found is None:
            return None
        moved = {side: getattr(found, side) for side in ("first_x", "last_x", "start")}
        return replace(found, **{side: at if at is None else at - origin for side, at in moved.items()})

    def take(self, answer: HistoryAnswer | None, region: tuple[float, float] | None, width: float) -> Change | None:
        """The endpoint answered: the source's new data."""
        self.is_fetching, self.trouble = False, ""
        if answer is None:
            self._recent.clear()
            return None
        self._region, self._width, self._rising, self._first_x = region, width, answer.rising, answer.first_x
        table = Table.of(answer.numbers, answer.rows, self.spec)
        self._next_number = answer.count
        self.is_stale |= answer.means is None and bool(self.spec.smooth)
        self._means = {name: DebiasedMean(self.spec.smooth, *its) for name, its in (answer.means or {}).items()}
        for recent in self._recent:
            whole = table.joined(self._smoothed(recent.since(self._next_number)))
            self.is_stale |= whole is None
            table = whole or table
        self._next_number = max(self._next_number, self._recent_end)
        self._recent.clear()
        if self._rising and not rises(table.x):
            self._rising, self.is_stale = False, True
        self._table = table
        self._follow_newest()
        return Change(True, self._table.columns)

    # Live

    def add(self, pieces: Sequence[Piece]) -> Change | None:
        """Pieces of the log came: what changes in the source by them."""
        tables, first, end = [], None, 0
        for piece in pieces:
            end = piece.first_rows.get(self.spec.key, end)
            for item in piece.items:
                if isinstance(item, Rows) and item.key == self.spec.key:
                    first = end if first is None else first
                    tables.append(Table.of(end, item, self.spec))
                    end += len(item.steps)
            self._columns = piece.dtypes.get(self.spec.key, self._columns)
        if first is None:
            return None
        if self.is_fetching:
            self._recent += tables
            self._recent_end = end
        if self._table is None:
            self.is_stale |= not self.trouble or self._columns != self._columns_then
            return None
        if end <= self._next_number:
            return None
        if first > self._next_number:
            self.is_stale = True
            return None
        new = [self._smoothed(table.since(self._next_number)) for table in tables]
        self._next_number = end
        return self._added([table for table in new if len(table.numbers)])

    def _smoothed(self, table: Table) -> Table:
        """Rows that follow on those before, with their smoothed columns; without, where it is not known what came before."""
        columns = dict(table.columns)
        for name, smooth in self.spec.smoothed.items():
            mean, values = (self._means or {}).get(name), columns[name]
            if mean is not None and isinstance(values, np.ndarray) and values.dtype.kind == "f":
                columns[smooth] = mean.add(values)
        return Table(table.numbers, table.x, columns)

    def _added(self, tables: Sequence[Table]) -> Change | None:
        """Join rows that follow on those that the source holds."""
        new: Table | None = tables[0] if tables else None
        for table in tables[1:]:
            new = new and new.joined(table)
        if new is None:
            self.is_stale |= bool(tables)
            return None
        if self._rising and not rises(np.concatenate([self._held.x[-1:], new.x])):
            self._rising, self.is_stale = False, True
        if self._region is not None:
            new = new.take(np.flatnonzero((new.x >= self._region[0]) & (new.x <= self._region[1])))
        if self._width or not self._rising:
            new = self._reduced(new)
        # Else how wide buckets are is known only when there are too many rows (`_shrink`).
        if not len(new.numbers):
            return None
        before, whole = self._held, self._held.joined(new)
        if whole is None:
            self.is_stale = True
            return None
        self._table = whole
        is_large = len(whole.numbers) > 2 * self._most_rows or self._has_much_before_window()
        if is_large:
            self._shrink()
        if self._follow_newest() or is_large or whole.forms != before.forms:
            return Change(True, self._held.columns)
        return Change(False, whole.take(np.arange(len(before.numbers), len(whole.numbers))).columns)

    def _has_much_before_window(self) -> bool:
        """Whether more rows lie before the window than in it."""
        if self.spec.window is None or self._region is not None or not self._rising:
            return False
        x = self._held.x
        before = int(np.searchsorted(x, x[-1] - self.spec.window))
        return before > max(len(x) - before, _FEW_ROWS)

    def _follow_newest(self) -> bool:
        """Where x does not rise, drop rows that are in the window but not among the newest; whether there were any."""
        window, x = self.spec.window, self._held.x
        if window is None or self._region is not None or self._rising or not len(x):
            return False
        start = newest_start(x, window)
        with np.errstate(invalid="ignore"):
            if not (x[:start] >= np.fmax.reduce(x[start:]) - window).any():
                return False
        self._table = self._held.take(np.arange(start, len(x)))
        return True

    def _shrink(self) -> None:
        """Reduce the rows to about `max_rows`, with wider buckets where they span more by now."""
        table = self._held
        if self.spec.window is not None and self._region is None:
            table = table.take(np.arange(newest_start(table.x, self.spec.window), len(table.x)))
        if self._rising:
            drawn = table.x[table.x > 0] if self._log else table.x
            if len(drawn):
                low, high = self._scaled((float(drawn[0]), float(drawn[-1])))
                self._width = max(self._width, _width(low, high, self._most_buckets))
        self._table = self._reduced(table)

    def _reduced(self, table: Table) -> Table:
        """The rows with the extremes of each bucket."""
        if len(table.numbers) < 2:
            return table
        if self._rising and self._width:
            with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
                places = np.floor((np.log10(table.x) if self._log else table.x) / self._width)
            if self._log:
                # What a logarithmic axis does not show is one bucket.
                places[~(table.x > 0)] = -np.inf
        else:
            held = self._table.numbers[:1] if self._table is not None else table.numbers[:1]
            count = self._next_number - int(held[0]) if len(held) else 0
            places = table.numbers // max(1, 1 << (count // self._most_buckets).bit_length())
        starts = np.flatnonzero(np.append(True, places[1:] != places[:-1]))
        drawn = [*self.spec.columns, *self.spec.smoothed.values()]
        columns = [table.columns[name] for name in drawn if name != self.spec.x]
        columns = [column for column in columns if isinstance(column, np.ndarray)]
        if not columns or self.spec.window is not None:
            columns.append(table.x)
        kept = extreme_rows(columns, starts)
        # The first and the last row show how far the rows go.
        return table.take(np.unique(np.concatenate([[0], kept, [len(table.numbers) - 1]])))

    # Forms

    @property
    def _most_buckets(self) -> int:
        if self.spec.x == "row":
            # No two rows have one place.
            return self._most_rows
        return max(16, self._most_rows // (2 * self._drawn_columns))

    @property
    def _drawn_columns(self) -> int:
        return max(1, len([name for name in self.spec.columns if name != self.spec.x]))

    def _scaled(self, pair: tuple[float, float]) -> tuple[float, float]:
        return (math.log10(pair[0]), math.log10(pair[1])) if self._log else pair

    def _unscaled(self, pair: tuple[float, float]) -> tuple[float, float]:
        low, high = pair
        if self._log:
            low, high = (10.0 ** min(max(place, sys.float_info.min_10_exp), sys.float_info.max_10_exp) for place in pair)
        return _finite(low), _finite(high)


def _width(low: float, high: float, most: int) -> float:
    """The smallest power of two with which the range has no more than `most` buckets."""
    # The range itself can be beyond what a double holds.
    return 2.0 ** math.ceil(math.log2(max(high / most - low / most, 1e-300 / most, abs(high) * 2.0**-50 / most)))


def _finite(number: float) -> float:
    """The number, or the nearest one that is finite."""
    return min(max(number, -sys.float_info.max), sys.float_info.max)
