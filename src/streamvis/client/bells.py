"""How one thread tells another: a bell wakes it, a latch is waited for.

A signal handler, or a `__del__` that the garbage collector runs, may come between any two steps of a call of ours, and make
another call on the same thread. `threading.Event` holds a lock over several steps, so that the second call would wait for the
first, and the first for the second. Here every change is one step of the interpreter, and nothing is held in between.
"""

from __future__ import annotations

from _thread import allocate_lock

__all__ = ["Bell", "Latch"]


class Bell:
    """Wakes the one thread that waits for it. A ring that came too early is kept, once."""

    __slots__ = ("_silence",)

    def __init__(self) -> None:
        self._silence = _locked()

    def ring(self) -> None:
        """Wake whoever waits, or comes to wait next."""
        _release(self._silence)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for a ring, so long at most, and use it up; False when there was none."""
        return self._silence.acquire(timeout=_timeout(timeout_s))

    def clear(self) -> None:
        """Forget a ring that came too early."""
        self._silence.acquire(blocking=False)


class Latch:
    """Closed at first, then set once and for all; any number of threads wait for that."""

    __slots__ = ("_closed", "_is_set")

    def __init__(self) -> None:
        self._closed = _locked()
        self._is_set = False

    def is_set(self) -> bool:
        """Whether it was set."""
        return self._is_set

    def set(self) -> None:
        """Let all continue."""
        self._is_set = True
        _release(self._closed)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it is set, so long at most; whether it is."""
        if not self._is_set and self._closed.acquire(timeout=_timeout(timeout_s)):
            _release(self._closed)  # for the next who waits
        return self._is_set


def _locked():
    lock = allocate_lock()
    lock.acquire()
    return lock


def _release(lock) -> None:
    try:
        lock.release()
    except RuntimeError:
        pass  # somebody did so before


def _timeout(timeout_s: float | None) -> float:
    return -1 if timeout_s is None else max(0.0, timeout_s)
