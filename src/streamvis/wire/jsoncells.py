"""Cells, columns and nested data <-> strict JSON. What JSON lacks is said so that nothing is lost:

    "NaN"  "Infinity"  "-Infinity"                      the numbers that JSON has no word for
    {"dtype": "float32", "data": [...]}                 a column; `shapes` stands beside it where arrays without cells need it
    {"dtype": "float32", "shape": [2, 3], "data": ...}  inside a value or a json cell: an array
    {"dtype": "datetime64[us, UTC]", "data": "2026-..."}    a time; of a duration, `timedelta64[us]` and a whole number
    {"dtype": "string", "data": "NaN"}                  a string that would read as a number
    {"dtype": "json", "data": {...}}                    a mapping that would read as one of these

Dtype words are those of `streamvis.wire.columns`. Reading is lenient where nothing is ambiguous: plain lists and numbers need no
dtype. Everything here is pure; what cannot be read raises InvalidData with its place.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from streamvis.errors import InvalidData
from streamvis.wire.columns import arrow_column, column_dtype, json_column, numpy_column
from streamvis.wire.tree import MAX_DEPTH, unpack

__all__ = ["column_from_json", "column_to_json", "mapping_from_json", "mapping_to_json", "parse_time"]

_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_NUMBERS = {word: np.dtype(word) for word in "int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64".split()}
_TIME = re.compile(r"(datetime64|timedelta64)\[(\d*(?:Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as))(, UTC)?\]")
_ISO = re.compile(r"(-?\d{4,}(?:-\d\d(?:-\d\d(?:[T ]\d\d(?::\d\d(?::\d\d(?:\.\d{1,18})?)?)?)?)?)?)(Z|[+-]\d\d:\d\d)?")
_WORDS = (
    "bool, int8 to int64, uint8 to uint64, float16, float32, float64, string, datetime64[us], datetime64[us, UTC], "
    "timedelta64[us] (or s, ms, ns), array<...>, json, null"
)


# --- columns of rows


def column_to_json(field: pa.Field, array: pa.Array) -> dict[str, Any]:
    """A column as `{"dtype", "data"}`."""
    dtype = column_dtype(field)
    if dtype == "json":
        cells = [None if text is None else _node_to_json(unpack(json.loads(text), ())) for text in array.to_pylist()]
        return {"dtype": dtype, "data": cells}
    if dtype.startswith("array<"):
        arrays = numpy_column(field, array)
        told = {"dtype": dtype, "data": [None if cell is None else _strict(cell.tolist()) for cell in arrays]}
        if any(cell is not None and not cell.size for cell in arrays):
            told["shapes"] = [None if cell is None else list(cell.shape) for cell in arrays]
        return told
    if _TIME.fullmatch(dtype):
        return {"dtype": dtype, "data": _times_to_json(np.asarray(numpy_column(field, array)), utc=dtype.endswith("UTC]"))}
    if dtype.startswith("float"):
        return {"dtype": dtype, "data": _strict([None if cell is None else float(cell) for cell in array.to_pylist()])}
    return {"dtype": dtype, "data": array.to_pylist()}


def column_from_json(name: str, dtype: str | None, cells: Sequence[Any], shapes: Sequence[Any] | None) -> tuple[pa.Field, pa.Array]:
    """Cells of JSON, one per row, as an Arrow column of the dtype, or of the one that fits them where that is None."""
    try:
        if dtype is None:
            return arrow_column(name, _plain_cells(cells))
        if dtype == "json":
            return json_column(name, [_node_from_json(cell) for cell in cells])
        if dtype.startswith("array<") and dtype.endswith(">"):
            return arrow_column(name, _array_cells(dtype[6:-1], cells, shapes))
        array = _typed_cells(dtype, cells)
    except (pa.ArrowException, ValueError, TypeError, OverflowError, RecursionError) as error:
        if isinstance(error, InvalidData):
            raise
        raise InvalidData(f"not the cells of a column of {dtype or 'one kind'} ({error})") from error
    return pa.field(name, array.type), array


def _plain_cells(cells: Sequence[Any]) -> Sequence[Any]:
    kinds = set(map(type, cells)) - {type(None)}
    if kinds <= {int, float, bool}:
        return cells
    if kinds <= {int, float, str} and all(not isinstance(cell, str) or cell in _SPECIAL for cell in cells):
        return [_SPECIAL[cell] if isinstance(cell, str) else cell for cell in cells]
    return cells if kinds == {str} else [_node_from_json(cell) for cell in cells]


def _typed_cells(dtype: str, cells: Sequence[Any]) -> pa.Array:
    if dtype == "string":
        return pa.array([_of(str, cell) for cell in cells], type=pa.string())
    if dtype == "bool":
        return pa.array([_of(bool, cell) for cell in cells], type=pa.bool_())
    if dtype == "null":
        if any(cell is not None for cell in cells):
            raise InvalidData("a column of null holds nothing", allowed="null")
        return pa.nulls(len(cells))
    missing = np.array([cell is None for cell in cells], dtype=bool)
    if dtype in _NUMBERS:
        return pa.array(_numbers([0 if cell is None else cell for cell in cells], dtype), mask=missing)
    if found := _TIME.fullmatch(dtype):
        kind, unit, utc = found.groups()
        if unit in ("s", "ms", "us", "ns"):
            times = pa.array(_times_from_json(kind, unit, cells).view(np.int64), mask=missing)
            return times.cast(pa.timestamp(unit, "UTC" if utc else None) if kind == "datetime64" else pa.duration(unit))
    raise InvalidData(f"there is no dtype {dtype!r}", allowed=_WORDS)


def _array_cells(dtype: str, cells: Sequence[Any], shapes: Sequence[Any] | None) -> list[np.ndarray | None]:
    if dtype not in _NUMBERS and dtype != "bool":
        raise InvalidData(f"there is no array of {dtype!r}", allowed="arrays of numbers or bool")
    shapes = [None] * len(cells) if shapes is None else shapes
    return [None if cell is None else _array(dtype, cell, shape) for cell, shape in zip(cells, shapes, strict=True)]


# --- nested data


def mapping_to_json(data: Mapping[str, Any]) -> dict[str, Any]:
    """A value's data, or a config, as strict JSON."""
    return {name: _node_to_json(part) for name, part in data.items()}


def mapping_from_json(data: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """A value's data, or a config, from JSON."""
    made = {}
    for name, part in data.items():
        try:
            made[name] = _node_from_json(part)
        except (pa.ArrowException, ValueError, TypeError, OverflowError, RecursionError) as error:
            problem = error.problem if isinstance(error, InvalidData) else str(error)
            raise InvalidData(problem, where=f"{where}.{name}", allowed=getattr(error, "allowed", "")) from error
    return made


def _node_to_json(node: Any) -> Any:
    if isinstance(node, str):
        return {"dtype": "string", "data": node} if node in _SPECIAL else node
    if isinstance(node, float):
        return _strict(node)
    if isinstance(node, dict):
        told = mapping_to_json(node)
        return {"dtype": "json", "data": told} if _is_typed(node) else told
    if isinstance(node, (list, tuple)):
        return [_node_to_json(part) for part in node]
    if isinstance(node, np.ndarray):
        return _array_to_json(node)
    if isinstance(node, dt.datetime):
        return {"dtype": f"datetime64[us{'' if node.tzinfo is None else ', UTC'}]", "data": node.isoformat()}
    if isinstance(node, dt.timedelta):
        return {"dtype": "timedelta64[us]", "data": node // dt.timedelta(microseconds=1)}
    return node


def _node_from_json(node: Any, depth: int = 0) -> Any:
    if depth > MAX_DEPTH:
        raise InvalidData("lists and mappings are nested too deep", allowed=f"{MAX_DEPTH} levels")
    if isinstance(node, str):
        return _SPECIAL.get(node, node)
    if isinstance(node, list):
        return [_node_from_json(part, depth + 1) for part in node]
    if isinstance(node, dict):
        if _is_typed(node):
            return _typed_from_json(node["dtype"], node["data"], node.get("shape"), depth)
        return {name: _node_from_json(part, depth + 1) for name, part in node.items()}
    return node


def _typed_from_json(dtype: str, data: Any, shape: Any, depth: int) -> Any:
    if dtype == "json" and isinstance(data, dict):
        return {name: _node_from_json(part, depth + 1) for name, part in data.items()}
    if shape is None and not isinstance(data, list):
        if dtype == "string":
            return _of(str, data)
        if dtype.startswith("datetime64[us"):
            return dt.datetime.fromisoformat(data)
        if dtype == "timedelta64[us]":
            return dt.timedelta(microseconds=_of(int, data))
    return _array(dtype, data, shape)


def _is_typed(node: Mapping[str, Any]) -> bool:
    return "dtype" in node and "data" in node and node.keys() <= {"dtype", "data", "shape"} and isinstance(node["dtype"], str)


# --- arrays, numbers and times


def _array_to_json(array: np.ndarray) -> dict[str, Any]:
    flat = array.reshape(-1)
    if array.dtype.kind == "U":
        dtype, cells = "string", flat.tolist()
    elif array.dtype.kind in "mM":
        dtype, cells = array.dtype.name, _times_to_json(flat, utc=False)
    else:
        dtype, cells = array.dtype.name, _strict(flat.tolist())
    # An object array of the cells takes their nesting from the shape, whatever the cells are.
    nested = np.fromiter(cells, dtype=object, count=len(cells)).reshape(array.shape).tolist()
    return {"dtype": dtype, "shape": list(array.shape), "data": nested}


def _array(dtype: str, data: Any, shape: Any) -> np.ndarray:
    """Nested lists as an array; `shape` is only needed where the lists cannot tell it."""
    nested = np.array(data, dtype=object)
    cells = nested.reshape(-1).tolist()
    if any(isinstance(cell, list) for cell in cells):
        raise InvalidData("the lists of an array differ in length")
    if dtype == "string":
        flat = np.array([_of(str, cell) for cell in cells], dtype=np.str_)
    elif dtype == "bool":
        flat = np.array([_of(bool, cell) for cell in cells], dtype=bool)
    elif dtype in _NUMBERS:
        flat = _numbers(cells, dtype)
    elif (found := _TIME.fullmatch(dtype)) and not found[3]:
        flat = _times_from_json(found[1], found[2], cells)
    else:
        raise InvalidData(f"there is no array of {dtype!r}", allowed=_WORDS)
    if shape is None:
        return flat.reshape(nested.shape)
    if not isinstance(shape, list) or any(type(size) is not int or size < 0 for size in shape):
        raise InvalidData("the shape of an array is not one", allowed="a list of whole numbers")
    return flat.reshape(shape)


def _numbers(cells: Sequence[Any], dtype: str) -> np.ndarray:
    into = _NUMBERS[dtype]
    if into.kind == "f":
        wide = np.array([_SPECIAL[c] if isinstance(c, str) and c in _SPECIAL else _number(c) for c in cells], dtype=np.float64)
        with np.errstate(over="ignore"):
            narrow = wide.astype(into)
        if (np.isinf(narrow) & ~np.isinf(wide)).any():
            raise InvalidData(f"a number is too large for {dtype}")
        return narrow
    whole = [_of(int, cell) for cell in cells]
    limits = np.iinfo(into)
    if any(cell is None or not limits.min <= cell <= limits.max for cell in whole):
        raise InvalidData(f"a number is missing, or not one of {dtype}", allowed=f"whole numbers from {limits.min} to {limits.max}")
    return np.array(whole, dtype=into)


def _number(cell: Any) -> float:
    if isinstance(cell, bool) or not isinstance(cell, (int, float)):
        raise InvalidData(f"{_shown(cell)} is no number", allowed='numbers, "NaN", "Infinity", "-Infinity"')
    return float(cell)


def _of(kind: type, cell: Any) -> Any:
    if cell is not None and type(cell) is not kind:
        raise InvalidData(f"{_shown(cell)} is no {kind.__name__}")
    return cell


def _times_to_json(times: np.ndarray, *, utc: bool) -> list[Any]:
    if times.dtype.kind == "m":
        return [None if missing else int(n) for n, missing in zip(times.view(np.int64), np.isnat(times), strict=True)]
    texts = np.datetime_as_string(times)
    return [None if text == "NaT" else f"{text}Z" if utc else str(text) for text in texts]


def _times_from_json(kind: str, unit: str, cells: Sequence[Any]) -> np.ndarray:
    dtype = np.dtype(f"{kind}[{unit}]")
    if kind == "timedelta64":
        numbers = [np.iinfo(np.int64).min if cell is None else _of(int, cell) for cell in cells]
        return np.array(numbers, dtype=np.int64).view(dtype)
    return np.array([_instant(cell, dtype) for cell in cells], dtype=dtype)


def _instant(cell: Any, dtype: np.dtype) -> np.datetime64:
    if cell is None:
        return np.datetime64("NaT")
    found = _ISO.fullmatch(cell) if isinstance(cell, str) else None
    if found is None:
        raise InvalidData(f"{_shown(cell)} is no time", allowed="ISO 8601, such as 2026-01-31T12:00:00.25Z")
    time = np.datetime64(found[1]).astype(dtype)
    if np.datetime64(found[1]) != time.astype(np.datetime64(found[1]).dtype):
        raise InvalidData(f"{_shown(cell)} does not fit {dtype}")
    if found[2] and found[2] != "Z":
        hours, minutes = int(found[2][1:3]), int(found[2][4:6])
        offset = np.timedelta64(hours * 60 + minutes, "m")
        time = time - offset if found[2][0] == "+" else time + offset
    return time.astype(dtype)


def parse_time(given: Any, *, where: str) -> float:
    """A record's time: seconds since 1970 UTC, or ISO 8601 (UTC unless it says another zone)."""
    if isinstance(given, str) and _ISO.fullmatch(given):
        try:
            time = dt.datetime.fromisoformat(given)
        except ValueError:
            pass
        else:
            return (time if time.tzinfo else time.replace(tzinfo=dt.UTC)).timestamp()
    elif isinstance(given, (int, float)) and not isinstance(given, bool) and abs(given) < 1e12:
        return float(given)
    raise InvalidData(f"{_shown(given)} is no time", where=where, allowed="seconds since 1970 UTC, or ISO 8601")


def _strict(node: Any) -> Any:
    """Numbers, alone or in nested lists, without those that JSON lacks."""
    if isinstance(node, list):
        return [_strict(part) for part in node]
    if isinstance(node, float) and not math.isfinite(node):
        return "NaN" if math.isnan(node) else "Infinity" if node > 0 else "-Infinity"
    return node


def _shown(cell: Any) -> str:
    text = json.dumps(cell, default=str)
    return text if len(text) <= 60 else f"{text[:60]}..."
