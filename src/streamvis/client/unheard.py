"""A signal that the main thread does not hear.

Python handles signals in the main thread, between two steps of Python. One that comes just as that thread begins to wait inside
other code is handled when the wait is over, which may be never: where `multiprocessing.Pool` terminates its workers, those that
wait for a task wait for a lock that no one releases any more, and the pool waits for them. A process without a handler would end.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

__all__ = ["repeat", "stop"]

_HEARD_WITHIN_S = 0.1
_NONE = -1

_writing = _NONE


def repeat(number: int, handler: Callable[[int, FrameType | None], object]) -> None:
    """Send the signal to the main thread again while it has not begun to handle it, which the handler shows by not staying it.

    To be called in the main thread. Does nothing where the program reads its signals itself, or where no thread or descriptor
    can be had.
    """
    global _writing
    if _writing != _NONE:
        return
    try:
        reading, writing = os.pipe()
    except OSError:
        return
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        if before == _NONE:
            threading.Thread(target=_listen, args=(reading, number, handler), name="streamvis-signals", daemon=True).start()
            _writing = writing
            return
    except (RuntimeError, MemoryError):
        pass
    signal.set_wakeup_fd(before)
    os.close(reading)
    os.close(writing)


def stop() -> None:
    """In a forked child: its signals are not those of the parent, whose pipe it has. What the program set stays."""
    global _writing
    writing, _writing = _writing, _NONE
    if writing == _NONE:
        return
    try:
        if (there := signal.set_wakeup_fd(_NONE)) not in (_NONE, writing):
            signal.set_wakeup_fd(there)
    except ValueError:
        pass  # not the main thread


def _listen(reading: int, number: int, handler: Callable[[int, FrameType | None], object]) -> None:
    while number not in (came := os.read(reading, 256)):
        if not came:
            return
    main = threading.main_thread().ident
    while main is not None:
        time.sleep(_HEARD_WITHIN_S)
        if signal.getsignal(number) is not handler:
            return
        signal.pthread_kill(main, number)
