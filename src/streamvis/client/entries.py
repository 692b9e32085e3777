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
from typing import Any, NamedTuple

from streamvis.client.bells import Latch

__all__ = ["CONTROL", "ROW", "ROWS", "VALUE", "Begin", "Clear", "End", "Entry", "Kept", "Marker", "row_count"]

ROW, ROWS, VALUE, CONTROL = "row", "rows", "value", "control"

Entry = tuple[str, Any, float, Any, Any, int]


def row_count(kind: str, columns: Mapping[str, Any]) -> int:
    """How many rows the columns of an entry have."""
    return 1 if kind is ROW else len(next(iter(columns.values())))


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
    """Somebody waits until all that is before it in the outbox is stored, or if `durable` at least on the local disk.

    `number` is the batch to wait for, known once the marker left the outbox. `error` is what stands in the way.
    """

    def __init__(self, *, wants_errors: bool = False, durable: bool = False) -> None:
        self.number = 0
        self.error: Exception | None = None
        self.wants_errors, self.durable = wants_errors, durable
        self.reached = Latch()

    def reach(self, error: Exception | None = None) -> None:
        """Let whoever waits continue; with `error` when it stood in the way."""
        self.error = self.error or error
        self.reached.set()
