"""The memory of this process while sessions end, and after they have ended.

A session is thousands of small pieces. After sessions have ended, garbage is collected once for all of them. Then what is free is
given back to the system: glibc by itself gives back only what is free at the end of its heap, and one piece that lives on there
keeps everything below it. `malloc_trim` gives back every whole page that is free. It leaves alone the ends of heaps that threads
have of their own, where the past that a thread has read keeps megabytes: so threads share the one heap. They hold Python's lock
nearly always, and do not get into each other's way. C libraries that lack these calls are left to themselves.
"""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable

from tornado.ioloop import IOLoop

__all__ = ["Heap"]

_PAUSE_S = 5.0
_PAUSES = 6
"""So many pauses after the first session ended the memory is given back, also when sessions continue to end."""
_M_ARENA_MAX = -8


class Heap:
    """The heap of this process, shared by all threads that are made from now on.

    Used on the event loop alone; `pause_s` is how long it waits for more sessions to end.
    """

    def __init__(self, *, pause_s: float = _PAUSE_S) -> None:
        self._pause_s = pause_s
        self._trim = _trim_of_one_heap()
        self._is_held = self._is_planned = False
        self._asked_first = self._asked_last = 0.0

    def hold(self) -> None:
        """Hide all that lives from the garbage collector, until `release`: collecting costs what is made from now on."""
        gc.freeze()
        self._is_held = True

    def release(self) -> None:
        """Show to the garbage collector what `hold` has hidden."""
        if self._is_held:
            self._is_held = False
            gc.unfreeze()

    def collect(self) -> None:
        """Collect garbage now, of all that is not hidden."""
        gc.collect()

    def trim_later(self, loop: IOLoop) -> None:
        """Collect garbage and give back what is free, once, when no one has asked for it for a while."""
        self._asked_last = time.monotonic()
        if not self._is_planned:
            self._is_planned, self._asked_first = True, self._asked_last
            loop.call_later(self._pause_s, self._trim_when_calm, loop)

    def _trim_when_calm(self, loop: IOLoop) -> None:
        due = min(self._asked_last + self._pause_s, self._asked_first + _PAUSES * self._pause_s)
        wait_s = due - time.monotonic()
        if wait_s > 0.001 or self._is_held:
            loop.call_later(max(wait_s, self._pause_s / 10), self._trim_when_calm, loop)
            return
        self._is_planned = False
        self.collect()
        if self._trim is not None:
            self._trim(0)


def _trim_of_one_heap() -> Callable[[int], int] | None:
    try:
        library = ctypes.CDLL(None)
        trim = library.malloc_trim
        library.mallopt(_M_ARENA_MAX, 1)
        return trim
    except (AttributeError, OSError, TypeError):  # no such call; and on Windows, no library without a name
        return None
