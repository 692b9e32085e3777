"""What the modules of a store ask of a database: statements of `statements`, inside a transaction that somebody else ends.

The rules of a store stand once, over this. SQLite is asked in its own words; `postgresql.wording` holds what PostgreSQL says
otherwise. Whoever changes a run holds it first (`hold_runs`, `hold_logs`): no one else changes it until the transaction ends, so
the order of a run's numbers is the order of its commits. SQLite has one write transaction at a time, which holds everything.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

from streamvis.records import Batch

__all__ = ["Database", "Found", "SqliteDatabase"]

Row = tuple[Any, ...]


class Found(Protocol):
    """What a statement found."""

    @property
    def lastrowid(self) -> Any:
        """The number of the row that was added."""
        ...

    def fetchone(self) -> Any:
        """The next row, or None."""
        ...

    def fetchall(self) -> list[Any]:
        """The rows that are left."""
        ...

    def __iter__(self) -> Iterator[Any]:
        """The rows that are left, one after another."""
        ...


class Database(Protocol):
    """A connection with an open transaction. Raises `Error` and its kinds, see `damage.is_damage`."""

    @property
    def Error(self) -> type[Exception]:
        """What is raised, or a kind of it."""
        ...

    @property
    def Refused(self) -> tuple[type[Exception], ...]:
        """What is raised for values that the database cannot hold."""
        ...

    def execute(self, statement: str, given: Sequence[Any] = ..., /) -> Found:
        """Run a statement of `statements`, with its values."""
        ...

    def executemany(self, statement: str, given: Iterable[Sequence[Any]], /) -> object:
        """Run a statement once for each of these."""
        ...

    def execute_each(self, statement: str, given: Iterable[Sequence[Any]], /) -> Iterator[Found]:
        """Run a statement that reads once for each of these; what it found is to be taken before the next. Where one meets
        damage, the error is raised by it, or by what is asked of what it found, and those after it can be read."""
        ...

    def hold_batches(self, batches: Sequence[Batch]) -> None:
        """Hold the runs of these batches, which are stored next, as `hold_runs` does; the apps of those that begin or end."""
        ...

    def hold_runs(self, runs: Iterable[str]) -> None:
        """Wait until no one else changes these runs, or counts the runs of their apps, and keep others from it until the
        transaction ends. One that is not there yet is held when it is found to be changed, see `run_rows`."""
        ...

    def hold_logs(self, logs: Iterable[int]) -> None:
        """Hold the runs that have these logs, without their apps."""
        ...


class SqliteDatabase(sqlite3.Connection):
    """A connection to SQLite, whose one write transaction at a time holds all runs."""

    Refused = (sqlite3.DataError, OverflowError, UnicodeEncodeError)

    def execute_each(self, statement: str, given: Iterable[Sequence[Any]], /) -> Iterator[Found]:
        """Run a statement that reads once for each of these."""
        return map(partial(self.execute, statement), given)  # one that failed does not end it

    def hold_batches(self, batches: Sequence[Batch]) -> None:
        """All are held."""

    def hold_runs(self, runs: Iterable[str]) -> None:
        """All are held."""

    def hold_logs(self, logs: Iterable[int]) -> None:
        """All are held."""
