"""Deleting what a dropped log holds, a piece at a time: of a run that was deleted or cleared."""

from __future__ import annotations

from collections.abc import Iterator

from streamvis.store import statements as sql
from streamvis.store.database import Database

__all__ = ["discard_piece"]

_ROWS_AT_ONCE = 1000
_BYTES_AT_ONCE = 16 * 2**20


def discard_piece(db: Database, log: int) -> None:
    """Delete a piece of what the log holds, and in the last piece the log."""
    rows = size = 0
    for statement, place, its_size in _doomed(db, log):
        db.execute(statement, place)
        rows, size = rows + 1, size + its_size
        if rows >= _ROWS_AT_ONCE or size >= _BYTES_AT_ONCE:
            return


def _doomed(db: Database, log: int) -> Iterator[tuple[str, tuple[int, ...], int]]:
    """What to delete, in this order: statements, what they are given, and how many bytes they free.

    Each list is as long as a piece at most: nothing that comes after it is reached while there is more of it.
    """
    for no, size in _rows(db, sql.GET_CHUNKS_TO_DELETE, log):
        yield sql.DELETE_CHUNK, (no,), size
    for (key,) in _rows(db, sql.GET_KEYS_TO_DELETE, log):
        for no, size in _rows(db, sql.GET_VALUES_TO_DELETE, key):
            yield sql.DELETE_VALUE, (no,), size
        for no, size in _rows(db, sql.GET_SUMMARIES_TO_DELETE, key):
            yield sql.DELETE_SUMMARY, (no,), size
        yield sql.DELETE_DIGESTS, (key,), 0
        yield sql.DELETE_KEY, (key,), 0
    for stretch in _rows(db, sql.GET_STRETCHES_TO_DELETE, log):
        yield sql.DELETE_STRETCH, stretch, 0
    yield sql.DELETE_LOG, (log,), 0


def _rows(db: Database, statement: str, of: int) -> list[tuple[int, ...]]:
    return db.execute(statement, (of, _ROWS_AT_ONCE)).fetchall()
