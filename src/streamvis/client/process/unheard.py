"""A signal that the main thread does not hear.

Python handles signals in the main thread, between two steps of Python. One that comes just as that thread begins to wait inside
other code is handled when the wait is over, which may be never: where `multiprocessing.Pool` terminates its workers, those that
wait for a task wait for a lock that no one releases any more, and the pool waits for them. A process without a handler would end.

So a thread is told of signals by Python's wake-up descriptor, and interrupts the main thread's wait with another signal, one that
processes ignore and that does nothing here either. A program that reads its signals itself, as asyncio does for handlers of its
own, takes the descriptor; then a wait ends when it ends.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

__all__ = ["hear_no_more", "interrupt_waits", "stop"]

_HEARD_WITHIN_S = 0.1
_MOST_TRIES = 100
_NONE = -1
_OVER = 0
"""No signal has this number."""

_pipe: tuple[int, int] | None = None


def interrupt_waits(number: int, handler: Callable[[int, FrameType | None], object]) -> None:
    """From now on, end the main thread's wait while it has a signal of this number to handle; the handler does not stay it.

    Does nothing in another thread, where the program uses what it needs, or where no thread or descriptor can be had.
    """
    global _pipe
    if _pipe is not None or threading.current_thread() is not threading.main_thread():
        return
    # Trio warns of descriptors that it finds.
    if "trio" in sys.modules or signal.getsignal(signal.SIGURG) not in (signal.SIG_DFL, _nothing):
        return
    try:
        pipe = reading, writing = os.pipe()
    except OSError:
        return
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        if before == _NONE:
            signal.signal(signal.SIGURG, _nothing)
            threading.Thread(target=_listen, args=(reading, number, handler), name="streamvis-signals", daemon=True).start()
            _pipe = pipe
            return
    except (RuntimeError, MemoryError):
        pass
    signal.set_wakeup_fd(before)
    _close(pipe)


def stop() -> None:
    """In a forked child: its signals are not those of the parent, whose pipe it has. What the program set stays."""
    global _pipe
    pipe, _pipe = _pipe, None
    if pipe is None:
        return
    try:
        if (there := signal.set_wakeup_fd(_NONE)) not in (_NONE, pipe[1]):
            signal.set_wakeup_fd(there)
    except (ValueError, OSError):
        pass  # not the main thread
    _close(pipe)


def hear_no_more() -> None:
    """The main thread has ended, as it can in a forked child: end ours too, which would keep the process."""
    if _pipe is not None:
        with suppress(OSError):
            os.write(_pipe[1], bytes([_OVER]))


def _close(pipe: tuple[int, int]) -> None:
    for end in pipe:
        os.close(end)


def _nothing(number: int, frame: FrameType | None) -> None:
    pass


def _listen(reading: int, number: int, handler: Callable[[int, FrameType | None], object]) -> None:
    main = threading.main_thread().ident
    while main is not None and (came := os.read(reading, 256)) and _OVER not in came:
        tries = _MOST_TRIES if number in came else 0
        while tries and signal.getsignal(number) is handler:
            time.sleep(_HEARD_WITHIN_S)
            if not threading.main_thread().is_alive():
                break
            signal.pthread_kill(main, signal.SIGURG)
            tries -= 1
