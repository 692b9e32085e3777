"""Summaries: the rows with the lowest and highest values of every block of a key's rows, on levels, each a fourth of the last.

Level 0 is all rows. On level L, a block is `block * 4**(L - 1)` rows wide, and of each block those rows are kept that
`extremes` names, the first and the last included. What is kept on one level is made of what was kept on the level below, and
nothing is lost by that: the lowest row of a block is the lowest of some block in it. Rows stay whole, so that a summary can
answer for every column of numbers or times; texts and booleans are included.

A body of level L covers `body_rows * 4**(L - 1)` rows and begins at a multiple of that. How many rows each level covers
follows from how many level 1 covers, see `Sizes.covered`. (Four is `Sizes.fanout`: a view
between two levels loads up to so many times what it needs.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from streamvis.series.extremes import extreme_rows, is_gap
from streamvis.store.chunks.packed_rows import pack, unpack
from streamvis.store.chunks.tables import concat_common, is_measurable, is_missing, numbers_of

__all__ = ["Sizes", "summary_of_rows", "summary_of_summaries"]

_MOST_COLUMNS = 32
"""A summary speaks for the first so many columns of numbers. More would make it as long as the rows."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How a store cuts the rows of a key. A file is always opened with the sizes with which it was made.

    Args:
        seal_rows: rows of a chunk that is left as it is: as many as a reader unpacks in a fraction of a millisecond
        seal_bytes: its bytes, where rows are long
        merge_at: so many neighbouring chunks of about one size are merged
        body_rows: rows that a body of a summary of level 1 covers
        fanout: how many bodies, and blocks, make one of the next level
        block: rows of a block of level 1, per column of numbers
    """

    seal_rows: int = 2**13
    seal_bytes: int = 2**20
    merge_at: int = 16
    body_rows: int = 2**15
    fanout: int = 4
    block: int = 32

    @property
    def due(self) -> tuple[int, int, int, int]:
        """From where on a key is tidied: chunks that came since, rows and bytes not sealed, sealed rows without summaries."""
        return self.merge_at, self.seal_rows, self.seal_bytes, self.body_rows

    def body_rows_of(self, level: int) -> int:
        """How many rows a body of this level covers."""
        return self.body_rows * self.fanout ** (level - 1)

    def covered(self, level: int, summed: int) -> int:
        """How many rows from the first this level covers, where level 1 covers `summed`."""
        return summed // self.body_rows_of(level) * self.body_rows_of(level)

    def levels(self, summed: int) -> int:
        """The highest level that there is."""
        level = 0
        while self.covered(level + 1, summed):
            level += 1
        return level


def summary_of_rows(read: Callable[[Sequence[str] | None], Iterator[pa.Table]], sizes: Sizes) -> bytes:
    """The body of level 1 for the rows that `read` gives: of the columns named, or of all, with their numbers in `row`.

    All columns of all rows are never together in memory: of most rows only those are looked at that are measured.
    """
    schema = concat_common([table.schema.empty_table() for table in read(None)]).schema
    stays = [field.name for field in schema if _can_stay(field)]
    measured = [name for name in stays if is_measurable(schema.field(name))][: 3 + _MOST_COLUMNS]
    table = concat_common(list(read(measured)))
    columns = {name: numbers_of(table, name) for name in measured}
    own = max(2, len(measured) - 3)
    block = sizes.block * min(_MOST_COLUMNS, 1 << (own - 1).bit_length())
    rising = [name for name, column in columns.items() if _rises(column)]
    kept = _kept(table, columns, np.arange(0, table.num_rows, block))
    table = concat_common(list(_taken(read(None), kept))).select(stays)
    return pack({"block": block, "measured": measured, "rising": rising}, table)


def _taken(tables: Iterable[pa.Table], kept: np.ndarray) -> Iterator[pa.Table]:
    """Of tables that follow each other those rows that are kept, by their places in all of them."""
    begin = 0
    for table in tables:
        end = begin + table.num_rows
        yield table.take(pa.array(kept[(kept >= begin) & (kept < end)] - begin))
        begin = end


def summary_of_summaries(bodies: Sequence[bytes], sizes: Sizes) -> bytes:
    """The body of the next level for the bodies of neighbours."""
    metas, tables = zip(*(unpack(body) for body in bodies), strict=True)
    table = concat_common(tables)
    block = sizes.fanout * max(meta["block"] for meta in metas)
    pairs = list(zip(metas, tables, strict=True))
    measured = [name for name in table.column_names if all(_measures(meta, table, name) for meta, table in pairs)]
    columns = {name: numbers_of(table, name) for name in measured}
    rows = columns["row"]
    starts = np.flatnonzero(np.diff(rows // block, prepend=-1))
    rising = [name for name in measured if all(name in meta["rising"] for meta in metas) and _rises(columns[name])]
    kept = table.take(pa.array(_kept(table, columns, starts)))
    return pack({"block": block, "measured": measured, "rising": rising}, kept)


def _kept(table: pa.Table, columns: Mapping[str, np.ndarray], starts: np.ndarray) -> np.ndarray:
    missing = [is_missing(table, name) for name in columns]
    return extreme_rows(list(columns.values()), starts, missing=missing, ends_too=True)


def _can_stay(field: pa.Field) -> bool:
    return is_measurable(field) or not field.metadata and not pa.types.is_nested(field.type) and not pa.types.is_null(field.type)


def _measures(meta: dict, table: pa.Table, name: str) -> bool:
    return name in meta["measured"] or table.schema.get_field_index(name) < 0


def _rises(column: np.ndarray) -> bool:
    return not is_gap(column).any() and bool((column[1:] >= column[:-1]).all()) if column.dtype.kind != "O" else False
