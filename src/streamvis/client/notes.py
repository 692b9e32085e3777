"""The notes of a spool: what waits for a moment only, until the next batch is made of it, written down for a crash alone.

They lie in a file among the spool's segments, as frames with the number that the batch will have; see `spool`. It is emptied as
soon as the batch is settled, or kept as such. Found again where it was not, they are acknowledged and not stored again.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from streamvis.client.files import write_whole
from streamvis.client.frames import Outgoing, frame_of

__all__ = ["Notes"]

_NAME = "notes.spool"
_MAX_BYTES = 16 * 2**20


class Notes:
    """The notes in `folder`, which may not be there before the first of them."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _NAME
        self._file: BinaryIO | None = None
        self._number = 0

    @property
    def is_open(self) -> bool:
        """Whether the file is there."""
        return self._file is not None

    def open(self) -> None:
        """Make the file. Raises OSError."""
        self._file = self._path.open("wb", buffering=0)

    def append(self, notes: Outgoing, max_bytes: int) -> bool:
        """Write down more; False where all would be larger than `max_bytes`, or the disk has no room. Raises OSError."""
        frame, size = frame_of(notes), self._file.tell()
        self._number = notes.number
        return size + len(frame) <= min(max_bytes, _MAX_BYTES) and write_whole(self._file, frame)

    def forget(self, number: int) -> None:
        """Empty the file, if all that is in it belongs to batches up to the number. Raises OSError."""
        if self._file is not None and self._number <= number and self._file.tell():
            self._file.truncate(0)
            self._file.seek(0)

    def close(self) -> bool:
        """Close the file, and take it away where it is empty; whether anything is left in it."""
        file, self._file = self._file, None
        if file is None:
            return False
        with file:
            is_empty = not file.tell()
        if is_empty:
            self._path.unlink(missing_ok=True)
        return not is_empty
