"""What the entries of a batch come to when they are gathered. Pure, and without NumPy: it is loaded with the client.

Rows of one key become one table, in which every row has a cell for each column that any of them has. So a few rows with many
columns, among many rows with others, would make much of little: what they would take is known before they are gathered.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from streamvis.client.copying import Unfetched
from streamvis.client.entries import ROW, ROWS, Entry, row_count
from streamvis.wire.limits import MAX_COLUMNS

__all__ = ["Extent"]

_SMALL_BYTES = 128
_COLUMN_BYTES = 128
"""What a column takes in the schema and the metadata of a table, beside its name."""
_GAP_BYTES = 8
"""What a cell takes that no row brought along."""


@dataclass(slots=True)
class _Table:
    names: set[str] = field(default_factory=set)
    rows: int = 0


class Extent:
    """Counts the entries of one batch."""

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
