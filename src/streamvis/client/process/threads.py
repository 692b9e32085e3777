"""The threads of a producer, and how one thread tells another: a bell wakes it, a latch is waited for.

A signal handler, or a `__del__` that the garbage collector runs, may come between any two steps of a call of ours, and make
another call on the same thread. `threading.Event` holds a lock over several steps, so that the second call would wait for the
first, and the first for the second. Here every change is one step of the interpreter, and nothing is held in between. For the
same reason a call asks the interpreter for a bare thread, which is one step; that one starts the thread proper.
"""

from __future__ import annotations

import _thread
import threading
import time
from collections.abc import Callable

__all__ = ["Bell", "Latch", "Threads"]


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
    lock = _thread.allocate_lock()
    lock.acquire()
    return lock


def _release(lock) -> None:
    try:
        lock.release()
    except RuntimeError:
        pass  # somebody did so before


def _timeout(timeout_s: float | None) -> float:
    return -1 if timeout_s is None else max(0.0, timeout_s)


class Threads:
    """Runs `target` in a thread named `name`; `on_failure` is called, in any thread, when it could not be started.

    All are daemons: nothing of ours keeps a process from ending. `ended` is for their user to set. `problem` is why the last try
    to start failed.
    """

    def __init__(self, name: str, target: Callable[[], None], *, on_failure: Callable[[Exception], None]) -> None:
        self._name, self._target, self._on_failure = name, target, on_failure
        self._is_starting = False
        self._turn = [None]
        self._threads: list[threading.Thread] = []
        self._own: set[int] = set()
        self.was_asked = False
        self.problem: Exception | None = None
        self.ended = Latch()

    @property
    def are_own(self) -> bool:
        """Whether this is asked in one of them."""
        return _thread.get_ident() in self._own

    @property
    def are_running(self) -> bool:
        """Whether the first was started, or will be in a moment."""
        return self._is_starting

    def start(self) -> None:
        """Start the first, unless that was done. Where it failed before, try again."""
        if self._is_starting:
            return
        self.was_asked = self._is_starting = True
        self.problem = None
        try:
            _thread.start_new_thread(self._start_first, ())
        except (RuntimeError, MemoryError) as error:
            self._is_starting = False
            self._fail(error)
        except BaseException:  # a signal's handler raised here, as at Ctrl-C: the next call starts it
            self._is_starting = False
            raise

    def add(self, name: str, target: Callable[[], None]) -> bool:
        """Start another; to be called in one of them. False where there is none to be had."""
        thread = threading.Thread(target=self._run, args=(target,), name=name, daemon=True)
        try:
            thread.start()
        except (RuntimeError, MemoryError):
            return False
        self._threads.append(thread)
        return True

    def join(self, timeout_s: float) -> None:
        """Wait for them to end, so long at most."""
        deadline = time.monotonic() + timeout_s
        if self.are_own or not self.ended.wait(timeout_s):
            return
        for thread in list(self._threads):
            thread.join(max(0.0, deadline - time.monotonic()))

    def _start_first(self) -> None:
        try:
            self._turn.pop()
        except IndexError:
            return  # two calls came at once, and the other was first
        if self.add(self._name, self._target):
            return
        self._turn.append(None)
        self._is_starting = False
        self._fail(RuntimeError("can't start new thread"))

    def _fail(self, error: Exception) -> None:
        self.problem = error
        self._on_failure(error)

    def _run(self, target: Callable[[], None]) -> None:
        self._own.add(_thread.get_ident())
        try:
            target()
        finally:
            self._own.discard(_thread.get_ident())
