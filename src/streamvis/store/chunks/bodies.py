"""What the SQLite store keeps as bytes (rows, values, summaries), and the checksum beside each: what is read is what was written.

A checksum is the CRC-32 of the body, begun with the marks and with the numbers of the row that say what the body is. It takes a
thousandth of the time of the commit that stores the body. Only `first_row` is not part of it, since cutting renumbers chunks.

Everything raises `Broken` where it does not fit. What has no checksum, since it was written before there were any, is checked by
decoding it as a whole.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from streamvis.store import statements as sql
from streamvis.store.chunks.packed_rows import Marks, unpack
from streamvis.store.chunks.tables import numbers_of, rows_of_body
from streamvis.store.database import Database
from streamvis.store.repairing.damage import Broken, is_damage
from streamvis.wire.arrow import table_of, value_of

__all__ = [
    "StoredChunk",
    "checked_value",
    "chunk_row",
    "decode_value",
    "read_chunk",
    "read_chunks",
    "read_chunks_of",
    "read_summaries",
    "read_summary",
    "read_value",
    "summary_row",
    "value_row",
]

_UNDECODABLE = (pa.ArrowException, OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError)
"""What Arrow, NumPy and Blosc raise on bytes that are not what they say."""

_SUMMARY = "a summary of its rows"

Wanted = Callable[[dict[str, Any], pa.Schema], Sequence[int]]


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """Rows of a key as they are kept, checked."""

    key: int
    first_row: int
    first_seq: int
    last_seq: int
    count: int
    is_packed: bool
    marks: bytes | None
    body: bytes

    def rows(self, wanted: Wanted | None = None) -> tuple[str, pa.Table]:
        """The key's name and the rows, or those of their columns that `wanted` says (see `unpack`)."""
        try:
            if self.is_packed:
                meta, table = unpack(self.body, wanted=wanted)
                name = meta["key"]
            else:
                name, table = rows_of_body(self.body)
                table = table if wanted is None else table.select(wanted({}, table.schema))
        except MemoryError:
            raise
        except _UNDECODABLE as error:
            raise Broken(self.key, f"rows cannot be decoded ({error})") from error
        if table.num_rows != self.count and table.num_columns:
            raise Broken(self.key, f"{table.num_rows:,} rows are where {self.count:,} were written")
        return name, table

    def marked(self) -> Marks:
        """Which rows came with which batch."""
        return Marks.from_bytes(self.marks) if self.marks else Marks.of_one(self.last_seq, self.count)


def chunk_row(
    log: int,
    key: int,
    first_row: int,
    seqs: tuple[int, int],
    steps: tuple[int, int],
    count: int,
    body: bytes,
    *,
    is_packed: bool = False,
    marks: bytes | None = None,
) -> tuple[object, ...]:
    """What ADD_CHUNK takes. `seqs` and `steps` are the first and the last batch, the lowest and the highest step."""
    about = (*seqs, *steps, count)
    checksum = _checksum((log, key, *about, is_packed), marks or b"", body)
    return (log, key, first_row, *about, len(body), int(is_packed), marks, checksum, body)


def value_row(key: int, step: int, seq: int, time: float, body: bytes) -> tuple[object, ...]:
    """What SAVE_VALUE takes."""
    return (key, step, seq, time, len(body), _checksum((key, step, seq), b"", body), body)


def summary_row(key: int, level: int, first_row: int, body: bytes) -> tuple[object, ...]:
    """What ADD_SUMMARY takes."""
    return (key, level, first_row, _checksum((key, level, first_row), b"", body), body)


def read_chunk(db: Database, key: int, no: int) -> StoredChunk:
    """The chunk of this number, which the key is said to have."""
    return _checked_chunk(key, _found(db, key, "rows", sql.GET_CHUNK, (no,)))


def read_chunks(db: Database, places: Iterable[tuple[int, int]]) -> Iterator[StoredChunk | Broken]:
    """The chunks of these keys and numbers, one after another. One that is damaged is given as what was found."""
    places = list(places)
    rows = db.execute_each(sql.GET_CHUNK, [(no,) for _, no in places])
    for key, _ in places:
        try:
            with _named_damage(db, key, "rows"):
                found = next(rows, None)  # None where none can be read after one that could not
                row = found.fetchone() if found is not None else None
            yield _checked_chunk(key, row)
        except Broken as broken:
            yield broken


def read_chunks_of(db: Database, key: int, numbers: Iterable[int]) -> Iterator[StoredChunk]:
    """The chunks of these numbers, which the key is said to have, one after another."""
    for chunk in read_chunks(db, ((key, no) for no in numbers)):
        if isinstance(chunk, Broken):
            raise chunk
        yield chunk


def _checked_chunk(key: int, found: Sequence[Any] | None) -> StoredChunk:
    if found is None:
        raise Broken(key, "rows are gone")
    log, its_key, first_row, first_seq, last_seq, first_step, last_step, count, packed, marks, checksum, body = found
    if its_key != key:
        raise Broken(key, "rows of another key are where its own were written")
    _check(key, "rows", (log, key, first_seq, last_seq, first_step, last_step, count, packed), marks or b"", checksum, body)
    chunk = StoredChunk(key, first_row, first_seq, last_seq, count, bool(packed), marks, body)
    if checksum is None:
        _check_by_decoding(chunk, (first_step, last_step))
    return chunk


def read_value(db: Database, key: int, step: int) -> bytes | None:
    """The body of the value of the step, or None where there is none."""
    found = _found(db, key, f"the value of step {step}", sql.GET_VALUE, (key, step))
    return checked_value(key, step, *found) if found else None


def checked_value(key: int, step: int, seq: int, checksum: int | None, body: bytes) -> bytes:
    """The body of a value whose row was read."""
    what = f"the value of step {step}"
    _check(key, what, (key, step, seq), b"", checksum, body)
    if checksum is None:
        _check_table(key, what, lambda: table_of(body)[1])
    return body


def read_summary(db: Database, key: int, level: int, first_row: int) -> bytes:
    """The body of a summary."""
    return _checked_summary(key, level, first_row, _found(db, key, _SUMMARY, sql.GET_SUMMARY, (key, level, first_row)))


def read_summaries(db: Database, key: int, level: int, firsts: Sequence[int]) -> Iterator[bytes | Broken]:
    """The bodies of summaries that begin at these rows, one after another. One that is damaged is given as what was found."""
    rows = db.execute_each(sql.GET_SUMMARY, [(key, level, first) for first in firsts])
    for first in firsts:
        try:
            with _named_damage(db, key, _SUMMARY):
                found = next(rows, None)
                row = found.fetchone() if found is not None else None
            yield _checked_summary(key, level, first, row)
        except Broken as broken:
            yield broken


def _checked_summary(key: int, level: int, first_row: int, found: Sequence[Any] | None) -> bytes:
    if found is None:
        raise Broken(key, f"{_SUMMARY} is gone")
    checksum, body = found
    _check(key, _SUMMARY, (key, level, first_row), b"", checksum, body)
    if checksum is None:
        _check_table(key, _SUMMARY, lambda: unpack(body)[1])
    return body


def decode_value(key: int, step: int, body: bytes | None) -> None:
    """Decode a value's body only to see whether that can be done."""
    try:
        _ = value_of(*table_of(body)) if body is not None else None
    except MemoryError:
        raise
    except _UNDECODABLE as error:
        raise Broken(key, f"the value of step {step} cannot be decoded ({error})") from error


def _found(db: Database, key: int, what: str, statement: str, place: tuple[int, ...]) -> tuple[Any, ...] | None:
    with _named_damage(db, key, what):
        return db.execute(statement, place).fetchone()


@contextmanager
def _named_damage(db: Database, key: int, what: str) -> Iterator[None]:
    try:
        yield
    except db.Error as error:
        if not is_damage(error):
            raise
        raise Broken(key, f"{what} cannot be read ({error})") from error


def _checksum(numbers: Sequence[int], marks: bytes, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(marks, zlib.crc32(struct.pack(f"<{len(numbers)}q", *numbers))))


def _check(key: int, what: str, numbers: Sequence[int], marks: bytes, checksum: int | None, body: bytes) -> None:
    try:
        fits = checksum is None or checksum == _checksum(numbers, marks, body)
    except (struct.error, TypeError):  # where a number was written there is something else
        fits = False
    if not fits:
        raise Broken(key, f"{what}: the checksum differs from the one that was written")


def _check_by_decoding(chunk: StoredChunk, steps: tuple[int, int]) -> None:
    def rows() -> pa.Table:
        table = chunk.rows()[1]
        its = numbers_of(table, "step")
        if len(its) and (int(its.min()), int(its.max())) != steps:
            raise ValueError("steps differ")
        chunk.marked()
        return table

    _check_table(chunk.key, "rows", rows)


def _check_table(key: int, what: str, read: Callable[[], pa.Table]) -> None:
    """Decode all of a body that has no checksum, so that no one meets bytes that Arrow would trust."""
    try:
        read().validate(full=True)
    except MemoryError:
        raise
    except _UNDECODABLE as error:
        raise Broken(key, f"{what} cannot be decoded ({error})") from error
