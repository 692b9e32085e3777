"""The messages of Arrow streams from outside, looked at before Arrow unpacks anything of them.

A few bytes must not ask for all the memory that there is. What Arrow would make more of than was sent is refused: compressed
buffers, which say themselves how large they will be; dictionaries; schemas in which many places point to the same field or text;
buffers that lie on each other. Our producers, and Arrow's own writers, send nothing of that kind unless they are told to.

Arrow's format is a row of messages: the marker, the length of the metadata, the metadata (FlatBuffers), and a body whose length
the metadata tell. The numbers here are places of fields in the tables of its Message.fbs and Schema.fbs.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from streamvis.errors import InvalidData
from streamvis.wire.limits import MAX_MESSAGES

__all__ = ["check_messages"]

_MARKER = b"\xff\xff\xff\xff"
_HEADER_KIND, _HEADER, _BODY_LENGTH, _MESSAGE_METADATA = 1, 2, 3, 4
_SCHEMA, _RECORD_BATCH = 1, 3
_FIELDS, _SCHEMA_METADATA = 1, 2
_NAME, _TYPE_KIND, _TYPE, _CHILDREN, _FIELD_METADATA = 0, 2, 3, 5, 6
_TIMESTAMP, _ZONE = 10, 1
_NODES, _BUFFERS, _COMPRESSION = 1, 2, 3

_MAX_NODES = 2**21
_MAX_DEPTH = 6
_LEAST_BYTES = 16
"""A field, or a pair of texts, that shares nothing with another takes more than that."""
_SMALL_BYTES = 2**14
"""However a schema of so few bytes is made, what Arrow makes of it is small."""


def check_messages(body: bytes) -> None:
    """Raises InvalidData where a message is none that a producer sends."""
    at, count, nodes = 0, 0, 0
    try:
        while at < len(body):
            metadata, at = _metadata(body, at)
            if not metadata:
                continue
            count += 1
            if count > MAX_MESSAGES:
                raise InvalidData(f"more than {MAX_MESSAGES:,} messages", allowed="fewer, larger ones, or several batches")
            size, more_nodes = _checked(metadata)
            nodes += more_nodes
            if nodes > _MAX_NODES:
                raise InvalidData(f"more than {_MAX_NODES:,} arrays", allowed="fewer, larger ones, or several batches")
            at += size
            if at > len(body):
                raise InvalidData("a message is cut off")
    except (struct.error, ValueError) as error:
        if isinstance(error, InvalidData):
            raise
        raise InvalidData(f"not a stream of Arrow messages ({error})") from error


def _metadata(body: bytes, at: int) -> tuple[bytes, int]:
    """The metadata that begin at a place, empty at the end of a stream; and the place behind them."""
    if body[at : at + 4] != _MARKER:
        raise InvalidData("not an Arrow stream", allowed="Arrow IPC streams, one after another")
    (size,) = struct.unpack_from("<i", body, at + 4)
    if size < 0 or at + 8 + size > len(body):
        raise InvalidData("a message is cut off")
    return bytes(body[at + 8 : at + 8 + size]), at + 8 + size


def _checked(data: bytes) -> tuple[int, int]:
    """The length of the body of a message, and how many arrays it holds, if it is one that a producer sends."""
    root = _number("<I", data, 0)
    header, kind = _reference(data, root, _HEADER), _value("<B", data, root, _HEADER_KIND)
    size = _value("<q", data, root, _BODY_LENGTH)
    if header is None or kind not in (_SCHEMA, _RECORD_BATCH):
        raise InvalidData("a message of another kind", allowed="schemas and record batches, no dictionaries")
    if size < 0 or _reference(data, root, _MESSAGE_METADATA) is not None:
        raise InvalidData("a message with metadata of its own, or without a length", allowed="metadata of the schema")
    if kind == _SCHEMA:
        if len(data) > _SMALL_BYTES:
            _check_schema(data, header)
        return size, 0
    if _reference(data, header, _COMPRESSION) is not None:
        raise InvalidData("compressed buffers", allowed="Arrow streams without compression")
    start, count = _vector(data, header, _BUFFERS)
    lengths = np.frombuffer(data, "<i8", 2 * count, start)[1::2] if count else np.zeros(0, np.int64)
    if (lengths < 0).any() or (lengths > size).any() or int(lengths.sum(dtype=np.float64)) > size:
        raise InvalidData("buffers that lie on each other, or outside of their message")
    return size, _vector(data, header, _NODES)[1]


def _check_schema(data: bytes, schema: int) -> None:
    """Count every field and text as often as it is pointed to: in all that is no more than the bytes that there are."""
    left = len(data)
    for size in _sizes(data, schema):
        left -= size
        if left < 0:
            raise InvalidData("a schema that says more than its bytes")


def _sizes(data: bytes, schema: int) -> Iterator[int]:
    """What each thing that a schema points to takes at least."""
    yield from _pair_sizes(data, schema, _SCHEMA_METADATA)
    waiting = [_tables(data, schema, _FIELDS)]
    while waiting:
        field = next(waiting[-1], None)
        if field is None:
            waiting.pop()
            continue
        yield _LEAST_BYTES + _text_bytes(data, field, _NAME)
        yield from _pair_sizes(data, field, _FIELD_METADATA)
        kind = _reference(data, field, _TYPE)
        if kind is not None and _value("<B", data, field, _TYPE_KIND) == _TIMESTAMP:
            yield _text_bytes(data, kind, _ZONE)
        waiting.append(_tables(data, field, _CHILDREN))
        if len(waiting) > _MAX_DEPTH:
            raise InvalidData("a schema that is nested too deep", allowed="lists of numbers or texts, in structs at most")


def _pair_sizes(data: bytes, table: int, number: int) -> Iterator[int]:
    for pair in _tables(data, table, number):
        yield _LEAST_BYTES + _text_bytes(data, pair, 0) + _text_bytes(data, pair, 1)


def _text_bytes(data: bytes, table: int, number: int) -> int:
    return _vector(data, table, number)[1]


def _tables(data: bytes, table: int, number: int) -> Iterator[int]:
    start, count = _vector(data, table, number)
    for at in range(start, start + 4 * count, 4):
        yield at + _number("<I", data, at)


def _vector(data: bytes, table: int, number: int) -> tuple[int, int]:
    """Where the vector of a table begins, and how many elements it has; none where it is left out."""
    at = _reference(data, table, number)
    return (0, 0) if at is None else (at + 4, _number("<I", data, at))


def _reference(data: bytes, table: int, number: int) -> int | None:
    """The place to which a field of a table points; None where it is left out."""
    at = _field(data, table, number)
    return None if at is None else at + _number("<I", data, at)


def _value(form: str, data: bytes, table: int, number: int) -> int:
    at = _field(data, table, number)
    return 0 if at is None else _number(form, data, at)


def _field(data: bytes, table: int, number: int) -> int | None:
    vtable = table - _number("<i", data, table)
    if vtable < 0:
        raise InvalidData("a message that points outside of itself")
    if 4 + 2 * number + 2 > _number("<H", data, vtable):
        return None
    offset = _number("<H", data, vtable + 4 + 2 * number)
    return table + offset if offset else None


def _number(form: str, data: bytes, at: int) -> int:
    return struct.unpack_from(form, data, at)[0]
