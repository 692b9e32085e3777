"""Rows of a key, by their numbers, out of the chunks of the SQLite store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa

from streamvis.store import statements as sql
from streamvis.store.bodies import read_chunk, read_summary
from streamvis.store.damage import Broken
from streamvis.store.database import Database
from streamvis.store.summaries import Sizes
from streamvis.store.tables import with_numbers

__all__ = ["KeyLevels", "positions", "read_rows"]


def read_rows(db: Database, key: int, first: int, last: int, *, names: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The rows from number `first` to `last` (exclusive), in order, with their numbers in `row`; all columns, or those named."""
    wanted = names and (lambda _, schema: positions(schema, names))
    for no, first_row, count in db.execute(sql.GET_CHUNKS_IN, (key, first, last)):
        if first_row + count <= first:
            continue
        _, table = read_chunk(db, key, no).rows(wanted)
        start = max(0, first - first_row)
        yield with_numbers(table, first_row).slice(start, min(count, last - first_row) - start)


class KeyLevels:
    """One key's rows and summaries inside a read transaction, see `levels.Levels`. `note` is told of a damaged summary."""

    def __init__(self, db: Database, key: int, sizes: Sizes, *, note: Callable[[Broken], object]) -> None:
        self._db, self._key, self.sizes, self._note = db, key, sizes, note
        self.count, self.summed = db.execute(sql.GET_KEY_LENGTHS, (key,)).fetchone()

    def rows(self, first: int, last: int, names: Sequence[str]) -> Iterator[pa.Table]:
        """The rows from number `first` to `last` (exclusive), of the columns named."""
        return read_rows(self._db, self._key, first, last, names=names)

    def summary(self, level: int, first: int) -> bytes | None:
        """The body of the level that begins at the row `first`; None where it is damaged."""
        try:
            return read_summary(self._db, self._key, level, first)
        except Broken as broken:
            self._note(broken)
            return None


def positions(schema: pa.Schema, names: Sequence[str]) -> list[int]:
    """Where the columns of these names are in a chunk, those that are there, each once."""
    found = (schema.get_field_index(name) for name in names)
    return list(dict.fromkeys(i for i in found if i >= 0))
