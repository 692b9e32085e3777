"""What the endpoint keeps: the `Store` interface, and SQLite behind it."""

from streamvis.store.folder import DataFolder
from streamvis.store.interface import Changes, RowsPiece, Store
from streamvis.store.sqlite import SqliteStore

__all__ = ["Changes", "DataFolder", "RowsPiece", "SqliteStore", "Store"]
