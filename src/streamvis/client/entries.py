"""What waits in the outbox: one entry per call of the caller, in the order of the calls.

An entry is a plain tuple `(kind, step, time, key, data, size)`, since making anything richer would be a third of what a call of
`sendl` costs. `size` is what the entry holds in bytes, roughly; it is 0 for a few scalars, which are bounded by their number.

    ROW      data maps columns to one cell each
    ROWS     data maps columns to lists or arrays of one length
    VALUE    data is the value, or `Kept` where fewer than all of the key's values are to be kept
    CONTROL  data is one of the classes below; step and key are None
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from streamvis.client.copying import Unfetched
from streamvis.client.threads import Latch
from streamvis.wire.limits import MAX_COLUMNS

__all__ = [
    "CONTROL",
    "ROW",
    "ROWS",
    "VALUE",
    "Begin",
    "Clear",
    "End",
    "Entry",
    "Extent",
    "Kept",
    "Marker",
    "fetched",
    "row_count",
]

_SMALL_BYTES = 128
_COLUMN_BYTES = 128
"""What a column takes in the schema and the metadata of a table, beside its name."""
_GAP_BYTES = 8
"""What a cell takes that no row brought along."""

ROW, ROWS, VALUE, CONTROL = "row", "rows", "value", "control"

Entry = tuple[str, Any, float, Any, Any, int]


def row_count(kind: str, columns: Mapping[str, Any]) -> int:
    """How many rows the columns of an entry have."""
    return 1 if kind is ROW else len(next(iter(columns.values())))


def fetched(entry: Entry) -> Entry:
    """The entry with every array on the host. Waits for devices, and raises what their libraries raise."""
    kind, step, time, key, data, size = entry
    if type(data) is Kept and type(data.data) is Unfetched:
        return (kind, step, time, key, Kept(data.data.fetch(), data.keep), size)
    return (kind, step, time, key, data.fetch(), size) if type(data) is Unfetched else entry


class Begin(NamedTuple):
    """From here on records belong to `run`; `joins` tells that its id was given, not made. See `records.Start`."""

    run: str
    config: Mapping[str, Any]
    name: str | None
    joins: bool
    attempt: str = ""
    resume_at: int | None = None


class Kept(NamedTuple):
    """A value of whose key the `keep` newest are to be kept."""

    data: Any
    keep: int


class Clear(NamedTuple):
    """The run's rows and values so far are taken back."""


class End(NamedTuple):
    """The producer ended in `state`, and so did the `others`: see `records.Finish`."""

    state: str
    others: tuple[str, ...] = ()


class Marker:
    """A caller waits until all that is before it in the outbox is stored, or if `durable` at least synced to the local disk.

    `number` is the batch to wait for, known once the marker left the outbox. `error` is the reason why it cannot be stored.
    """

    def __init__(self, *, wants_errors: bool = False, durable: bool = False) -> None:
        self.number = 0
        self.error: Exception | None = None
        self.wants_errors, self.durable = wants_errors, durable
        self.reached = Latch()

    def reach(self, error: Exception | None = None) -> None:
        """Let the caller continue; with the error that it may want to know."""
        self.error = self.error or error
        self.reached.set()


@dataclass(slots=True)
class _Table:
    names: set[str] = field(default_factory=set)
    rows: int = 0


class Extent:
    """Counts what entries come to when they are gathered.

    Rows of one key become one table, in which every row has a cell for each column that any of them has. So a few rows with many
    columns, among many rows with others, would make much of little: what they would take is known before they are gathered.
    """

    def __init__(self) -> None:
        self._tables: dict[str, _Table] = {}

    def add(self, entry: Entry) -> int | None:
        """Count an entry: how many bytes it adds to the batch, roughly. None where its key would have too many columns there."""
        kind, _, _, key, data, size = entry
        size = size or _SMALL_BYTES
        if kind is not ROW and kind is not ROWS:
            return size
        table = self._tables.get(key)
        if table is None:
            table = self._tables[key] = _Table()
        columns = data.data if type(data) is Unfetched else data
        rows = 1 if kind is ROW else row_count(kind, columns)
        names = table.names
        gaps = 0
        if not columns.keys() <= names:
            new = columns.keys() - names
            names |= new
            if len(names) > MAX_COLUMNS:
                return None
            size += sum(_COLUMN_BYTES + len(name) for name in new)
            gaps = table.rows * len(new)
        table.rows += rows
        return size + _GAP_BYTES * (gaps + rows * (len(names) - len(columns)))
