"""What the callers put in and the writer takes out: bounded, in order per thread, and without a lock or a wake-up per call.

Appending to a deque is one step under the interpreter's lock, and so is looking at a flag: while the writer polls, a call does
no more than that. Only the first call after a pause wakes the writer. When there is no room, a call waits a bounded time for the
writer to put things away on the local disk, and then drops its record and counts it.

There is one entry per call of the caller, in the order of the calls: a plain tuple `(kind, step, time, key, data, size)`, since
making anything richer would be a third of what a call of `sendl` costs. `size` is what the entry holds in bytes, roughly; it is 0
for a few scalars, which are bounded by their number.

    ROW      data maps columns to one cell each
    ROWS     data maps columns to lists or arrays of one length
    VALUE    data is the value, or `Kept` where fewer than all of the key's values are to be kept
    CONTROL  data is one of the classes below; step and key are None
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from streamvis.client.process.threads import Bell, Latch
from streamvis.client.values.copying import Unfetched
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
    "Outbox",
    "fetched",
    "row_count",
]

_MAX_ENTRIES = 65_536
_LONGEST_WAIT_S = 1.0
_LOOK_AGAIN_S = 0.001
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
    No caller waits any more for one that `is_abandoned`.
    """

    def __init__(self, *, wants_errors: bool = False, durable: bool = False) -> None:
        self.number = 0
        self.error: Exception | None = None
        self.wants_errors, self.durable = wants_errors, durable
        self.reached = Latch()
        self.is_abandoned = False

    def reach(self, error: Exception | None = None) -> None:
        """Let the caller continue; with the error that it may want to know."""
        self.error = self.error or error
        self.reached.set()


@dataclass(slots=True)
class _Table:
    names: set[str] = field(default_factory=set)
    rows: int = 0


class Extent:
    """Counts what entries come to when they are gathered: about `max_bytes` at most.

    Rows of one key become one table, in which every row has a cell for each column that any of them has. So a few rows with many
    columns, among many rows with others, would make much of little: what they would take is known before they are gathered.
    """

    def __init__(self, max_bytes: int) -> None:
        self._tables: dict[str, _Table] = {}
        self._left_bytes, self._is_empty = max_bytes, True

    def takes(self, entry: Entry) -> bool:
        """Count an entry; False where it is too much together with those before it."""
        size, is_first, self._is_empty = self._added_bytes(entry), self._is_empty, False
        self._left_bytes -= size or 0
        return is_first or (size is not None and self._left_bytes >= 0)

    def _added_bytes(self, entry: Entry) -> int | None:
        """How many bytes it adds, roughly. None where its key would have too many columns."""
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


class Outbox:
    """Entries on their way from the callers to the writer; `max_bytes` bounds those that are not small.

    `wake` is called for the first entry after a pause; the writer then leaves `park`. `can_wait` says whether the caller may wait
    at all: the writer cannot wait for itself.
    """

    def __init__(
        self,
        wake: Callable[[], None],
        *,
        max_bytes: int,
        can_wait: Callable[[], bool] = lambda: True,
    ) -> None:
        self._wake, self._can_wait = wake, can_wait
        self.max_bytes = max_bytes
        self.max_entries = _MAX_ENTRIES
        self.empty_out()

    def empty_out(self) -> None:
        """Begin again, as after a fork: nothing inside, no lock held, the writer to be woken."""
        self.entries: deque[Entry] = deque()
        self.parked = True
        self.awake = Bell()
        self._released = False
        self.dropped = 0
        self._given_up = False
        # Two counters with one writer each are exact without a lock; callers share one, so theirs has a lock that only
        # large entries take. It is reentrant for the sake of signal handlers that send, and no one waits while holding it.
        self._lock = threading.RLock()
        self._bytes_in = 0
        self._bytes_out = 0

    def put(self, entry: Entry) -> bool:
        """Add an entry at the end; False when it was dropped for want of room."""
        if entry[5] or len(self.entries) >= self.max_entries:
            if not self._has_room(entry[5]):
                return False
        self.entries.append(entry)
        if self.parked:
            self._wake()
        return True

    def put_always(self, *entries: Entry) -> None:
        """Add, with nothing between them, what must not be dropped: control records, of which there are few."""
        self.entries.extend(entries)
        self._wake()

    def take(self) -> Entry:
        """The oldest entry. For the writer alone, which has seen that there is one."""
        entry = self.entries.popleft()
        self._bytes_out += entry[5]
        return entry

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the entries that are not small."""
        return self._bytes_in - self._bytes_out

    def park(self, timeout_s: float | None = None) -> None:
        """Wait for the next call, so long at most. For the writer alone."""
        self.awake.clear()
        self.parked = True
        if not (self.entries or self._released):
            self.awake.wait(timeout_s)
        self.parked = False

    def release(self) -> None:
        """Never let the writer park again: it is to end."""
        self._released = True
        self.awake.ring()

    def discard(self) -> None:
        """There is no writer any more: drop what is inside, and count it. Who waits looks whether the producer has ended."""
        self.parked = True  # before a look inside: whatever comes later calls `wake`
        if not self._lock.acquire(blocking=False):
            return  # the call that holds it may have been interrupted by this one; what is inside counts as waiting
        try:
            while self.entries:
                self.dropped += self.take()[0] is not CONTROL
        finally:
            self._lock.release()

    def _has_room(self, size: int) -> bool:
        deadline = None
        while True:
            with self._lock:
                fits = not size or not self.waiting_bytes or self.waiting_bytes + size <= self.max_bytes
                if fits and len(self.entries) < self.max_entries:
                    self._bytes_in += size
                    self._given_up = False
                    return True
                # After one timeout, later calls fail at once: a loop of calls would crawl.
                self._given_up = self._given_up or (deadline is not None and time.monotonic() >= deadline)
                if self._given_up or not self._can_wait():
                    self.dropped += 1
                    return False
            deadline = deadline or time.monotonic() + _LONGEST_WAIT_S
            self._wake()
            time.sleep(_LOOK_AGAIN_S)
