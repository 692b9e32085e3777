"""The end of a child that was forked in a thread: no end of the interpreter follows.

The thread that forked is the only one in the child, and what Python calls the main thread there. Unless it is the first thread of
the program, Python does nothing when it ends: nothing that `atexit` knows is called, and the process ends with its last thread,
daemon or not, and with status 0. A producer's threads would be the last ones, and wait there for more. So one thread more waits
until the program's own threads are over.
"""

from __future__ import annotations

import _thread
import os
import threading
import time
from collections.abc import Callable

__all__ = ["after_the_programs"]

_OURS = "streamvis-"
"""How the names of the client's own threads begin."""
_NOT_FORKED, _FOREIGN = "_MainThread", "_DummyThread"
_LOOK_AGAIN_S = 0.05

_waits_in: int | None = None
"""The process that has such a thread. A forked child needs its own."""


def after_the_programs(work: Callable[[], object]) -> None:
    """In a child that was forked in a thread, call this when all threads of the program have ended; once. Else do nothing."""
    global _waits_in
    if _waits_in == os.getpid() or type(threading.main_thread()).__name__ in (_NOT_FORKED, _FOREIGN):
        return
    try:
        _thread.start_new_thread(_wait, (work,))  # a bare thread: see `threads`
    except (RuntimeError, MemoryError):
        return
    _waits_in = os.getpid()


def _wait(work: Callable[[], object]) -> None:
    threading.main_thread().join()
    while others := [thread for thread in threading.enumerate() if _is_the_programs(thread)]:
        try:
            others[0].join()
        except RuntimeError:  # it is about to start
            time.sleep(_LOOK_AGAIN_S)
    work()


def _is_the_programs(thread: threading.Thread) -> bool:
    """Threads that Python did not start are not counted: when they end, it does not know."""
    return not thread.name.startswith(_OURS) and type(thread).__name__ != _FOREIGN
