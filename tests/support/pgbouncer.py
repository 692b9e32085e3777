"""PgBouncer in transaction mode before a test's database: connections are handed on after each transaction.

It refuses root, so it runs as the database's user, from a copy that this user can read.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.conditions import wait_until
from support.postgresql import PostgresServer

__all__ = ["pooled_database"]

_UNPACKED = Path(sys.prefix) / "pgbouncer"


def _program() -> Path:
    found = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin:{_UNPACKED / 'usr' / 'sbin'}")
    if found is None:
        raise FileNotFoundError("There is no PgBouncer for the tests. Unpack it: make pgbouncer")
    return Path(found)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def pooled_database(postgres_server: PostgresServer, database: str) -> Iterator[str]:
    """The address of an empty store behind PgBouncer, which has three connections for all."""
    folder = postgres_server.folder / "pgbouncer"
    folder.mkdir()
    folder.chmod(0o755)
    program = shutil.copy(_program(), folder)
    for library in _UNPACKED.glob("usr/lib/*/lib*.so*"):
        shutil.copy(library, folder)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {"listen_addr": "127.0.0.1", "listen_port": port, "auth_type": "any", "pool_mode": "transaction"}
    settings |= {"default_pool_size": 3, "unix_socket_dir": ""}
    lines = ["[databases]", f"postgres = host={postgres_server.folder} dbname=postgres user=postgres", "[pgbouncer]"]
    (folder / "settings.ini").write_text("\n".join([*lines, *(f"{name} = {value}" for name, value in settings.items())]))
    (folder / "settings.ini").chmod(0o644)
    with (folder / "log").open("wb") as log:
        started = subprocess.Popen(
            [*postgres_server.as_user(), program, folder / "settings.ini"],
            env={**os.environ, "LD_LIBRARY_PATH": str(folder)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_until(lambda: _answers(port), what="PgBouncer to listen")
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres?schema={database.rpartition('=')[2]}"
        finally:
            started.kill()
            started.wait()
            shutil.rmtree(folder)
