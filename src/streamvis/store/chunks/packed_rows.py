"""The form in which rows are kept once they have been merged: an Arrow stream of one record, whose cells are the columns, packed.

A column of plain numbers or times without gaps is a Blosc frame of its memory: bytes of the same place stand together (the
shuffle filter), which makes numbers that resemble each other small, and a column costs some twenty microseconds to unpack.
Any other column is an Arrow stream of its own, compressed by Arrow. So only the columns that are asked for are ever unpacked.

Merged rows keep which batch they came with: `Marks`, for readers whose cursor lies in the middle of them.
"""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from streamvis.wire.arrow import body_of

__all__ = ["Marks", "pack", "unpack"]

_PLAIN = "plain"
_WRITE = pa.ipc.IpcWriteOptions(compression="zstd")


@dataclass(frozen=True, slots=True)
class Marks:
    """Which rows came with which batch: those before `ends[i]`, and not before `ends[i - 1]`, with the batch `seqs[i]`."""

    seqs: np.ndarray
    ends: np.ndarray

    def rows_until(self, seq: int) -> int:
        """How many rows came with the batches up to `seq`."""
        i = int(np.searchsorted(self.seqs, seq, side="right"))
        return int(self.ends[i - 1]) if i else 0

    def part(self, start: int, stop: int) -> Marks:
        """The marks of the rows from `start` to `stop` (exclusive), which are numbered from 0 again."""
        first = int(np.searchsorted(self.ends, start, side="right"))
        last = int(np.searchsorted(self.ends, stop, side="left"))
        return Marks(self.seqs[first : last + 1], np.minimum(self.ends[first : last + 1], stop) - start)

    @classmethod
    def joined(cls, parts: Sequence[Marks]) -> Marks:
        """The marks of parts that follow each other."""
        begins = np.cumsum([0, *(int(part.ends[-1]) for part in parts)])
        seqs = np.concatenate([part.seqs for part in parts])
        ends = np.concatenate([part.ends + begin for part, begin in zip(parts, begins, strict=False)])
        is_last = np.append(seqs[1:] != seqs[:-1], True)
        return cls(seqs[is_last], ends[is_last])

    def of_rows(self) -> np.ndarray:
        """The batch of each row."""
        return np.repeat(self.seqs, np.diff(self.ends, prepend=0))

    @classmethod
    def of_one(cls, seq: int, count: int) -> Marks:
        """The marks of so many rows that came with one batch."""
        return cls(np.array([seq]), np.array([count]))

    @classmethod
    def from_rows(cls, seqs: np.ndarray) -> Marks:
        """The marks of rows whose batches these are."""
        ends = np.flatnonzero(np.append(seqs[1:] != seqs[:-1], True)) + 1
        return cls(seqs[ends - 1], ends)

    def to_bytes(self) -> bytes:
        """The form that is kept."""
        return _blosc().encode(np.concatenate([self.seqs, self.ends]))

    @classmethod
    def from_bytes(cls, data: bytes) -> Marks:
        """Read what `to_bytes` wrote."""
        seqs, ends = np.frombuffer(_blosc().decode(data), np.int64).reshape(2, -1)
        return cls(seqs, ends)


def pack(meta: Mapping[str, Any], table: pa.Table) -> bytes:
    """Pack rows. `meta` is any JSON object; `unpack` gives it back."""
    fields, cells = [], []
    for field, column in zip(table.schema, table.columns, strict=True):
        array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
        form = _PLAIN if _is_plain(field.type) and not array.null_count else "arrow"
        data = _blosc().encode(_memory(array)) if form == _PLAIN else _arrow_bytes(field, array)
        fields.append(pa.field(field.name, pa.binary(), metadata={b"form": form.encode()}))
        cells.append(pa.array([data], pa.binary()))
    schema = base64.b64encode(table.schema.remove_metadata().serialize()).decode()
    whole = {"kind": "packed", "meta": dict(meta), "rows": table.num_rows, "schema": schema}
    return body_of(whole, pa.table(cells, schema=pa.schema(fields)))


def unpack(
    body: bytes, *, wanted: Callable[[dict[str, Any], pa.Schema], Sequence[int]] | None = None
) -> tuple[dict[str, Any], pa.Table]:
    """The metadata and the rows; `wanted` says, given both metadata and schema, which columns, by position (None: all)."""
    buffer = pa.py_buffer(body)
    with pa.ipc.open_stream(buffer) as stream:
        meta, rows, schema, forms = _described(stream.schema.metadata[b"streamvis"], stream.schema)
        batch = stream.read_next_batch()
    positions = range(len(schema)) if wanted is None else wanted(meta, schema)
    arrays = [_unpacked(schema[i].type, forms[i], batch.column(i), rows) for i in positions]
    return meta, pa.table(arrays, schema=pa.schema([schema[i] for i in positions]))


def _unpacked(kind: pa.DataType, form: str, column: pa.Array, rows: int) -> pa.Array:
    data = column[0].as_buffer()
    if form == _PLAIN:
        return pa.Array.from_buffers(kind, rows, [None, pa.py_buffer(_decompress()(data))])
    return _only_column(data)


def _only_column(data: pa.Buffer) -> pa.Array:
    """The only column of an Arrow stream."""
    with pa.ipc.open_stream(data) as stream:
        column = stream.read_all().column(0)
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _is_plain(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_timestamp(kind) or pa.types.is_duration(kind)


def _memory(array: pa.Array) -> np.ndarray:
    """The numbers of a plain array, as unsigned integers of their size: only the bytes matter."""
    size = array.type.bit_width // 8
    return np.frombuffer(array.buffers()[1], dtype=f"u{size}", count=len(array), offset=size * array.offset)


def _arrow_bytes(field: pa.Field, array: pa.Array) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, pa.schema([field]), options=_WRITE) as writer:
        writer.write_table(pa.table([array], schema=pa.schema([field])))
    return sink.getvalue().to_pybytes()


@functools.lru_cache(maxsize=1)
def _blosc() -> Any:
    # Loading it takes a fifth of a second, which an endpoint that has just started does better without.
    from numcodecs import (
        Blosc,
        blosc,  # pyright: ignore[reportAttributeAccessIssue]  # a module in C
    )

    blosc.use_threads = False  # the frames are small, and threads of the endpoint unpack side by side
    return Blosc(cname="lz4", clevel=5, shuffle=Blosc.SHUFFLE)


@functools.lru_cache(maxsize=1)
def _decompress() -> Callable[[Any], bytes]:
    # What `decode` of the codec comes to, which spends as long again on looking at what it was given.
    _blosc()
    from numcodecs.blosc import decompress

    return decompress


def _described(text: bytes, schema: pa.Schema) -> tuple[dict[str, Any], int, pa.Schema, list[str]]:
    whole = json.loads(text)
    forms = [field.metadata[b"form"].decode() for field in schema]
    return whole["meta"], whole["rows"], _schema(whole["schema"]), forms


@functools.lru_cache(maxsize=256)
def _schema(text: str) -> pa.Schema:
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))
