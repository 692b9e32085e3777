"""What a page that opens is told of the past: all of it in pieces, or of each key about as many rows as its budget allows.

With a budget, the rows of a key come at the resolution of a screen (see `EndpointReader.history`), so no lowest and no highest
value is missing. They may reach beyond the cursor up to which the past was asked for; what of them comes again live is cut off.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import replace
from typing import Any

from streamvis.page.feeds.reader import EndpointReader, Piece
from streamvis.page.new_data import column_form, is_number_or_time
from streamvis.records import HistoryQuery, Rows, Value

__all__ = ["Past"]


class Past:
    """The past of one run for one session. `read` may run in a thread."""

    def __init__(self, reader: EndpointReader, run: str, *, budget: int | None) -> None:
        self._reader, self._run, self._budget = reader, run, budget
        self._given: dict[str, int] = {}
        self._reduced: frozenset[str] = frozenset()
        self._reduced_until: str | None = None

    def read(self, *, after: str | None, until: str, exclude: Set[str] = frozenset(), no_rows: bool = False) -> Piece:
        """The next piece after the cursor `after`, not past `until`, without the keys `exclude`; with `no_rows` values alone."""
        rows: dict[str, Rows] = {}
        counts: dict[str, int] = {}
        dtypes: dict[str, Mapping[str, str]] = {}
        if self._budget is not None and self._reduced_until != until:
            for key, its in self._reader.row_keys(self._run).items():
                if key not in exclude and (found := self._reduced_rows(key, its, self._budget)):
                    rows[key], counts[key] = found
                    dtypes[key] = its
            self._reduced, self._reduced_until = frozenset(rows), until
        which: dict[str, Any] = {"kind": "value"} if no_rows else {"exclude": sorted(exclude | self._reduced)}
        piece = self.fresh(self._reader.tail(self._run, after=after, until=until, **which))
        if not rows:
            return piece
        return replace(piece, items=[*rows.values(), *piece.items], dtypes={**piece.dtypes, **dtypes}, reduced=counts)

    def fresh(self, piece: Piece) -> Piece:
        """A piece that came live, without the rows that `read` gave already."""
        if not any(piece.first_rows.get(key, count) < count for key, count in self._given.items()):
            return piece
        items: list[Rows | Value] = []
        at = dict(piece.first_rows)
        for item in piece.items:
            if isinstance(item, Rows):
                begin = max(0, self._given.get(item.key, 0) - at[item.key])
                at[item.key] += len(item.steps)
                item = _from(item, begin)
                if not len(item.steps):
                    continue
            items.append(item)
        return replace(piece, items=items)

    def _reduced_rows(self, key: str, dtypes: Mapping[str, str], budget: int) -> tuple[Rows, int] | None:
        """About as many rows as the budget allows, for how many they stand; None where all fit, or a column cannot be drawn."""
        axis = next((name for name in ("row", "step", "time") if name not in dtypes), None)
        if axis is None or any(dtype == "json" or dtype.startswith("array<") for dtype in dtypes.values()):
            return None
        given = self._given.get(key, 0)
        whole = self._reader.history(self._run, key, HistoryQuery(x=axis, columns=list(dtypes)[:1], buckets=1))
        if whole is None or whole.count - given <= budget:
            return None
        measured = sum(is_number_or_time(column_form(dtype)) for dtype in dtypes.values())
        buckets = max(1, budget // (2 * max(1, measured)))
        start = given if axis == "row" else None
        query = HistoryQuery(x=axis, columns=list(dtypes), start=start, buckets=buckets)
        found = self._reader.history(self._run, key, query)
        if found is None:
            return None
        begin = int((found.numbers < given).sum())
        self._given[key] = max(found.count, given)
        return _from(found.rows, begin), found.count - given


def _from(rows: Rows, begin: int) -> Rows:
    if not begin:
        return rows
    columns = {name: column[begin:] for name, column in rows.columns.items()}
    return Rows(rows.key, rows.steps[begin:], rows.times[begin:], columns)
