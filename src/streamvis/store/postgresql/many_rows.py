"""Statements for many rows at once. Their values are given as columns, one array each, so that a row costs no round trip.

`KEPT` are those that store batches, and whose result no statement needs. They write rows of held runs alone. So they may wait
until the transaction needs them, and are written together: `merged` says what several for one row come to.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from psycopg import DataError
from psycopg.adapt import Buffer, Dumper
from psycopg.pq import Format

from streamvis.store import statements as sql
from streamvis.store.postgresql.wording import in_words

__all__ = ["FOR_MANY", "KEPT", "Column", "ColumnDumper", "columns_of", "merged", "text_for_many"]

_KINDS = {
    sql.SAVE_RUN: "text text float8 int8 int8 int8 int8 int8 int8 int8 int8 float8 int8",
    sql.SAVE_NUMBER: "int8 text int8 int8 text text int8",
    sql.ADD_KEY_ROWS: "int8 text int8 int8 int8 int8 int8 int8 int8",
    sql.ADD_CHUNK: "int8 int8 int8 int8 int8 int8 int8 int8 int8 int8 bytea int8 bytea",
    sql.SAVE_VALUE: "int8 int8 int8 float8 int8 int8 bytea",
    sql.SET_KEY_NEWEST: "int8 int8 int8 int8",
    sql.ADD_SUMMARY: "int8 int8 int8 int8 bytea",
    sql.SAVE_DIGEST: "int8 text int8 text int8 text int8 text int8",
    **dict.fromkeys((sql.DELETE_CHUNK, sql.DELETE_VALUE, sql.DELETE_SUMMARY), "int8"),
}
"""The type of each value of the statements that can be run for many rows."""

FOR_MANY = frozenset(_KINDS)
KEPT = frozenset({sql.SAVE_RUN, sql.SAVE_NUMBER, sql.ADD_KEY_ROWS, sql.ADD_CHUNK, sql.SAVE_VALUE, sql.SET_KEY_NEWEST})
_SAME_ROW = {
    sql.SAVE_RUN: lambda given: given[-1],
    sql.SAVE_NUMBER: lambda given: given[:2],
    sql.SAVE_VALUE: lambda given: given[:2],
    sql.SET_KEY_NEWEST: lambda given: given[-1],
}
"""What tells the row that is written, where the last of several is what counts."""
_OIDS = {"int8": 20, "text": 25, "float8": 701, "bytea": 17}
_NUMBERS = {"int8": struct.Struct(">iq"), "float8": struct.Struct(">id")}
_LENGTH = struct.Struct(">i")
_HEAD = struct.Struct(">iiIii")
_PLACE = re.compile(r"\$(\d+)")
_VALUES = re.compile(r"VALUES \(([^)]*)\)")


class Column:
    """The values of one place of a statement, of one type."""

    __slots__ = ("kind", "values")

    def __init__(self, kind: str, values: Sequence[Any]) -> None:
        self.kind, self.values = kind, values


class ColumnDumper(Dumper):
    """Writes a column as PostgreSQL's binary array. The statement says of which type it is."""

    format = Format.BINARY

    def dump(self, obj: Column) -> Buffer:
        """The bytes of the array: see `array_recv` in PostgreSQL's source."""
        head = _HEAD.pack(1, None in obj.values, _OIDS[obj.kind], len(obj.values), 1)
        cells = _cells_of_numbers if obj.kind in _NUMBERS else _cells_of_bytes
        try:
            return head + b"".join(cells(obj))
        except (struct.error, UnicodeError) as error:
            raise DataError(f"a value is not of the type {obj.kind}: {error}") from error


def _cells_of_numbers(column: Column) -> list[bytes]:
    pack = _NUMBERS[column.kind].pack
    return [_LENGTH.pack(-1) if value is None else pack(8, value) for value in column.values]


def _cells_of_bytes(column: Column) -> list[bytes]:
    cells = []
    for value in column.values:
        data = value.encode() if isinstance(value, str) else value
        cells += [_LENGTH.pack(-1)] if data is None else [_LENGTH.pack(len(data)), data]
    return cells


@lru_cache(maxsize=100)
def text_for_many(*statements: str) -> str:
    """The statement that runs these, each for many rows at once. They write different rows."""
    if len(statements) == 1:
        return _text_for_many(statements[0], 0)
    texts, place = [], 0
    for i, statement in enumerate(statements):
        texts.append(f"written_{i} AS ({_text_for_many(statement, place)})")
        place += len(_KINDS[statement].split())
    return f"WITH {', '.join(texts)} SELECT"


def _text_for_many(statement: str, before: int) -> str:
    kinds = _KINDS[statement].split()
    arrays = ", ".join(f"${before + i}::{kind}[]" for i, kind in enumerate(kinds, 1))
    source = f"unnest({arrays}) AS given ({', '.join(f'c{i}' for i in range(1, len(kinds) + 1))})"
    text = _PLACE.sub(r"given.c\1", in_words(statement).strip())
    if text.startswith("INSERT"):
        return _VALUES.sub(lambda found: f"SELECT {found[1]} FROM {source}", text, count=1)
    head, where, tail = text.rpartition("WHERE")
    return f"{head}{'USING' if text.startswith('DELETE') else 'FROM'} {source} {where}{tail}"


def columns_of(statement: str, rows: Sequence[Sequence[Any]]) -> list[Column]:
    """The values of these rows, as the text for many takes them."""
    return [Column(kind, values) for kind, values in zip(_KINDS[statement].split(), zip(*rows, strict=True), strict=True)]


def merged(statement: str, rows: Sequence[Sequence[Any]]) -> Sequence[Sequence[Any]]:
    """The rows, one for each that is written. `rows` are of one of `KEPT`, in the order in which they came."""
    if statement == sql.ADD_KEY_ROWS:
        return _added(rows)
    if (which := _SAME_ROW.get(statement)) is None:
        return rows
    return list({which(row): row for row in rows}.values())


def _added(rows: Sequence[Sequence[Any]]) -> Sequence[Sequence[Any]]:
    """Of each key what its chunks add up to; it has all of their columns in the last."""
    found: dict[int, Sequence[Any]] = {}
    for row in rows:
        key, columns, count, size, chunks, *due = row
        if (before := found.get(key)) is not None:
            count, size, chunks = count + before[2], size + before[3], chunks + before[4]
        found[key] = (key, columns, count, size, chunks, *due)
    return list(found.values())
