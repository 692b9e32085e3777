"""Rows as Arrow tables inside the store. Pure.

A column of a key is named `.NAME` here, so that it never collides with what each row also has: `row` (its number in the key's
log, from 0), `step` and `time`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa

from streamvis.wire.arrow import body_of, table_of
from streamvis.wire.columns import column_dtype, unify_dtypes
from streamvis.wire.joining import family_of, join_column, json_of_any, json_of_measured, measured_cells

__all__ = [
    "body_of_rows",
    "columns_of",
    "concat_common",
    "concat_exact",
    "has_many_gaps",
    "inner_name",
    "is_measurable",
    "is_missing",
    "numbers_of",
    "rows_of_body",
    "with_numbers",
]

_FEW_GAPS = 2**20
"""So many missing cells (8 MiB of numbers) are never many."""


def inner_name(column: str) -> str:
    """The name of a key's column in the tables of the store."""
    return f".{column}"


def rows_of_body(body: bytes) -> tuple[str, pa.Table]:
    """The key and the rows of a body of rows."""
    meta, table = table_of(body)
    names = ["step", "time", *map(inner_name, table.column_names[2:])]
    return meta["key"], table.replace_schema_metadata(None).rename_columns(names)


def body_of_rows(key: str, table: pa.Table) -> bytes:
    """Rows as a body. The table's first two columns are step and time."""
    names = ["step", "time", *(name[1:] for name in table.column_names[2:])]
    return body_of({"kind": "rows", "key": key}, table.rename_columns(names))


def with_numbers(table: pa.Table, first_row: int) -> pa.Table:
    """The rows with their numbers, counted from `first_row`, as the first column."""
    return table.add_column(0, "row", pa.array(np.arange(first_row, first_row + table.num_rows)))


def numbers_of(table: pa.Table, name: str) -> np.ndarray:
    """A column of numbers, times or durations as a NumPy array of shape (n,): NaN or NaT in gaps, and where it is not there."""
    i = table.schema.get_field_index(name)
    if i < 0 or pa.types.is_null(table.schema[i].type):
        return np.full(table.num_rows, np.nan)
    return measured_cells(table.schema[i], _one_array(table.column(i)))


def is_missing(table: pa.Table, name: str) -> np.ndarray:
    """For which rows nothing was sent in a column, as an array of booleans."""
    i = table.schema.get_field_index(name)
    if i < 0:
        return np.ones(table.num_rows, dtype=bool)
    column = table.column(i)
    return column.is_null().to_numpy() if column.null_count else np.zeros(table.num_rows, dtype=bool)


def columns_of(table: pa.Table, known: Mapping[str, str]) -> dict[str, str]:
    """The dtype word of each of the key's columns, and of those that are known already, that says all cells of both."""
    found = dict(known)
    for field in list(table.schema)[2:]:
        name, word = field.name[1:], column_dtype(field)
        found[name] = unify_dtypes(found[name], word) if name in found else word
    return found


def is_measurable(field: pa.Field) -> bool:
    """Whether a column has a lowest and a highest value."""
    return family_of(field) not in (None, "null")


def concat_exact(tables: Sequence[pa.Table]) -> pa.Table | None:
    """The rows of all tables, or None where that would change a single one of them, or make much of little.

    A column that a table lacks is missing in its rows, which is what readers make of it anyway.
    """
    if _are_alike(tables):
        return pa.concat_tables(tables).combine_chunks()
    names = _names(tables)
    if has_many_gaps([(table.num_rows, table.num_columns) for table in tables], len(names)):
        return None
    columns = {}
    for name in names:
        parts = _parts(tables, name)
        joined = None if _are_in_zones(parts) else join_column(parts)
        if joined is None:
            return None
        columns[name] = joined
    return _table(columns).combine_chunks()


def has_many_gaps(tables: Iterable[tuple[int, int]], columns: int) -> bool:
    """Whether tables, of so many rows and columns each, would for the most part be gaps in one table of all columns."""
    cells = gaps = 0
    for rows, own in tables:
        cells += rows * own
        gaps += rows * (columns - own)
    return gaps > cells + _FEW_GAPS


def concat_common(tables: Sequence[pa.Table], *, mixed: bool = False) -> pa.Table:
    """The rows of all tables, without the columns that hold different kinds of things here and there, or with `mixed`, with those
    as JSON.

    No cell is another one in it: numbers and times that fit no one dtype are JSON, which `numbers_of` reads.
    """
    if _are_alike(tables):
        return pa.concat_tables(tables)
    columns = {}
    for name in _names(tables):
        parts = _parts(tables, name)
        families = {family_of(field) for field, _ in parts} - {"null"}
        joined = None if any(field.metadata for field, _ in parts) and None not in families else join_column(parts)
        if joined is None and len(families) == 1 and (family := next(iter(families))) is not None:
            joined = json_of_measured(parts, family)
        columns[name] = json_of_any(parts) if joined is None and mixed else joined
    return _table(columns)


def _are_alike(tables: Sequence[pa.Table]) -> bool:
    # Texts and JSON are of one type, and differ in metadata alone.
    return all(table.schema.equals(tables[0].schema, check_metadata=True) for table in tables)


def _names(tables: Sequence[pa.Table]) -> list[str]:
    return list(dict.fromkeys(name for table in tables for name in table.column_names))


def _parts(tables: Sequence[pa.Table], name: str) -> list[tuple[pa.Field, pa.Array]]:
    parts = []
    for table in tables:
        i = table.schema.get_field_index(name)
        missing = (pa.field(name, pa.null()), pa.nulls(table.num_rows))
        parts.append((table.schema[i], _one_array(table.column(i))) if i >= 0 else missing)
    return parts


def _are_in_zones(parts: Sequence[tuple[pa.Field, pa.Array]]) -> bool:
    """Whether some times are said to be UTC, and others are not."""
    return len({field.type.tz for field, _ in parts if pa.types.is_timestamp(field.type)}) > 1


def _table(columns: Mapping[str, tuple[pa.Field, list[pa.Array]] | None]) -> pa.Table:
    there = [joined for joined in columns.values() if joined is not None]
    arrays = [pa.chunked_array(arrays, field.type) for field, arrays in there]
    return pa.table(arrays, schema=pa.schema([field for field, _ in there]))


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
