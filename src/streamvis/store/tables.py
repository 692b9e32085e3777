"""Rows as Arrow tables inside the store. Pure.

A column of a key is named `.NAME` here, so that it never collides with what each row has besides: `row` (its number in the key's
log, from 0), `step` and `time`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa

from streamvis.wire.arrow import body_of, table_of
from streamvis.wire.columns import column_dtype, numpy_column, unify_dtypes

__all__ = [
    "body_of_rows",
    "columns_of",
    "concat_common",
    "concat_exact",
    "has_many_gaps",
    "inner_name",
    "is_measurable",
    "numbers_of",
    "rows_of_body",
    "with_numbers",
]

_FEW_GAPS = 2**20
"""So many missing cells (8 MiB of numbers) are never many."""
_EXACT = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError)


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
    column = table.column(i)
    return numpy_column(table.schema[i], column.combine_chunks() if column.num_chunks != 1 else column.chunk(0))


def columns_of(table: pa.Table, known: Mapping[str, str]) -> dict[str, str]:
    """The dtype word of each of the key's columns, and of those that are known already, that says all cells of both."""
    found = dict(known)
    for field in list(table.schema)[2:]:
        name, word = field.name[1:], column_dtype(field)
        found[name] = unify_dtypes(found[name], word) if name in found else word
    return found


def is_measurable(field: pa.Field) -> bool:
    """Whether a column has a lowest and a highest value."""
    return not field.metadata and column_dtype(field).startswith(("int", "uint", "float", "datetime64", "timedelta64"))


def concat_exact(tables: Sequence[pa.Table]) -> pa.Table | None:
    """The rows of all tables, or None where that would change a single one of them, or make much of little.

    A column that a table lacks is missing in its rows, which is what readers make of it anyway.
    """
    schema = _unified(tables, leave_out_conflicts=False)
    if schema is None or has_many_gaps([(table.num_rows, table.num_columns) for table in tables], len(schema)):
        return None
    try:
        return pa.concat_tables([_conformed(table, schema) for table in tables]).combine_chunks()
    except _EXACT:
        return None


def has_many_gaps(tables: Iterable[tuple[int, int]], columns: int) -> bool:
    """Whether tables, of so many rows and columns each, would for the most part be gaps in one table of all columns."""
    cells = gaps = 0
    for rows, own in tables:
        cells += rows * own
        gaps += rows * (columns - own)
    return gaps > cells + _FEW_GAPS


def concat_common(tables: Sequence[pa.Table]) -> pa.Table:
    """The rows of all tables, without the columns that hold different kinds of things here and there."""
    if all(table.schema.equals(tables[0].schema, check_metadata=True) for table in tables):
        return pa.concat_tables(tables)
    schema = _unified(tables, leave_out_conflicts=True)
    return pa.concat_tables([_conformed(table, schema, safe=False) for table in tables])


def _unified(tables: Iterable[pa.Table], *, leave_out_conflicts: bool) -> pa.Schema | None:
    fields: dict[str, pa.Field | None] = {}
    known = None
    for table in tables:
        # Texts and JSON are of one type, and differ in metadata alone.
        if known is not None and table.schema.equals(known, check_metadata=True):
            continue
        known = table.schema
        for field in known:
            fields[field.name] = _unified_field(fields[field.name], field) if field.name in fields else field
    if not leave_out_conflicts and any(field is None for field in fields.values()):
        return None
    return pa.schema([field for field in fields.values() if field is not None])


def _unified_field(one: pa.Field | None, other: pa.Field) -> pa.Field | None:
    """A field that can say what both can; None where there is none."""
    if one is None or one.equals(other, check_metadata=True):
        return one
    if pa.types.is_null(one.type) or pa.types.is_null(other.type):
        return (other if pa.types.is_null(one.type) else one).with_nullable(True)
    if (one.metadata or {}) != (other.metadata or {}):
        return None
    try:
        (field,) = pa.unify_schemas([pa.schema([one]), pa.schema([other])], promote_options="permissive")
    except _EXACT:
        return None
    return field if is_measurable(field) or field.type in (one.type, other.type) else None


def _conformed(table: pa.Table, schema: pa.Schema, *, safe: bool = True) -> pa.Table:
    columns = []
    for field in schema:
        i = table.schema.get_field_index(field.name)
        columns.append(table.column(i).cast(field.type, safe=safe) if i >= 0 else pa.nulls(table.num_rows, field.type))
    return pa.table(columns, schema=schema)
