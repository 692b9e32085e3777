"""Rows of one key out of several bodies, as one table: each column has one dtype, whatever it was in each body. Pure.

Joining changes no cell: not a digit of a large whole number, not a moment of a time. What fits no one dtype exactly is JSON, in
which each cell stays what it was: a number, an ISO text of a time, or one of a duration ("PT1.5S").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa

from streamvis.wire.columns import (
    JSON,
    arrow_column,
    column_dtype,
    exactly_as,
    json_column,
    number_array,
    numpy_column,
    unify_dtypes,
)
from streamvis.wire.moments import UNITS, duration_texts, durations_of, microseconds, moment_texts

__all__ = ["family_of", "join_column", "join_rows", "json_of_any", "json_of_measured", "measured_cells"]

_BEGIN = (pa.field("step", pa.int64(), nullable=False), pa.field("time", pa.float64(), nullable=False))
_FAMILY = b"of"
"""In the metadata of a JSON column of numbers, times or durations: which of these its cells are."""
_FAMILIES = ("number", "datetime64", "timedelta64")

Part = tuple[pa.Field, pa.Array]
"""A column as one body has it."""


def join_rows(tables: Sequence[pa.Table], dtypes: Mapping[str, str]) -> pa.Table:
    """The rows of all tables, each of which begins with step and time, with the columns `dtypes`: names with their dtype words.

    The words are such as `unify_dtypes` gives. A column that a table lacks is missing in its rows. A column is of the dtype of
    its word, or of a coarser unit of time, where that says exactly what was there, and JSON otherwise.
    """
    tables = tables or [pa.schema(_BEGIN).empty_table()]
    # A column may have the name "step" or "time", too.
    places = [{name: i for i, name in enumerate(table.column_names) if i > 1} for table in tables]
    fields, columns = [], []
    for name, dtype in dtypes.items():
        parts = [_part(table, its.get(name), name) for table, its in zip(tables, places, strict=True)]
        field, arrays = join_column(parts, dtype) or json_of_any(parts)
        fields.append(field)
        columns.append(pa.chunked_array(arrays, field.type))
    begin = [pa.chunked_array([chunk for table in tables for chunk in table.column(i).chunks], _BEGIN[i].type) for i in (0, 1)]
    return pa.table([*begin, *columns], schema=pa.schema([*_BEGIN, *fields]))


def _part(table: pa.Table, place: int | None, name: str) -> Part:
    if place is None:
        return pa.field(name, pa.null()), pa.nulls(table.num_rows)
    column = table.column(place)
    return table.schema.field(place), pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def join_column(parts: Sequence[Part], dtype: str | None = None) -> tuple[pa.Field, list[pa.Array]] | None:
    """The parts of a column in one dtype that says exactly what each of them said; None where there is none.

    It is the dtype given, by default the one of `unify_dtypes`, or another unit of time.
    """
    if dtype is None:
        dtype = reduce(unify_dtypes, dict.fromkeys(column_dtype(field) for field, _ in parts))
    name = parts[0][0].name
    if dtype in ("json", "array<json>"):
        return None if any(column_dtype(field) not in ("json", "null") for field, _ in parts) else json_of_any(parts)
    # A part that was joined before may be JSON, whatever the word of its key: no number or time can be read from its texts.
    if any(column_dtype(field) == "json" for field, _ in parts):
        return None
    for word in _candidates(dtype):
        field = _field(name, word)
        arrays: list[pa.Array] = []
        for its, array in parts:
            made = _recast(its, array, field, word)
            if made is None:
                break
            arrays.append(made)
        else:
            return field, arrays
    return None


def _candidates(dtype: str) -> list[str]:
    kind, _, rest = dtype.partition("[")
    if kind not in ("datetime64", "timedelta64"):
        return [dtype]
    unit, _, zone = rest[:-1].partition(", ")
    others = UNITS[: UNITS.index(unit)]
    return [f"{kind}[{one}{', ' if zone else ''}{zone}]" for one in (unit, *reversed(others))]


def _field(name: str, dtype: str) -> pa.Field:
    if dtype.startswith("array<"):
        return arrow_column(name, np.zeros((1, 0), dtype[6:-1]))[0]
    if dtype.startswith("datetime64["):
        unit, _, zone = dtype[11:-1].partition(", ")
        return pa.field(name, pa.timestamp(unit, zone or None))
    if dtype.startswith("timedelta64["):
        return pa.field(name, pa.duration(dtype[12:-1]))
    known = {"string": pa.string(), "null": pa.null(), "bool": pa.bool_()}
    return pa.field(name, known[dtype] if dtype in known else pa.from_numpy_dtype(np.dtype(dtype)))


def _recast(field: pa.Field, array: pa.Array, wanted: pa.Field, dtype: str) -> pa.Array | None:
    """The same cells in another type; None where a single one would not be the same."""
    if array.type == wanted.type and (field.metadata or {}) == (wanted.metadata or {}):
        return array
    if array.null_count == len(array):
        return pa.nulls(len(array), wanted.type)
    if dtype.startswith("array<"):
        return _recast_arrays(field, array, wanted, dtype[6:-1])
    if pa.types.is_temporal(wanted.type):
        try:
            return array.cast(wanted.type)
        except pa.ArrowInvalid:
            return None
    numbers = exactly_as(array.fill_null(0).to_numpy(zero_copy_only=False), dtype)
    if numbers is None:
        return None
    return number_array(numbers, np.asarray(array.is_null().to_numpy(zero_copy_only=False)) if array.null_count else None)


def _recast_arrays(field: pa.Field, array: pa.Array, wanted: pa.Field, dtype: str) -> pa.Array | None:
    cells = [None if cell is None else exactly_as(cell, dtype) for cell in numpy_column(field, array)]
    if any(cell is None for cell, is_there in zip(cells, array.is_valid().to_pylist(), strict=True) if is_there):
        return None
    return arrow_column(field.name, cells)[1].cast(wanted.type)


def json_of_any(parts: Sequence[Part]) -> tuple[pa.Field, list[pa.Array]]:
    """Parts of any dtypes as JSON."""
    arrays = [
        array if column_dtype(field) == "json" else json_column(field.name, _json_cells(field, array))[1]
        for field, array in parts
    ]
    return pa.field(parts[0][0].name, pa.string(), metadata=JSON), arrays


def _json_cells(field: pa.Field, array: pa.Array) -> list[Any]:
    if field.metadata:
        return list(numpy_column(field, array))
    if pa.types.is_duration(field.type):
        return duration_texts(numpy_column(field, array))
    if pa.types.is_timestamp(field.type):
        zone = "Z" if field.type.tz else ""
        return [None if text is None else text + zone for text in moment_texts(numpy_column(field, array))]
    cells = array.to_pylist()
    return [None if cell is None else float(cell) for cell in cells] if pa.types.is_float16(field.type) else cells


# Columns that are measured


def family_of(field: pa.Field) -> str | None:
    """What a column measures, in whatever dtype: number, datetime64 or timedelta64; "null" where it is empty, else None."""
    if field.metadata:
        return field.metadata[_FAMILY].decode() if _FAMILY in field.metadata else None
    word = column_dtype(field)
    if word.startswith(("int", "uint", "float")):
        return "number"
    return word if word == "null" else next((family for family in _FAMILIES if word.startswith(family)), None)


def json_of_measured(parts: Sequence[Part], family: str) -> tuple[pa.Field, list[pa.Array]]:
    """Parts of one family that fit no one dtype, as JSON that `measured_cells` reads."""
    field, arrays = json_of_any(parts)
    return field.with_metadata({**JSON, _FAMILY: family.encode()}), arrays


def measured_cells(field: pa.Field, array: pa.Array) -> np.ndarray:
    """The cells of a measured column as NumPy compares them; what is JSON as doubles, or in microseconds."""
    family = family_of(field)
    if not field.metadata or family is None:
        return numpy_column(field, array)
    cells = list(numpy_column(field, array))
    if family == "timedelta64":
        return durations_of(cells)
    if family == "datetime64":
        texts = ["NaT" if text is None else text.removesuffix("Z") for text in cells]
        # Each in a unit of its own: NumPy would wrap what the unit of another cannot hold.
        return np.concatenate([np.empty(0, "M8[us]"), *(microseconds(np.array([text], "M8")) for text in texts)])
    return np.array([np.nan if cell is None else float(cell) for cell in cells], dtype=np.float64)
