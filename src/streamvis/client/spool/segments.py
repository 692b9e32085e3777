"""Frames in order, in the files of one folder, with the newest of them in memory too.

The files `00000001.spool`, ... are segments, each a row of frames (see `frames`). A segment is deleted when nothing in it is
needed any more, and emptied where it is the last, so that a sender that keeps up costs no new file. What the disk does not take
stays in memory, and goes to the disk as soon as it takes it. Memory does not grow with what waits on the disk.

The folder is its producer's: the file `owner` is locked (see `folders`) from the first write on.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from streamvis.client.spool.folders import SpoolPlace, hold, leave, remove, sync_folder, write_whole
from streamvis.client.spool.frames import Outgoing, frames_of, joined, read_batch

__all__ = ["SEGMENTS", "Segments"]

SEGMENTS = "*.spool"
_SEGMENT_BYTES = 32 * 2**20
_CACHE_BYTES = 4 * 2**20
_PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EAGAIN)


@dataclass(slots=True)
class _Segment:
    """What is left of a segment: frames in its file, or one batch in memory, which goes to that file when the disk takes it."""

    number: int
    frames: int = 0
    records: int = 0
    bytes: int = 0
    batch: Outgoing | None = None

    def add(self, frames: int, records: int, size: int) -> None:
        self.frames += frames
        self.records += records
        self.bytes += size


class _Cached(NamedTuple):
    """A frame in memory, and its place in a file."""

    frame: Outgoing
    segment: int
    begin: int
    end: int


class Segments:
    """The frames of `producer`, in a folder of that name among the spools. `problem` is why the disk failed last."""

    def __init__(
        self,
        producer: str,
        place: SpoolPlace,
        *,
        url: str | None,
        durable: bool,
        segment_bytes: int = _SEGMENT_BYTES,
        cache_bytes: int = _CACHE_BYTES,
    ) -> None:
        self.folder = place.folder / producer
        self.problem: Exception | None = None
        self.bytes = self.memory_bytes = 0
        self._producer, self._url, self._place, self._durable = producer, url, place, durable
        self._segment_bytes, self._cache_bytes = segment_bytes, cache_bytes
        self._segments: deque[_Segment] = deque()
        self._last = 0
        self._writing: BinaryIO | None = None
        self._reading: BinaryIO | None = None
        self._cache: deque[_Cached] = deque()
        self._cached_bytes = 0
        # The first batch, where it was read, and where it begins and ends in the first segment.
        self._head: Outgoing | None = None
        self._begin = self._end = 0
        self._held: int | None = None
        self._has_new_names = self._is_unsynced = False

    @property
    def kept_records(self) -> int:
        """How many records are in files."""
        return sum(segment.records for segment in list(self._segments) if segment.batch is None)

    @property
    def is_owned(self) -> bool:
        """Whether the folder is there, and this producer's."""
        return self._held is not None

    @property
    def takes_parts(self) -> bool:
        """Whether the batch that came last can take more frames."""
        return self._writing is not None or self.ends_in_memory

    @property
    def ends_in_memory(self) -> bool:
        """Whether the batch that came last is in memory alone."""
        return bool(self._segments) and self._segments[-1].batch is not None

    # The end

    def write(self, frame: Outgoing, content: bytes, *, is_part: bool) -> bool:
        """Write a frame at the end; False where the disk does not take it. A part goes where the frame before it is."""
        self._is_unsynced = self._is_unsynced and self.bytes > 0  # nothing is left of what failed
        try:
            if self._writing is not None and self._writing.tell() >= self._segment_bytes and not is_part:
                self._stop_writing()
            if self._writing is None:
                self._own()
                self._last += 1
                self._writing = self._path(self._last).open("xb", buffering=0)
                self._segments.append(_Segment(self._last))
                self._has_new_names = True
            begin = self._writing.tell()
            if not write_whole(self._writing, content):
                raise OSError(f"no room in {self.folder}")
        except OSError as error:
            self.problem = error
            self._stop_writing()
            return False
        self._segments[-1].add(1, frame.records, len(content))
        self.bytes += len(content)
        self._cache.append(_Cached(frame, self._last, begin, begin + len(content)))
        self._cached_bytes += len(content)
        while self._cached_bytes > self._cache_bytes and len(self._cache) > (self._cache_bytes > 0):
            self._cached_bytes -= self._uncache()
        return True

    def hold(self, frame: Outgoing, size: int, *, is_part: bool) -> None:
        """Keep a frame of `size` bytes in memory, at the end."""
        if is_part and (last := self._segments[-1]).batch is not None:
            last.batch = joined([last.batch, frame])
        else:
            self._stop_writing()
            self._last += 1
            last = _Segment(self._last, batch=frame)
            self._segments.append(last)
        last.add(1, frame.records, size)
        self.bytes += size
        self.memory_bytes += size

    def settle_down(self) -> bool:
        """Bring to the disk what is in memory, if it takes it now; whether there was anything, and it did."""
        if not self.memory_bytes:
            return False
        try:
            self._own()
            for segment in self._segments:
                if segment.batch is not None:
                    self.save(_name(segment.number), frames_of(segment.batch))
                    self.memory_bytes -= segment.bytes
                    segment.batch = None
        except OSError as error:
            self.problem = error
            return False
        return True

    def sync(self) -> bool:
        """Bring all that waits to the disk itself; False when some of it is in memory alone."""
        self.settle_down()
        if self._is_unsynced and self.bytes:
            return False  # the system reports an error of the disk once, and what it is about may not be there
        try:
            if self._writing is not None:
                os.fsync(self._writing.fileno())
            if self._has_new_names and self._held is not None:
                os.fsync(self._held)
                for folder in (self.folder, self.folder.parent):
                    sync_folder(folder)
                self._has_new_names = False
        except OSError as error:
            self.problem, self._is_unsynced = error, True
            return False
        return not self.memory_bytes

    # The beginning

    def head(self) -> Outgoing | None:
        """The first batch, which stays, and is the same until it is dropped. None where there is none, or its file is damaged.

        Raises OSError for what passes, such as that no file can be opened now.
        """
        if self._head is None and self._segments and self._segments[0].frames:
            try:
                self._read_head(self._segments[0])
            except OSError as error:
                if error.errno in _PASSING:
                    raise
                self.problem = error
        return self._head

    def drop_head(self) -> None:
        """The first batch is not wanted any more."""
        head, self._head = self._head, None
        if head is None:
            return
        segment, size = self._segments[0], self._end - self._begin
        segment.add(-len(head.bodies), -head.records, -size)
        self.bytes -= size
        self.memory_bytes -= size if segment.batch is not None else 0
        self._begin = self._end
        self._uncache_to(segment.number, self._end)
        if not segment.frames:
            self._drop_segment()

    def drop_unreadable(self) -> int | None:
        """Drop the rest of the first segment, whose file was deleted or damaged; how many records. None without a segment."""
        if self._head is not None or not self._segments or not self._segments[0].frames:
            return None
        records = self._segments[0].records
        self._drop_segment()
        return records

    # The folder

    def save(self, name: str, content: bytes) -> bool:
        """Write a file of the folder, whole or not at all. Raises OSError; it is True otherwise."""
        path, begun = self.folder / name, self.folder / f"{name}.new"
        try:
            with begun.open("wb") as file:
                file.write(content)
                file.flush()
                if self._durable:
                    os.fsync(file.fileno())
            begun.replace(path)
        except OSError:
            begun.unlink(missing_ok=True)
            raise
        self._has_new_names = True
        return True

    def remove(self, name: str) -> None:
        """Delete a file of the folder."""
        try:
            (self.folder / name).unlink()
        except OSError:
            pass  # a segment that is found again is acknowledged and not stored again; others are removed with the folder

    def close(self) -> None:
        """Close the files. Where nothing waits, remove the folder; else it is anybody's then."""
        self.settle_down()
        self._stop_writing()
        self._stop_reading()
        held, self._held = self._held, None
        if held is None or self._segments:
            leave(held)
        else:
            remove(held, self.folder)

    def leave(self) -> None:
        """In a forked child: the folder is the parent's."""
        held, self._held = self._held, None
        leave(held)

    def _read_head(self, segment: _Segment) -> None:
        if segment.batch is not None:
            self._head, self._end = segment.batch, segment.bytes
            return
        first = self._cache[0] if self._cache else None
        if first is not None and (first.segment, first.begin) == (segment.number, self._begin):
            cached = [one for one in self._cache if (one.segment, one.frame.number) == (first.segment, first.frame.number)]
            self._head, self._end = joined([one.frame for one in cached]), cached[-1].end
        else:
            if self._reading is None:
                self._reading = self._path(segment.number).open("rb")
            found = read_batch(self._reading, self._begin)
            if found is None:
                raise OSError(f"{self._path(segment.number)} was changed by somebody else")
            self._head, size, self._end = found
            if self._begin + size < self._end:
                self.problem = OSError(f"{self._path(segment.number)} is damaged")

    def _drop_segment(self) -> None:
        segment = self._segments[0]
        self.bytes -= segment.bytes
        self.memory_bytes -= segment.bytes if segment.batch is not None else 0
        self._begin = 0
        self._stop_reading()
        self._uncache_to(segment.number + 1, 0)
        if segment.number == self._last:
            if self._writing is not None and not segment.frames and os.fstat(self._writing.fileno()).st_nlink:
                try:
                    self._writing.truncate(0)
                    self._writing.seek(0)
                    segment.records = segment.bytes = 0
                    return
                except OSError as error:
                    self.problem = error
            segment.frames = 0
            self._stop_writing()
        if self._segments and self._segments[0] is segment:
            self._segments.popleft()
            self.remove(_name(segment.number))

    def _uncache_to(self, segment: int, place: int) -> None:
        while self._cache and (self._cache[0].segment, self._cache[0].begin) < (segment, place):
            self._cached_bytes -= self._uncache()

    def _uncache(self) -> int:
        cached = self._cache.popleft()
        return cached.end - cached.begin

    def _own(self) -> None:
        if self._held is not None:
            if self.folder.is_dir():
                return
            self.leave()  # somebody took the folder away
        self.folder = self._place.writable() / self._producer
        try:
            self._take_folder()
        except OSError as error:
            if not self._place.turn(error):
                raise
            self.folder = self._place.folder / self._producer
            self._take_folder()

    def _take_folder(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._held = hold(self.folder, self._url)

    def _stop_writing(self) -> None:
        """Close the last file, which takes no more, and delete it where nothing in it is wanted."""
        writing, self._writing = self._writing, None
        if writing is None:
            return
        try:
            with writing:
                if self._durable:
                    os.fsync(writing.fileno())  # so that `sync` need only look at the last
        except OSError as error:
            self.problem, self._is_unsynced = error, True
        if not self._segments[-1].frames:
            self.remove(_name(self._segments.pop().number))

    def _stop_reading(self) -> None:
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.close()

    def _path(self, number: int) -> Path:
        return self.folder / _name(number)


def _name(number: int) -> str:
    return f"{number:08}.spool"
