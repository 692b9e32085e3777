"""The JSON form of batches, rows and values, so that curl is a full client. Pure.

A column in JSON is a list of cells, or `{"dtype": ..., "data": [...]}` with a dtype word. "NaN", "Infinity" and "-Infinity"
stand for the numbers that JSON lacks, `null` for what is missing, ISO texts for times.

Records are checked while they are converted, since only that shows whether a cell fits its dtype. The endpoint's OpenAPI document
describes the form by models of its own; checking by them would go through all cells once more.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from streamvis.errors import InvalidData
from streamvis.records import STATES, Chunk, Clear, Finish, Start
from streamvis.wire.arrow import (
    checked_attempt,
    checked_config,
    checked_keep,
    checked_name,
    checked_step,
    checked_time,
    encode_rows_apart,
    encode_value,
    table_of,
    value_of,
)
from streamvis.wire.columns import column_dtype, numpy_column
from streamvis.wire.limits import MAX_COLUMNS, MAX_RECORDS
from streamvis.wire.moments import converted, moment_texts
from streamvis.wire.tree import pack, to_plain

__all__ = ["body_to_json", "chunks_from_json", "config_text", "load_json", "plain_cells", "rows_to_json"]

_WORD = re.compile(r"bool|u?int(8|16|32|64)|float(16|32|64)|(datetime64|timedelta64)\[(s|ms|us|ns)\]")
_ZONED = re.compile(r"datetime64\[(s|ms|us|ns), UTC\]")
_TIME = re.compile(r"[+-]?\d.*|NaT", re.DOTALL)
"""How texts of times begin. NumPy takes others too: "now" for the clock of the endpoint, and nothing for NaT."""
_CELLS = {
    "bool": {bool},
    "string": {str},
    "null": set[type](),
    "int": {int, float},
    "uint": {int, float},
    "float": {int, float},
    "datetime": {str, int, type(None)},
    "timedelta": {str, int, type(None)},
}
"""What JSON says the cells of a dtype by, by how its word begins."""
_NAT = -(2**63)
"""The count that NumPy takes for NaT."""
_NOT_FINITE = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


def load_json(body: bytes) -> Mapping[str, Any]:
    """The JSON object in a body. Raises InvalidData."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidData(f"not JSON ({error})", allowed="a JSON object") from error
    if not isinstance(data, dict):
        raise InvalidData(f"a JSON {type(data).__name__}", allowed="a JSON object")
    return data


def config_text(config: Any, *, where: str = "config") -> str:
    """A config from JSON as it is stored."""
    if not isinstance(config, dict):
        raise InvalidData(f"a config is an object, not {type(config).__name__}", where=where)
    return checked_config(json.dumps(pack(config)), where=where)


def chunks_from_json(data: Mapping[str, Any], *, now: float) -> list[Chunk]:
    """The records of a batch. Raises InvalidData that names the place, such as `records[3].data.y`."""
    records = data.get("records")
    if not isinstance(records, list):
        raise InvalidData("a batch needs a list of records", where="records")
    if len(records) > MAX_RECORDS:
        raise InvalidData(f"{len(records):,} records", where="records", allowed=f"at most {MAX_RECORDS:,}; send several batches")
    chunks = []
    for i, record in enumerate(records):
        where = f"records[{i}]"
        if not isinstance(record, dict):
            raise InvalidData("a record is an object", where=where)
        try:
            chunks += _chunks(record, now=now, where=where)
        except (pa.ArrowException, ValueError, TypeError, OverflowError, RecursionError, MemoryError) as error:
            if isinstance(error, InvalidData):
                raise
            raise InvalidData(str(error), where=where) from error
    return chunks


def _chunks(record: Mapping[str, Any], *, now: float, where: str) -> Sequence[Chunk]:
    kind = record.get("kind")
    time = checked_time(record.get("time", now), where=f"{where}.time")
    if kind == "start":
        name = record.get("name")
        if name is not None:
            checked_name(name, what="name of the run", where=f"{where}.name")
        config = config_text(record.get("config", {}), where=f"{where}.config")
        attempt, resume_at = checked_attempt(record.get("attempt"), record.get("resume_at"), where=where)
        return [Start(config, time, name, bool(record.get("joins")), attempt, resume_at)]
    if kind == "clear":
        return [Clear(time)]
    if kind == "finish":
        state = record.get("state", "finished")
        if state not in STATES[1:]:
            raise InvalidData(f"the state {state!r}", where=f"{where}.state", allowed=", ".join(STATES[1:]))
        return [Finish(state, time)]
    if kind not in ("rows", "value"):
        raise InvalidData(f"the kind {kind!r}", where=f"{where}.kind", allowed="rows, value, start, clear, finish")
    key = checked_name(record.get("key"), what="key", where=f"{where}.key")
    step = checked_step(record.get("step"), where=f"{where}.step")
    data = record.get("data")
    if not isinstance(data, dict) or not data:
        raise InvalidData("data is an object of names and what they hold", where=f"{where}.data")
    if len(data) > MAX_COLUMNS:
        raise InvalidData(f"{len(data):,} names", where=f"{where}.data", allowed=f"at most {MAX_COLUMNS:,}; use several keys")
    for name in data:
        checked_name(name, what="column", where=f"{where}.data")
    if kind == "value":
        keep = checked_keep(record.get("keep"), where=f"{where}.keep")
        return [encode_value(key, step, time, {name: _value(part) for name, part in data.items()}, keep=keep)]
    columns = {name: _cells(cells, where=f"{where}.data.{name}") for name, cells in data.items()}
    counts = {name: len(cells) for name, cells in columns.items()}
    if len(set(counts.values())) > 1:
        raise InvalidData(f"columns of unequal length: {counts}", where=f"{where}.data")
    count = next(iter(counts.values()))
    if not count:
        raise InvalidData("no rows", where=f"{where}.data", allowed="at least one")
    try:
        return encode_rows_apart(key, [step] * count, [time] * count, columns)
    except InvalidData as error:
        name = next((name for name, cells in columns.items() if not _is_storable(cells)), None)
        place = f"{where}.data" if name is None else f"{where}.data.{name}"
        raise InvalidData(error.problem, where=place, allowed=error.allowed) from error


def _is_storable(cells: Any) -> bool:
    try:
        encode_rows_apart("", range(len(cells)), [0.0] * len(cells), {"": cells})
    except InvalidData:
        return False
    return True


def _value(part: Any) -> Any:
    if isinstance(part, dict) and set(part) == {"dtype", "data"}:
        return _typed(_finite(part["data"]), _checked_word(part["dtype"]))
    return part


def _finite(data: Any) -> Any:
    if isinstance(data, list):
        return [_finite(part) for part in data]
    return _NOT_FINITE.get(data, data) if isinstance(data, str) else data


def _cells(cells: Any, *, where: str) -> Any:
    if isinstance(cells, dict) and set(cells) == {"dtype", "data"}:
        if not isinstance(cells["data"], list):
            raise InvalidData("data is a list of cells", where=where)
        try:
            return _typed_cells(cells["dtype"], cells["data"])
        except (ValueError, TypeError, OverflowError) as error:
            raise InvalidData(f"not cells of {cells['dtype']!r} ({error})", where=where) from error
    return cells if isinstance(cells, list) else [cells]


def _checked_word(dtype: Any) -> str:
    """One of our words for numbers and times: NumPy would read much else, such as a type of a gigabyte a number."""
    if not isinstance(dtype, str) or not _WORD.fullmatch(dtype):
        raise ValueError(f"{str(dtype)[:40]!r} is not a supported dtype")
    return dtype


def _typed_cells(dtype: Any, data: list[Any]) -> Any:
    if isinstance(dtype, str) and not dtype.startswith(("array<", "json")) and list in set(map(type, data)):
        raise ValueError(f"a list does not fit {dtype:.40}")
    if dtype in ("bool", "string", "null"):
        _check_kinds([cell for cell in data if cell is not None], dtype)
        return data
    if dtype == "json":
        return data
    if isinstance(dtype, str) and (inner := re.fullmatch(r"array<(\w+)>", dtype)):
        word = _checked_word(inner[1])
        return [None if cell is None else _typed(_finite(cell), word) for cell in data]
    if isinstance(dtype, str) and (found := _ZONED.fullmatch(dtype)):
        moments = [None if cell is None else _zoned(cell) for cell in data]
        _moments([None if one is None else one.replace(tzinfo=None).isoformat() for one in moments], f"datetime64[{found[1]}]")
        return moments
    dtype = _checked_word(dtype)
    if dtype.startswith(("datetime64", "timedelta64")):
        return _typed(data, dtype)
    numbers = _finite(data) if dtype.startswith("float") else data
    if None not in numbers:
        return _typed(numbers, dtype)
    there = iter(_typed([cell for cell in numbers if cell is not None], dtype).tolist())
    return [None if cell is None else next(there) for cell in numbers]


def _check_kinds(data: Any, dtype: str) -> None:
    """Raise ValueError where a cell, or what is in nested lists, is of a kind that does not say cells of the dtype."""
    right, *_ = (kinds for begin, kinds in _CELLS.items() if dtype.startswith(begin))
    cells = data if isinstance(data, list) else [data]
    if not set(map(type, cells)) <= right:
        for cell in cells:
            if isinstance(cell, list):
                _check_kinds(cell, dtype)
            elif type(cell) not in right:
                raise ValueError(f"the cell {json.dumps(cell)[:40]} does not fit {dtype}")


def _typed(data: Any, dtype: str) -> np.ndarray:
    """An array of the dtype. Raises ValueError where it cannot say a single cell: NumPy would make it another one.

    Only the digits of a number that a float lacks go.
    """
    _check_kinds(data, dtype)
    if dtype.startswith("datetime64"):
        return _moments(data, dtype)
    if dtype.startswith("timedelta64"):
        return _durations(data, dtype)
    with np.errstate(over="ignore"):
        made = np.array(data, dtype=dtype)
    free = np.array(data)
    is_float = made.dtype.kind == "f"
    if free.dtype.kind not in "biuf" or not bool(((np.isfinite(made) >= np.isfinite(free)) if is_float else made == free).all()):
        raise ValueError(f"a cell that does not fit {dtype}")
    return made


def _with_nat(data: Any) -> Any:
    return [_with_nat(part) for part in data] if isinstance(data, list) else "NaT" if data is None else data


def _durations(data: Any, dtype: str) -> np.ndarray:
    cells = np.array(_with_nat(data), dtype=object)
    for cell in cells.ravel().tolist():
        if isinstance(cell, str) and cell != "NaT" or cell == _NAT:
            raise ValueError(f"the duration {cell!r:.40} does not fit {dtype}")
    return np.array(_with_nat(data), dtype=dtype)


def _moments(data: Any, dtype: str) -> np.ndarray:
    cells = np.array(_with_nat(data), dtype=object).ravel().tolist()
    for cell in cells:
        if isinstance(cell, str) and not _TIME.fullmatch(cell) or cell == _NAT:
            raise ValueError(f"the time {cell!r:.40} does not fit {dtype}")
    made = np.array(_with_nat(data), dtype=dtype)
    for cell, text in zip(cells, np.datetime_as_string(made).ravel().tolist(), strict=True):
        if isinstance(cell, str) and not _is_same_moment(cell, text) and converted(np.array([cell], "M8"), dtype[11:-1]) is None:
            raise ValueError(f"the time {cell[:40]!r} does not fit {dtype}")
    return made


def _is_same_moment(text: str, made: str) -> bool:
    """Whether the texts differ at most in how many zeros they say."""
    long, short = (text, made) if len(text) > len(made) else (made, text)
    return long.startswith(short) and not long[len(short) :].strip("T0:.Z")


def _zoned(text: str) -> dt.datetime:
    made = dt.datetime.fromisoformat(text)
    # A text without a zone is not in that of the endpoint.
    made = made.astimezone(dt.UTC) if made.tzinfo else made.replace(tzinfo=dt.UTC)
    _, _, fraction = text.partition(".")
    digits = fraction[: len(fraction) - len(fraction.lstrip("0123456789"))]
    if digits[6:].strip("0"):
        raise ValueError(f"{text[:40]!r} is finer than microseconds")
    return made


def body_to_json(body: bytes | memoryview) -> dict[str, Any]:
    """Stored rows or a stored value, as a record in JSON."""
    meta, table = table_of(body)
    if meta["kind"] == "rows":
        return {"kind": "rows", "key": meta["key"], **rows_to_json(table)}
    value = value_of(meta, table)
    return {"kind": "value", "key": value.key, "step": value.step, "time": value.time, "data": to_plain(value.data)}


def rows_to_json(table: pa.Table) -> dict[str, Any]:
    """Rows with their steps, times and columns."""
    columns = {}
    for i, field in enumerate(list(table.schema)[2:]):
        column = table.column(i + 2).combine_chunks()
        array = column.chunk(0) if isinstance(column, pa.ChunkedArray) and column.num_chunks else column
        if isinstance(array, pa.ChunkedArray):
            array = pa.array([], type=field.type)
        columns[field.name] = {"dtype": column_dtype(field), "data": plain_cells(field, array)}
    return {"steps": table.column(0).to_pylist(), "times": to_plain(table.column(1).to_pylist()), "columns": columns}


def plain_cells(field: pa.Field, array: pa.Array) -> list[Any]:
    """A column's cells as strict JSON can say them."""
    if field.metadata and b"streamvis" in field.metadata:
        return [to_plain(cell) for cell in numpy_column(field, array)]
    if pa.types.is_timestamp(field.type):
        zone = "Z" if field.type.tz else ""
        return [None if text is None else text + zone for text in moment_texts(numpy_column(field, array))]
    if pa.types.is_duration(field.type):
        return array.cast(pa.int64()).to_pylist()
    return to_plain(array.to_pylist())
