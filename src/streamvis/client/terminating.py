"""SIGTERM, by which schedulers end a job: where the program does not handle it, deliver first, then end as it would have ended.

A handler that the program has stays. One that it sets later takes the place of ours, and where that calls ours, ours does
nothing. A forked child handles the signal as before, until it sends something. Python runs handlers in the main thread, between
two steps of Python: while that thread is inside other code, the signal waits.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType

__all__ = ["catch_sigterm", "release_sigterm"]

_deliver: Callable[[], None] | None = None


def catch_sigterm(deliver: Callable[[], None]) -> None:
    """Have `deliver` called before SIGTERM ends the process, where that is not handled yet and this is the main thread."""
    global _deliver
    if os.name == "nt":
        return  # a process is ended there without a signal
    _deliver = deliver
    try:
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, _end)
    except ValueError:
        pass  # not the main thread


def release_sigterm() -> None:
    """Handle the signal as if there had been no `catch_sigterm`."""
    try:
        if signal.getsignal(signal.SIGTERM) is _end:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
    except ValueError:
        pass


def _end(number: int, frame: FrameType | None) -> None:
    if signal.getsignal(number) is not _end:
        return  # the program has a handler, which calls the one that it found
    signal.signal(number, signal.SIG_DFL)  # a second signal ends the process at once
    try:
        _deliver()
    finally:
        os.kill(os.getpid(), number)
        os._exit(128 + number)  # the first process of a container ignores signals that it does not handle
