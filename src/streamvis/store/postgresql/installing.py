"""What an endpoint does when it starts on a database: the tables of its version, and what a commit promises there."""

from __future__ import annotations

import uuid
import zlib
from dataclasses import dataclass
from typing import Any

import psycopg

from streamvis.errors import StoreError
from streamvis.store.postgresql.connections import the_one
from streamvis.store.postgresql.schema import MIGRATIONS, SCHEMA, SCHEMA_VERSION
from streamvis.store.postgresql.transaction import PostgresDatabase
from streamvis.store.postgresql.wording import own

__all__ = ["Durability", "check_durability", "check_installed", "continue_numbers", "install", "lock_number"]

_LEAST_VERSION = 150_000
_NUMBERED = ("apps", "runs", "logs", "attempts", "keys", "cuts", "chunks", "summaries", "key_values")


@dataclass(frozen=True, slots=True)
class Durability:
    """What a commit waits for: the settings of the server, as they hold for the endpoint's user."""

    synchronous_commit: str
    standbys: str
    fsync: str

    @property
    def told(self) -> str:
        """A line for the person who starts an endpoint."""
        if self.synchronous_commit == "off" or self.fsync == "off":
            return "What is acknowledged can be lost when the database's machine fails: it does not wait for its disk."
        if self.standbys and self.synchronous_commit != "local":
            return f"What is acknowledged is on the disks of the database and of its synchronous standbys ({self.standbys})."
        return (
            "What is acknowledged is on the database's disk. A standby that is not synchronous may lack the last of it "
            "when it is promoted."
        )


def check_durability(connection: psycopg.Connection[Any], *, may_lose: bool) -> Durability:
    """What a commit promises. Raises StoreError where it promises nothing and `may_lose` is not set, or for an old server."""
    version = connection.info.server_version
    if version < _LEAST_VERSION:
        raise StoreError(f"The database is PostgreSQL {version // 10_000}; Streamvis needs {_LEAST_VERSION // 10_000} or newer.")
    encoding = the_one(connection, "SELECT current_setting('server_encoding')")
    if encoding != "UTF8":
        raise StoreError(f"The database's encoding is {encoding}; Streamvis needs UTF8. Create it with ENCODING 'UTF8'.")
    names = ("synchronous_commit", "synchronous_standby_names", "fsync")
    found = Durability(*(the_one(connection, "SELECT current_setting($1)", (name,)) for name in names))
    fixes = {
        "synchronous_commit": "ALTER ROLE ... SET synchronous_commit = on",
        "fsync": "ALTER SYSTEM SET fsync = on; SELECT pg_reload_conf()",
    }
    for name, fix in fixes.items():
        if getattr(found, name) == "off" and not may_lose:
            raise StoreError(
                f"{name} is off in the database: acknowledged data could be lost when its machine fails. Turn it on ({fix}), or "
                "allow it with --allow-async-commit."
            )
    return found


def install(connection: psycopg.Connection[Any], schema: str) -> None:
    """Make the tables, or those of an older version into this one's. Others who start at the same moment wait.

    Raises StoreError where the tables are of a newer version.
    """
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock($1)", (lock_number(schema, "schema"),))
        if the_one(connection, "SELECT to_regnamespace($1)", (f'"{schema}"',)) is None:
            connection.execute(own(f'CREATE SCHEMA "{schema}"'))
        connection.execute(own(f'SET LOCAL search_path TO "{schema}"'))
        version = _version(connection, schema)
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"The schema {schema!r} of the database was made by a newer Streamvis (version {version} of its tables, this one "
                f"knows {SCHEMA_VERSION}). Update this one."
            )
        if version == SCHEMA_VERSION:
            return
        if not version:
            connection.execute(SCHEMA)
            connection.execute("INSERT INTO meta (name, value) VALUES ('id', $1)", (uuid.uuid4().hex[:12],))
        for older in range(version, SCHEMA_VERSION) if version else ():
            connection.execute(own(MIGRATIONS[older]))
        connection.execute("DELETE FROM meta WHERE name = 'schema'")
        connection.execute("INSERT INTO meta (name, value) VALUES ('schema', $1)", (str(SCHEMA_VERSION),))


def check_installed(connection: psycopg.Connection[Any], schema: str) -> None:
    """Raises StoreError where the schema holds no store of this version."""
    with connection.transaction():
        connection.execute(own(f'SET LOCAL search_path TO "{schema}"'))
        version = _version(connection, schema)
    if not version:
        raise StoreError(f"There is no store in the schema {schema!r} of the database. Name another one with ?schema=NAME.")
    if version != SCHEMA_VERSION:
        told = "Start an endpoint on it once." if version < SCHEMA_VERSION else "Update this Streamvis."
        raise StoreError(f"The tables in the schema {schema!r} are of version {version}, not {SCHEMA_VERSION}. {told}")


def continue_numbers(db: PostgresDatabase, schema: str) -> None:
    """Have the next rows get numbers above those of rows that came with theirs. A role needs UPDATE on sequences for it."""
    for table in _NUMBERED:
        place = f'"{schema}".{table}'
        newest = f"(SELECT max(no) AS no FROM {place}) AS newest"
        sequence = "pg_get_serial_sequence($1, 'no')::regclass"
        # Only where it is behind: the owner may have seen to it.
        behind = f"newest.no > coalesce(pg_sequence_last_value({sequence}), 0)"
        db.execute(f"SELECT setval({sequence}, newest.no) FROM {newest} WHERE {behind}", (place,))


def _version(connection: psycopg.Connection[Any], schema: str) -> int:
    if the_one(connection, "SELECT to_regclass($1)", (f'"{schema}".meta',)) is None:
        return 0
    found = connection.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone()
    return int(found[0]) if found else 0


def lock_number(schema: str, what: str) -> int:
    """The number of an advisory lock. Locks are of a database, schemas are in one."""
    return zlib.crc32(f"{schema} {what}".encode()) | 0x5354_0000_0000
