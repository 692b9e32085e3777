"""Rows of one key, by their numbers, out of the chunks of the SQLite store."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

import pyarrow as pa

from streamvis.store import statements as sql
from streamvis.store.packed import unpack
from streamvis.store.summaries import Sizes
from streamvis.store.tables import rows_of_body, with_numbers

__all__ = ["KeyLevels", "read_rows"]


def read_rows(
    db: sqlite3.Connection, key: int, first: int, last: int, *, names: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """The rows from number `first` to `last` (exclusive), in order, with their numbers in `row`; all columns, or those named."""
    for first_row, count, packed, body in db.execute(sql.GET_CHUNKS_IN, (key, first, last)):
        if first_row + count <= first:
            continue
        if packed:
            _, table = unpack(body, wanted=names and (lambda _, schema: _positions(schema, names)))
        else:
            _, table = rows_of_body(body)
            table = table.select(_positions(table.schema, names)) if names else table
        start = max(0, first - first_row)
        yield with_numbers(table, first_row).slice(start, min(count, last - first_row) - start)


class KeyLevels:
    """One key's rows and summaries inside a read transaction, see `parts.Levels`."""

    def __init__(self, db: sqlite3.Connection, key: int, sizes: Sizes) -> None:
        self._db, self._key, self.sizes = db, key, sizes
        self.count, self.summed = db.execute(sql.GET_KEY_LENGTHS, (key,)).fetchone()

    def rows(self, first: int, last: int, names: Sequence[str]) -> Iterator[pa.Table]:
        """The rows from number `first` to `last` (exclusive), of the columns named."""
        return read_rows(self._db, self._key, first, last, names=names)

    def summary(self, level: int, first: int) -> bytes:
        """The body of the level that begins at the row `first`."""
        return self._db.execute(sql.GET_SUMMARY, (self._key, level, first)).fetchone()[0]


def _positions(schema: pa.Schema, names: Sequence[str]) -> list[int]:
    return [i for i in (schema.get_field_index(name) for name in names) if i >= 0]
