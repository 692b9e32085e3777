"""The store in a PostgreSQL database. Only this package imports psycopg, and only when such a store is opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from streamvis.errors import UsageError

__all__ = ["importing"]


@contextmanager
def importing() -> Iterator[None]:
    """Around an import of this package's modules. Raises UsageError where what they need is not installed."""
    try:
        yield
    except ImportError as error:
        raise UsageError("PostgreSQL support is not installed. Run: pip install 'streamvis[postgresql]'") from error
