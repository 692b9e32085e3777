"""One key's past at the resolution of a screen: of every bucket of an axis the rows with the lowest and the highest values.

The answer is exact, from all rows, and still only a few of them are read. A block of a summary that lies within one bucket
needs no closer look: its extremes are kept in it. A block that lies across the edge of a bucket is looked at one level below, and
so on down to the rows; but only where it could hold a value that is beyond all that is known of one of its buckets.

Works on what `levels` loads, a bounded number of rows at a time, and lets `downsampling` keep what may be part of the answer.
Knows no SQL.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from streamvis.errors import InvalidData
from streamvis.records import History
from streamvis.series.extremes import Extremes
from streamvis.store.chunks.tables import inner_name, numbers_of
from streamvis.store.repairing.damage import Broken
from streamvis.store.views.downsampling import Axis, Choice, Frame, table_of_names
from streamvis.store.views.levels import Across, Levels, Loader, Part, Spans

__all__ = ["Axis", "axis_name", "drawn_names", "select", "select_each"]

_ENOUGH_BLOCKS = 1
"""How many blocks a bucket has at least on the level that is read: more would be more to read, fewer more to look at closely."""
_SHOWN_NAMES = 20


def axis_name(x: str, dtypes: Mapping[str, str]) -> str:
    """What the column x is called inside, given the key's columns. Raises InvalidData when there is no such axis."""
    if x in dtypes and _is_measured(dtypes[x]):
        return inner_name(x)
    if x not in dtypes and x in ("step", "time", "row"):
        return x
    problem = f"the column {x!r} holds {dtypes[x]}" if x in dtypes else f"there is no column {x!r}"
    numbers = [name for name, dtype in dtypes.items() if _is_measured(dtype)]
    raise InvalidData(problem, where="x", allowed=f"step, time, row, {_shown(numbers)}")


def _shown(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN_NAMES:,} more" if len(names) > _SHOWN_NAMES else ""
    return ", ".join(map(repr, names[:_SHOWN_NAMES])) + more


def drawn_names(columns: Sequence[str] | None, dtypes: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """What the columns are called inside, and those of them that have extremes. Raises InvalidData for one that is not there."""
    possible = [name for name, dtype in dtypes.items() if not dtype.startswith("array<")]
    for name in columns or ():
        if name not in possible:
            problem = f"the column {name!r} holds {dtypes[name]}" if name in dtypes else f"there is no column {name!r}"
            raise InvalidData(problem, where="columns", allowed=_shown(possible) or "none, so far")
    # What is of any form has no place in a figure: a table asks for it by name.
    drawn = [name for name in possible if dtypes[name] != "json"]
    chosen = drawn if columns is None else list(dict.fromkeys(columns))
    return [inner_name(name) for name in chosen], [inner_name(name) for name in chosen if _is_measured(dtypes[name])]


def select(levels: Levels, axis: Axis, columns: Sequence[str], measured: Sequence[str]) -> History:
    """The rows to draw. `columns` are the names of those to give, `measured` those of them whose extremes are to be kept."""
    return _Selection(levels, axis, [_Wanted.of(axis, columns, measured)]).run()[0]


def select_each(levels: Levels, axis: Axis, columns: Sequence[str]) -> list[History] | None:
    """As `select` for each of these measured columns by itself, of the rows that have something in it: read once for all.

    None where a row that was read lacks one of them: the columns then have different rows.
    """
    axis = replace(axis, having=columns)
    try:
        return _Selection(levels, axis, [_Wanted.of(axis, [name], [name]) for name in columns]).run()
    except _Lacking:
        return None


class _Lacking(Exception):
    """A row lacks one of several columns."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What one history has: the columns `names`, and the extremes of `measured`."""

    names: Sequence[str]
    measured: Sequence[str]

    @classmethod
    def of(cls, axis: Axis, columns: Sequence[str], measured: Sequence[str]) -> _Wanted:
        # What spans a window is known by its lowest and highest x.
        its = [name for name in measured if name != axis.x] + ([axis.x] if axis.window is not None else [])
        return cls(list(dict.fromkeys(["row", "step", "time", axis.x, *columns])), its)


class _Selection:
    def __init__(self, levels: Levels, axis: Axis, wanted: Sequence[_Wanted]) -> None:
        self._levels, self._axis, self._wanted = levels, axis, wanted
        self._measured = list(dict.fromkeys(name for one in wanted for name in one.measured))
        names = list(dict.fromkeys(name for one in wanted for name in one.names))
        needed = [name for name in axis.having if name in names and name != axis.x]
        # Summaries know only of measured columns which blocks have rows with them.
        self._knows_rows = all(name in self._measured for name in needed)
        self._loader = Loader(levels, x=axis.x, names=names, measured=self._measured, needed=needed or None)

    def _load(self, level: int, ranges: Iterable[tuple[int, int]]) -> list[Part]:
        return self._checked(self._loader.load(level, ranges))

    def _load_in_turn(self, level: int, ranges: Sequence[tuple[int, int]]) -> Iterator[list[Part]]:
        return map(self._checked, self._loader.load_in_turn(level, ranges))

    def _checked(self, parts: list[Part]) -> list[Part]:
        """The parts. Several histories of the same rows need all of their columns in each row."""
        if len(self._wanted) > 1 and not all(has_it.all() for part in parts for has_it in part.sent):
            raise _Lacking
        return parts

    def run(self) -> list[History]:
        level = self._levels.sizes.levels(self._levels.summed)
        parts = self._load(level, [(0, self._levels.count)])
        rises = all(part.rises for part in parts) and all(
            one.x[-1] <= other.x[0] for one, other in zip(parts, parts[1:], strict=False)
        )
        first_x, last_x = _span(parts)
        spans = Spans.of(parts)
        if rises and parts and self._knows_rows:
            first_x, last_x = (self._end(level, spans, is_last) for is_last in (False, True))
        start = first_x if self._axis.start is None else self._axis.start
        stop = last_x if self._axis.stop is None else self._axis.stop
        newest, highest = self._newest(level, parts)
        window = self._axis.window
        if window is not None and start is not None and rises and (newest or (self._knows_rows and math.isfinite(highest))):
            # Rows before it that lack what is drawn do not count.
            start, newest = max(start, highest - window), 0
        if self._axis.log and (start is None or start <= 0):
            start = self._first_positive(level, parts, stop)
        about = {"x": self._axis.x, "rising": rises, "count": self._levels.count, "first_x": first_x, "last_x": last_x}
        about |= {"start": start, "stop": stop, "buckets": self._axis.buckets}
        if not parts or start is None or stop is None or start > stop:
            nothing = [part.table.slice(0, 0) for part in parts[:1]]
            return [History(**about, complete=True, table=table_of_names(one.names, nothing)) for one in self._wanted]
        if not rises and not self._axis.log:
            # Of blocks with an infinity summaries do not also know the lowest and highest x.
            start = -math.inf if self._axis.start is None else start
            stop = math.inf if self._axis.stop is None else stop
        level, first, last, parts = self._located(level, parts, spans, start, stop, rises, newest)
        parts = [part.only((part.row >= first) & (part.row < last)) for part in parts]
        parts = [part for part in parts if len(part.row)]
        frame = Frame(start, stop, max(first, newest), last, rises)
        chosen = [choice.chosen() for choice in self._refined(level, parts, frame)]
        return [History(**about, complete=is_complete, table=table) for table, is_complete in chosen]

    # Finding where to look

    def _located(
        self, level: int, parts: list[Part], spans: Spans, start: float, stop: float, rises: bool, newest: int
    ) -> tuple[int, int, int, list[Part]]:
        """The level to read, the rows that matter from a first to a last (exclusive), and what was loaded of them."""
        while True:
            is_recent = np.append(spans.begins[1:], self._levels.count) > newest
            hit = np.flatnonzero((spans.high >= start) & (spans.low <= stop) & is_recent)
            if not len(hit) and rises:
                # Nothing inside: the rows before and after are still drawn to.
                hit = np.searchsorted(spans.low, [start]) - 1
            if not len(hit):
                return 0, 0, 0, []
            # One block more on each side, of those that have rows to show, holds the nearest ones outside of the range.
            there = np.flatnonzero(spans.there)
            before, after = there[there < hit[0]][-1:], there[there > hit[-1]][:1]
            first = int(spans.begins[before[0]]) if len(before) else int(spans.begins[0])
            last = int(spans.ends[after[0]]) if len(after) else int(spans.ends[-1])
            if level == 0 or len(hit) >= _ENOUGH_BLOCKS * self._axis.buckets:
                return level, first, min(last, self._levels.count), parts
            level -= 1
            # Where x does not rise, most of what lies between may have nothing in the range.
            closer = [(first, last)] if rises else spans.ranges(np.concatenate([before, hit, after]))
            parts = self._load(level, [(one, min(other, self._levels.count)) for one, other in closer])
            spans = Spans.of(parts)

    def _end(self, level: int, spans: Spans, is_last: bool) -> float | None:
        """The x of the first or last row that is there, where x rises; None where none is."""
        there = np.flatnonzero(spans.there)
        for i in reversed(there) if is_last else there:  # most often ends with the first, however many there are
            if level == 0 or spans.full[i]:
                return float((spans.high if is_last else spans.low)[i])
            rows = (int(spans.begins[i]), min(self._levels.count, int(spans.ends[i])))
            try:
                found = self._end(level - 1, Spans.of(self._load(level - 1, [rows])), is_last)
            except Broken:  # what is damaged can still be shown from afar
                found = float((spans.high if is_last else spans.low)[i])
            if found is not None:
                return found
        return None

    def _first_positive(self, level: int, parts: list[Part], stop: float | None) -> float | None:
        """The lowest x above zero."""
        if stop is None or stop <= 0:
            return None
        groups: Iterable[list[Part]] = [parts]
        while True:
            lowest, closer, mixed = math.inf, [], []
            for spans in map(Spans.of, groups):
                low = np.where((spans.low > 0) & np.isfinite(spans.low), spans.low, np.inf)
                if low.min() < lowest:
                    lowest, closer = float(low.min()), spans.ranges(np.array([np.argmin(low)]))
                mixed += spans.ranges(np.flatnonzero((spans.low <= 0) & (spans.high > 0)))
            if level == 0 or not mixed:
                return lowest if math.isfinite(lowest) else None
            level -= 1
            count = self._levels.count
            groups = self._load_in_turn(level, sorted({(one, min(other, count)) for one, other in closer + mixed}))

    def _newest(self, level: int, parts: list[Part]) -> tuple[int, float]:
        """The first of the rows stored last that span no more than the window (0: all do), and their highest x."""
        if self._axis.window is None or not parts:
            return 0, math.inf
        found, _, highest = self._before_window(level, parts, self._levels.count, math.inf, -math.inf)
        return found or 0, highest

    def _before_window(
        self, level: int, parts: list[Part], count: int, low: float, high: float
    ) -> tuple[int | None, float, float]:
        """The row after the last one that is too far off from those after it, which span `low` to `high`; None where none is.
        And what those that are not too far off span. Rows that are not there do not count."""
        window = self._axis.window
        assert window is not None  # else all rows are in it: see `_newest`
        spans = Spans.of(parts)
        for i in reversed(np.flatnonzero(spans.there).tolist()):
            its_low, its_high = min(low, float(spans.low[i])), max(high, float(spans.high[i]))
            is_near = not its_high - its_low > window
            if is_near and (level == 0 or spans.full[i]):
                low, high = its_low, its_high
                continue
            end = min(count, int(spans.ends[i]))
            if level == 0:
                return end, low, high
            closer = self._load(level - 1, [(int(spans.begins[i]), end)])
            found, low, high = self._before_window(level - 1, closer, end, low, high)
            if found is not None:
                return found, low, high
        return None, low, high

    # Looking closer

    def _refined(self, level: int, parts: list[Part], frame: Frame) -> list[Choice]:
        """The choices of all that was loaded, and of what else had to be loaded to know every bucket's extremes."""
        known = [Extremes(self._axis.buckets + 2) for _ in self._measured]
        choices = [Choice(self._axis, frame, one.names, one.measured) for one in self._wanted]
        across: dict[int, list[Across]] = defaultdict(list)
        groups: Iterable[list[Part]] = [parts]
        while True:
            for part in itertools.chain.from_iterable(groups):
                places = frame.places(part, self._axis)
                values = [numbers_of(part.table, name) for name in self._measured]
                for one, column in zip(known, values, strict=True):
                    one.add(column, places, part.there)
                if part.level:
                    about = {"buckets": self._axis.buckets, "rises": frame.rises, "start": frame.start, "stop": frame.stop}
                    across[part.level].append(Across.of(part, places, values, **about))
                for choice in choices:
                    choice.add(part, places)
            if level == 0:
                return choices
            ranges = sorted(pair for one in across.pop(level, ()) for pair in one.doubtful(known))
            level -= 1
            groups = self._load_in_turn(level, ranges)


def _is_measured(dtype: str) -> bool:
    return dtype == "null" or dtype.startswith(("int", "uint", "float", "datetime64", "timedelta64"))


def _span(parts: Sequence[Part]) -> tuple[float | None, float | None]:
    """The lowest and the highest x."""
    numbers = [part.x[~np.isnan(part.x)] for part in parts]
    numbers = [x for x in numbers if len(x)]
    return (float(min(x.min() for x in numbers)), float(max(x.max() for x in numbers))) if numbers else (None, None)
