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

__all__ = ["Place", "Places", "ask", "hasty_store", "place", "places"]


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


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def places(request: pytest.FixtureRequest) -> Places:
    """Places of one kind: a test that asks for them runs once for each."""
    if request.param == "sqlite":
        return _folder
    server: PostgresServer = request.getfixturevalue("postgres_server")

    @contextmanager
    def schema() -> Iterator[_Schema]:
        with server.schema() as address:
            yield _Schema(address)

    return schema


@pytest.fixture
def place(places: Places) -> Iterator[Place]:
    """One place."""
    with places() as made:
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
