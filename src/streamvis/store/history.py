"""One key's past at the resolution of a screen: of every bucket of an axis the rows with the lowest and the highest values.

The answer is exact, from all rows, and still only a few of them are read. A block of a summary that lies within one bucket
needs no closer look: its extremes are kept in it. A block that lies across the edge of a bucket is looked at one level below, and
so on down to the rows; but only where it could hold a value that is beyond all that is known of one of its buckets.

Works on anything that can load rows and summaries of a key, see `Levels`; knows no SQL.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa

from streamvis.errors import InvalidData
from streamvis.extremes import Extremes, extreme_rows
from streamvis.records import History
from streamvis.store.packed import unpack
from streamvis.store.summaries import Sizes
from streamvis.store.tables import concat_common, inner_name, numbers_of

__all__ = ["Axis", "Levels", "axis_name", "drawn_names", "select"]

_ENOUGH_BLOCKS = 1
"""How many blocks a bucket has at least on the level that is read: more would be more to read, fewer more to look at closely."""
_SHOWN_NAMES = 20
_FEW_ROWS = 2
"""So many rows a bucket and all of them are given: its lowest and its highest would be as many."""
_SECONDS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}


class Levels(Protocol):
    """The rows of a key and their summaries, as one snapshot."""

    count: int
    summed: int
    sizes: Sizes

    def rows(self, first: int, last: int, names: Sequence[str]) -> Iterable[pa.Table]:
        """The rows from number `first` to `last` (exclusive) with the columns `row` and `names`, those that are there."""
        ...

    def summary(self, level: int, first: int) -> bytes | None:
        """The body of the level that begins at the row `first`; None where it cannot be read: lower levels say the same."""
        ...


@dataclass(frozen=True, slots=True)
class Axis:
    """What is asked for: the column `x`, its range from `start` to `stop` (None: all), and its buckets.

    Bucket b of N, each of width w = (f(stop) - f(start)) / N, holds the rows with b <= (f(x) - f(start)) / w < b + 1, and the
    last of them `stop` too (so edges are exact where w is a power of two and the range begins at a multiple of it); f is the
    logarithm on a logarithmic axis, where x <= 0 lies in no bucket, and nothing otherwise.
    """

    x: str
    start: float | None
    stop: float | None
    buckets: int
    log: bool = False

    def places(self, x: np.ndarray, start: float, stop: float) -> np.ndarray:
        """The bucket of each x, counted from 1; 0 before the range, N + 1 after it, and 0 for what has no place at all."""
        places = np.zeros(len(x), dtype=np.int64)
        with np.errstate(invalid="ignore", divide="ignore"):
            inside, after = (x >= start) & (x <= stop), x > stop
            low, high, at = (np.log10(v) for v in (start, stop, x)) if self.log else (start, stop, x)
            width = (high - low) / self.buckets
            place = (at[inside] - low) / width if width > 0 else np.zeros(int(inside.sum()))
        places[inside] = 1 + np.clip(place.astype(np.int64), 0, self.buckets - 1)
        places[after] = self.buckets + 1
        return places


@dataclass(frozen=True, slots=True)
class _Piece:
    """Rows as they were loaded; `rises` tells whether x rises in all rows that they stand for."""

    level: int
    block: int
    rises: bool
    table: pa.Table


@dataclass(slots=True)
class _Part:
    """Rows of a level, or all rows of a range (`block` is 1 then). Its blocks are whole."""

    level: int
    block: int
    rises: bool
    table: pa.Table
    row: np.ndarray
    x: np.ndarray

    def blocks(self) -> tuple[np.ndarray, np.ndarray]:
        """The first and last position of each block."""
        starts = np.flatnonzero(np.diff(self.row // self.block, prepend=-1))
        return starts, np.append(starts[1:], len(self.row)) - 1

    def only(self, chosen: np.ndarray) -> _Part:
        """The rows that are chosen."""
        if chosen.all():
            return self
        return _Part(self.level, self.block, self.rises, self.table.filter(pa.array(chosen)), self.row[chosen], self.x[chosen])


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


class _Selection:
    def __init__(self, levels: Levels, axis: Axis, columns: Sequence[str], measured: Sequence[str]) -> None:
        self._levels, self._axis = levels, axis
        self._measured = [name for name in measured if name != axis.x]
        self._names = list(dict.fromkeys(["row", "step", "time", axis.x, *columns]))

    def run(self) -> History:
        level = self._levels.sizes.levels(self._levels.summed)
        parts = self._load(level, [(0, self._levels.count)])
        rises = all(part.rises for part in parts) and all(
            one.x[-1] <= other.x[0] for one, other in zip(parts, parts[1:], strict=False)
        )
        first_x, last_x = _span(parts)
        start = first_x if self._axis.start is None else self._axis.start
        stop = last_x if self._axis.stop is None else self._axis.stop
        if self._axis.log and (start is None or start <= 0):
            start = self._first_positive(level, parts, stop)
        about = {"x": self._axis.x, "rising": rises, "count": self._levels.count, "first_x": first_x, "last_x": last_x}
        about |= {"start": start, "stop": stop, "buckets": self._axis.buckets}
        if not parts or start is None or stop is None or start > stop:
            return History(**about, complete=True, table=self._table([part.table.slice(0, 0) for part in parts[:1]]))
        level, first, last, parts = self._located(level, parts, start, stop, rises)
        parts = [part.only((part.row >= first) & (part.row < last)) for part in parts]
        parts = [part for part in parts if len(part.row)]
        pool = self._refined(level, parts, (start, stop, first, last), rises)
        table, is_complete = self._chosen(pool, (start, stop, first, last), rises)
        return History(**about, complete=is_complete, table=table)

    # Loading

    def _load(self, level: int, ranges: Iterable[tuple[int, int]]) -> list[_Part]:
        """The rows of the ranges, which rise and do not overlap, on a level; as few parts as there are kinds of blocks."""
        pieces: dict[tuple[int, int], list[tuple[pa.Table, bool]]] = defaultdict(list)
        for piece in self._pieces(level, list(ranges)):
            pieces[piece.level, piece.block].append((piece.table, piece.rises))
        parts = [self._part(*kind, *zip(*found, strict=True)) for kind, found in pieces.items()]
        return sorted(parts, key=lambda part: part.row[0])

    def _pieces(self, level: int, ranges: Sequence[tuple[int, int]]) -> Iterator[_Piece]:
        """Rows as they lie on a level, and on those below where it does not reach or knows nothing of a column."""
        sizes, summed = self._levels.sizes, self._levels.summed
        reach = sizes.covered(level, summed) if level else 0
        step = sizes.body_rows_of(level) if level else sizes.seal_rows
        for body, members in itertools.groupby(ranges, key=lambda pair: pair[0] // step):
            members = list(members)
            if level == 0:
                for table in self._levels.rows(members[0][0], members[-1][1], self._names):
                    for part in _within(table, members):
                        yield _Piece(0, 1, True, part)
                continue
            # Only the last of these can reach beyond the body.
            for at in range(body * step, min(members[-1][1], reach), step):
                here = [(max(first, at), min(last, at + step)) for first, last in members if first < at + step and last > at]
                body_ = self._levels.summary(level, at)
                meta, table = unpack(body_, wanted=self._wanted) if body_ is not None else ({}, None)
                if table is None or not self._speaks_for_all(meta, table):
                    yield from self._pieces(level - 1, here)
                    continue
                for part in _within(table, here):
                    yield _Piece(level, meta["block"], self._axis.x in meta["rising"], part)
            beyond = [(max(first, reach), last) for first, last in members if last > reach]
            if beyond:
                yield from self._pieces(level - 1, beyond)

    def _wanted(self, meta: dict, schema: pa.Schema) -> list[int]:
        return [i for i in (schema.get_field_index(name) for name in self._names) if i >= 0]

    def _speaks_for_all(self, meta: dict, table: pa.Table) -> bool:
        needed = [*self._measured, self._axis.x]
        return all(name in meta["measured"] or table.schema.get_field_index(name) < 0 for name in needed)

    def _part(self, level: int, block: int, tables: Sequence[pa.Table], rises: Sequence[bool]) -> _Part:
        table = concat_common(tables).combine_chunks()
        x = _as_floats(numbers_of(table, self._axis.x))
        in_order = bool((x[1:] >= x[:-1]).all()) and not np.isnan(x).any()
        return _Part(level, block, in_order and all(rises), table, numbers_of(table, "row"), x)

    # Finding where to look

    def _located(
        self, level: int, parts: list[_Part], start: float, stop: float, rises: bool
    ) -> tuple[int, int, int, list[_Part]]:
        """The level to read, the rows that matter from a first to a last (exclusive), and what was loaded of them."""
        while True:
            begins, x_low, x_high = (np.concatenate(column) for column in zip(*map(_block_spans, parts), strict=True))
            hit = np.flatnonzero((x_high >= start) & (x_low <= stop))
            if not len(hit) and rises:
                # Nothing inside: the rows before and after are still drawn to.
                hit = np.searchsorted(x_low, [start]) - 1
            if not len(hit):
                return 0, 0, 0, []
            # One block more on each side holds the nearest rows outside of the range.
            first, last = int(max(0, hit[0] - 1)), int(hit[-1] + 2)
            first_row = int(begins[first])
            last_row = int(begins[last]) if last < len(begins) else self._levels.count
            if level == 0 or len(hit) >= _ENOUGH_BLOCKS * self._axis.buckets:
                return level, first_row, last_row, parts
            level -= 1
            parts = self._load(level, [(first_row, last_row)])

    def _first_positive(self, level: int, parts: list[_Part], stop: float | None) -> float | None:
        """The lowest x above zero."""
        while stop is not None and stop > 0:
            begins, x_low, x_high = (np.concatenate(column) for column in zip(*map(_block_spans, parts), strict=True))
            if level == 0:
                positive = np.concatenate([part.x[part.x > 0] for part in parts])
                return float(positive.min()) if len(positive) else None
            whole = x_low[x_low > 0]
            lowest = whole.min() if len(whole) else math.inf
            mixed = np.flatnonzero((x_low <= 0) & (x_high > 0))
            if not len(mixed):
                return float(lowest)
            level -= 1
            ends = np.append(begins[1:], self._levels.count)
            closer = {*mixed.tolist(), *np.flatnonzero(x_low == lowest)[:1].tolist()}
            parts = self._load(level, [(int(begins[i]), int(ends[i])) for i in sorted(closer)])
        return None

    # Looking closer

    def _places(self, part: _Part, frame: tuple[float, float, int, int], rises: bool) -> np.ndarray:
        start, stop, first, last = frame
        if rises:
            return self._axis.places(part.x, start, stop)
        by_row = 1 + (part.row - first) * self._axis.buckets // max(1, last - first)
        with np.errstate(invalid="ignore"):
            return np.where((part.x >= start) & (part.x <= stop), by_row, 0)

    def _refined(
        self, level: int, parts: list[_Part], frame: tuple[float, float, int, int], rises: bool
    ) -> list[_Part]:
        """All that was loaded, and what had to be loaded besides to know every bucket's extremes."""
        known = [Extremes(self._axis.buckets + 2) for _ in self._measured]
        pool: list[_Part] = []
        across: dict[int, list[_Across]] = defaultdict(list)
        while parts:
            for part in parts:
                pool.append(part)
                places = self._places(part, frame, rises)
                values = [numbers_of(part.table, name) for name in self._measured]
                for one, column in zip(known, values, strict=True):
                    one.add(column, places)
                if part.level:
                    across[part.level].append(_Across.of(part, places, values, frame, self._axis.buckets, rises))
            parts = []
            while not parts and level > 0:
                ranges = sorted(pair for one in across.pop(level, ()) for pair in one.doubtful(known))
                level -= 1
                parts = self._load(level, ranges)
        return pool

    # Choosing

    def _chosen(
        self, pool: list[_Part], frame: tuple[float, float, int, int], rises: bool
    ) -> tuple[pa.Table, bool]:
        tables = [part.table for part in pool]
        if not tables:
            return self._table(tables), True
        rows, places = np.concatenate([p.row for p in pool]), np.concatenate([self._places(p, frame, rises) for p in pool])
        order = np.unique(rows, return_index=True)[1]
        places = places[order]
        inside = np.flatnonzero((places > 0) & (places <= self._axis.buckets))
        table = concat_common(tables) if len(tables) > 1 else tables[0]
        if len(inside) <= _FEW_ROWS * self._axis.buckets and all(part.level == 0 for part in pool):
            kept, is_complete = inside, True
        else:
            starts = np.flatnonzero(np.diff(places[inside], prepend=-1))
            columns = [numbers_of(table, name)[order[inside]] for name in self._measured]
            # The first and the last row of all show how far the rows go.
            kept = extreme_rows(columns or [rows[order[inside]]], starts)
            kept = inside[np.unique(np.concatenate([[0], kept, [len(inside) - 1]]))] if len(inside) else inside
            is_complete = len(kept) == len(inside) and all(part.level == 0 for part in pool)
        if rises:
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


@dataclass(frozen=True, slots=True)
class _Across:
    """Blocks that lie across the edge of a bucket: the rows of each, its two buckets, and each column's extremes in it."""

    firsts: np.ndarray
    lasts: np.ndarray
    one: np.ndarray
    other: np.ndarray
    is_sure: np.ndarray
    columns: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]

    @classmethod
    def of(
        cls,
        part: _Part,
        places: np.ndarray,
        values: Sequence[np.ndarray],
        frame: tuple[float, float, int, int],
        buckets: int,
        rises: bool,
    ) -> _Across:
        starts, ends = part.blocks()
        begins = part.row[starts]
        lasts = part.row[ends] + 1
        one, other = places[starts], places[ends]
        if rises:
            chosen = np.flatnonzero(one != other)
            # The nearest rows outside of the range are looked for in any case, and so is a block of many buckets.
            is_sure = (one == 0) | (other > buckets) | (other - one > 1)
        else:
            low, high = np.minimum.reduceat(places, starts), np.maximum.reduceat(places, starts)
            chosen = np.flatnonzero(low != high)
            is_sure = np.ones(len(starts), dtype=bool)
        columns = []
        for column in values if len(chosen) else ():
            extremes = Extremes(len(starts))
            extremes.add(column, np.repeat(np.arange(len(starts)), ends - starts + 1))
            columns.append((extremes.lowest[chosen], extremes.highest[chosen], extremes.has_gap[chosen]))
        return cls(begins[chosen], lasts[chosen], one[chosen], other[chosen], is_sure[chosen], columns)

    def doubtful(self, known: Sequence[Extremes]) -> list[tuple[int, int]]:
        """The rows of the blocks that could hold something beyond what is known of their buckets."""
        doubt = self.is_sure.copy()
        with np.errstate(invalid="ignore"):
            for (lowest, highest, has_gap), so_far in zip(self.columns, known, strict=bool(len(self.firsts))):
                for side in (self.one, self.other):
                    doubt |= ~(so_far.lowest[side] <= lowest) & ~np.isnan(lowest)
                    doubt |= ~(so_far.highest[side] >= highest) & ~np.isnan(highest)
                    doubt |= has_gap & ~so_far.has_gap[side]
        return list(zip(self.firsts[doubt].tolist(), self.lasts[doubt].tolist(), strict=True))


def _block_spans(part: _Part) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each block the number of its first row, and its lowest and highest x (infinitely far off where there is none)."""
    starts, ends = part.blocks()
    if not len(starts):
        return part.row[starts], part.x[starts], part.x[starts]
    if part.rises:
        return part.row[starts], part.x[starts], part.x[ends]
    low, high = np.fmin.reduceat(part.x, starts), np.fmax.reduceat(part.x, starts)
    return part.row[starts], np.where(np.isnan(low), np.inf, low), np.where(np.isnan(high), -np.inf, high)


def _is_measured(dtype: str) -> bool:
    return dtype == "null" or dtype.startswith(("int", "uint", "float", "datetime64", "timedelta64"))


def _within(table: pa.Table, ranges: Sequence[tuple[int, int]]) -> Iterator[pa.Table]:
    """The rows of the table whose numbers lie in the ranges."""
    row = numbers_of(table, "row")
    if not len(row):
        return
    for first, last in ranges:
        start, stop = np.searchsorted(row, (first, last)).tolist() if first > row[0] or last <= row[-1] else (0, len(row))
        if stop > start:
            yield table.slice(start, stop - start)


def _span(parts: Sequence[_Part]) -> tuple[float | None, float | None]:
    """The lowest and the highest x."""
    numbers = [part.x[~np.isnan(part.x)] for part in parts]
    numbers = [x for x in numbers if len(x)]
    return (float(min(x.min() for x in numbers)), float(max(x.max() for x in numbers))) if numbers else (None, None)


def _as_floats(x: np.ndarray) -> np.ndarray:
    """Numbers as they are, times and durations in seconds, gaps as NaN."""
    if x.dtype.kind not in "mM":
        return x.astype(np.float64)
    seconds = x.view(np.int64) / _SECONDS[np.datetime_data(x.dtype)[0]]
    return np.where(np.isnat(x), np.nan, seconds)
