"""Frames: how batches stand in a file, several in a row. Pure but for reading the file.

A frame is

    magic "SVB1", length of head, length of body, CRC-32 of both (little-endian uint32 each), head (JSON), body

Frames in a row with the same number are one batch. A body is a row of Arrow streams, or notes (see `notes`); its first byte tells
which.
A frame that is cut off or damaged, or whose head no producer wrote, is skipped, and whole ones after it are found.
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

__all__ = ["Outgoing", "frames_of", "joined", "open_segment", "read_batch", "read_segment", "scan_segment"]

_MAGIC = b"SVB1"
_FRAME = struct.Struct("<4sIII")
_MAX_HEAD_BYTES = 2**16
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


class Outgoing(NamedTuple):
    """A batch on its way, or a part of one: each of its `bodies` is a frame's."""

    run: str
    app: str
    producer: str
    number: int
    records: int
    bodies: tuple[bytes, ...]

    @property
    def bytes(self) -> int:
        """Bytes of the bodies."""
        return sum(map(len, self.bodies))


def frames_of(batch: Outgoing) -> bytes:
    """A batch as it stands in a file: a frame for each body. The first of them counts the records."""
    frames = []
    for i, body in enumerate(batch.bodies):
        head = json.dumps(
            {
                "run": batch.run,
                "app": batch.app,
                "producer": batch.producer,
                "number": batch.number,
                "records": 0 if i else batch.records,
            }
        ).encode()
        crc = zlib.crc32(body, zlib.crc32(head))
        frames += [_FRAME.pack(_MAGIC, len(head), len(body), crc), head, body]
    return b"".join(frames)


def joined(parts: Sequence[Outgoing]) -> Outgoing:
    """One batch of its parts."""
    if len(parts) == 1:
        return parts[0]
    bodies = tuple(body for part in parts for body in part.bodies)
    return parts[0]._replace(records=sum(part.records for part in parts), bodies=bodies)


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
    """The batches of a segment, in order, and how many bytes each takes; damaged bytes are skipped."""
    for batch, size in scan_segment(path):
        if batch is not None:
            yield batch, size


def scan_segment(path: Path) -> Iterator[tuple[Outgoing | None, int]]:
    """The batches of a segment and how many bytes each takes; None for bytes that are damaged. A frame cut off ends it."""
    with open_segment(path) as file:
        parts: list[Outgoing] = []
        size = end = 0
        while (found := _find_frame(file, end)) is not None:
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


def read_batch(file: BinaryIO, offset: int) -> tuple[list[Outgoing], int, int] | None:
    """The parts of the first whole batch at `offset` or after it, where it begins, and where it ends."""
    found = _find_frame(file, offset)
    if found is None:
        return None
    part, begin, end = found
    parts = [part]
    file.seek(end)
    # Across damage too: the same number is never sent with different content.
    while (found := _find_frame(file, end)) is not None and found[0].number == parts[0].number:
        part, _, end = found
        parts.append(part)
    return parts, begin, end


def _find_frame(file: BinaryIO, offset: int) -> tuple[Outgoing, int, int] | None:
    """The first whole frame at `offset` or after it, where it begins, and where it ends."""
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
        told = json.loads(head)
        is_valid = isinstance(told.pop("is_notes", False), bool)  # earlier versions say so
        batch = Outgoing(bodies=(body,), **told)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
    return batch if is_valid and _is_valid(batch) else None


def _is_valid(batch: Outgoing) -> bool:
    """Whether the head can be a producer's: run and producer become parts of addresses and of names of files."""
    ids = all(isinstance(one, str) and _ID.fullmatch(one) for one in (batch.run, batch.producer))
    numbers = all(type(one) is int and 0 <= one < 2**63 for one in (batch.number, batch.records))
    return ids and numbers and isinstance(batch.app, str)
