"""The store in a schema of a PostgreSQL database, which any number of endpoints may use at a time.

Owns the transactions, what errors mean, and who tidies. What is written and read stands in `store.writes` and `store.reads`, the
same as for SQLite. An acknowledgement exists only after a commit that waited for the database's disk.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

import psycopg

from streamvis.addresses.database import DatabaseAddress
from streamvis.alerts import AlertJournal
from streamvis.errors import DamagedData, InvalidData, StoreError, StoreUnavailable, StreamvisError
from streamvis.records import RUNNING, Ack, Batch, Cursor, Description, RunInfo
from streamvis.store import statements as sql
from streamvis.store.interface import RESTORABLE_S, Changes
from streamvis.store.postgresql.alerts import AlertTable
from streamvis.store.postgresql.connections import READING, WRITING, Connections, connect, is_pooled, usable
from streamvis.store.postgresql.installing import check_durability, continue_numbers, install, lock_number
from streamvis.store.postgresql.messages import Messages
from streamvis.store.postgresql.transaction import PostgresDatabase
from streamvis.store.removing.retention import KeepValues
from streamvis.store.repairing.damage import is_damage
from streamvis.store.views.summaries import Sizes
from streamvis.store.writes import Changed, Writes

__all__ = ["GET_HEARD", "HEARD", "PostgresStore"]

_READERS, _WRITERS = 12, 4
_ATTEMPTS = 10
_COUNT_EVERY_S = 0.2
_COLLISIONS = ("40001", "40P01", "23505")
"""Two transactions met: one of them is done again, and sees what the other did."""
_FULL = "53100"
HEARD = """
INSERT INTO heard (run, at) SELECT unnest($1::text[]), extract(epoch FROM clock_timestamp())
ON CONFLICT (run) DO UPDATE SET at = greatest(heard.at, excluded.at)
"""
GET_HEARD = """
SELECT heard.run, (extract(epoch FROM clock_timestamp()) - at)::float8 FROM heard JOIN runs ON runs.id = heard.run
WHERE at > extract(epoch FROM clock_timestamp()) - $1::float8 AND state = $2 AND deleted = 0
"""
_FORGET_HEARD = "DELETE FROM heard WHERE at < extract(epoch FROM clock_timestamp()) - 10 * $1::float8"
_MAY_TIDY = "SELECT pg_try_advisory_xact_lock($1)"
_MAY_TAKE_LONG = "SET LOCAL idle_in_transaction_session_timeout TO 60000"
"""What is merged is prepared before any run is held."""

_AFTER_AN_ERROR = ("25P02", "3B001")
"""What a statement is told that comes after one that failed."""

Result = TypeVar("Result")


class _Collided(StoreUnavailable):
    """Another endpoint changed the same at the same moment."""


class _Unclear(StoreUnavailable):
    """Something failed, and it is not known what."""


class PostgresStore(Writes):
    """The store at `address`. See `Store` for its methods.

    Raises StoreError where the database cannot be used, holds a store of a newer version, or does not wait for its disk at a
    commit and `may_lose` does not allow that.
    """

    _VALUES_ARE_INDEXED = True

    def __init__(
        self,
        address: DatabaseAddress,
        *,
        clock: Callable[[], float] = time.time,
        sizes: Sizes = Sizes(),  # noqa: B008  # frozen
        may_lose: bool = False,
        keep_values: KeepValues = KeepValues(),  # noqa: B008  # frozen
    ) -> None:
        self.address = address
        self._tidy_lock = threading.Lock()
        self._count_at = 0.0
        self._tidied: tuple[PostgresDatabase, Changed] | None = None
        self._lock_number = lock_number(address.schema, "tidying")
        with usable(address), connect(address) as connection:
            self.durability = check_durability(connection, may_lose=may_lose)
            install(connection, address.schema)
            self.is_pooled = is_pooled(connection)
        self._messages = Messages(address, hears=not self.is_pooled, tell=super()._tell)
        self._readers = Connections(address, kind=READING, most=_READERS, prepares=not self.is_pooled)
        self._writers = Connections(address, kind=WRITING, most=_WRITERS, prepares=not self.is_pooled)
        super().__init__(clock=clock, sizes=sizes, error=psycopg.Error, keep_values=keep_values)

    @property
    def commits_at_once(self) -> int:
        """Two: the database works on one while this process prepares the other."""
        return 2

    def close(self) -> None:
        """Close all connections."""
        self._messages.close()
        self._readers.close()
        self._writers.close()

    def listen(self, listener: Callable[[Changes], None]) -> None:
        """Call `listener` after every commit with what it changed, those of other endpoints too as soon as they are heard of."""
        super().listen(listener)
        self._messages.start()

    def _tell(self, changes: Changes | Changed) -> None:
        super()._tell(changes)
        self._messages.send(changes)

    def heads(self, runs: Sequence[str]) -> Mapping[str, Cursor]:
        """The heads of the logs of these runs, of those that are there."""
        with self._reading() as db:
            return {run: Cursor(*head) for run, *head in db.execute(sql.GET_HEADS, (json.dumps(list(runs)),))}

    def alerts(self) -> AlertJournal:
        """The journal of alerts that the endpoints post."""
        return AlertTable(self._writers)

    def share_signs(self, runs: Sequence[str], *, within_s: float) -> Mapping[str, float]:
        """Note that producers of these runs were heard of now, and give back when any endpoint heard of each."""
        try:
            with self._writers.transaction() as db:
                if runs:
                    db.execute(HEARD, (sorted(runs),))
                db.execute(_FORGET_HEARD, (within_s,))
                return dict(db.execute(GET_HEARD, (within_s, RUNNING)).fetchall())
        except psycopg.Error as error:
            raise self._trouble(error) from error

    # What is done again where another endpoint was at the same: it stands in `Writes`.

    def append(self, batches: Sequence[Batch]) -> list[Ack | StreamvisError]:
        """Store each batch whole or not at all, all of them in one durable commit."""
        try:
            return self._repeated(lambda: super(PostgresStore, self).append(batches))
        except (InvalidData, DamagedData, _Unclear) as error:
            # In a pipeline an error may show at a later batch than the one that it is of: each alone then.
            if len(batches) > 1:
                return [answer for batch in batches for answer in self.append([batch])]
            if isinstance(error, _Unclear):
                raise
            return [error]

    def _note_unmerged(self, db: PostgresDatabase) -> None:
        """Now and then: it costs a round trip, and what it is asked for has a thousand commits to show."""
        if time.monotonic() >= self._count_at:
            self._count_at = time.monotonic() + _COUNT_EVERY_S
            super()._note_unmerged(db)

    def _continue_numbers(self, db: PostgresDatabase) -> None:
        continue_numbers(db, self.address.schema)

    def describe(self, runs: Sequence[str], description: Description) -> list[RunInfo]:
        """Change what people say of the runs, in one commit."""
        return self._repeated(lambda: super(PostgresStore, self).describe(runs, description))

    def finish(self, run: str, state: str) -> RunInfo:
        """Set the run's state, whatever its producers said."""
        return self._repeated(lambda: super(PostgresStore, self).finish(run, state))

    def clear(self, run: str) -> RunInfo:
        """Take back the run's rows and values."""
        return self._repeated(lambda: super(PostgresStore, self).clear(run))

    def delete(self, *runs: str, restorable_s: float = RESTORABLE_S) -> float:
        """Delete the runs, in one commit; they can be restored for so long."""
        return self._repeated(lambda: super(PostgresStore, self).delete(*runs, restorable_s=restorable_s))

    def restore(self, run: str) -> RunInfo:
        """Take the deletion of a run back."""
        return self._repeated(lambda: super(PostgresStore, self).restore(run))

    @staticmethod
    def _repeated(call: Callable[[], Result]) -> Result:
        for _ in range(_ATTEMPTS - 1):
            try:
                return call()
            except _Collided:
                continue
        return call()

    def _tidy(self, *, only_merge: bool) -> bool:
        """Do the piece, unless another endpoint does one."""
        try:
            with self._tidy_lock, self._writing() as (db, changes):
                if not db.execute(_MAY_TIDY, (self._lock_number,)).fetchone()[0]:
                    return False
                db.execute(_MAY_TAKE_LONG)
                self._tidied = (db, changes)
                try:
                    return super()._tidy(only_merge=only_merge)
                finally:
                    self._tidied = None
        except _Collided:
            return True

    @contextmanager
    def _tidying(self) -> Iterator[tuple[PostgresDatabase, Changed]]:
        """The transaction that holds the lock of who tidies: what is done is done only while it does."""
        assert self._tidied is not None, "only tidy() tidies"
        try:
            yield self._tidied
        except psycopg.Error as error:  # here already, so that the tidier knows what it means
            raise self._trouble(error) from error

    @contextmanager
    def _writing(self) -> Iterator[tuple[PostgresDatabase, Changed]]:
        changes = Changed()
        try:
            with self._writers.transaction() as db:
                yield db, changes
        except psycopg.Error as error:
            raise self._trouble(error) from error
        self._tell(changes)

    def _snapshot(self) -> AbstractContextManager[PostgresDatabase]:
        return self._readers.transaction()

    def _trouble(self, error: Exception) -> StoreError | InvalidData:
        if is_damage(error):
            return self._damages.note(str(error))
        state = getattr(error, "sqlstate", None)
        if state in _COLLISIONS:
            return _Collided(f"Other endpoints kept changing the same: {_one_line(error)}")
        if state in _AFTER_AN_ERROR:
            return _Unclear(f"The database cannot be used now: {_one_line(error)}")
        if isinstance(error, PostgresDatabase.Refused):
            return InvalidData(f"PostgreSQL does not take it ({_one_line(error)})")
        if state == _FULL:
            told = "The disk of the database is full. Make room; producers keep their data and try again."
            return StoreUnavailable(told, full=True)
        return StoreUnavailable(f"The database cannot be used now: {_one_line(error)}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
