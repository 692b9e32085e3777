"""Damages the file of a store that nobody uses, as a failing disk does: bytes that differ, and pages that SQLite or PostgreSQL
cannot read."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing
from pathlib import Path

from support.postgresql import PostgresServer

__all__ = ["FILE", "break_page", "break_page_of_database", "flip_byte"]

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


def break_page_of_database(server: PostgresServer, schema: str, marker: bytes) -> None:
    """Overwrite the head of a page of chunks' bodies that holds nothing but the bytes `marker`, again and again."""
    asked = "SELECT pg_relation_filepath(reltoastrelid) FROM pg_class WHERE oid = %s::regclass"
    ((name,),) = server.execute(asked, f"{schema}.chunks")
    server.end(signal.SIGINT)  # what it holds in memory is in its files then
    file, size = server.folder / "data" / str(name), 8192
    content = file.read_bytes()
    whole = [at for at in range(0, len(content), size) if content.count(marker, at, at + size) > size // len(marker) * 0.9]
    assert whole, "no page holds these bytes alone"
    _overwrite(file, whole[0], lambda old: b"\xde\xad\xbe\xef" * (len(old) // 4), 24)
    server.start()


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
    _overwrite(folder / FILE, at, change, size)


def _overwrite(path: Path, at: int, change, size: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        new = change(file.read(size))
        file.seek(at)
        file.write(new)
