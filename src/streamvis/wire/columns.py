"""One column of rows: from what a producer gave to Arrow, from Arrow to what a page reads, and the words for its type.

A dtype word says what the cells of a column are. It is the same in the store's registry, in JSON and in error texts:

    bool  int8 ... uint64  float16 float32 float64  string  datetime64[us]  datetime64[us, UTC]  timedelta64[us]
    array<float32>      each cell is an array, of any shape
    json                each cell is anything that JSON can say (mixed types, dicts, ragged lists)
    null                nothing but None so far

Everything here is pure. Callers have checked that columns of one key are of equal length.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from streamvis.errors import InvalidData
from streamvis.wire.moments import UNITS, converted, storable, unit_of
from streamvis.wire.tree import pack, unpack

__all__ = [
    "ARRAY",
    "JSON",
    "Unjoinable",
    "arrow_column",
    "check_cells",
    "checked_dtype",
    "column_dtype",
    "exactly_as",
    "json_column",
    "number_array",
    "numpy_column",
    "unify_dtypes",
]

JSON = {b"streamvis": b"json"}
"""The metadata of a field whose texts are JSON."""
ARRAY = {b"streamvis": b"array"}
"""The metadata of a field whose cells are arrays."""
_CHECKED_TOGETHER = 2**14
_TIMES = "times within 292,000 years of 1970, no finer than nanoseconds"
_EXACT_WHOLE = 2**53
"""Up to here every whole number is a double."""


class Unjoinable(InvalidData):
    """Cells of a column that no one dtype can say exactly: fewer rows together may do. A single cell is only where it is a whole
    number beyond 64 bits."""


def arrow_column(name: str, cells: Sequence[Any] | np.ndarray) -> tuple[pa.Field, pa.Array]:
    """Turn `cells`, one per row, into an Arrow field and array. An ndarray of shape (n, ...) holds n cells."""
    if isinstance(cells, np.ndarray):
        if cells.ndim == 1 and cells.dtype.kind != "O":
            array = _from_vector(cells)
            return pa.field(name, array.type), array
        if cells.ndim > 1 and cells.dtype.kind in "biuf":
            return _array_cells(name, cells.reshape(-1), cells.shape[1:], len(cells))
        cells = list(cells)
    return _from_cells(name, cells)


def json_column(name: str, cells: Sequence[Any]) -> tuple[pa.Field, pa.Array]:
    """Turn cells of any kind into an Arrow field and array that keep them as JSON."""
    texts = [None if cell is None else json.dumps(pack(cell)) for cell in cells]
    return pa.field(name, pa.string(), metadata=JSON), pa.array(texts, type=pa.string())


def number_array(numbers: np.ndarray, missing: np.ndarray | None = None) -> pa.Array:
    """A vector of numbers as an Arrow array, null where the boolean vector `missing` says so. The memory is shared.

    `pa.array` would import pandas where that is installed: a fifth of a second in the middle of somebody's training.
    """
    numbers = np.ascontiguousarray(numbers, dtype=numbers.dtype.newbyteorder("="))
    valid = None if missing is None else pa.py_buffer(np.packbits(~missing, bitorder="little"))
    return pa.Array.from_buffers(pa.from_numpy_dtype(numbers.dtype), len(numbers), [valid, pa.py_buffer(numbers)])


def numpy_column(field: pa.Field, array: pa.Array) -> Any:
    """Turn an Arrow column into a NumPy array of shape (n,), or into a list of n arrays when its cells are arrays.

    A missing cell is NaN in numbers (integers become floats), NaT in times, and None elsewhere.
    """
    mark = (field.metadata or {}).get(b"streamvis")
    if mark == b"json":
        return _objects([None if text is None else unpack(json.loads(text), ()) for text in array.to_pylist()])
    if mark == b"array":
        return _read_array_cells(array)
    if pa.types.is_null(field.type):
        return _objects([None] * len(array))
    if pa.types.is_boolean(field.type) and array.null_count:
        return _objects(array.to_pylist())
    if pa.types.is_timestamp(field.type) or pa.types.is_duration(field.type):
        unit = field.type.unit
        kind = "M8" if pa.types.is_timestamp(field.type) else "m8"
        numbers = array.view(pa.int64()).fill_null(np.iinfo(np.int64).min) if array.null_count else array.view(pa.int64())
        return numbers.to_numpy(zero_copy_only=False).view(f"{kind}[{unit}]")
    return array.to_numpy(zero_copy_only=False)


def column_dtype(field: pa.Field) -> str:
    """The dtype word of an Arrow field."""
    mark = (field.metadata or {}).get(b"streamvis")
    kind = field.type
    if mark == b"json":
        return "json"
    if mark == b"array":
        return f"array<{column_dtype(pa.field('', kind.field('data').type.value_type))}>"
    if pa.types.is_timestamp(kind):
        return f"datetime64[{kind.unit}, UTC]" if kind.tz else f"datetime64[{kind.unit}]"
    if pa.types.is_duration(kind):
        return f"timedelta64[{kind.unit}]"
    if pa.types.is_float16(kind):
        return "float16"
    words = {pa.float32(): "float32", pa.float64(): "float64", pa.string(): "string", pa.null(): "null", pa.bool_(): "bool"}
    if kind in words:
        return words[kind]
    if pa.types.is_integer(kind):
        return str(kind)
    raise InvalidData(f"Arrow type {kind} of column {field.name!r} is not stored", allowed="the types that docs/rest.md lists")


def checked_dtype(field: pa.Field) -> str:
    """The dtype word of a field from outside. Raises InvalidData unless its type is what this module makes for that word."""
    word, kind = column_dtype(field), field.type
    is_ours = True
    if word == "json":
        is_ours = kind == pa.string()
    elif word.startswith("array<"):
        data, shape = kind.field("data").type, pa.list_(pa.int32())
        numbers = pa.types.is_list(data) and word[6:-1].startswith(("bool", "int", "uint", "float"))
        is_ours = numbers and [(one.name, one.type) for one in kind] == [("data", data), ("shape", shape)]
    elif pa.types.is_timestamp(kind):
        is_ours = kind.tz in (None, "UTC")
    if not is_ours:
        problem = f"Arrow type {kind} of column {field.name!r} is not stored as {word}"
        raise InvalidData(problem, allowed="the types that docs/rest.md lists")
    return word


def check_cells(field: pa.Field, array: pa.Array) -> None:
    """Read the cells that Arrow's own validation does not know of: arrays and JSON. None are kept: they can be many."""
    mark = (field.metadata or {}).get(b"streamvis")
    if mark == b"array" and (array.field("data").values.null_count or array.field("shape").values.null_count):
        raise InvalidData(f"an array with a gap in the column {field.name!r}", allowed="NaN in numbers")
    if mark in (b"array", b"json"):
        for start in range(0, len(array), _CHECKED_TOGETHER):
            numpy_column(field, array.slice(start, _CHECKED_TOGETHER))


def unify_dtypes(one: str, other: str) -> str:
    """The dtype word of a column that has had cells of both words: the first that can say all of them."""
    if one == other or other == "null":
        return one
    if one == "null":
        return other
    if one.startswith("array<") and other.startswith("array<"):
        return f"array<{unify_dtypes(one[6:-1], other[6:-1])}>"
    if _is_number(one) and _is_number(other):
        return str(np.result_type(one, other))
    for kind in ("datetime64[", "timedelta64["):
        if one.startswith(kind) and other.startswith(kind):
            units = [UNITS.index(word[len(kind) : -1].split(",")[0]) for word in (one, other)]
            zone = ", UTC" if "UTC" in one or "UTC" in other else ""
            return f"{kind}{UNITS[max(units)]}{zone}]"
    return "json"


def _is_number(word: str) -> bool:
    return word.startswith(("int", "uint", "float"))


def exactly_as(numbers: np.ndarray, dtype: str | np.dtype) -> np.ndarray | None:
    """The numbers in another dtype; None where a single one would not be the same."""
    dtype = np.dtype(dtype)
    if dtype == numbers.dtype:
        return numbers
    if (dtype.kind == "b") != (numbers.dtype.kind == "b"):
        return None
    with np.errstate(all="ignore"):
        made = numbers.astype(dtype)
        if numbers.dtype.kind in "iu" and dtype.kind == "f":
            # The largest ones become 2**63 or 2**64, which no whole number of theirs is.
            is_same = (np.abs(made) < np.ldexp(1.0, numbers.dtype.itemsize * 8)) & (made < float(np.iinfo(numbers.dtype).max) + 1)
            is_same &= np.where(is_same, made, 0).astype(numbers.dtype) == numbers
        else:
            is_same = (made == numbers) | (made != made) & (numbers != numbers)
    return made if bool(is_same.all()) else None


def _from_vector(cells: np.ndarray) -> pa.Array:
    kind = cells.dtype.kind
    if kind in "Mm":
        return _from_moments(cells)
    if kind in "US":
        return pa.array(cells.astype(str).tolist(), type=pa.string())
    if kind == "b":
        return pa.Array.from_buffers(pa.bool_(), len(cells), [None, pa.py_buffer(np.packbits(cells, bitorder="little"))])
    return number_array(cells)


def _from_moments(cells: np.ndarray) -> pa.Array:
    """Times or durations, NaT as a cell that is missing."""
    made = storable(cells)
    if made is None:
        raise InvalidData(f"a time or duration out of reach, in an array of {cells.dtype}", allowed=_TIMES)
    cells, unit = made, unit_of(made)
    missing = np.isnat(cells)
    kind = pa.timestamp(unit) if cells.dtype.kind == "M" else pa.duration(unit)
    return number_array(cells.view(np.int64), missing if missing.any() else None).view(kind)


def _from_cells(name: str, cells: Sequence[Any]) -> tuple[pa.Field, pa.Array]:
    kinds = set(map(type, cells))
    kinds.discard(type(None))
    array = _plain_cells(kinds, cells)
    if array is not None:
        return pa.field(name, array.type), array
    if kinds and all(issubclass(kind, (list, tuple, np.ndarray)) for kind in kinds):
        arrays = [None if cell is None else _as_array(cell) for cell in cells]
        if all(array is not None or cell is None for array, cell in zip(arrays, cells, strict=True)):
            made = _ragged_array_cells(name, arrays)
            if made is None:
                raise Unjoinable("arrays of numbers that no one dtype says exactly", allowed="columns of their own")
            return made
    return json_column(name, cells)


def _plain_cells(kinds: set[type], cells: Sequence[Any]) -> pa.Array | None:
    """An Arrow array for cells of one plain kind, or of int and float; None when they are something else."""
    if not kinds:
        return pa.nulls(len(cells))
    if kinds <= {int, float}:
        return _from_numbers(cells, whole=kinds == {int})
    if kinds == {bool}:
        return pa.array(cells, type=pa.bool_())
    if kinds == {str}:
        return pa.array(cells, type=pa.string())
    if np.datetime64 in kinds or np.timedelta64 in kinds:
        return _from_scalars(kinds, cells)
    if all(issubclass(kind, dt.datetime) for kind in kinds):
        if any(cell is not None and cell.tzinfo is not None for cell in cells):
            utc = [cell if cell is None or cell.tzinfo else cell.replace(tzinfo=dt.UTC) for cell in cells]
            return pa.array(utc, type=pa.timestamp("us", tz="UTC"))
        return pa.array(cells, type=pa.timestamp("us"))
    if kinds == {dt.timedelta}:
        return pa.array(cells, type=pa.duration("us"))
    return None


def _from_numbers(cells: Sequence[Any], *, whole: bool) -> pa.Array:
    missing = None
    if None in cells:
        missing = np.fromiter((cell is None for cell in cells), dtype=bool, count=len(cells))
        cells = [0 if cell is None else cell for cell in cells]
    if whole and min(cells) >= -(2**63) and max(cells) < 2**63:
        return number_array(np.array(cells, dtype=np.int64), missing)
    if whole and min(cells) >= 0 and max(cells) < 2**64:
        return number_array(np.array(cells, dtype=np.uint64), missing)
    if not _all_doubles(cells):
        far = next(
            (cell for cell in cells if type(cell) is int and not -(2**63) <= cell < 2**64 and not _all_doubles([cell])), None
        )
        if far is not None:
            problem = f"a whole number of {far.bit_length()} bits, which is out of the range of 64-bit integers"
            raise Unjoinable(problem, allowed="whole numbers from -2**63 to 2**64-1, or a text")
        raise Unjoinable("whole numbers that no double holds, beside others", allowed="a column of their own")
    return number_array(np.array(cells, dtype=np.float64), missing)


def _all_doubles(cells: Sequence[Any]) -> bool:
    """Whether every whole number among the cells is exactly a double."""
    try:
        return all(int(float(cell)) == cell for cell in cells if type(cell) is int and abs(cell) > _EXACT_WHOLE)
    except OverflowError:
        return False


def _from_scalars(kinds: set[type], cells: Sequence[Any]) -> pa.Array | None:
    """Times, or durations, some of which are scalars of NumPy, in the finest unit that holds all of them."""
    kind = "M" if np.datetime64 in kinds else "m"
    if not all(issubclass(one, (np.datetime64, dt.datetime) if kind == "M" else (np.timedelta64, dt.timedelta)) for one in kinds):
        return None
    is_zoned = any(isinstance(cell, dt.datetime) and cell.tzinfo is not None for cell in cells)
    scalars = {i: _scalar(cell) for i, cell in enumerate(cells) if cell is not None}
    places: dict[np.dtype, list[int]] = {}
    for i, scalar in scalars.items():
        places.setdefault(scalar.dtype, []).append(i)
    for unit in reversed(UNITS):
        whole = np.full(len(cells), "NaT", dtype=f"{kind}8[{unit}]")
        for its in places.values():
            made = converted(np.array([scalars[i] for i in its]), unit)
            if made is None:
                break
            whole[its] = made
        else:
            array = _from_moments(whole)
            return array.cast(pa.timestamp(unit, "UTC")) if is_zoned else array
    if len(cells) == 1:
        raise InvalidData(f"{cells[0]!r} is out of reach", allowed=_TIMES)
    raise Unjoinable("times that no one unit holds", allowed="a column of their own")


def _scalar(cell: Any) -> np.datetime64 | np.timedelta64:
    if isinstance(cell, (np.datetime64, np.timedelta64)):
        return cell
    if isinstance(cell, dt.timedelta):
        return np.timedelta64(cell, "us")
    return np.datetime64(cell.astimezone(dt.UTC).replace(tzinfo=None) if cell.tzinfo else cell, "us")


def _as_array(cell: Any) -> np.ndarray | None:
    """The cell as an array of numbers or booleans, or None when it is ragged or holds anything else."""
    if isinstance(cell, np.ndarray):
        return cell if cell.dtype.kind in "biuf" else None
    # NumPy would make each text of a list as long as the longest, and take that much memory.
    if not _leaf_kinds(cell) <= {bool, int, float, np.ndarray}:
        return None
    try:
        array = np.array(cell)
    except ValueError:
        return None
    if array.size == 0 and array.ndim <= 1:
        return array.astype(np.float64)
    if array.dtype.kind == "f" or array.dtype.kind in "iu":
        # np.array([True, 2]) is an integer array, np.array([2**53 + 1, 0.5]) has another number: mixed cells stay as they are.
        kinds = _leaf_kinds(cell)
        is_changed = int in kinds and array.dtype.kind == "f" and bool((np.abs(array) > _EXACT_WHOLE).any())
        return None if bool in kinds or is_changed else array
    return array if array.dtype.kind == "b" else None


def _leaf_kinds(cell: Sequence[Any]) -> set[type]:
    """The types of what is in nested lists."""
    kinds = set(map(type, cell))
    if kinds & {list, tuple}:
        kinds -= {list, tuple}
        for part in cell:
            if isinstance(part, (list, tuple)):
                kinds |= _leaf_kinds(part)
    return kinds


def _ragged_array_cells(name: str, arrays: Sequence[np.ndarray | None]) -> tuple[pa.Field, pa.Array] | None:
    """Arrays as cells; None where no one dtype says all their numbers exactly."""
    there = [array for array in arrays if array is not None]
    kinds = {array.dtype for array in there if array.size} or {array.dtype for array in there}
    dtype = np.result_type(*kinds) if kinds else np.dtype(np.float64)
    exact = [exactly_as(array.reshape(-1), dtype) if array.size else np.empty(0, dtype) for array in there]
    parts = [part for part in exact if part is not None]
    if len(parts) < len(exact):
        return None
    flat = np.concatenate(parts)
    sizes = [0 if array is None else array.size for array in arrays]
    data = pa.ListArray.from_arrays(_offsets(sizes), _from_vector(flat))
    shapes = pa.array([None if array is None else list(array.shape) for array in arrays], type=pa.list_(pa.int32()))
    return _array_struct(name, data, shapes, mask=pa.array([array is None for array in arrays], type=pa.bool_()))


def _array_cells(name: str, flat: np.ndarray, shape: tuple[int, ...], count: int) -> tuple[pa.Field, pa.Array]:
    size = int(np.prod(shape))
    data = pa.ListArray.from_arrays(_offsets([size] * count), _from_vector(flat))
    dims = np.tile(np.asarray(shape, dtype=np.int32), count)
    shapes = pa.ListArray.from_arrays(_offsets([len(shape)] * count), number_array(dims))
    return _array_struct(name, data, shapes, mask=None)


def _array_struct(name: str, data: pa.Array, shapes: pa.Array, *, mask: pa.Array | None) -> tuple[pa.Field, pa.Array]:
    array = pa.StructArray.from_arrays([data, shapes], names=["data", "shape"], mask=mask)
    return pa.field(name, array.type, metadata=ARRAY), array


def _offsets(sizes: Sequence[int]) -> pa.Array:
    ends = np.zeros(len(sizes) + 1, dtype=np.int64)
    np.cumsum(sizes, out=ends[1:])
    if ends[-1] > np.iinfo(np.int32).max:
        raise InvalidData("more than 2**31 numbers in one column of one batch", allowed="fewer per call")
    return number_array(ends.astype(np.int32))


def _read_array_cells(array: pa.StructArray) -> list[Any]:
    data, shapes = array.field("data"), array.field("shape")
    flat = data.values.to_numpy(zero_copy_only=False)
    ends = data.offsets.to_numpy(zero_copy_only=False)
    valid = array.is_valid().to_pylist()
    return [flat[ends[i] : ends[i + 1]].reshape(shape) if valid[i] else None for i, shape in enumerate(shapes.to_pylist())]


def _objects(cells: Sequence[Any]) -> np.ndarray:
    return np.fromiter(cells, dtype=object, count=len(cells))
