"""What is loaded of a key's past to answer for a screen: rows, or of whole blocks of rows those that a summary keeps.

Works on anything that can load rows and summaries of a key, see `Levels`; knows no SQL, and nothing of buckets but their numbers.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa

from streamvis.series.extremes import Extremes
from streamvis.store.chunks.packed_rows import unpack
from streamvis.store.chunks.tables import concat_common, is_missing, numbers_of
from streamvis.store.views.summaries import Sizes

__all__ = ["Across", "Levels", "Loader", "Part", "Spans", "as_floats"]

_ROWS_AT_ONCE = 2**17
"""So many rows are loaded at a time where all that is loaded need not be kept. On levels, blocks are never cut by that."""
_SECONDS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}


class Levels(Protocol):
    """The rows of a key and their summaries, as one snapshot."""

    count: int
    summed: int
    sizes: Sizes

    def rows(self, first: int, last: int, names: Sequence[str]) -> Iterable[pa.Table]:
        """The rows from number `first` to `last` (exclusive) with the columns `row` and `names`, those that are there."""
        ...

    def rows_each(self, ranges: Sequence[tuple[int, int]], names: Sequence[str]) -> Iterator[Iterator[pa.Table]]:
        """The same of each of these ranges, to be read to their end before the next."""
        ...

    def summaries(self, level: int, firsts: Sequence[int]) -> Iterator[bytes | None]:
        """The bodies of the level that begin at these rows; None for one that cannot be read: lower levels say the same."""
        ...


@dataclass(frozen=True, slots=True)
class _Piece:
    """Rows as they were loaded; `rises` tells whether x rises in all rows that they stand for."""

    level: int
    block: int
    rises: bool
    table: pa.Table


@dataclass(slots=True)
class Part:
    """Rows of a level, or all rows of a range (`block` is 1 then). Its blocks are whole.

    x is NaN where a row has no place on an axis; an infinity is in `raw_x` alone. A row that is not `there` has nothing that is
    asked for, but counts in its block. `sent` tells for each measured column that is asked for which rows have it.
    """

    level: int
    block: int
    rises: bool
    table: pa.Table
    row: np.ndarray
    x: np.ndarray
    raw_x: np.ndarray
    there: np.ndarray
    sent: Sequence[np.ndarray]

    def blocks(self) -> tuple[np.ndarray, np.ndarray]:
        """The first and last position of each block."""
        starts = np.flatnonzero(np.diff(self.row // self.block, prepend=-1))
        return starts, np.append(starts[1:], len(self.row)) - 1

    def only(self, chosen: np.ndarray) -> Part:
        """The rows that are chosen."""
        if chosen.all():
            return self
        row, x, raw_x, there = (column[chosen] for column in (self.row, self.x, self.raw_x, self.there))
        sent = [column[chosen] for column in self.sent]
        return Part(self.level, self.block, self.rises, self.table.filter(pa.array(chosen)), row, x, raw_x, there, sent)


@dataclass(frozen=True, slots=True)
class Spans:
    """The blocks of parts, in the order of their rows: the first row of each and the one after its last, between which two x all
    of its rows lie (where it has an infinity, summaries know no better; `low` is above `high` where it has no x), and whether any
    row, and whether each is `there`, as far as is known."""

    begins: np.ndarray
    ends: np.ndarray
    low: np.ndarray
    high: np.ndarray
    there: np.ndarray
    full: np.ndarray

    @classmethod
    def of(cls, parts: Sequence[Part]) -> Spans:
        """The blocks of these parts."""
        if not parts:
            return cls(*[np.empty(0)] * 4, *[np.empty(0, bool)] * 2)
        found = [np.concatenate(column) for column in zip(*map(_spans, parts), strict=True)]
        order = np.argsort(found[0], kind="stable")
        return cls(*(column[order] for column in found))

    def ranges(self, chosen: np.ndarray) -> list[tuple[int, int]]:
        """The first row of each of the blocks at these places, and the one after its last; neighbours are one range."""
        begins, ends = self.begins[chosen], self.ends[chosen]
        is_new = np.append(True, begins[1:] > ends[:-1])[: len(begins)]
        is_last = np.append(is_new[1:], True)[: len(begins)]
        return list(zip(begins[is_new].tolist(), ends[is_last].tolist(), strict=True))


def _spans(part: Part) -> tuple[np.ndarray, ...]:
    if part.level == 0:
        full = part.there & (not len(part.sent) or np.logical_or.reduce(part.sent))
        is_gap = np.isnan(part.x)
        return part.row, part.row + 1, np.where(is_gap, np.inf, part.x), np.where(is_gap, -np.inf, part.x), part.there, full
    starts, ends = part.blocks()
    begins = part.row[starts]
    ended = (begins // part.block + 1) * part.block
    if not len(starts):
        return begins, ended, part.x[starts], part.x[starts], part.there[starts], part.there[starts]
    there = np.logical_or.reduceat(part.there, starts)
    # One row of a block that lacks a measured column is kept, if there are any.
    full = there & (not len(part.sent) or np.logical_or.reduce([np.logical_and.reduceat(one, starts) for one in part.sent]))
    if part.rises:
        return begins, ended, part.x[starts], part.x[ends], there, full
    x = part.raw_x if part.level else part.x
    low, high = np.fmin.reduceat(x, starts), np.fmax.reduceat(x, starts)
    return begins, ended, np.where(np.isnan(low), np.inf, low), np.where(np.isnan(high), -np.inf, high), there, full


class Loader:
    """Loads rows of the columns `names`, and what levels keep of them.

    Args:
        levels: the key
        x: the column of the axis
        names: all columns to load, x among them
        measured: those of them whose extremes are asked for
        needed: where given, a row that has none of these is not `there`
    """

    def __init__(
        self, levels: Levels, *, x: str, names: Sequence[str], measured: Sequence[str], needed: Sequence[str] | None
    ) -> None:
        self._levels, self._x, self._names, self._measured, self._needed = levels, x, names, measured, needed

    def load_in_turn(self, level: int, ranges: Sequence[tuple[int, int]]) -> Iterator[list[Part]]:
        """As `load`, a bounded number of rows at a time: what was loaded before need not be kept."""
        most = _ROWS_AT_ONCE * self._levels.sizes.fanout**level
        group: list[tuple[int, int]] = []
        size = 0
        for first, last in ranges:
            start = first
            while start < last:
                stop = min(last, (start // most + 1) * most)
                if group and size + stop - start > most:
                    yield self.load(level, group)
                    group, size = [], 0
                group.append((start, stop))
                size += stop - start
                start = stop
        if group:
            yield self.load(level, group)

    def load(self, level: int, ranges: Iterable[tuple[int, int]]) -> list[Part]:
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
        groups = [(body, list(its)) for body, its in itertools.groupby(ranges, key=lambda pair: pair[0] // step)]
        if level == 0:
            loaded = self._levels.rows_each([(its[0][0], its[-1][1]) for _, its in groups], self._names)
            for (_, members), tables in zip(groups, loaded, strict=True):
                for table in tables:
                    for part in _within(table, members):
                        yield _Piece(0, 1, True, part)
            return
        # Only the last range of a group can reach beyond the body.
        places = [range(body * step, min(members[-1][1], reach), step) for body, members in groups]
        summaries = self._levels.summaries(level, list(itertools.chain(*places)))
        for (_, members), its_places in zip(groups, places, strict=True):
            for at in its_places:
                here = [(max(first, at), min(last, at + step)) for first, last in members if first < at + step and last > at]
                summary = next(summaries)
                meta, table = unpack(summary, wanted=self._wanted) if summary is not None else ({}, None)
                if table is None or not self._speaks_for_all(meta, table):
                    yield from self._pieces(level - 1, here)
                    continue
                for part in _within(table, here):
                    yield _Piece(level, meta["block"], self._x in meta["rising"], part)
            beyond = [(max(first, reach), last) for first, last in members if last > reach]
            if beyond:
                yield from self._pieces(level - 1, beyond)

    def _wanted(self, meta: dict, schema: pa.Schema) -> list[int]:
        return [i for i in (schema.get_field_index(name) for name in self._names) if i >= 0]

    def _speaks_for_all(self, meta: dict, table: pa.Table) -> bool:
        needed = [*self._measured, self._x]
        return all(name in meta["measured"] or table.schema.get_field_index(name) < 0 for name in needed)

    def _part(self, level: int, block: int, tables: Sequence[pa.Table], rises: Sequence[bool]) -> Part:
        table = concat_common(tables, mixed=True).combine_chunks()
        raw_x = as_floats(numbers_of(table, self._x))
        x = np.where(np.isfinite(raw_x), raw_x, np.nan)
        in_order = bool((x[1:] >= x[:-1]).all()) and not np.isnan(x).any()
        there = np.full(len(x), self._needed is None)
        sent = []
        for name in self._needed or ():
            has_it = ~is_missing(table, name)
            there |= has_it
            sent += [has_it] if name in self._measured else []
        return Part(level, block, in_order and all(rises), table, numbers_of(table, "row"), x, raw_x, there, sent)


@dataclass(frozen=True, slots=True)
class Across:
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
        part: Part,
        places: np.ndarray,
        values: Sequence[np.ndarray],
        *,
        buckets: int,
        rises: bool,
        start: float,
        stop: float,
    ) -> Across:
        """Those of a part, given the bucket of each row (0 before all, buckets + 1 after), the columns, and the range of x."""
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
            # Of a block that reaches from below the range to above it, none of the rows inside may have been kept.
            _, _, its_low, its_high, *_ = _spans(part)
            chosen = np.flatnonzero((low != high) | ((high == 0) & (its_low <= stop) & (its_high >= start)))
            is_sure = np.ones(len(starts), dtype=bool)
        columns = []
        for column in values if len(chosen) else ():
            extremes = Extremes(len(starts))
            extremes.add(column, np.repeat(np.arange(len(starts)), ends - starts + 1), part.there)
            columns.append((extremes.lowest[chosen], extremes.highest[chosen], extremes.odd[chosen]))
        return cls(begins[chosen], lasts[chosen], one[chosen], other[chosen], is_sure[chosen], columns)

    def doubtful(self, known: Sequence[Extremes]) -> list[tuple[int, int]]:
        """The rows of the blocks that could hold something beyond what is known of their buckets."""
        doubt = self.is_sure.copy()
        with np.errstate(invalid="ignore"):
            for (lowest, highest, odd), so_far in zip(self.columns, known, strict=bool(len(self.firsts))):
                for side in (self.one, self.other):
                    doubt |= ~(so_far.lowest[side] <= lowest) & ~np.isnan(lowest)
                    doubt |= ~(so_far.highest[side] >= highest) & ~np.isnan(highest)
                    doubt |= (odd & ~so_far.odd[side]) != 0
        return list(zip(self.firsts[doubt].tolist(), self.lasts[doubt].tolist(), strict=True))


def _within(table: pa.Table, ranges: Sequence[tuple[int, int]]) -> Iterator[pa.Table]:
    """The rows of the table whose numbers lie in the ranges."""
    row = numbers_of(table, "row")
    if not len(row):
        return
    for first, last in ranges:
        start, stop = np.searchsorted(row, (first, last)).tolist() if first > row[0] or last <= row[-1] else (0, len(row))
        if stop > start:
            yield table.slice(start, stop - start)


def as_floats(x: np.ndarray) -> np.ndarray:
    """Numbers as they are, times and durations in seconds, gaps as NaN."""
    if x.dtype.kind not in "mM":
        return x.astype(np.float64)
    seconds = x.view(np.int64) / _SECONDS[np.datetime_data(x.dtype)[0]]
    return np.where(np.isnat(x), np.nan, seconds)
