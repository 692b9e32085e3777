"""Batches that the endpoint has not taken yet, in order, in files: an append-only queue on the local disk.

A spool belongs to one producer. Its folder holds segments `00000001.spool`, ..., each a row of frames (see `frames`). A segment
is deleted when all of its batches were delivered, so a batch may be found again after a crash: sending it again is always safe.
Where the disk takes nothing, batches stay in memory, up to a limit, and go to the disk when it takes them. What is kept in memory
of those on the disk does not grow with their number.

While no one has seen the last batch, what comes is added to it, as a part of it, instead of into one of its own. So a slow
endpoint is not overrun by small batches, each of which would cost it a request. The parts of a batch lie in one segment, where
whoever reads it finds them together.

What waits for a moment only, until the next batch is made of it, is not worth encoding: it is written down as notes, with the
number that the batch will have, into `notes.spool`, which is emptied as soon as the batch is settled. They are the last of the
segments for whoever delivers what a killed producer left: where the batch itself is known by then, they are a copy of it.

Beside the segments lie, for whoever delivers them when the producer is gone: `owner` (see `ownership`), by which the folder is
locked while it lives; for each run `RUN.begin`, the bytes that make the run known to an endpoint that does not know it; and
`dropped`, how many records of each run found no room.

The files are for the crash of a process; for that of a machine, `sync` brings them to the disk itself.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from streamvis.client.files import sync_folder, write_whole
from streamvis.client.frames import Outgoing, find_frame, frame_of, joined, peek_number
from streamvis.client.notes import Notes
from streamvis.client.ownership import hold, leave
from streamvis.client.spool_place import SpoolPlace

__all__ = ["BEGIN", "DROPPED", "SEGMENTS", "Spool"]

SEGMENTS, BEGIN, DROPPED = "*.spool", ".begin", "dropped"

_SEGMENT_BYTES = 32 * 2**20
_OPEN_BYTES = 4 * 2**20
"""A batch with so many bytes takes no more parts."""
_MAX_CONTROL_BYTES = 4 * 2**20
"""So much more than its limit a spool takes of batches without records: how a run begins and ends is known however full it is."""


@dataclass(slots=True)
class _Piece:
    """Frames in a row: those left in a segment, or one in memory, which goes to that segment when the disk takes it."""

    segment: int
    frames: int = 0
    records: int = 0
    bytes: int = 0
    batch: Outgoing | None = None

    def add(self, frames: int, records: int, size: int) -> None:
        self.frames += frames
        self.records += records
        self.bytes += size


class Spool:
    """A queue of batches under `folder`, which lies elsewhere where `place` says so. For one thread at a time."""

    def __init__(
        self,
        folder: Path,
        *,
        url: str | None = None,
        place: SpoolPlace | None = None,
        durable: bool = False,
        max_bytes: int,
        max_memory_bytes: int,
        segment_bytes: int = _SEGMENT_BYTES,
    ) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self.max_memory_bytes = max_memory_bytes
        self.problem: OSError | None = None
        self.bytes = 0
        self.memory_bytes = 0
        self.lost_records = 0
        self._url, self._place, self._durable, self._segment_bytes = url, place, durable, segment_bytes
        self._held: int | None = None
        self._remembered: set[str] = set()
        self._dropped: dict[str, int] = {}
        self._pieces: deque[_Piece] = deque()
        self._segment = 0
        self._writing: BinaryIO | None = None
        self._reading: BinaryIO | None = None
        self._notes = Notes(folder)
        self._has_new_names = False
        self._last_number = self._last_bytes = self._seen = 0
        # The oldest batch, where it was read: its frames, and where they begin and end in the first piece.
        self._read: Outgoing | None = None
        self._read_frames = self._begin = self._end = 0

    def __len__(self) -> int:
        return sum(piece.frames for piece in list(self._pieces))

    @property
    def kept_records(self) -> int:
        """How many records are in files."""
        return sum(piece.records for piece in list(self._pieces) if piece.batch is None)

    @property
    def last_number(self) -> int:
        """The number of the batch that came last."""
        return self._last_number

    @property
    def open_number(self) -> int:
        """The number of the last batch, if it takes more parts: it is on the disk, not long, and no one has seen it. Else 0."""
        is_open = self._writing is not None and self._last_number > self._seen and self._last_bytes < _OPEN_BYTES
        return self._last_number if is_open else 0

    def append(self, batch: Outgoing, *, seen: bool = False) -> bool:
        """Put a batch, or a part of the open one, at the end; False when there is no room, neither on the disk nor in memory.

        One that is `seen` may have been sent before, and takes no parts. A part goes to the disk or nowhere: where that fails, it
        may come again as a batch of its own.
        """
        frame = frame_of(batch)
        extra = 0 if batch.records else _MAX_CONTROL_BYTES
        if self.bytes + len(frame) > self.max_bytes + extra:
            return False
        self.settle_down()
        is_part = batch.number == self._last_number and bool(self._pieces)
        try:
            piece = self._write(frame, batch.number)
        except OSError as error:
            self.problem = error
            self._stop_writing()
            if is_part or self.memory_bytes + len(frame) > self.max_memory_bytes + extra:
                return False
            self._segment += 1
            piece = _Piece(self._segment, batch=batch)
            self._pieces.append(piece)
            self.memory_bytes += len(frame)
        piece.add(1, batch.records, len(frame))
        self.bytes += len(frame)
        self._last_number, self._last_bytes = batch.number, len(frame) + (self._last_bytes if is_part else 0)
        self._seen = batch.number if seen else self._seen
        return True

    def note(self, notes: Outgoing) -> bool:
        """Write down what will be in the next batch; False where the disk does not take it."""
        try:
            if not self._notes.is_open:
                self._own()
                self._notes.open()
                self._has_new_names = True
            return self._notes.append(notes, self.max_bytes - self.bytes)
        except OSError as error:
            self.problem = error
            return False

    def forget_notes(self, number: int) -> None:
        """All up to the batch `number` is settled, or kept as a batch."""
        try:
            if not self.memory_bytes:
                self._notes.forget(number)
        except OSError as error:
            self.problem = error

    def is_interrupted(self, part: Outgoing) -> bool:
        """Whether the batch of this part, which was not taken, takes none any more because of the disk."""
        return bool(self._pieces) and part.number == self._last_number and self._writing is None

    @property
    def head_number(self) -> int | None:
        """The number of the oldest batch."""
        head = self.head()
        return head.number if head else None

    def head(self) -> Outgoing | None:
        """The oldest batch, which stays, and is the same until it is dropped."""
        while self._pieces and self._read is None:
            try:
                self._read_on(self._pieces[0])
            except OSError as error:
                # Somebody deleted or damaged the file: what it held is lost, what follows is not.
                self.problem = error
                self.lost_records += self._pieces[0].records
                self._drop_piece()
            else:
                self._seen = max(self._seen, self._read.number)
        return self._read

    def drop_head(self) -> None:
        """Forget the oldest batch: it was delivered, or never will be."""
        head = self.head()
        if head is None:
            return
        piece, self._read = self._pieces[0], None
        size = self._end - self._begin
        piece.add(-self._read_frames, -head.records, -size)
        self.bytes -= size
        self.memory_bytes -= size if piece.batch is not None else 0
        self._begin = self._end
        if not piece.frames:
            self._drop_piece()

    def settle_down(self) -> None:
        """Bring to the disk what is in memory, if it takes it now."""
        if not self.memory_bytes:
            return
        try:
            self._own()
            for piece in self._pieces:
                if piece.batch is not None:
                    self._save(self._path(piece.segment), frame_of(piece.batch))
                    self.memory_bytes -= piece.bytes
                    piece.batch = None
        except OSError as error:
            self.problem = error

    def remembers(self, run: str) -> bool:
        """Whether what makes the run known lies here."""
        return run in self._remembered

    def remember(self, run: str, begin: bytes) -> None:
        """Keep what makes the run known, for whoever delivers what is here."""
        try:
            self._save(self.folder / f"{run}{BEGIN}", begin)
        except OSError as error:
            self.problem = error
        else:
            self._remembered.add(run)

    def forget_run(self, run: str) -> None:
        """Nothing of the run is here, or will be."""
        if run in self._remembered:
            self._remembered.discard(run)
            (self.folder / f"{run}{BEGIN}").unlink(missing_ok=True)

    def note_dropped(self, dropped: Mapping[str, int]) -> None:
        """Keep how many records of each run found no room, for whoever delivers what is here."""
        if dropped == self._dropped or self._held is None:
            return
        try:
            self._save(self.folder / DROPPED, json.dumps(dropped).encode())
        except OSError as error:
            self.problem = error
        else:
            self._dropped = dict(dropped)

    def sync(self) -> bool:
        """Bring all that waits to the disk itself; False when some of it is in memory alone."""
        self.settle_down()
        try:
            if self._writing is not None:
                os.fsync(self._writing.fileno())
            if self._has_new_names and self._held is not None:
                os.fsync(self._held)
                for folder in (self.folder, self.folder.parent):
                    sync_folder(folder)
                self._has_new_names = False
        except OSError as error:
            self.problem = error
            return False
        return not self.memory_bytes

    def close(self) -> None:
        """Close the files, and remove the folder when nothing waits in it; what waits is anybody's then."""
        self.settle_down()
        self._stop_writing()
        self._stop_reading()
        has_notes = self._notes.close()
        held, self._held = self._held, None
        if self._pieces or has_notes or held is None:
            leave(held)
            return
        for path in (*self.folder.glob(f"*{BEGIN}"), self.folder / DROPPED):
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

    def _write(self, frame: bytes, number: int) -> _Piece:
        if self._writing is not None and self._writing.tell() >= self._segment_bytes and number != self.open_number:
            self._stop_writing()
        if self._writing is None and number == self._last_number and self._pieces:
            raise OSError(f"the last batch in {self.folder} takes no more parts")
        if self._writing is None:
            self._own()
            self._segment += 1
            self._writing = self._path(self._segment).open("xb", buffering=0)
            self._pieces.append(_Piece(self._segment))
            self._has_new_names = True
        if not write_whole(self._writing, frame):
            is_empty = not self._writing.tell()
            self._stop_writing()
            if is_empty:
                self._delete(self._pieces.pop().segment)
            raise OSError(f"no room in {self.folder}")
        return self._pieces[-1]

    def _own(self) -> None:
        if self._held is not None:
            return
        if self._place is not None:
            self._move_to(self._place.writable())
        try:
            self._hold()
        except OSError as error:
            if self._place is None or not self._place.turn(error):
                raise
            self._move_to(self._place.folder)
            self._hold()

    def _hold(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._held = hold(self.folder, self._url)

    def _move_to(self, parent: Path) -> None:
        if parent != self.folder.parent:
            self.folder = parent / self.folder.name
            self._notes = Notes(self.folder)

    def _read_on(self, piece: _Piece) -> None:
        """Read the oldest batch; frames that cannot be read are passed over."""
        if piece.batch is not None:
            self._read, self._read_frames, self._end = piece.batch, 1, piece.bytes
            return
        if self._reading is None:
            self._reading = self._path(piece.segment).open("rb")
        found = find_frame(self._reading, self._begin)
        if found is None:
            raise OSError(f"{self._path(piece.segment)} was changed by somebody else")
        first, begin, self._end = found
        if begin > self._begin:
            self.problem = OSError(f"{self._path(piece.segment)} is damaged")
            self._begin = begin
        parts = [first]
        while peek_number(self._reading, self._end) == first.number and (found := find_frame(self._reading, self._end)):
            part, begin, end = found
            if part.number != first.number or begin > self._end:
                break
            parts.append(part)
            self._end = end
        self._read, self._read_frames = joined(parts), len(parts)

    def _drop_piece(self) -> None:
        piece = self._pieces.popleft()
        self.bytes -= piece.bytes
        if piece.batch is not None:
            self.memory_bytes -= piece.bytes
        self._read, self._begin, self._end = None, 0, 0
        self._stop_reading()
        if self._writing is not None and self._segment == piece.segment:
            self._stop_writing()
        self._delete(piece.segment)

    def _stop_writing(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            with writing:
                if self._durable:
                    os.fsync(writing.fileno())  # so that `sync` need only look at the last

    def _stop_reading(self) -> None:
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.close()

    def _save(self, path: Path, content: bytes) -> None:
        """Write a file whole or not at all."""
        begun = path.with_name(f"{path.name}.new")
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

    def _delete(self, segment: int) -> None:
        try:
            self._path(segment).unlink()
        except OSError:
            pass  # it is delivered; found again, it would be acknowledged and not stored again

    def _path(self, segment: int) -> Path:
        return self.folder / f"{segment:08}.spool"
