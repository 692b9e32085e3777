"""What an endpoint keeps: the interface of a store, the one in SQLite, and its data folder."""

from streamvis.store.backup import backup, restore
from streamvis.store.copying import Copied, end_copying
from streamvis.store.folder import DataFolder, endpoint_of
from streamvis.store.interface import Changes, Damage, FoundRuns, RowsPiece, RunNames, RunQuery, Store
from streamvis.store.opening import check_place, copy_places, migrate_place
from streamvis.store.read_only import ReadOnlySqliteStore, is_store
from streamvis.store.removing.retention import KeepValues
from streamvis.store.repairing.checking import check
from streamvis.store.repairing.repair import repair
from streamvis.store.shared import SharedStore
from streamvis.store.sqlite import SqliteStore
from streamvis.store.views.spread import STATISTICS_OF_RUNS, StatisticOfRuns

__all__ = [
    "STATISTICS_OF_RUNS",
    "Changes",
    "Copied",
    "Damage",
    "DataFolder",
    "FoundRuns",
    "KeepValues",
    "ReadOnlySqliteStore",
    "RowsPiece",
    "RunNames",
    "RunQuery",
    "SharedStore",
    "SqliteStore",
    "StatisticOfRuns",
    "Store",
    "backup",
    "check",
    "check_place",
    "copy_places",
    "end_copying",
    "endpoint_of",
    "is_store",
    "migrate_place",
    "repair",
    "restore",
]
