"""Stores for tests: of each kind, opened again and again at the same place, and hasty ones where very many are made."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

from streamvis.store import SqliteStore, Store
from support.postgresql import PostgresServer, open_store

__all__ = ["Place", "Places", "ask", "folders", "hasty_store", "place", "schemas"]


class Place(Protocol):
    """Where one store is kept."""

    def open(self, **options: Any) -> Store:
        """The store, made where it is not there yet."""
        ...


Places = Callable[[], AbstractContextManager[Place]]
"""Makes places that are gone at the end."""


class _Folder:
    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self, **options: Any) -> Store:
        return hasty_store(self.path, **options)


class _Schema:
    def __init__(self, address: str) -> None:
        self.address = address

    def open(self, **options: Any) -> Store:
        return open_store(self.address, **options)


@contextmanager
def _folder() -> Iterator[_Folder]:
    with tempfile.TemporaryDirectory() as folder:
        yield _Folder(Path(folder))


@pytest.fixture(scope="session")
def folders() -> Places:
    """Places for stores in SQLite."""
    return _folder


@pytest.fixture(scope="session")
def schemas(postgres_server: PostgresServer) -> Places:
    """Places for stores in PostgreSQL."""

    @contextmanager
    def schema() -> Iterator[_Schema]:
        with postgres_server.schema() as address:
            yield _Schema(address)

    return schema


@pytest.fixture(params=["folders", "schemas"], ids=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """One place of each kind: a test that asks for it runs once for each."""
    with request.getfixturevalue(request.param)() as made:
        yield made


def ask(store: Any, statement: str) -> list[Any]:
    """What stands in the tables of a store."""
    with store._reading() as db:
        return list(db.execute(statement).fetchall())


def hasty_store(folder: Path, **options: Any) -> SqliteStore:
    """A store that does not wait for the disk: it is right all the same while the machine runs."""
    store = SqliteStore(folder, **options)
    store._writer.execute("PRAGMA synchronous = OFF")
    return store
