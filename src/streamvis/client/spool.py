"""Batches that the endpoint has not taken yet, in order, in files: an append-only queue on the local disk.

A spool belongs to one producer. Its folder holds segments `00000001.spool`, ..., each a row of frames

    magic "SVB1", length of head, length of body, CRC-32 of both (little-endian uint32 each), head (JSON), body

Frames that follow each other with the same number are parts of one batch: while nobody has seen the last batch, what comes
goes on it instead of into one of its own. So a slow endpoint is not overrun by small batches, each of which costs a request.

A segment is deleted when all of its batches were delivered, so a batch may be found again after a crash: sending it again is
always safe. A frame cut off at the end of a segment is not one. Where the disk takes nothing, batches stay in memory, up to a
limit. Beside the segments lies, for each run that they speak of, `RUN.begin`: the bytes that make the run known to an endpoint
that does not know it. The folder is locked while its producer lives (see `ownership`), and found by others when it does not.

The files are for the crash of a process, not of a machine: nothing is synced until `sync` is called.

What an endpoint refused for good lies in the folder `refused` beside those of the producers: the frame, and a text that says why.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import BinaryIO, NamedTuple

from streamvis.client.ownership import Owner, hold, leave

__all__ = ["BEGIN", "REFUSED", "SEGMENTS", "Outgoing", "Spool", "read_segment", "set_aside"]

SEGMENTS, BEGIN, REFUSED = "*.spool", ".begin", "refused"

_MAGIC = b"SVB1"
_FRAME = struct.Struct("<4sIII")
_SEGMENT_BYTES = 32 * 2**20
_MAX_HEAD_BYTES = 2**16
_MAX_REFUSED = 1000
_OPEN_BYTES = 4 * 2**20
"""A batch with so many bytes takes no more parts."""


class Outgoing(NamedTuple):
    """An encoded batch on its way."""

    run: str
    app: str
    producer: str
    number: int
    records: int
    body: bytes


class _Waiting(NamedTuple):
    """Where a batch lies: in memory, or in a segment."""

    number: int
    batch: Outgoing | None
    segment: int
    offset: int
    size: int


class Spool:
    """A queue of batches under `folder`. For one thread at a time."""

    def __init__(
        self,
        folder: Path,
        *,
        url: str | None = None,
        max_bytes: int,
        max_memory_bytes: int,
        segment_bytes: int = _SEGMENT_BYTES,
    ) -> None:
        self.folder = folder
        self._url = url
        self._held: int | None = None
        self._remembered: set[str] = set()
        self.max_bytes = max_bytes
        self.max_memory_bytes = max_memory_bytes
        self.problem: OSError | None = None
        self.lost = 0
        self.bytes = 0
        self.memory_bytes = 0
        self._segment_bytes = segment_bytes
        self._waiting: deque[_Waiting] = deque()
        self._writing: BinaryIO | None = None
        self._reading: BinaryIO | None = None
        self._reading_segment = 0
        self._segment = 0
        self._read: Outgoing | None = None
        self._seen = 0
        self._last_bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def open_number(self) -> int:
        """The number of the last batch if it takes more parts: it is on the disk, not long, and nobody has seen it. Else 0."""
        last = self._waiting[-1] if self._waiting else None
        if last is None or last.batch is not None or last.number <= self._seen or self._last_bytes >= _OPEN_BYTES:
            return 0
        return last.number if self._writing is not None else 0

    def append(self, batch: Outgoing, *, seen: bool = False) -> bool:
        """Put a batch, or a part of the open one, at the end; False when there is no room, neither on the disk nor in memory.

        One that is `seen` may have been sent before, and takes no parts.
        """
        frame = _frame(batch)
        if self.bytes + len(frame) > self.max_bytes:
            return False
        try:
            waiting = self._write(frame, batch.number)
        except OSError as error:
            self.problem = error
            if self.memory_bytes + len(frame) > self.max_memory_bytes:
                return False
            waiting = _Waiting(batch.number, batch, 0, 0, len(frame))
            self.memory_bytes += len(frame)
        is_part = bool(self._waiting) and self._waiting[-1].number == batch.number
        self._last_bytes = len(frame) + (self._last_bytes if is_part else 0)
        self._seen = batch.number if seen else self._seen
        self.bytes += len(frame)
        self._waiting.append(waiting)
        return True

    @property
    def head_number(self) -> int | None:
        """The number of the oldest batch, without reading it."""
        return self._waiting[0].number if self._waiting else None

    def head(self) -> Outgoing | None:
        """The oldest batch, which stays, and is the same until it is dropped."""
        while self._waiting and self._read is None:
            self._seen = self._waiting[0].number
            parts = [part for waiting in self._first() if (part := self._part(waiting)) is not None]
            if parts:
                self._read = _joined(parts)
            else:
                self.drop_head()
        return self._read

    def drop_head(self) -> None:
        """Forget the oldest batch: it was delivered, or never will be."""
        self._read = None
        for waiting in self._first():
            self._waiting.popleft()
            self.bytes -= waiting.size
            if waiting.batch is not None:
                self.memory_bytes -= waiting.size
            elif not any(other.segment == waiting.segment for other in self._waiting):
                self._delete(waiting.segment)

    def _first(self) -> list[_Waiting]:
        """The parts of the oldest batch."""
        return list(takewhile(lambda waiting: waiting.number == self._waiting[0].number, self._waiting))

    def _part(self, waiting: _Waiting) -> Outgoing | None:
        if waiting.batch is not None:
            return waiting.batch
        try:
            return self._read_at(waiting)
        except (OSError, ValueError) as error:
            # Somebody deleted or damaged the file: what it held is lost, what follows is not.
            self.problem = error if isinstance(error, OSError) else OSError(str(error))
            self.lost += 1
            return None

    def remembers(self, run: str) -> bool:
        """Whether what makes the run known lies here."""
        return run in self._remembered

    def remember(self, run: str, begin: bytes) -> None:
        """Keep what makes the run known, for whoever delivers what is here."""
        try:
            (self.folder / f"{run}{BEGIN}").write_bytes(begin)
        except OSError as error:
            self.problem = error
        else:
            self._remembered.add(run)

    def sync(self) -> bool:
        """Bring all that waits to the disk itself; False when some of it is in memory alone."""
        try:
            if self._writing is not None:
                os.fsync(self._writing.fileno())
        except OSError as error:
            self.problem = error
            return False
        return not self.memory_bytes

    def close(self) -> None:
        """Close the files, and remove the folder when nothing waits in it; what waits is anybody's then."""
        for file in (self._writing, self._reading):
            if file is not None:
                file.close()
        self._writing = self._reading = None
        held, self._held = self._held, None
        if self._waiting or not self._segment:
            leave(held)
            return
        for path in self.folder.glob(f"*{BEGIN}"):
            path.unlink(missing_ok=True)
        leave(held, self.folder)
        try:
            self.folder.rmdir()
        except OSError:
            pass  # others put something there, or took it away

    def leave(self) -> None:
        """In a forked child: the folder is the parent's."""
        held, self._held = self._held, None
        leave(held)

    def _write(self, frame: bytes, number: int) -> _Waiting:
        # The parts of a batch lie in one segment, where whoever reads it finds them together.
        if self._writing is not None and self._writing.tell() >= self._segment_bytes and number != self.open_number:
            os.fsync(self._writing.fileno())  # so that `sync` need only look at the last
            self._writing.close()
            self._writing = None
        if self._writing is None:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if self._held is None:
                self._held = hold(self.folder, Owner.here(self._url))
            self._segment += 1
            self._writing = self._path(self._segment).open("xb", buffering=0)
        offset = self._writing.tell()
        try:
            written = self._writing.write(frame)
        except OSError:
            written = 0
        if written != len(frame):
            # Half a frame would hide those after it: this segment ends here.
            writing, self._writing = self._writing, None
            with writing:
                writing.truncate(offset)
            raise OSError(f"no room in {self.folder}")
        return _Waiting(number, None, self._segment, offset, len(frame))

    def _read_at(self, waiting: _Waiting) -> Outgoing:
        if self._reading is None or self._reading_segment != waiting.segment:
            if self._reading is not None:
                self._reading.close()
            self._reading = self._path(waiting.segment).open("rb")
            self._reading_segment = waiting.segment
        self._reading.seek(waiting.offset)
        batch = _read_frame(self._reading)
        if batch is None:
            raise ValueError(f"{self._path(waiting.segment)} was changed by somebody else")
        return batch

    def _delete(self, segment: int) -> None:
        if self._reading is not None and self._reading_segment == segment:
            self._reading.close()
            self._reading = None
        if self._writing is not None and self._segment == segment:
            self._writing.close()
            self._writing = None
        try:
            self._path(segment).unlink()
        except OSError:
            pass  # it is delivered; found again, it would be acknowledged and not stored again

    def _path(self, segment: int) -> Path:
        return self.folder / f"{segment:08}.spool"


def read_segment(path: Path) -> Iterator[tuple[Outgoing, int]]:
    """The batches of a segment, in order, and how many bytes each takes; ends at the first frame that is cut off or damaged."""
    with path.open("rb") as file:
        begin = end = 0
        parts: list[Outgoing] = []
        while (part := _read_frame(file)) is not None:
            if parts and part.number != parts[0].number:
                yield _joined(parts), end - begin
                begin, parts = end, []
            parts.append(part)
            end = file.tell()
        if parts:
            yield _joined(parts), end - begin


def _joined(parts: Sequence[Outgoing]) -> Outgoing:
    """One batch of its parts."""
    if len(parts) == 1:
        return parts[0]
    return parts[0]._replace(records=sum(part.records for part in parts), body=b"".join(part.body for part in parts))


def set_aside(folder: Path, batch: Outgoing, reason: str) -> Path | None:
    """Keep a batch that was refused, and why, in a folder of spools; where. None for want of room, as after a thousand."""
    refused = folder / REFUSED
    try:
        refused.mkdir(parents=True, exist_ok=True, mode=0o700)
        if sum(1 for _ in refused.glob(SEGMENTS)) >= _MAX_REFUSED:
            return None
        path = refused / f"{batch.producer}-{batch.number}.spool"
        path.write_bytes(_frame(batch))
        path.with_suffix(".txt").write_text(
            f"run {batch.run}, app {batch.app}, {batch.records} records: {reason}\n", encoding="utf-8"
        )
    except OSError:
        return None
    return path


def _frame(batch: Outgoing) -> bytes:
    names = [name for name in Outgoing._fields if name != "body"]
    head = json.dumps({name: getattr(batch, name) for name in names}).encode()
    crc = zlib.crc32(batch.body, zlib.crc32(head))
    return b"".join((_FRAME.pack(_MAGIC, len(head), len(batch.body), crc), head, batch.body))


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
        return Outgoing(body=body, **json.loads(head))
    except (ValueError, TypeError):
        return None
