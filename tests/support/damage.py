"""Damages the file of a store that nobody uses, as a failing disk does: bytes that differ, and pages that SQLite cannot read."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

__all__ = ["FILE", "break_page", "flip_byte"]

FILE = "streamvis.sqlite"


def flip_byte(folder: Path, marker: bytes) -> None:
    """Change one bit in the middle of every place of the file that holds the bytes `marker`."""
    for at in _places(folder, marker):
        _write(folder, at + len(marker) // 2, lambda old: bytes([old[0] ^ 1]), 1)


def break_page(folder: Path, marker: bytes) -> None:
    """Overwrite the head of every page that holds the bytes `marker`."""
    with closing(sqlite3.connect(folder / FILE)) as db:
        (size,) = db.execute("PRAGMA page_size").fetchone()
    for page in {at // size for at in _places(folder, marker)}:
        _write(folder, page * size, lambda old: b"\xde\xad\xbe\xef" * (len(old) // 4), 64)


def _places(folder: Path, marker: bytes) -> list[int]:
    """Where in the file the bytes are. What the log beside it holds is put into the file first."""
    with closing(sqlite3.connect(folder / FILE)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content, found = (folder / FILE).read_bytes(), []
    while (at := content.find(marker, found[-1] + 1 if found else 0)) >= 0:
        found.append(at)
    assert found, "the file holds no such bytes"
    return found


def _write(folder: Path, at: int, change, size: int) -> None:
    with (folder / FILE).open("r+b") as file:
        file.seek(at)
        new = change(file.read(size))
        file.seek(at)
        file.write(new)
