"""The second thread of a producer: while the first is held up, it brings what waits to the spool.

The first thread is held up by a slow or absent endpoint, or delivers what waited for it, or gathers for as long as an endpoint
with many producers asks for. Nothing is in memory alone for longer than a tenth of a second.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from streamvis.client.backlog import Backlog
from streamvis.client.bells import Bell, Latch

__all__ = ["KEEP_EVERY_S", "Keeper"]

# Together below a tenth of a second: the request before this one, or how long what is gathered is in memory alone; how long this
# request takes until it counts as held up; and a look.
_LOOK_EVERY_S = 0.02
_HELD_UP_AFTER_S = 0.03
KEEP_EVERY_S = 0.045


class Keeper:
    """Keeps the batches of `backlog`, under `lock`, which is never held while anybody waits for the network.

    `is_gathering` while the first thread waits on purpose, `is_keeping` while something is being brought to the spool. `gave_up`
    is set when all that could be kept is kept, permanently.
    """

    def __init__(self, backlog: Backlog, lock: threading.Lock, *, say: Callable[..., None]) -> None:
        self._backlog, self._lock, self._say = backlog, lock, say
        self._bell = Bell()
        self._is_urgent = False
        self._held_up_since: float | None = None
        self._is_giving_up = self._is_over = False
        self.is_gathering = self.is_keeping = False
        self.is_busy = True
        self.gave_up = Latch()

    def keep_soon(self) -> None:
        """Somebody waits for the disk."""
        self._is_urgent = True
        self._bell.ring()

    def wake(self) -> None:
        """The first thread has something to do again."""
        self.is_busy = True
        self._bell.ring()

    def give_up(self) -> None:
        """Keep all that there is, and set `gave_up`."""
        self._is_giving_up = True
        self._bell.ring()

    def end(self) -> None:
        """Nothing is kept any more."""
        self._is_over = True
        self.gave_up.set()
        self._bell.ring()

    @contextmanager
    def held_up(self) -> Iterator[None]:
        """The first thread waits for somebody in this block."""
        self._held_up_since = time.monotonic()
        try:
            yield
        finally:
            self._held_up_since = None

    def keep(self, keep: Callable[[], None]) -> bool:
        """Bring all that waits to the spool; False when that failed."""
        try:
            with self._lock:
                self.is_keeping = True
                if not self._is_over:
                    keep()
        except Exception:  # noqa: BLE001 - the top of the thread: no error of ours ends a training run
            self._say("an unexpected error in the sender; some records could not be kept yet.", exc_info=True)
            return False
        finally:
            self.is_keeping = False
        return True

    def run(self) -> None:
        """The thread."""
        kept_at = 0.0
        while not self._is_over:
            self._bell.wait((KEEP_EVERY_S if self.is_gathering else _LOOK_EVERY_S) if self.is_busy else None)
            if self._is_giving_up:
                if self.keep(self._backlog.keep_all):
                    self.gave_up.set()
                    return
                time.sleep(_LOOK_EVERY_S)
                self._bell.ring()
                continue
            is_urgent, self._is_urgent = self._is_urgent, False
            now, since = time.monotonic(), self._held_up_since
            is_held_up = self.is_gathering or (since is not None and now - since >= _HELD_UP_AFTER_S)
            if (is_held_up or self._backlog.is_spooling) and (is_urgent or now - kept_at >= KEEP_EVERY_S):
                self.keep(self._backlog.keep_or_note_all)
                kept_at = time.monotonic()
