"""The C library's heap after sessions have ended: what they left free in it is given back to the system.

A session is thousands of small pieces. glibc by itself gives back only what is free at the end of its heap, and one piece that
lives on there keeps everything below it: a page server would stay as large as it ever was, with most of that free.
`malloc_trim` gives back every whole page that is free. It takes some milliseconds, and so it runs once for all the sessions
that end within a while. It leaves alone the ends of heaps that threads have of their own, where the past that a thread has read
keeps megabytes: so threads share the one heap. They hold Python's lock nearly always, and do not get into each other's way.
C libraries that lack these calls are left to themselves.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

from tornado.ioloop import IOLoop

__all__ = ["Heap"]

_PAUSE_S = 5.0
_M_ARENA_MAX = -8


class Heap:
    """The heap of this process, shared by all threads that are made from now on.

    Used on the event loop alone; `pause_s` is how long it waits for more sessions to end.
    """

    def __init__(self, *, pause_s: float = _PAUSE_S) -> None:
        self._pause_s = pause_s
        self._trim = _trim_of_one_heap()
        self._is_planned = False

    def trim_later(self, loop: IOLoop) -> None:
        """Give back what is free, after a pause; asked again meanwhile, once."""
        if self._trim is not None and not self._is_planned:
            self._is_planned = True
            loop.call_later(self._pause_s, self._trim_now)

    def _trim_now(self) -> None:
        self._is_planned = False
        self._trim(0)


def _trim_of_one_heap() -> Callable[[int], int] | None:
    try:
        library = ctypes.CDLL(None)
        trim = library.malloc_trim
        library.mallopt(_M_ARENA_MAX, 1)
        return trim
    except (AttributeError, OSError, TypeError):  # no such call; and on Windows, no library without a name
        return None
