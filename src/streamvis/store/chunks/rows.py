"""Rows of a key, by their numbers, out of the chunks of the SQLite store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa

from streamvis.store import statements as sql
from streamvis.store.chunks.bodies import read_chunks_of, read_summaries
from streamvis.store.chunks.tables import with_numbers
from streamvis.store.database import Database
from streamvis.store.repairing.damage import Broken
from streamvis.store.views.summaries import Sizes

__all__ = ["KeyLevels", "positions", "read_rows"]


def read_rows(db: Database, key: int, first: int, last: int, *, names: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The rows from number `first` to `last` (exclusive), in order, with their numbers in `row`; all columns, or those named."""
    return next(_read_ranges(db, key, [(first, last)], names))


def _read_ranges(
    db: Database, key: int, ranges: Sequence[tuple[int, int]], names: Sequence[str] | None
) -> Iterator[Iterator[pa.Table]]:
    """The rows of each range, to be read to their end before the next."""
    found = db.execute_each(sql.GET_CHUNKS_IN, [(key, *one) for one in ranges])
    # A chunk that ends before the range may be found with those in it.
    places = [[place for place in its if place[1] + place[2] > first] for its, (first, _) in zip(found, ranges, strict=True)]
    chunks = read_chunks_of(db, key, (no for its in places for no, _, _ in its))
    wanted = None if names is None else lambda _, schema: positions(schema, names)

    def rows(its: Sequence[tuple[int, int, int]], first: int, last: int) -> Iterator[pa.Table]:
        for _, first_row, count in its:
            _, table = next(chunks).rows(wanted)
            start = max(0, first - first_row)
            yield with_numbers(table, first_row).slice(start, min(count, last - first_row) - start)

    for its, (first, last) in zip(places, ranges, strict=True):
        yield rows(its, first, last)


class KeyLevels:
    """One key's rows and summaries inside a read transaction, see `levels.Levels`. `note` is told of a damaged summary."""

    def __init__(self, db: Database, key: int, sizes: Sizes, *, note: Callable[[Broken], object]) -> None:
        self._db, self._key, self.sizes, self._note = db, key, sizes, note
        self.count, self.summed = db.execute(sql.GET_KEY_LENGTHS, (key,)).fetchone()

    def rows(self, first: int, last: int, names: Sequence[str]) -> Iterator[pa.Table]:
        """The rows from number `first` to `last` (exclusive), of the columns named."""
        return read_rows(self._db, self._key, first, last, names=names)

    def rows_each(self, ranges: Sequence[tuple[int, int]], names: Sequence[str]) -> Iterator[Iterator[pa.Table]]:
        """The same of each of these ranges, to be read to their end before the next."""
        return _read_ranges(self._db, self._key, ranges, names)

    def summaries(self, level: int, firsts: Sequence[int]) -> Iterator[bytes | None]:
        """The bodies of the level that begin at these rows; None for one that is damaged."""
        for found in read_summaries(self._db, self._key, level, firsts):
            if isinstance(found, Broken):
                self._note(found)
            yield None if isinstance(found, Broken) else found


def positions(schema: pa.Schema, names: Sequence[str]) -> list[int]:
    """Where the columns of these names are in a chunk, those that are there, each once."""
    found = (schema.get_field_index(name) for name in names)
    return list(dict.fromkeys(i for i in found if i >= 0))
