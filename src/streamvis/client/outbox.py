"""What the callers put in and the writer takes out: bounded, in order per thread, and without a lock or a wake-up per call.

Appending to a deque is one step under the interpreter's lock, and so is looking at a flag: while the writer polls, a call does
no more than that. Only the first call after a pause wakes the writer. When there is no room, a call waits a bounded time for the
writer to put things away on the local disk, and then drops its record and counts it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from streamvis.client.entries import CONTROL, Entry, Marker
from streamvis.client.threads import Bell

__all__ = ["Outbox"]

_MAX_ENTRIES = 65_536
_LONGEST_WAIT_S = 1.0
_LOOK_AGAIN_S = 0.001


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
        max_entries: int = _MAX_ENTRIES,
        longest_wait_s: float = _LONGEST_WAIT_S,
        can_wait: Callable[[], bool] = lambda: True,
    ) -> None:
        self._wake, self._can_wait = wake, can_wait
        self.max_bytes = max_bytes
        self.max_entries = max_entries
        self._longest_wait_s = longest_wait_s
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
        """There is no writer any more: drop what is inside, and count it. No one waits for it any longer."""
        self.parked = True  # before a look inside: whatever comes later calls `wake`
        if not self._lock.acquire(blocking=False):
            return  # the call that holds it may have been interrupted by this one; what is inside counts as waiting
        try:
            while self.entries:
                kind, _, _, _, data, _ = self.take()
                if kind is not CONTROL:
                    self.dropped += 1
                elif type(data) is Marker:
                    data.reach()
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
            deadline = deadline or time.monotonic() + self._longest_wait_s
            self._wake()
            time.sleep(_LOOK_AGAIN_S)
