"""Endpoints as they are installed: one with a data folder of its own, or several on a PostgreSQL server of their own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from setting import Endpoint

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.postgresql import PostgresServer

__all__ = ["DISK", "STORES", "Installation", "installation", "processor_s", "told_setting"]

STORES = ("sqlite", "postgresql")
DISK = {
    "fsync": "on",
    "full_page_writes": "on",
    "autovacuum": "on",
    "shared_buffers": "256MB",
    "wal_level": "replica",
    "max_wal_size": "2GB",
}
"""A server that waits for its disk. Debian's settings but for the memory, which is a usual share of a small machine's."""


class Installation:
    """`endpoints` on one store, with the `database` where there is one."""

    def __init__(self, endpoints: list[Endpoint], database: PostgresServer | None) -> None:
        self.endpoints, self.database = endpoints, database

    def address(self, first: int = 0) -> str:
        """The addresses of all, beginning with this one."""
        first %= len(self.endpoints)
        return ",".join(one.url for one in [*self.endpoints[first:], *self.endpoints[:first]])

    def used_s(self) -> dict[str, float]:
        """Seconds of the processor so far: of all endpoints, and of the database."""
        used = {"endpoints": sum(processor_s(one.process) for one in self.endpoints)}
        return used | ({"database": processor_s(psutil.Process(self.database.pid))} if self.database else {})

    def size_bytes(self) -> int:
        """What is stored takes so much of the disk, without logs that are written anew."""
        if self.database is None:
            return self.endpoints[0].size_bytes()
        return self.database.execute("SELECT pg_database_size('postgres')")[0][0]


@contextmanager
def installation(store: str, count: int = 1) -> Iterator[Installation]:
    """So many endpoints on a store of this kind, gone after that. A data folder has one."""
    database = PostgresServer(on_disk=True, **DISK) if store == "postgresql" else None
    endpoints: list[Endpoint] = []
    try:
        for _ in range(count):
            endpoints.append(Endpoint(*(["--data", database.address] if database else [])))
        yield Installation(endpoints, database)
    finally:
        for one in endpoints:
            one.stop()
            one.folder.cleanup()
        if database is not None:
            database.remove()


def processor_s(process: psutil.Process) -> float:
    """What a process and those that it started took, those that have ended among them."""
    used = sum(process.cpu_times()[:4])
    for child in process.children(recursive=True):
        try:
            used += sum(child.cpu_times()[:4])
        except psutil.NoSuchProcess:
            pass
    return used


def told_setting() -> str:
    """What the figures were measured on."""
    return f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
