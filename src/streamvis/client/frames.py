"""One batch in a file, and a file that is a row of them. Pure but for reading the file.

A frame is

    magic "SVB1", length of head, length of body, CRC-32 of both (little-endian uint32 each), head (JSON), body

One that is cut off or damaged is none, and so is one whose head no producer wrote; whole ones after it are found. Frames in a row
with the same number are parts of one batch. The body of notes is not encoded yet: a line of JSON for each row,
`[step, time, key, columns]`.
"""

from __future__ import annotations

import json
import os
import re
import stat
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

__all__ = ["Outgoing", "find_frame", "frame_of", "joined", "open_segment", "peek_number", "read_segment", "scan_segment"]

_MAGIC = b"SVB1"
_FRAME = struct.Struct("<4sIII")
_MAX_HEAD_BYTES = 2**16
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


class Outgoing(NamedTuple):
    """A batch on its way, encoded or as notes."""

    run: str
    app: str
    producer: str
    number: int
    records: int
    body: bytes
    is_notes: bool = False


def open_segment(path: Path) -> BinaryIO:
    """Open a file of a spool that anybody may have put there. Raises OSError for a link or a pipe."""
    opened = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            raise OSError(f"{path} is not a file")
    except OSError:
        os.close(opened)
        raise
    return os.fdopen(opened, "rb")


def read_segment(path: Path) -> Iterator[tuple[Outgoing, int]]:
    """The batches of a segment, in order, and how many bytes each takes; what is damaged is passed over."""
    for batch, size in scan_segment(path):
        if batch is not None:
            yield batch, size


def scan_segment(path: Path) -> Iterator[tuple[Outgoing | None, int]]:
    """The batches of a segment and how many bytes each takes; None for bytes that are damaged. A frame cut off ends it."""
    with open_segment(path) as file:
        parts: list[Outgoing] = []
        size = end = 0
        while (found := find_frame(file, end)) is not None:
            part, begin, its_end = found
            if parts and part.number != parts[0].number:
                yield joined(parts), size
                parts, size = [], 0
            if begin > end:
                yield None, begin - end
            parts.append(part)
            size, end = size + its_end - begin, its_end
        if parts:
            yield joined(parts), size
        if (left := os.fstat(file.fileno()).st_size - end) and not _is_cut_off(file, end, left):
            yield None, left


def joined(parts: Sequence[Outgoing]) -> Outgoing:
    """One batch of its parts."""
    if len(parts) == 1:
        return parts[0]
    return parts[0]._replace(records=sum(part.records for part in parts), body=b"".join(part.body for part in parts))


def frame_of(batch: Outgoing) -> bytes:
    """A batch as it stands in a file."""
    names = [name for name in Outgoing._fields if name != "body"]
    head = json.dumps({name: getattr(batch, name) for name in names}).encode()
    crc = zlib.crc32(batch.body, zlib.crc32(head))
    return b"".join((_FRAME.pack(_MAGIC, len(head), len(batch.body), crc), head, batch.body))


def find_frame(file: BinaryIO, offset: int) -> tuple[Outgoing, int, int] | None:
    """The first whole frame at `offset` or after it: its batch, where it begins, and where it ends."""
    file.seek(offset)
    if (batch := _read_frame(file)) is not None:
        return batch, offset, file.tell()
    file.seek(offset)
    content = file.read()
    place = 0
    while (place := content.find(_MAGIC, place + 1)) >= 0:
        file.seek(offset + place)
        if (batch := _read_frame(file)) is not None:
            return batch, offset + place, file.tell()
    return None


def peek_number(file: BinaryIO, offset: int) -> int | None:
    """The number of the frame at `offset`, if there is one; its body is not read."""
    file.seek(offset)
    start = file.read(_FRAME.size)
    if len(start) < _FRAME.size:
        return None
    magic, head_bytes, _, _ = _FRAME.unpack(start)
    if magic != _MAGIC or head_bytes > _MAX_HEAD_BYTES:
        return None
    try:
        return json.loads(file.read(head_bytes))["number"]
    except (ValueError, KeyError, TypeError):
        return None


def _is_cut_off(file: BinaryIO, offset: int, left: int) -> bool:
    """Whether what is left is the beginning of a frame, as a process leaves it that is killed while it writes."""
    file.seek(offset)
    start = file.read(_FRAME.size)
    if len(start) < _FRAME.size:
        return _MAGIC.startswith(start[:4])
    magic, head_bytes, body_bytes, _ = _FRAME.unpack(start)
    return magic == _MAGIC and head_bytes <= _MAX_HEAD_BYTES and _FRAME.size + head_bytes + body_bytes > left


def _read_frame(file: BinaryIO) -> Outgoing | None:
    start = file.read(_FRAME.size)
    if len(start) < _FRAME.size:
        return None
    magic, head_bytes, body_bytes, crc = _FRAME.unpack(start)
    left = os.fstat(file.fileno()).st_size - file.tell()
    if magic != _MAGIC or head_bytes > _MAX_HEAD_BYTES or head_bytes + body_bytes > left:
        return None
    head, body = file.read(head_bytes), file.read(body_bytes)
    if zlib.crc32(body, zlib.crc32(head)) != crc:
        return None
    try:
        batch = Outgoing(body=body, **json.loads(head))
    except (ValueError, TypeError, RecursionError):
        return None
    return batch if _is_sound(batch) else None


def _is_sound(batch: Outgoing) -> bool:
    """Whether what the head said can be: run and producer become parts of addresses and of names of files."""
    ids = all(isinstance(one, str) and _ID.fullmatch(one) for one in (batch.run, batch.producer))
    numbers = all(type(one) is int and 0 <= one < 2**63 for one in (batch.number, batch.records))
    return ids and numbers and isinstance(batch.app, str) and isinstance(batch.is_notes, bool)
