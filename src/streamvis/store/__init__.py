"""What an endpoint keeps: the interface of a store, the one in SQLite, and its data folder."""

from streamvis.store.backup import backup, restore
from streamvis.store.folder import DataFolder, endpoint_of
from streamvis.store.interface import Changes, RowsPiece, Store
from streamvis.store.sqlite import SqliteStore

__all__ = ["Changes", "DataFolder", "RowsPiece", "SqliteStore", "Store", "backup", "endpoint_of", "restore"]
