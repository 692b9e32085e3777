"""One key's past at the resolution of a screen: of every bucket of an axis the rows with the lowest and the highest values.

The answer is exact, from all rows, and still only a few of them are read. A block of a summary that lies within one bucket
needs no closer look: its extremes are kept in it. A block that lies across the edge of a bucket is looked at one level below, and
so on down to the rows; but only where it could hold a value that is beyond all that is known of one of its buckets.

Works on what `parts` loads; knows no SQL.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from streamvis.errors import InvalidData
from streamvis.extremes import Extremes, extreme_rows
from streamvis.records import History
from streamvis.store.parts import Across, Levels, Loader, Part, Spans
from streamvis.store.tables import concat_common, inner_name, is_missing, numbers_of

__all__ = ["Axis", "axis_name", "drawn_names", "select"]

_ENOUGH_BLOCKS = 1
"""How many blocks a bucket has at least on the level that is read: more would be more to read, fewer more to look at closely."""
_SHOWN_NAMES = 20
_FEW_ROWS = 2
"""So many rows a bucket and all of them are given: its lowest and its highest would be as many."""


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
    possible = [name for name, dtype in dtypes.items() if dtype != "json" and not dtype.startswith("array<")]
    for name in columns or ():
        if name not in possible:
            problem = f"the column {name!r} holds {dtypes[name]}" if name in dtypes else f"there is no column {name!r}"
            raise InvalidData(problem, where="columns", allowed=_shown(possible) or "none, so far")
    chosen = possible if columns is None else list(dict.fromkeys(columns))
    return [inner_name(name) for name in chosen], [inner_name(name) for name in chosen if _is_measured(dtypes[name])]


def select(levels: Levels, axis: Axis, columns: Sequence[str], measured: Sequence[str]) -> History:
    """The rows to draw. `columns` are the names of those to give, `measured` those of them whose extremes are to be kept."""
    return _Selection(levels, axis, columns, measured).run()


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where buckets are: x from `start` to `stop`, and where x does not rise, of the rows from `first` to `last` (exclusive)."""

    start: float
    stop: float
    first: int
    last: int
    rises: bool


class _Selection:
    def __init__(self, levels: Levels, axis: Axis, columns: Sequence[str], measured: Sequence[str]) -> None:
        self._levels, self._axis = levels, axis
        # What spans a window is known by its lowest and highest x.
        self._measured = [name for name in measured if name != axis.x] + ([axis.x] if axis.window is not None else [])
        self._names = list(dict.fromkeys(["row", "step", "time", axis.x, *columns]))
        needed = [name for name in axis.having if name in self._names and name != axis.x]
        self._load = Loader(levels, x=axis.x, names=self._names, measured=self._measured, needed=needed or None).load

    def run(self) -> History:
        level = self._levels.sizes.levels(self._levels.summed)
        parts = self._load(level, [(0, self._levels.count)])
        rises = all(part.rises for part in parts) and all(
            one.x[-1] <= other.x[0] for one, other in zip(parts, parts[1:], strict=False)
        )
        first_x, last_x = _span(parts)
        start = first_x if self._axis.start is None else self._axis.start
        stop = last_x if self._axis.stop is None else self._axis.stop
        newest, highest = self._newest(level, parts)
        if rises and newest:
            start, newest = max(start, highest - self._axis.window), 0
        if self._axis.log and (start is None or start <= 0):
            start = self._first_positive(level, parts, stop)
        about = {"x": self._axis.x, "rising": rises, "count": self._levels.count, "first_x": first_x, "last_x": last_x}
        about |= {"start": start, "stop": stop, "buckets": self._axis.buckets}
        if not parts or start is None or stop is None or start > stop:
            return History(**about, complete=True, table=self._table([part.table.slice(0, 0) for part in parts[:1]]))
        if not rises and not self._axis.log:
            # Of blocks with an infinity summaries do not know the lowest and highest x besides.
            start = -math.inf if self._axis.start is None else start
            stop = math.inf if self._axis.stop is None else stop
        level, first, last, parts = self._located(level, parts, start, stop, rises, newest)
        parts = [part.only((part.row >= first) & (part.row < last)) for part in parts]
        parts = [part for part in parts if len(part.row)]
        frame = _Frame(start, stop, max(first, newest), last, rises)
        table, is_complete = self._chosen(self._refined(level, parts, frame), frame)
        return History(**about, complete=is_complete, table=table)

    # Finding where to look

    def _located(
        self, level: int, parts: list[Part], start: float, stop: float, rises: bool, newest: int
    ) -> tuple[int, int, int, list[Part]]:
        """The level to read, the rows that matter from a first to a last (exclusive), and what was loaded of them."""
        while True:
            spans = Spans.of(parts)
            is_recent = np.append(spans.begins[1:], self._levels.count) > newest
            hit = np.flatnonzero((spans.high >= start) & (spans.low <= stop) & is_recent)
            if not len(hit) and rises:
                # Nothing inside: the rows before and after are still drawn to.
                hit = np.searchsorted(spans.low, [start]) - 1
            if not len(hit):
                return 0, 0, 0, []
            # One block more on each side, of those that have rows to show, holds the nearest ones outside of the range.
            there = np.flatnonzero(spans.there)
            before, after = there[there < hit[0]], there[there > hit[-1]]
            first = int(spans.begins[before[-1]]) if len(before) else int(spans.begins[0])
            last = spans.end(int(after[0]), self._levels.count) if len(after) else self._levels.count
            if level == 0 or len(hit) >= _ENOUGH_BLOCKS * self._axis.buckets:
                return level, first, last, parts
            level -= 1
            parts = self._load(level, [(first, last)])

    def _first_positive(self, level: int, parts: list[Part], stop: float | None) -> float | None:
        """The lowest x above zero."""
        while stop is not None and stop > 0:
            spans = Spans.of(parts)
            if level == 0:
                positive = np.concatenate([part.x[part.x > 0] for part in parts])
                return float(positive.min()) if len(positive) else None
            whole = spans.low[(spans.low > 0) & np.isfinite(spans.low)]
            lowest = whole.min() if len(whole) else math.inf
            mixed = np.flatnonzero((spans.low <= 0) & (spans.high > 0))
            if not len(mixed):
                return float(lowest) if math.isfinite(lowest) else None
            level -= 1
            closer = {*mixed.tolist(), *np.flatnonzero(spans.low == lowest)[:1].tolist()}
            parts = self._load(level, [(int(spans.begins[i]), spans.end(i, self._levels.count)) for i in sorted(closer)])
        return None

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
        spans = Spans.of(parts)
        for i in reversed(np.flatnonzero(spans.there).tolist()):
            its_low, its_high = min(low, float(spans.low[i])), max(high, float(spans.high[i]))
            is_near = not its_high - its_low > self._axis.window
            if is_near and (level == 0 or spans.full[i]):
                low, high = its_low, its_high
                continue
            end = spans.end(i, count)
            if level == 0:
                return end, low, high
            closer = self._load(level - 1, [(int(spans.begins[i]), end)])
            found, low, high = self._before_window(level - 1, closer, end, low, high)
            if found is not None:
                return found, low, high
        return None, low, high

    # Looking closer

    def _places(self, part: Part, frame: _Frame) -> np.ndarray:
        if frame.rises:
            return self._axis.places(part.x, frame.start, frame.stop)
        by_row = 1 + (part.row - frame.first) * self._axis.buckets // max(1, frame.last - frame.first)
        with np.errstate(invalid="ignore"):
            is_inside = (part.x >= frame.start) & (part.x <= frame.stop) & (part.row >= frame.first)
        return np.where(is_inside, by_row, 0)

    def _refined(self, level: int, parts: list[Part], frame: _Frame) -> list[Part]:
        """All that was loaded, and what had to be loaded besides to know every bucket's extremes."""
        known = [Extremes(self._axis.buckets + 2) for _ in self._measured]
        pool: list[Part] = []
        across: dict[int, list[Across]] = defaultdict(list)
        while parts:
            for part in parts:
                pool.append(part)
                places = self._places(part, frame)
                values = [numbers_of(part.table, name) for name in self._measured]
                for one, column in zip(known, values, strict=True):
                    one.add(column, places, part.there)
                if part.level:
                    across[part.level].append(Across.of(part, places, values, buckets=self._axis.buckets, rises=frame.rises))
            parts = []
            while not parts and level > 0:
                ranges = sorted(pair for one in across.pop(level, ()) for pair in one.doubtful(known))
                level -= 1
                parts = self._load(level, ranges)
        return pool

    # Choosing

    def _chosen(self, pool: list[Part], frame: _Frame) -> tuple[pa.Table, bool]:
        pool = [part.only(part.there) for part in pool]
        tables = [part.table for part in pool]
        if not tables:
            return self._table(tables), True
        rows, places = np.concatenate([p.row for p in pool]), np.concatenate([self._places(p, frame) for p in pool])
        order = np.unique(rows, return_index=True)[1]
        places = places[order]
        inside = np.flatnonzero((places > 0) & (places <= self._axis.buckets))
        table = concat_common(tables) if len(tables) > 1 else tables[0]
        is_whole = all(part.level == 0 for part in pool)
        if len(inside) <= _FEW_ROWS * self._axis.buckets and is_whole:
            kept, is_complete = inside, True
        else:
            starts = np.flatnonzero(np.diff(places[inside], prepend=-1))
            columns = [numbers_of(table, name)[order[inside]] for name in self._measured]
            missing = [is_missing(table, name)[order[inside]] for name in self._measured]
            # The first and the last row of all show how far the rows go.
            kept = extreme_rows(columns or [rows[order[inside]]], starts, missing=missing)
            kept = inside[np.unique(np.concatenate([[0], kept, [len(inside) - 1]]))] if len(inside) else inside
            is_complete = len(kept) == len(inside) and is_whole
        if frame.rises:
            if not self._axis.having:
                # The first and the last row inside are known exactly, and so is how many there are between them.
                numbers = rows[order[kept]]
                is_complete = not len(kept) or int(numbers[-1] - numbers[0]) + 1 == len(kept)
            kept = np.concatenate([np.flatnonzero(places == 0)[-1:], kept, np.flatnonzero(places > self._axis.buckets)[:1]])
        return self._table([table.take(pa.array(order[kept]))]), is_complete

    def _table(self, tables: Sequence[pa.Table]) -> pa.Table:
        table = concat_common(tables).combine_chunks() if tables else pa.table({"row": pa.array([], pa.int64())})
        for name in self._names:
            if table.schema.get_field_index(name) < 0:
                table = table.append_column(name, pa.nulls(table.num_rows, pa.float64()))
        return table.select(self._names)


def _is_measured(dtype: str) -> bool:
    return dtype == "null" or dtype.startswith(("int", "uint", "float", "datetime64", "timedelta64"))


def _span(parts: Sequence[Part]) -> tuple[float | None, float | None]:
    """The lowest and the highest x."""
    numbers = [part.x[~np.isnan(part.x)] for part in parts]
    numbers = [x for x in numbers if len(x)]
    return (float(min(x.min() for x in numbers)), float(max(x.max() for x in numbers))) if numbers else (None, None)
