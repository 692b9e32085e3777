"""Stores for tests that make very many of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from streamvis.store import SqliteStore

__all__ = ["hasty_store"]


def hasty_store(folder: Path, **options: Any) -> SqliteStore:
    """A store that does not wait for the disk: it is right all the same while the machine runs."""
    store = SqliteStore(folder, **options)
    store._writer.execute("PRAGMA synchronous = OFF")
    return store
