"""The threads of a producer: started by any call, and known to calls that must not wait for them.

The call may come from a signal handler that interrupted the program while it started a thread itself, and so while it holds the
locks of `threading`. A call asks the interpreter for a bare thread, which is one step; that one starts the thread proper.
"""

from __future__ import annotations

import _thread
import importlib
import threading
import time
from collections.abc import Callable

from streamvis.client.bells import Latch

__all__ = ["Threads", "is_subinterpreter"]


class Threads:
    """Runs `target` in a thread named `name`; `on_failure` is called, in any thread, when it could not be started.

    All are daemons: nothing of ours keeps a process from ending. `ended` is set when `target` has returned. `problem` is why the
    last try to start failed.
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
        except BaseException as error:
            self._is_starting = False
            if not isinstance(error, (RuntimeError, MemoryError)):
                raise
            self._fail(error)

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
        if self.add(self._name, self._run_target):
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

    def _run_target(self) -> None:
        try:
            self._target()
        finally:
            self.ended.set()


def is_subinterpreter() -> bool:
    """Whether this is an interpreter beside the main one, in the same process. Arrow hangs in those, if it loads there."""
    for name in ("_interpreters", "_xxsubinterpreters"):
        try:
            interpreters = importlib.import_module(name)
        except ImportError:
            continue
        return interpreters.get_current() != interpreters.get_main()
    return False
