"""A real PostgreSQL for tests: Debian's programs, a data folder of its own, one server for all tests of a process.

`initdb` refuses root, so root starts it as another user. Its folder is in memory where there is room for it: what tests kill is
processes.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from streamvis.addresses.database import DatabaseAddress
from streamvis.store.postgresql.schema import SCHEMA
from streamvis.store.postgresql.store import PostgresStore
from support.conditions import wait_until

__all__ = ["PostgresServer", "database", "open_store", "postgres_server", "programs"]

_SETTINGS = {
    "full_page_writes": "off",
    "autovacuum": "off",
    "jit": "off",
    "listen_addresses": "",
    "max_connections": "100",
    "max_wal_senders": "0",
    "shared_buffers": "32MB",
    "wal_level": "minimal",
}
_USER = "postgres"
_TABLES = [table for table in re.findall(r"CREATE TABLE (\w+)", SCHEMA) if table != "meta"]


def programs() -> Path:
    """The folder of the newest PostgreSQL's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("postgres")
    if not found and not on_path:
        raise FileNotFoundError("There is no PostgreSQL for the tests. Install it: sudo apt-get install postgresql")
    return found[-1].parent if found else Path(on_path).parent


class PostgresServer:
    """A server that listens at a Unix socket in its folder, and the databases in it."""

    def __init__(self, *, on_disk: bool = False, standby_of: PostgresServer | None = None, **settings: str) -> None:
        memory = Path("/dev/shm")
        self.folder = Path(tempfile.mkdtemp(prefix="streamvis-pg-", dir=memory if memory.is_mount() and not on_disk else None))
        self._settings = {**_SETTINGS, "unix_socket_directories": str(self.folder), **settings}
        self._data = self.folder / "data"
        self._empty: list[str] = []
        if os.geteuid() == 0:
            account = pwd.getpwnam(_USER)
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        if standby_of is not None:
            self.follow(standby_of)
            return
        self._run("initdb", "-D", self._data, "-U", _USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "-N")
        self.start()

    def follow(self, primary: PostgresServer) -> None:
        """Start as a standby, from a copy of what the primary has now."""
        shutil.rmtree(self._data, ignore_errors=True)
        copied = ("-D", self._data, "-R", "-X", "stream", "-c", "fast", "--no-sync")
        self._run("pg_basebackup", "-h", primary.folder, "-U", _USER, *copied)
        self.start()
        # It was copied with what the primary says of its own standbys.
        self.execute("ALTER SYSTEM RESET synchronous_standby_names")
        self.execute("SELECT pg_reload_conf()")

    @property
    def address(self) -> str:
        """Where clients find it."""
        return f"postgresql://{_USER}@/postgres?host={self.folder}"

    @property
    def pid(self) -> int:
        """Of the process that has started all others."""
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        settings = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        self._log = (self.folder / "log").open("ab")
        self._process = subprocess.Popen(
            [*self.as_user(), str(programs() / "postgres"), "-D", str(self._data), *settings],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
        )
        wait_until(self._answers)

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self.folder / "log").read_text()
        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def execute(self, statement: str, *given: object) -> list[tuple[object, ...]]:
        """Run a statement as the superuser."""
        with psycopg.connect(self.address, autocommit=True) as connection:
            found = connection.execute(statement, given or None)
            return found.fetchall() if found.description else []

    def end(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """End it: at once, as by a crash, or with SIGINT in order."""
        if self._process.poll() is None:
            self._process.send_signal(how)
            self._process.wait(timeout=30)
        self._log.close()

    def remove(self) -> None:
        """End it, and remove all it had."""
        self.end()
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def schema(self) -> Iterator[str]:
        """The address of a store without runs: a schema that nobody has used, or that was emptied."""
        address = self._empty.pop() if self._empty else f"{self.address}&schema=test_{uuid.uuid4().hex[:12]}"
        yield address
        schema = address.rpartition("=")[2]
        if self.execute("SELECT to_regclass(%s)", f"{schema}.meta")[0][0] is not None:
            self.execute("; ".join(f"DELETE FROM {schema}.{table}" for table in _TABLES))
            self._empty.append(address)

    def as_user(self) -> list[str]:
        """What to put before a command so that the database's user runs it."""
        # It ends with the tests, however they end.
        kill = ["setpriv", "--pdeathsig", "QUIT"] if shutil.which("setpriv") else []
        if os.geteuid() != 0:
            return kill
        return ["setpriv", "--reuid", _USER, "--regid", _USER, "--init-groups", *kill[1:]]

    def _run(self, program: str, *arguments: object) -> None:
        made = subprocess.run(
            [*self.as_user(), str(programs() / program), *map(str, arguments)], capture_output=True, text=True, cwd=self.folder
        )
        assert made.returncode == 0, made.stderr


def open_store(address: str, **options: Any) -> PostgresStore:
    """The store at an address."""
    return PostgresStore(DatabaseAddress.of(address), **options)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The server of this process."""
    server = PostgresServer()
    yield server
    server.remove()


@pytest.fixture
def database(postgres_server: PostgresServer) -> Iterator[str]:
    """The address of an empty store."""
    with postgres_server.schema() as address:
        yield address
