"""The messages of Arrow streams from outside, looked at before Arrow unpacks anything of them.

A compressed buffer says itself how large it will be, and Arrow takes that much memory before it looks further: a few bytes could
ask for all there is. Our producers compress nothing, so what is compressed is refused. So are dictionaries.
"""

from __future__ import annotations

import struct

import pyarrow as pa

from streamvis.errors import InvalidData

__all__ = ["check_messages"]

_MOST_MESSAGES = 100_000
# Places of fields in the tables of Arrow's Message.fbs: of a message its header, of a record batch its compression.
_HEADER, _COMPRESSION = 2, 3


def check_messages(body: bytes) -> None:
    """Raises InvalidData where a message is none that a producer sends, and what Arrow raises where the bytes are no streams."""
    source = pa.BufferReader(body)
    size, count = len(body), 0
    while source.tell() < size:
        for message in pa.ipc.MessageReader.open_stream(source):
            count += 1
            if count > _MOST_MESSAGES:
                raise InvalidData(f"more than {_MOST_MESSAGES:,} messages", allowed="fewer, larger ones")
            if message.type not in ("schema", "record batch"):
                raise InvalidData(f"a message of the type {message.type}", allowed="schemas and record batches, no dictionaries")
            if message.type == "record batch" and _is_compressed(message.metadata.to_pybytes()):
                raise InvalidData("compressed buffers", allowed="Arrow streams without compression")


def _is_compressed(metadata: bytes) -> bool:
    try:
        (root,) = struct.unpack_from("<I", metadata)
        batch = _field(metadata, root, _HEADER)
        if batch is None:
            raise InvalidData("a message without a header")
        batch += struct.unpack_from("<I", metadata, batch)[0]
        return _field(metadata, batch, _COMPRESSION) is not None
    except struct.error as error:
        raise InvalidData(f"a message that is cut off ({error})") from error


def _field(data: bytes, table: int, number: int) -> int | None:
    """Where the field of a FlatBuffers table lies; None where it is left out."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    if vtable < 0:
        raise InvalidData("a message that points outside of itself")
    (length,) = struct.unpack_from("<H", data, vtable)
    if 4 + 2 * number + 2 > length:
        return None
    (offset,) = struct.unpack_from("<H", data, vtable + 4 + 2 * number)
    return table + offset if offset else None
