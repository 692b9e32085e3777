"""Connections to PostgreSQL, each lent for one transaction. Knows no tables.

Nothing is kept in a session: the schema is named in each transaction, locks end with theirs, and statements are prepared only
where the database itself is at the other end, so that PgBouncer may hand connections on after each transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, LiteralString

import psycopg
from psycopg.adapt import Buffer
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.numeric import Int8BinaryDumper
from psycopg_pool import ConnectionPool

from streamvis.addresses.database import DatabaseAddress
from streamvis.errors import StoreError
from streamvis.store.postgresql.many_rows import Column, ColumnDumper
from streamvis.store.postgresql.transaction import SOUND, Found, PostgresDatabase, ReadingDatabase, WritingDatabase
from streamvis.store.postgresql.wording import own

__all__ = ["READING", "WRITING", "Connections", "connect", "is_pooled", "the_one", "usable"]

READING = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
WRITING = "BEGIN ISOLATION LEVEL READ COMMITTED"
_DEFAULTS = {
    "application_name": "streamvis",
    "connect_timeout": 10,
    # A connection that was cut without a word is noticed within half a minute.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
_WAIT_S = 5.0
"""How long a transaction waits for a connection where all are in use, or the database is away."""
_RECONNECT_S = 3.0
_STALLED_S = 10.0
"""After so long the database ends a transaction that says nothing: others wait for the runs that it holds."""
_PREPARED = 300
_LOOK_UPS = "; ".join(f"SET LOCAL enable_{way} TO off" for way in ("seqscan", "hashjoin", "mergejoin"))
_PLANNED_ONCE = "SET LOCAL plan_cache_mode TO force_generic_plan"


class _NumberOfBool(Int8BinaryDumper):
    def dump(self, obj: bool) -> Buffer | None:
        """The bytes of 0 or 1: the tables have numbers where SQLite has no booleans."""
        return super().dump(int(obj))


def connect(address: DatabaseAddress, **settings: Any) -> psycopg.Connection[Any]:
    """A connection, for whatever is outside of the pool."""
    return psycopg.connect(address.conninfo, autocommit=True, cursor_factory=Found, **_settings(address), **settings)


@contextmanager
def usable(address: DatabaseAddress) -> Iterator[None]:
    """Around what opens a database. Raises StoreError, without a password, where it cannot be used."""
    try:
        yield
    except psycopg.Error as error:
        if isinstance(error, psycopg.ProgrammingError) and error.sqlstate is None:
            # What libpq says of an address that it cannot read may hold a part of it.
            raise StoreError(f"The address of the database {address.shown} is not one that libpq understands.") from None
        raise StoreError(f"The database {address.shown} cannot be used: {' '.join(str(error).split())}") from None


def _settings(address: DatabaseAddress) -> dict[str, Any]:
    given = conninfo_to_dict(address.conninfo)
    return {name: value for name, value in _DEFAULTS.items() if name not in given}


def is_pooled(connection: psycopg.Connection[Any]) -> bool:
    """Whether a pooler such as PgBouncer is between: it makes up the number of the process that it tells its clients."""
    return the_one(connection, "SELECT pg_backend_pid()") != connection.info.backend_pid


def the_one(connection: psycopg.Connection[Any], statement: LiteralString, given: Sequence[Any] | None = None) -> Any:
    """What a statement finds that always finds one row, of one column."""
    found = connection.execute(statement, given).fetchone()
    assert found is not None
    return found[0]


def _is_news(record: logging.LogRecord) -> bool:
    """Not that a connection was closed after an error: that is raised."""
    return not str(record.msg).startswith(("discarding closed connection", "error ignored terminating"))


class Connections:
    """Lends connections, one transaction of the `kind` each: at most `most` at a time. From any thread."""

    def __init__(self, address: DatabaseAddress, *, kind: str, most: int, prepares: bool) -> None:
        scope = f'SET LOCAL search_path TO "{address.schema}"'
        limit = f"SET LOCAL idle_in_transaction_session_timeout TO {int(_STALLED_S * 1000)}"
        # All that is asked looks up few rows of large tables. PostgreSQL is told so, since it may not know how large they are.
        # What writes is planned once: to plan for so many rows as are given each time seems cheaper to it.
        # Behind a pooler each transaction says this. Where the database itself is at the other end, a connection keeps it.
        self._settings = {READING: f"{scope}; {_LOOK_UPS}", WRITING: f"{scope}; {limit}; {_LOOK_UPS}; {_PLANNED_ONCE}"}[kind]
        begin = [kind] if prepares else [kind, self._settings]
        self._begin = "; ".join([*begin, SOUND] if kind == READING else begin)
        self._kind, self._prepares, self._most = kind, prepares, most
        self._prepare_threshold = 3 if prepares else None
        for name in ("psycopg", "psycopg.pool"):
            logging.getLogger(name).addFilter(_is_news)
        self._pool: ConnectionPool[psycopg.Connection[Any]] = ConnectionPool(
            address.conninfo,
            kwargs={"autocommit": True, "cursor_factory": Found, **_settings(address)},
            open=True,
            min_size=0,
            max_size=most,
            timeout=_WAIT_S,
            reconnect_timeout=_RECONNECT_S,
            configure=self._configure,
            name="streamvis",
        )

    def _configure(self, connection: psycopg.Connection[Any]) -> None:
        connection.adapters.register_dumper(int, Int8BinaryDumper)
        connection.adapters.register_dumper(bool, _NumberOfBool)
        connection.adapters.register_dumper(Column, ColumnDumper)
        connection.prepare_threshold = self._prepare_threshold
        connection.prepared_max = _PREPARED
        if self._prepares:
            connection.execute(own(self._settings.replace("SET LOCAL", "SET")))

    @contextmanager
    def transaction(self) -> Iterator[PostgresDatabase]:
        """A transaction, committed at the end where it writes and nothing was raised. Raises what psycopg raises."""
        connection = self._begun()
        try:
            if self._kind == READING:
                yield ReadingDatabase(connection)
                self._roll_back(connection)
            else:
                with connection.pipeline() as pipeline:
                    db = WritingDatabase(connection, pipeline)
                    yield db
                    db.finish()
                    ended = connection.execute("COMMIT")
                if ended.statusmessage != "COMMIT":
                    raise psycopg.OperationalError(f"the transaction ended with {ended.statusmessage}")
                if connection.prepare_threshold != self._prepare_threshold:  # an error was rolled back: see `WritingDatabase`
                    connection.close()
        except psycopg.Error:
            # psycopg may count statements as prepared that were passed over in the pipeline.
            connection.close()
            raise
        except BaseException:  # also Ctrl-C: no connection goes back to the pool inside a transaction
            with suppress(psycopg.Error):
                self._roll_back(connection)
            raise
        finally:
            self._pool.putconn(connection)

    def _roll_back(self, connection: psycopg.Connection[Any]) -> None:
        if connection.prepare_threshold == self._prepare_threshold:
            connection.execute("ROLLBACK")
        else:  # it met damage: see `ReadingDatabase`
            connection.rollback()  # psycopg counts no statement as prepared after this
            connection.prepare_threshold = self._prepare_threshold

    def _begun(self) -> psycopg.Connection[Any]:
        """A connection with an open transaction. Those that broke while they were idle are passed over."""
        for left in range(self._most, -1, -1):
            connection = self._pool.getconn()
            try:
                connection.execute(own(self._begin), prepare=False)  # several statements cannot be prepared
                return connection
            except psycopg.OperationalError:
                self._pool.putconn(connection)
                if not left:
                    raise
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()
