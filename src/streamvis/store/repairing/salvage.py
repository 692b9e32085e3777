"""Reads tables of SQLite whose pages are damaged in places: all rows that can be read by any way that leads there.

A scan ends at the first page that cannot be read. So rows are looked for from both ends, through the table and through an index,
and, in what lies between, number by number. Knows no meaning of the rows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

__all__ = ["one_row", "row_numbers", "rows_from_both_ends"]

_BEYOND = 100_000
"""So many numbers are tried beyond the last that is known, where the end of a table cannot be read."""


def row_numbers(db: sqlite3.Connection, table: str) -> list[int]:
    """The numbers (the column `no`) of the rows of a table, rising. Some of the rows may not be readable."""
    forward, is_whole = _scan(db, f"SELECT no FROM {table} NOT INDEXED ORDER BY no")
    found = {no for (no,) in forward}
    if not is_whole:
        backward, _ = _scan(db, f"SELECT no FROM {table} NOT INDEXED ORDER BY no DESC")
        through_index, _ = _scan(db, f"SELECT no FROM {table}")
        known = {no for (no,) in backward + through_index}
        begin = max(found, default=0)
        end = min((no for (no,) in backward), default=max(known | found, default=0) + _BEYOND)
        found |= known | {no for no in range(begin + 1, end) if one_row(db, table, ("no",), no)}
    return sorted(found)


def rows_from_both_ends(
    db: sqlite3.Connection, table: str, columns: Sequence[str], order: Sequence[str]
) -> tuple[list[tuple], bool]:
    """The rows of a table in an order, which is that of its key or of an index, and whether that is all of them."""
    names = f"SELECT {', '.join(columns)} FROM {table} ORDER BY "
    rows, is_whole = _scan(db, names + ", ".join(order))
    if not is_whole:
        backward, _ = _scan(db, names + ", ".join(f"{name} DESC" for name in order))
        rows += reversed(backward)
    return rows, is_whole


def one_row(db: sqlite3.Connection, table: str, columns: Sequence[str], no: int) -> tuple | None:
    """Some columns of the row of this number; None where it cannot be read."""
    try:
        return db.execute(f"SELECT {', '.join(columns)} FROM {table} WHERE no = ?", (no,)).fetchone()
    except sqlite3.Error:
        return None


def _scan(db: sqlite3.Connection, statement: str) -> tuple[list[tuple], bool]:
    """The rows up to the first that cannot be read, and whether these are all."""
    rows: list[tuple] = []
    try:
        for row in db.execute(statement):
            rows.append(row)
    except sqlite3.Error:
        return rows, False
    return rows, True
