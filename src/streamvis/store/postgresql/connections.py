"""Connections to PostgreSQL, and what a transaction on one can do. Knows no tables.

Nothing is kept in a session: the schema is named in each transaction, locks end with theirs, and statements are prepared only
where the database itself is at the other end, so that PgBouncer may hand connections on after each transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.numeric import Int8BinaryDumper
from psycopg_pool import ConnectionPool

from streamvis.database_address import DatabaseAddress
from streamvis.errors import InvalidData, StoreError
from streamvis.store.postgresql.wording import found_by, given_to, in_words

__all__ = ["READING", "WRITING", "Connections", "PostgresDatabase", "connect", "is_pooled", "usable"]

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
_PREPARED = 300

_HOLD_RUNS = "SELECT no FROM runs WHERE id = ANY($1::text[]) ORDER BY no FOR UPDATE"
_HOLD_LOGS = "SELECT no FROM runs WHERE log = ANY($1::bigint[]) ORDER BY no FOR UPDATE"
"""In one order everywhere, so that no two transactions wait for each other."""


class _Found(psycopg.RawCursor[Any]):
    @property
    def lastrowid(self) -> int:
        """The number of the row that was added."""
        return self.fetchone()[0]


class _NumberOfBool(Int8BinaryDumper):
    def dump(self, obj: bool) -> bytes:
        """The bytes of 0 or 1: the tables have numbers where SQLite has no booleans."""
        return super().dump(int(obj))


def connect(address: DatabaseAddress, **settings: Any) -> psycopg.Connection[Any]:
    """A connection, for whatever is outside of the pool."""
    return psycopg.connect(address.conninfo, autocommit=True, cursor_factory=_Found, **_settings(address), **settings)


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
    return connection.execute("SELECT pg_backend_pid()").fetchone()[0] != connection.info.backend_pid


class PostgresDatabase:
    """A transaction on a connection, see `store.database.Database`.

    One that writes is a pipeline: a statement is not waited for until somebody asks what one found, or the transaction ends.
    """

    Error = psycopg.Error

    def __init__(self, connection: psycopg.Connection[Any], pipeline: psycopg.Pipeline | None = None) -> None:
        self._connection, self._pipeline = connection, pipeline

    def execute(self, statement: str, given: Sequence[Any] = (), /) -> _Found:
        """Run a statement of `store.statements`, or another one, with its values."""
        if self._pipeline is not None and statement.startswith("ROLLBACK TO"):
            with suppress(psycopg.Error):  # the one that is rolled back for: what follows it in the pipeline was passed over
                self._pipeline.sync()
        cursor = self._connection.cursor(binary=True)
        if (made := found_by(statement)) is not None:
            cursor.row_factory = lambda _: made
        return cursor.execute(in_words(statement), _checked(given_to(statement, given)))

    def executemany(self, statement: str, given: Iterable[Sequence[Any]], /) -> None:
        """Run a statement once for each of these."""
        rows = [_checked(given_to(statement, one)) for one in given]
        if rows:
            self._connection.cursor().executemany(in_words(statement), rows)

    def hold_runs(self, runs: Iterable[str]) -> None:
        """Hold these runs until the transaction ends."""
        self.execute(_HOLD_RUNS, (list(dict.fromkeys(runs)),))

    def hold_logs(self, logs: Iterable[int]) -> None:
        """Hold the runs that have these logs until the transaction ends."""
        self.execute(_HOLD_LOGS, (list(dict.fromkeys(logs)),))


def _checked(given: Sequence[Any]) -> Sequence[Any]:
    for value in given:
        if isinstance(value, str) and "\0" in value:
            raise InvalidData("a name or text with the character NUL", allowed="PostgreSQL keeps every other character")
    return given


class Connections:
    """Lends connections, one transaction each: at most `most` at a time. From any thread."""

    def __init__(self, address: DatabaseAddress, *, most: int, prepares: bool) -> None:
        self._scope = f'SET LOCAL search_path TO "{address.schema}"'
        self._prepares, self._most = prepares, most
        self._pool = ConnectionPool(
            address.conninfo,
            kwargs={"autocommit": True, "cursor_factory": _Found, **_settings(address)},
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
        connection.prepare_threshold = 3 if self._prepares else None
        connection.prepared_max = _PREPARED

    @contextmanager
    def transaction(self, kind: str) -> Iterator[PostgresDatabase]:
        """A transaction, committed at the end where it writes and nothing was raised. Raises what psycopg raises."""
        connection = self._begun(f"{kind}; {self._scope}")
        try:
            if kind == READING:
                yield PostgresDatabase(connection)
                connection.execute("ROLLBACK")
            else:
                with connection.pipeline() as pipeline:
                    yield PostgresDatabase(connection, pipeline)
                if (done := connection.execute("COMMIT").statusmessage) != "COMMIT":
                    raise psycopg.OperationalError(f"the transaction ended with {done}")
        except BaseException:
            with suppress(psycopg.Error):
                connection.execute("ROLLBACK")
            raise
        finally:
            self._pool.putconn(connection)

    def _begun(self, begin: str) -> psycopg.Connection[Any]:
        """A connection with an open transaction. Those that broke while they were idle are passed over."""
        for left in range(self._most, -1, -1):
            connection = self._pool.getconn()
            try:
                connection.execute(begin)
                return connection
            except psycopg.OperationalError:
                self._pool.putconn(connection)
                if not left:
                    raise
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()
