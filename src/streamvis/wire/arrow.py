"""Bytes <-> chunks: the form in which batches travel and rows and values are stored.

A body is one or more Arrow IPC streams, one after another; any Arrow library reads them. The metadata of each stream's schema
holds under `streamvis` a JSON object whose `kind` says what the stream is:

    rows     key                    columns 0 and 1 are the step (int64) and the time (float64, seconds since 1970 UTC) of each
                                    row, the rest are the key's columns
    value    key, step, time, tree  one row; the arrays of the value, with their shapes, in the order that `tree` counts them
    start    config, time, name, joins, attempt, resume_at      no columns; so are the other control records
    clear    time
    finish   state, time, others
    history  key and what `records.History` says; column 0 is the number of each row, the rest is as in rows
    head     the first stream of a tail: cursor, more, restart, run, keys

Bytes from outside are checked in full before anything is believed (`decode_batch_body`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from streamvis.errors import InvalidData
from streamvis.records import ARROW, STATES, Chunk, Clear, Finish, Rows, RowsChunk, Start, Value, ValueChunk
from streamvis.wire.columns import Unjoinable, arrow_column, check_cells, checked_dtype, column_dtype, number_array, numpy_column
from streamvis.wire.joining import family_of, measured_cells
from streamvis.wire.limits import MAX_CELLS, MAX_COLUMNS, MAX_CONFIG_BYTES, MAX_NAME_BYTES, MAX_NAME_CHARS, MAX_TIME_S
from streamvis.wire.messages import check_messages
from streamvis.wire.tree import pack, unpack

__all__ = [
    "ARROW",
    "body_of",
    "checked_attempt",
    "checked_config",
    "checked_keep",
    "checked_name",
    "checked_step",
    "checked_time",
    "decode_batch_body",
    "decode_head",
    "decode_histories",
    "decode_history",
    "decode_tail_body",
    "encode_columns",
    "encode_control",
    "encode_head",
    "encode_history",
    "encode_rows",
    "encode_rows_apart",
    "encode_value",
    "rows_of",
    "streams_of",
    "table_of",
    "value_of",
]

# What Arrow, NumPy and this package raise on bytes that are not what they say.
_BROKEN = (
    pa.ArrowException,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
    MemoryError,
    NotImplementedError,
)

_MAX_TEXTS_BYTES = 64 * 2**20
"""What an array of texts may take in NumPy, where each takes as much as the longest."""

_STEP = pa.field("step", pa.int64(), nullable=False)
_TIME = pa.field("time", pa.float64(), nullable=False)


def encode_rows(key: str, steps: Any, times: Any, columns: Mapping[str, Any]) -> RowsChunk:
    """Gathered rows of `key`: `steps` and `times` are of length n, and each column is a list or an array of n cells."""
    return encode_columns(key, steps, times, [arrow_column(name, cells) for name, cells in columns.items()])


def encode_rows_apart(key: str, steps: Sequence[int], times: Sequence[float], columns: Mapping[str, Any]) -> list[RowsChunk]:
    """As `encode_rows`, in as few chunks as say each cell exactly: a column may hold what no one dtype says."""
    try:
        return [encode_rows(key, steps, times, columns)]
    except Unjoinable:
        if len(steps) < 2:
            raise
    middle = len(steps) // 2
    parts = [slice(None, middle), slice(middle, None)]
    halves = ((steps[part], times[part], {name: cells[part] for name, cells in columns.items()}) for part in parts)
    return [chunk for half in halves for chunk in encode_rows_apart(key, *half)]


def encode_columns(key: str, steps: Any, times: Any, made: Sequence[tuple[pa.Field, pa.Array]]) -> RowsChunk:
    """Gathered rows of `key` whose columns are Arrow fields and arrays already."""
    steps = np.asarray(steps, dtype=np.int64)
    arrays = [number_array(steps), number_array(np.asarray(times, dtype=np.float64)), *(array for _, array in made)]
    return _rows_chunk(key, pa.table(arrays, schema=pa.schema([_STEP, _TIME, *(field for field, _ in made)])))


def _rows_chunk(key: str, table: pa.Table) -> RowsChunk:
    body = body_of({"kind": "rows", "key": key}, table)
    steps = _steps(table)
    columns = {field.name: column_dtype(field) for field in list(table.schema)[2:]}
    return RowsChunk(key, columns, table.num_rows, int(steps.min()), int(steps.max()), body)


def _steps(table: pa.Table) -> np.ndarray:
    """The steps of a table of rows without nulls. Arrow's own `to_numpy` would import pandas, see `number_array`."""
    parts = [np.frombuffer(part.buffers()[1], np.int64, len(part), 8 * part.offset) for part in table.column(0).chunks]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def encode_value(key: str, step: int, time: float, data: Mapping[str, Any], *, keep: int | None = None) -> ValueChunk:
    """A value of `key` at `step`: `data` may be nested; arrays keep their dtype and shape. See `ValueChunk` for `keep`."""
    arrays: list[np.ndarray] = []
    tree = pack(dict(data), arrays)
    made = []
    for i, array in enumerate(arrays):
        field, flat = arrow_column(f"a{i}", np.ascontiguousarray(array).reshape(-1))
        shape = {b"shape": json.dumps(array.shape).encode(), b"dtype": array.dtype.str.encode()}
        cell = pa.ListArray.from_arrays(number_array(np.array([0, len(flat)], dtype=np.int32)), flat)
        made.append((pa.field(field.name, cell.type, metadata=shape), cell))
    table = pa.table([cell for _, cell in made], schema=pa.schema([field for field, _ in made]))
    meta = {"kind": "value", "key": key, "step": step, "time": time, "tree": tree} | ({"keep": keep} if keep else {})
    return ValueChunk(key, step, time, body_of(meta, table), keep)


def encode_control(record: Start | Clear | Finish) -> bytes:
    """A control record as a stream without columns."""
    kind = {Start: "start", Clear: "clear", Finish: "finish"}[type(record)]
    return body_of({"kind": kind, **{name: getattr(record, name) for name in record.__slots__}}, None)


def encode_head(head: Mapping[str, Any]) -> bytes:
    """The first stream of a tail. `head` is plain JSON."""
    return body_of({"kind": "head", **head}, None)


def encode_history(meta: Mapping[str, Any], table: pa.Table) -> bytes:
    """Some rows of a key, with the number of each; the fields of `table` keep their names."""
    return body_of({"kind": "history", **meta}, table)


def decode_histories(body: bytes) -> list[tuple[dict[str, Any], np.ndarray, Rows]]:
    """What `encode_history` wrote, once or several times: its metadata, the number of each row in the key's log, and the rows.
    Trusted bytes.

    Numbers and times that fit no one dtype are doubles and in microseconds here.
    """
    return [_history_of(meta, table) for meta, table, _ in streams_of(body)]


def decode_history(body: bytes) -> tuple[dict[str, Any], np.ndarray, Rows]:
    """As `decode_histories`, of one."""
    (found,) = decode_histories(body)
    return found


def _history_of(meta: dict[str, Any], table: pa.Table) -> tuple[dict[str, Any], np.ndarray, Rows]:
    numbers = table.column(0).to_numpy()
    rows = rows_of({"key": meta["key"]}, table.remove_column(0))
    measured = {
        field.name: measured_cells(field, _one_array(column))
        for field, column in zip(list(table.schema)[3:], table.columns[3:], strict=True)
        if field.metadata and family_of(field)
    }
    return meta, numbers, replace(rows, columns={**rows.columns, **measured})


def decode_batch_body(body: bytes) -> list[Chunk]:
    """Read and check the body of a batch from outside. Raises InvalidData with the place of what is wrong."""
    chunks: list[Chunk] = []
    try:
        check_messages(body)
        cells = 0
        for i, (meta, table, part) in enumerate(streams_of(body)):
            cells += table.num_rows * table.num_columns
            if cells > MAX_CELLS:
                raise InvalidData(f"more than {MAX_CELLS:,} cells in a batch", allowed="fewer rows, or fewer columns")
            chunks.append(_chunk(meta, table, part, where=f"stream {i}"))
    except _BROKEN as error:
        if isinstance(error, InvalidData):
            if error.where.startswith("stream "):
                raise
            raise InvalidData(error.problem, where=f"stream {len(chunks)}", allowed=error.allowed) from error
        problem = f"not a batch in Arrow form ({type(error).__name__}: {error})"
        raise InvalidData(problem, where=f"stream {len(chunks)}") from error
    return chunks


def decode_head(body: bytes) -> tuple[dict[str, Any], memoryview]:
    """The head of a tail, and the bytes after it."""
    reader = pa.BufferReader(body)
    with pa.ipc.open_stream(reader) as stream:
        meta = _meta(stream.schema)
        stream.read_all()
    return meta, memoryview(body)[reader.tell() :]


def decode_tail_body(body: bytes | memoryview) -> list[Rows | Value]:
    """The rows and values of a tail, decoded, in log order. The bytes are our own endpoint's and are trusted."""
    return [rows_of(meta, table) if meta["kind"] == "rows" else value_of(meta, table) for meta, table, _ in streams_of(body)]


def rows_of(meta: Mapping[str, Any], table: pa.Table) -> Rows:
    """Decode rows."""
    columns, missing = {}, {}
    for i, field in enumerate(list(table.schema)[2:]):
        array = _one_array(table.column(i + 2))
        columns[field.name] = numpy_column(field, array)
        if array.null_count:
            missing[field.name] = array.is_null().to_numpy(zero_copy_only=False)
    return Rows(meta["key"], table.column(0).to_numpy(), table.column(1).to_numpy(), columns, missing)


def value_of(meta: Mapping[str, Any], table: pa.Table) -> Value:
    """Decode a value."""
    arrays = []
    for i, field in enumerate(table.schema):
        cell = _one_array(table.column(i))
        flat = numpy_column(pa.field(field.name, field.type.value_type), cell.values)
        shape, dtype = json.loads(field.metadata[b"shape"]), field.metadata[b"dtype"].decode()
        arrays.append(_as_sent(np.asarray(flat), dtype).reshape(shape))
    return Value(meta["key"], meta["step"], meta["time"], unpack(meta["tree"], _EachOnce(enumerate(arrays))))


class _EachOnce(dict[int, np.ndarray]):
    """Arrays, each of which is there once: a tree that repeats one would make much of a few bytes."""

    __getitem__ = dict.pop


def table_of(body: bytes | memoryview) -> tuple[dict[str, Any], pa.Table]:
    """The metadata and the table of a body of one stream."""
    ((meta, table, _),) = streams_of(body)
    return meta, table


def body_of(meta: Mapping[str, Any], table: pa.Table | None) -> bytes:
    """A table, or nothing but metadata, as a body of one stream."""
    schema = (table.schema if table is not None else pa.schema([])).with_metadata({b"streamvis": json.dumps(meta).encode()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        if table is not None and table.num_rows:
            writer.write_table(table.cast(schema) if table.schema.metadata else table.replace_schema_metadata(schema.metadata))
    return sink.getvalue().to_pybytes()


def streams_of(body: bytes | memoryview) -> Iterator[tuple[dict[str, Any], pa.Table, memoryview]]:
    """The metadata and the table of each stream of a body, and its bytes. They are not checked."""
    buffer = pa.py_buffer(body)
    reader = pa.BufferReader(buffer)
    while (start := reader.tell()) < buffer.size:
        with pa.ipc.open_stream(reader) as stream:
            table = stream.read_all()
        yield _meta(table.schema), table, memoryview(body)[start : reader.tell()]


def _meta(schema: pa.Schema) -> dict[str, Any]:
    meta = json.loads((schema.metadata or {}).get(b"streamvis", b"null"))
    if not isinstance(meta, dict):
        raise InvalidData("the stream's schema has no `streamvis` metadata", allowed="the metadata that docs/rest.md describes")
    return meta


def _as_sent(flat: np.ndarray, dtype: str) -> np.ndarray:
    """Strings and coarse times are stored in another dtype than NumPy's: give back the one that was sent."""
    if dtype[1] == "U":
        texts = flat.tolist()
        if 4 * len(texts) * max(map(len, texts), default=0) > _MAX_TEXTS_BYTES:
            raise InvalidData("an array of texts of very different lengths", allowed="a list of them")
        return np.array(texts, dtype=np.str_)
    if dtype[1] not in "mM":
        return flat
    wanted = np.dtype(dtype)
    if wanted.kind not in "mM":
        raise InvalidData(f"times of the dtype {dtype[:40]!r}")
    return flat.astype(wanted, copy=False)


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _chunk(meta: dict[str, Any], table: pa.Table, part: memoryview, *, where: str) -> Chunk:
    table.validate(full=True)
    kind = meta.get("kind")
    if kind == "rows":
        return _checked_rows(meta, table, part, where=where)
    if kind == "value":
        value = _checked_value(meta, table, where=where)
        if not isinstance(value.data, dict):
            raise InvalidData("the tree of a value is not a mapping", where=where)
        return ValueChunk(
            checked_name(value.key, what="key", where=where),
            checked_step(value.step, where=where),
            checked_time(value.time, where=where),
            bytes(part),
            checked_keep(meta.get("keep"), where=where),
        )
    if kind == "start":
        name = None if not meta["name"] else checked_name(meta["name"], what="name of the run", where=where)
        if not isinstance(unpack(json.loads(checked_config(meta["config"], where=where)), ()), dict):
            raise InvalidData("the config is not a mapping", where=where)
        attempt, resume_at = checked_attempt(meta.get("attempt"), meta.get("resume_at"), where=where)
        return Start(meta["config"], checked_time(meta["time"], where=where), name, bool(meta["joins"]), attempt, resume_at)
    if kind == "clear":
        return Clear(time=checked_time(meta["time"], where=where))
    if kind == "finish":
        if meta["state"] not in STATES[1:]:
            raise InvalidData(f"state {meta['state']!r}", where=where, allowed=", ".join(STATES[1:]))
        others = meta.get("others") or ()
        if not isinstance(others, list | tuple) or not all(isinstance(one, str) for one in others):
            raise InvalidData("the others that ended are not ids of producers", where=where)
        return Finish(meta["state"], checked_time(meta["time"], where=where), tuple(others))
    raise InvalidData(f"kind {kind!r}", where=where, allowed="rows, value, start, clear, finish")


def _checked_value(meta: dict[str, Any], table: pa.Table, *, where: str) -> Value:
    for field, column in zip(table.schema, table.columns, strict=True):
        if table.num_rows != 1 or column.null_count or not pa.types.is_list(field.type):
            raise InvalidData("the arrays of a value are one row of lists", where=where)
        if pa.types.is_null(field.type.value_type):
            raise InvalidData("an array of nothing", where=where)
        checked_dtype(pa.field(field.name, field.type.value_type))
    return value_of(meta, table)


def _checked_rows(meta: dict[str, Any], table: pa.Table, part: memoryview, *, where: str) -> RowsChunk:
    checked_name(meta.get("key"), what="key", where=where)
    schema = table.schema
    if len(schema) < 3 or not schema[0].equals(_STEP) or not schema[1].equals(_TIME):
        raise InvalidData("rows need a step (int64, not null), a time (float64, not null) and columns", where=where)
    names = schema.names[2:]
    if len(names) > MAX_COLUMNS:
        raise InvalidData(f"{len(names):,} columns", where=where, allowed=f"at most {MAX_COLUMNS:,}; use several keys")
    if len(set(names)) < len(names):
        raise InvalidData("a column name stands twice", where=where)
    for name in names:
        checked_name(name, what="column", where=where)
    columns = {field.name: checked_dtype(field) for field in list(schema)[2:]}
    if not table.num_rows:
        raise InvalidData("no rows", where=where, allowed="at least one")
    if table.column(0).null_count or table.column(1).null_count:
        raise InvalidData("a step or a time is missing", where=where)
    chunk = _rows_chunk(meta["key"], table.combine_chunks()) if table.column(0).num_chunks > 1 else None
    steps = table.column(0).to_numpy()
    checked_step(int(steps.min()), where=where)
    times = table.column(1).to_numpy()
    checked_time(float(times[np.argmax(np.abs(times))]), where=where)  # the first NaN, if there is one
    for field, column in zip(schema, table.columns, strict=True):
        check_cells(field, _one_array(column))
    return chunk or RowsChunk(meta["key"], columns, table.num_rows, int(steps.min()), int(steps.max()), bytes(part))


def checked_name(name: Any, *, what: str, where: str) -> str:
    """The name of a key or column, if it is one."""
    if not isinstance(name, str) or not name:
        raise InvalidData(f"the {what} {name!r} is not a valid name", where=where, allowed="a string that is not empty")
    if len(name) > MAX_NAME_CHARS:
        problem = f"the {what} {name[:40]!r}... has {len(name):,} characters"
        raise InvalidData(problem, where=where, allowed=f"at most {MAX_NAME_CHARS:,}")
    if 4 * len(name) > MAX_NAME_BYTES and (size := len(name.encode(errors="surrogatepass"))) > MAX_NAME_BYTES:
        problem = f"the {what} {name[:40]!r}... has {size:,} bytes in UTF-8"
        raise InvalidData(problem, where=where, allowed=f"at most {MAX_NAME_BYTES:,}")
    if not name.isprintable():
        try:
            name.encode()
        except UnicodeEncodeError:
            problem = f"the {what} {name!r} is not valid Unicode"
            raise InvalidData(problem, where=where, allowed="no halves of surrogate pairs") from None
        if "\0" in name:  # PostgreSQL has no such text, and SQLite's JSON functions cut it there
            problem = f"the {what} {name[:40]!r} has the character NUL"
            raise InvalidData(problem, where=where, allowed="names without it")
    return name


def checked_config(config: str, *, where: str) -> str:
    """The JSON text of a config, if it is not too long."""
    if len(config) > MAX_CONFIG_BYTES:
        problem = f"a config of {len(config):,} bytes"
        raise InvalidData(problem, where=where, allowed=f"at most {MAX_CONFIG_BYTES:,}; send data as values")
    return config


def checked_attempt(attempt: Any, resume_at: Any, *, where: str) -> tuple[str, int | None]:
    """The name of an attempt ("" where there is none), and the step at which it resumes, if they are such."""
    name = "" if attempt in (None, "") else checked_name(attempt, what="attempt", where=where)
    return name, None if resume_at is None else checked_step(resume_at, where=where)


def checked_time(time: Any, *, where: str) -> float:
    """The time in seconds since 1970 UTC, if it is one."""
    if isinstance(time, bool) or not isinstance(time, (int, float)) or not abs(time) < MAX_TIME_S:
        raise InvalidData(f"{time!r} is not a valid time", where=where, allowed="seconds since 1970 UTC")
    return float(time)


def checked_step(step: Any, *, where: str) -> int:
    """The step, if it is one."""
    if not isinstance(step, int) or isinstance(step, bool) or not 0 <= step < 2**63:
        raise InvalidData(f"{step!r} is not a valid step", where=where, allowed="a whole number from 0")
    return step


def checked_keep(keep: Any, *, where: str) -> int | None:
    """How many values to keep, if it is that."""
    if keep is None or (isinstance(keep, int) and not isinstance(keep, bool) and 1 <= keep < 2**31):
        return keep
    raise InvalidData(f"keep is {keep!r}", where=where, allowed="how many values to keep, from 1")
