"""Rows of one key out of several bodies, as one table: each column has one dtype, whatever it was in each body. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from streamvis.wire.columns import arrow_column, column_dtype, json_column, number_array, numpy_column
from streamvis.wire.jsonform import plain_cells

__all__ = ["join_rows"]

_BEGIN = (pa.field("step", pa.int64(), nullable=False), pa.field("time", pa.float64(), nullable=False))
_NO_ROWS = pa.schema(_BEGIN).empty_table()


def join_rows(tables: Sequence[pa.Table], dtypes: Mapping[str, str]) -> pa.Table:
    """The rows of all tables, each of which begins with step and time, with the columns `dtypes`: names with their dtype words.

    The words are such as `unify_dtypes` gives. A column that a table lacks is missing in its rows. Where a column held different
    kinds of things it is JSON; times in it are ISO texts then, and durations whole numbers.
    """
    return pa.concat_tables([_with_dtypes(table, dtypes) for table in tables or [_NO_ROWS]])


def _with_dtypes(table: pa.Table, dtypes: Mapping[str, str]) -> pa.Table:
    # A column may have the name "step" or "time", too.
    places = {name: i for i, name in enumerate(table.column_names) if i > 1}
    fields, arrays = [], []
    for name, dtype in dtypes.items():
        field = table.schema.field(places[name]) if name in places else pa.field(name, pa.null())
        cells = _one_array(table.column(places[name])) if name in places else pa.nulls(table.num_rows)
        made, array = _recast(field, cells, dtype)
        fields.append(made)
        arrays.append(array)
    schema = pa.schema([*_BEGIN, *fields])
    return pa.table([table.column(0), table.column(1), *arrays], schema=schema)


def _recast(field: pa.Field, array: pa.Array, dtype: str) -> tuple[pa.Field, pa.Array]:
    """A column with another dtype that can say what it holds. Equal words make equal fields."""
    if dtype in ("json", "array<json>"):
        return (field, array) if column_dtype(field) == "json" else json_column(field.name, _json_cells(field, array))
    if dtype.startswith("array<"):
        return _recast_arrays(field, array, dtype[6:-1])
    kind = _arrow_type(dtype)
    if array.type == kind:
        made = array
    elif pa.types.is_null(array.type) or not dtype.startswith(("int", "uint", "float")):
        made = array.cast(kind, safe=False)
    else:
        # Arrow has no way from some whole numbers to float16.
        numbers = array.fill_null(0).to_numpy(zero_copy_only=False).astype(dtype)
        made = number_array(numbers, np.asarray(array.is_null().to_numpy(zero_copy_only=False)))
    return pa.field(field.name, kind), made


def _recast_arrays(field: pa.Field, array: pa.Array, dtype: str) -> tuple[pa.Field, pa.Array]:
    wanted, _ = arrow_column(field.name, np.zeros((1, 0), dtype))
    if array.type == wanted.type:
        return wanted, array
    if array.null_count == len(array):
        return wanted, pa.nulls(len(array), wanted.type)
    cells = [None if cell is None else cell.astype(dtype) for cell in numpy_column(field, array)]
    return wanted, arrow_column(field.name, cells)[1].cast(wanted.type)


def _json_cells(field: pa.Field, array: pa.Array) -> list[Any]:
    if field.metadata:
        return list(numpy_column(field, array))
    if pa.types.is_temporal(field.type):
        return plain_cells(field, array)
    cells = array.to_pylist()
    return [None if cell is None else float(cell) for cell in cells] if pa.types.is_float16(field.type) else cells


def _arrow_type(dtype: str) -> pa.DataType:
    if dtype.startswith("datetime64["):
        unit, _, zone = dtype[11:-1].partition(", ")
        return pa.timestamp(unit, zone or None)
    if dtype.startswith("timedelta64["):
        return pa.duration(dtype[12:-1])
    known = {"string": pa.string(), "null": pa.null(), "bool": pa.bool_()}
    return known[dtype] if dtype in known else pa.from_numpy_dtype(np.dtype(dtype))


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
