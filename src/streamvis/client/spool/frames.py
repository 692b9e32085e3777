"""What stands in the files of a log: frames, and notes in them. Pure but for reading a file.

A frame is

    magic "SVB1", length of head, length of body, CRC-32 of both (little-endian uint32 each), head (JSON), body

Frames in a row with the same number are one batch. A body is a row of Arrow streams, or notes; its first byte tells which.
A frame that is cut off or damaged, or whose head no producer wrote, is skipped, and whole ones after it are found.

Notes are entries of the outbox written down as JSON, without Arrow: quick to make of few entries, and the only form until Arrow
is loaded. Notes are lines of JSON. A line is a list of notes, each of them a list; one note alone is a line too, as earlier
versions wrote them:

    [step, time, key, columns]                    a row of numbers, texts and booleans
    [kind, step, time, key, data, arrays, keep]   another entry; `data` is packed (see `wire.tree`)
    ["begin", time, {...}], ["clear", time], ["end", time, state, others]

A config that JSON does not say as it is stands as a text: the JSON of what `wire.tree` packs. An array is its dtype, its shape,
and its bytes as base64.
"""

from __future__ import annotations

import base64
import json
import math
import os
import re
import stat
import struct
import sys
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from streamvis.client.outbox import CONTROL, ROW, ROWS, VALUE, Begin, Clear, End, Entry, Kept
from streamvis.errors import InvalidData

__all__ = [
    "Outgoing",
    "are_notes",
    "entries_of",
    "frames_of",
    "joined",
    "notes_of",
    "notes_of_begin",
    "open_segment",
    "read_batch",
    "read_segment",
    "says_as_it_is",
    "scan_segment",
]

_MAGIC = b"SVB1"
_FRAME = struct.Struct("<4sIII")
_MAX_HEAD_BYTES = 2**16
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_PLAIN = frozenset((float, int, bool, str, type(None)))
_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, RecursionError, OverflowError)
"""What notes raise that no producer wrote."""


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
        told = {**batch._asdict(), "records": 0 if i else batch.records}
        del told["bodies"]
        head = json.dumps(told).encode()
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
        end = 0
        while (found := read_batch(file, end)) is not None:
            batch, size, its_end = found
            yield batch, size
            if damaged := its_end - end - size:
                yield None, damaged
            end = its_end
        if (left := os.fstat(file.fileno()).st_size - end) and not _is_cut_off(file, end, left):
            yield None, left


def read_batch(file: BinaryIO, offset: int) -> tuple[Outgoing, int, int] | None:
    """The first whole batch at `offset` or after it, how many bytes its frames take, and where it ends."""
    parts: list[Outgoing] = []
    size, end = 0, offset
    # Across damage too: the same number is never sent with different content.
    while (found := _find_frame(file, end)) is not None and (not parts or found[0].number == parts[0].number):
        part, begin, end = found
        parts.append(part)
        size += end - begin
    return (joined(parts), size, end) if parts else None


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


# Notes


def notes_of(entries: Iterable[Entry]) -> bytes:
    """Entries as notes. Raises InvalidData for what cannot be stored."""
    return json.dumps([_note(entry) for entry in entries]).encode() + b"\n"


def notes_of_begin(begin: Begin) -> bytes:
    """Notes that make a run known to an endpoint that does not know it."""
    return notes_of([(CONTROL, None, time.time(), None, begin._replace(joins=True), 0)])


def are_notes(body: bytes) -> bool:
    """Whether a frame's body is notes."""
    return body[:1] == b"["


def entries_of(notes: bytes) -> list[Entry]:
    """The entries that were written down. Raises InvalidData."""
    entries: list[Entry] = []
    try:
        for line in notes.splitlines():
            told = json.loads(line)
            entries += [_entry(*note) for note in (told if isinstance(told[0], list) else [told])]
    except _UNREADABLE as error:
        raise InvalidData(f"notes in a spool cannot be read ({error})") from error
    return entries


def _note(entry: Entry) -> list[Any]:
    kind, step, time, key, data, _ = entry
    if kind is ROW and all(type(cell) in _PLAIN for cell in data.values()):
        return [step, time, key, data]
    if kind is CONTROL:
        return _control_note(time, data)
    data, keep = data if type(data) is Kept else (data, None)
    if not _needs_packing(data):
        return [kind, step, time, key, data, [], keep]
    from streamvis.wire.tree import pack

    arrays: list[Any] = []
    packed = pack(data, arrays)
    return [kind, step, time, key, packed, [_array_note(array) for array in arrays], keep]


def _control_note(time: float, record: Any) -> list[Any]:
    match record:
        case Begin():
            told = record._asdict()
            if not says_as_it_is(record.config):
                from streamvis.wire.tree import pack

                told["config"] = json.dumps(pack(record.config))
            return ["begin", time, told]
        case Clear():
            return ["clear", time]
        case End(state, others):
            return ["end", time, state, others]
    raise TypeError(type(record))


def says_as_it_is(node: Any) -> bool:
    """Whether any reader of JSON gets the config, or a part of one, as it is."""
    match node:
        case None | bool() | str():
            return True
        case int():
            return -(2**63) <= node < 2**63
        case float():
            return math.isfinite(node)
        case list() | tuple():
            return all(map(says_as_it_is, node))
        case dict():
            return all(type(name) is str and name[:1] != "~" for name in node) and all(map(says_as_it_is, node.values()))
    return False


def _needs_packing(data: Mapping[str, Any]) -> bool:
    """Whether JSON cannot say the data as they are. Without NumPy there is no array."""
    return any(
        not (type(part) in _PLAIN or (type(part) is list and all(type(cell) in _PLAIN for cell in part))) or name[:1] == "~"
        for name, part in data.items()
    )


def _array_note(array: Any) -> list[Any]:
    numpy = sys.modules["numpy"]
    return [array.dtype.str, array.shape, base64.b64encode(numpy.ascontiguousarray(array).tobytes()).decode()]


def _array(dtype: str, shape: Sequence[int], text: str) -> Any:
    import numpy as np

    wanted = np.dtype(dtype)
    if wanted.kind not in "biufUmM":
        raise ValueError(f"an array of {dtype}")
    return np.frombuffer(base64.b64decode(text), wanted).reshape(shape)


def _entry(first: Any, *rest: Any) -> Entry:
    match first, *rest:
        case "begin", time, {"config": str(packed), **told}:
            from streamvis.wire.tree import unpack

            return (CONTROL, None, time, None, Begin(config=unpack(json.loads(packed), []), **told), 0)
        case "begin", time, told:
            return (CONTROL, None, time, None, Begin(**told), 0)
        case "clear", time:
            return (CONTROL, None, time, None, Clear(), 0)
        case "end", time, state, others:
            return (CONTROL, None, time, None, End(state, tuple(others)), 0)
        case (("row" | "rows" | "value" as name), int(step), float(time), str(key), dict(data), list(arrays), keep):
            kind = {"row": ROW, "rows": ROWS, "value": VALUE}[name]
            if arrays or _needs_packing(data):
                from streamvis.wire.tree import unpack

                data = unpack(data, [_array(*array) for array in arrays])
            return (kind, step, time, key, data if keep is None else Kept(data, keep), 0)
        case int(step), float(time), str(key), dict(columns) if columns:
            return (ROW, step, time, key, columns, 0)
    raise ValueError("an unknown note")
