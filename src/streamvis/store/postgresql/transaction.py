"""A transaction on a connection to PostgreSQL: the statements of the store in PostgreSQL's words, with few round trips.

A round trip costs more than most statements. A transaction that reads sends several statements before it waits, where it can.
One that writes is a pipeline: no statement is waited for until somebody asks what one found, or the transaction ends. What
storing batches asks for is read for all of them at once (see `held`). Most of what they write is kept until the transaction needs
it, and then written at once (see `many_rows`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain, islice
from typing import Any, cast

import psycopg
from psycopg import errors
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from psycopg.pq.abc import PGconn
from psycopg.waiting import Ready, Wait

from streamvis.errors import InvalidData
from streamvis.records import Batch, Finish, Start
from streamvis.store import statements as sql
from streamvis.store.postgresql.held import HOLD_BATCHES, READ_HELD, HeldRuns, asked_of
from streamvis.store.postgresql.many_rows import FOR_MANY, KEPT, Column, columns_of, merged, text_for_many
from streamvis.store.postgresql.wording import found_by, given_to, in_words, own
from streamvis.store.repairing.damage import is_damage

__all__ = [
    "ADD_APPS",
    "DROP_APPS",
    "HOLD_APPS",
    "HOLD_LOGS",
    "HOLD_RUNS",
    "SOUND",
    "Found",
    "PostgresDatabase",
    "ReadingDatabase",
    "WritingDatabase",
]

HOLD_RUNS = "SELECT no FROM runs WHERE id = ANY($1::text[]) ORDER BY no FOR UPDATE"
HOLD_LOGS = "SELECT no FROM runs WHERE log = ANY($1::bigint[]) ORDER BY no FOR UPDATE"
ADD_APPS = """
INSERT INTO apps (name) SELECT name FROM unnest($1::text[]) AS given (name)
WHERE NOT EXISTS (SELECT FROM apps WHERE apps.name = given.name) ORDER BY name ON CONFLICT (name) DO NOTHING RETURNING name
"""
DROP_APPS = "DELETE FROM apps WHERE name = ANY($1::text[]) AND made = 0"
HOLD_APPS = """
SELECT no FROM apps WHERE no = ANY(ARRAY(
    SELECT app FROM runs WHERE id = ANY($1::text[]) UNION SELECT no FROM apps WHERE name = ANY($2::text[])
)) ORDER BY no FOR UPDATE
"""
"""In one order everywhere, so that no two transactions wait for each other: first runs, then apps, each in their order."""
SOUND = "SAVEPOINT sound"
"""At the beginning of a transaction that reads."""
_LEAVE_KNOWN = frozenset({sql.ADD_APP, sql.ADD_KEY, sql.ADD_STRETCH, sql.TOUCH_APP})
"""What writes nothing that `HeldRuns` knows."""
_KEPT_BYTES = 16 * 2**20
"""With bodies of so many bytes what was kept is sent: a message of PostgreSQL has a limit, and this process has one."""
_LIMITS = (errors.ProgramLimitExceeded, errors.StatementTooComplex, errors.TooManyArguments, errors.TooManyColumns)
"""Class 54: what is given is beyond what PostgreSQL can hold, such as a name that is too long for an index."""
_AHEAD = 16
"""How many statements a reader sends before it waits for the first: each may find a megabyte."""


def _sync(connection: psycopg.Connection[Any], pipeline: psycopg.Pipeline) -> None:
    """Tell the database that all was sent, and wait for what it found.

    First the whole of it is sent: psycopg tries that once for each statement, and would then wait forever for the answer to a
    large body of which the database has only a part.
    """
    connection.wait(_send_all(connection.pgconn))
    pipeline.sync()


def _send_all(server: PGconn) -> PQGen[None]:
    while server.flush():  # something is left that the system does not take yet
        if (yield Wait.RW) & Ready.R:
            server.consume_input()  # else the database might wait in turn, until somebody takes what it says


class Found(psycopg.RawCursor[Any]):
    """What a statement found. One of a `pipeline` is waited for when it is asked. The database is told then that all was sent:
    only from there on does it count how long it hears nothing."""

    pipeline: psycopg.Pipeline | None = None

    def fetchone(self) -> Any:
        """The next row, or None."""
        self._arrive()
        return super().fetchone()

    def fetchall(self) -> list[Any]:
        """The rows that are left."""
        self._arrive()
        return super().fetchall()

    def __iter__(self) -> Any:
        self._arrive()
        return super().__iter__()

    def _arrive(self) -> None:
        pipeline, self.pipeline = self.pipeline, None
        if pipeline is not None:
            _sync(self.connection, pipeline)

    @property
    def lastrowid(self) -> int:
        """The number of the row that was added."""
        return self.fetchone()[0]


class _Known:
    """What a statement finds that was not sent: one row, or none."""

    def __init__(self, *rows: Sequence[Any], lastrowid: int | None = None) -> None:
        self._rows, self.lastrowid = iter(rows), lastrowid

    def fetchone(self) -> Any:
        return next(self._rows, None)

    def fetchall(self) -> list[Any]:
        return list(self._rows)

    def __iter__(self) -> Iterator[Sequence[Any]]:
        return self._rows


class _Failed:
    """What a statement found that met damage: whoever asks for it is told."""

    lastrowid = None

    def __init__(self, error: psycopg.Error) -> None:
        self._error = error

    def fetchone(self) -> Any:
        raise self._error

    def fetchall(self) -> list[Any]:
        raise self._error

    def __iter__(self) -> Iterator[Any]:
        raise self._error


class PostgresDatabase:
    """A transaction on a connection, see `store.database.Database`."""

    Error = psycopg.Error
    Refused = (InvalidData, psycopg.DataError, *_LIMITS)

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def execute(self, statement: str, given: Sequence[Any] = (), /) -> Found | _Known:
        """Run a statement of `store.statements`, or another one, with its values."""
        return self._run(statement, _checked(given_to(statement, given)))

    def _cursor(self) -> Found:
        return cast(Found, self._connection.cursor(binary=True))  # what all of `connections` are made with

    def _run(self, statement: str, given: Sequence[Any]) -> Found:
        cursor = self._cursor()
        if (made := found_by(statement)) is not None:
            cursor.row_factory = lambda _: made
        return cursor.execute(own(in_words(statement)), given)

    def execute_each(self, statement: str, given: Iterable[Sequence[Any]], /) -> Iterator[Found | _Failed]:
        """Run a statement that reads once for each of these; some are sent before the first is waited for."""
        values = iter(given)
        while some := list(islice(values, _AHEAD)):
            yield from self._run_each(statement, some)

    def _run_each(self, statement: str, given: Sequence[Sequence[Any]]) -> Sequence[Found | _Failed]:
        with self._connection.pipeline():
            return [self._run(statement, one) for one in given]

    def executemany(self, statement: str, given: Iterable[Sequence[Any]], /) -> None:
        """Run a statement once for each of these."""
        self._run_for(statement, [_checked(given_to(statement, one)) for one in given])

    def _run_for(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        if len(rows) == 1:
            self._run(statement, rows[0])
        elif rows and statement in FOR_MANY:
            self._cursor().execute(own(text_for_many(statement)), columns_of(statement, rows))
        elif rows:
            self._connection.cursor().executemany(own(in_words(statement)), rows)

    def hold_batches(self, batches: Sequence[Batch]) -> None:
        """Hold the runs of these batches, and their apps, until the transaction ends."""
        self.hold_runs([batch.run for batch in batches])

    def hold_runs(self, runs: Iterable[str]) -> None:
        """Hold these runs, and their apps, until the transaction ends."""
        names = list(dict.fromkeys(runs))
        self.execute(HOLD_RUNS, (names,))
        self.execute(HOLD_APPS, (names, []))

    def hold_logs(self, logs: Iterable[int]) -> None:
        """Hold the runs that have these logs until the transaction ends."""
        self.execute(HOLD_LOGS, (list(dict.fromkeys(logs)),))


class ReadingDatabase(PostgresDatabase):
    """A transaction that only reads, and has the savepoint `SOUND`. Where it meets damage, all else can still be read."""

    def execute(self, statement: str, given: Sequence[Any] = (), /) -> Found | _Known:
        """Run a statement."""
        with self._going_on():
            return super().execute(statement, given)

    def _run_each(self, statement: str, given: Sequence[Sequence[Any]]) -> Sequence[Found | _Failed]:
        try:
            with self._going_on():
                return super()._run_each(statement, given)
        except psycopg.Error as error:
            if not is_damage(error):
                raise
        return [self._run_alone(statement, one) for one in given]

    def _run_alone(self, statement: str, given: Sequence[Any]) -> Found | _Failed:
        try:
            with self._going_on():
                return self._run(statement, given)
        except psycopg.Error as error:
            if not is_damage(error):
                raise
            return _Failed(error)

    @contextmanager
    def _going_on(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            if is_damage(error):
                # psycopg may count statements as prepared that were passed over in the pipeline.
                self._connection.prepare_threshold = None
                self._connection.execute(f"ROLLBACK TO {SOUND}")
            raise


class WritingDatabase(PostgresDatabase):
    """A transaction that writes. `finish` is called before it ends."""

    def __init__(self, connection: psycopg.Connection[Any], pipeline: psycopg.Pipeline) -> None:
        super().__init__(connection)
        self._pipeline = pipeline
        self._held = HeldRuns()
        self._added: Found | None = None
        self._is_refused = False
        self._kept: list[tuple[str, Sequence[Any]]] = []
        self._kept_bytes = 0
        self._savepoint: tuple[str, int] | None = None
        """One that was not sent: its statement, and what of the kept was before it."""

    def _cursor(self) -> Found:
        cursor = super()._cursor()
        cursor.pipeline = self._pipeline
        return cursor

    def hold_batches(self, batches: Sequence[Batch]) -> None:
        """Hold the runs of these batches until the transaction ends, and the apps of those that begin or end, and read what
        storing them asks for."""
        runs, *others = (Column("text", _checked(values)) for values in asked_of(batches))
        held = self._cursor().execute(own(HOLD_BATCHES), [runs])
        if changed := [batch for batch in batches if any(isinstance(chunk, Start | Finish) for chunk in batch.chunks)]:
            apps = Column("text", _checked(sorted({batch.app for batch in changed if batch.app})))
            self._added = self._cursor().execute(ADD_APPS, [apps])
            self._cursor().execute(HOLD_APPS, [Column("text", [batch.run for batch in changed]), apps])
        self._held.take(held, self._cursor().execute(READ_HELD, others))

    def execute(self, statement: str, given: Sequence[Any] = (), /) -> Found | _Known:
        """Run a statement, unless what it finds is known or what it writes can wait."""
        if statement in KEPT:
            self._kept.append((statement, _checked(given)))
            self._held.note(statement, given)
            self._kept_bytes += sum(len(value) for value in given if isinstance(value, (bytes, bytearray, memoryview)))
            if self._kept_bytes > _KEPT_BYTES:
                self.write_kept()
            return _Known()
        if (row := self._held.answer(statement, given)) is not None:
            return _Known(row)
        word = statement.split(None, 2)[0]
        if word in ("SAVEPOINT", "RELEASE", "ROLLBACK"):
            return self._at_savepoint(word, statement)
        self.write_kept()
        if word not in ("SELECT", "--") and statement not in _LEAVE_KNOWN:
            self._held.forget()
        if statement == sql.ADD_KEY:  # each of the values that follow asks for it
            no = super().execute(statement, given).fetchone()[0]
            self._held.added_key(no, *given)
            return _Known(lastrowid=no)
        return super().execute(statement, given)

    def execute_each(self, statement: str, given: Iterable[Sequence[Any]], /) -> Iterator[Found | _Failed]:
        """Run a statement that reads once for each of these."""
        self.write_kept()
        return super().execute_each(statement, given)

    def executemany(self, statement: str, given: Iterable[Sequence[Any]], /) -> None:
        """Run a statement once for each of these."""
        self.write_kept()
        self._held.forget()
        super().executemany(statement, given)

    def _at_savepoint(self, word: str, statement: str) -> Found | _Known:
        """A savepoint is sent only with something that comes after it, so that most batches need none."""
        if word == "SAVEPOINT":
            if self._savepoint is not None:
                self.write_kept()
            self._savepoint = (statement, len(self._kept))
            return _Known()
        is_back = word == "ROLLBACK"
        if is_back:
            self._is_refused = True
            self._held.forget()
            del self._kept[self._savepoint[1] if self._savepoint else 0 :]
        if self._savepoint is not None:
            self._savepoint = self._savepoint if is_back else None
            return _Known()
        if is_back:
            with suppress(psycopg.Error):  # the one that is rolled back for: what follows it in the pipeline was passed over
                _sync(self._connection, self._pipeline)
            if self._connection.pgconn.transaction_status == TransactionStatus.INERROR:
                # psycopg may count statements as prepared that were passed over in the pipeline.
                self._connection.prepare_threshold = None
        return self._set(statement)

    def finish(self) -> None:
        """Send what is left. Apps that were added for batches of which none is stored go again."""
        self.write_kept()
        if self._is_refused and self._added is not None and (names := [name for (name,) in self._added]):
            self._cursor().execute(DROP_APPS, [Column("text", names)])

    def write_kept(self) -> None:
        """Send what was kept, for many rows at once."""
        kept, savepoint = self._kept, self._savepoint
        self._kept, self._savepoint, self._kept_bytes = [], None, 0
        before = savepoint[1] if savepoint else len(kept)
        self._write(kept[:before])
        if savepoint:
            self._set(savepoint[0])
            self._write(kept[before:])

    def _set(self, savepoint: str) -> Found:
        # Not prepared: each has a name of its own, and would take the place of a statement that is needed again.
        return self._cursor().execute(own(savepoint), prepare=False)

    def _write(self, kept: Sequence[tuple[str, Sequence[Any]]]) -> None:
        rows: dict[str, list[Sequence[Any]]] = {}
        for statement, given in kept:
            rows.setdefault(statement, []).append(given)
        if rows:
            columns = [columns_of(statement, merged(statement, given)) for statement, given in rows.items()]
            self._cursor().execute(own(text_for_many(*rows)), list(chain(*columns)))


def _checked(given: Sequence[Any]) -> Sequence[Any]:
    for value in given:
        if isinstance(value, str) and "\0" in value:
            raise InvalidData("a name or text with the character NUL", allowed="PostgreSQL keeps every other character")
    return given
