"""How the program ended, which decides in which state its runs end.

At exit the interpreter does not say with which status. So what `sys.exit` and `exit` were called with is noted, and the program's
bottom frame tells whether that ended the program: it either returned, or an exception left it. An exception that is not an exit
is kept by the interpreter. A `raise SystemExit(...)` that no one notes counts as an exit with status 0.

SIGTERM, by which schedulers end a job: where the program does not handle it, deliver first, then end as it would have ended.
A handler that the program has stays. One that it sets later takes the place of ours, and where that calls ours, ours does
nothing. A forked child handles the signal as before, until it sends something. Python runs handlers in the main thread, between
two steps of Python: while that thread is inside other code, the signal waits.
"""

from __future__ import annotations

import builtins
import functools
import opcode
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from streamvis.thread_frames import frame_of

__all__ = ["FAILED", "FINISHED", "INTERRUPTED", "STATES", "Program", "catch_sigterm", "release_sigterm", "state_of"]

FINISHED, FAILED, INTERRUPTED = STATES = ("finished", "failed", "interrupted")
_CANCELLED = ("CancelledError", "Cancelled")
"""What asyncio and trio raise in a task that is to end, as after Ctrl-C."""


def state_of(error: BaseException | None) -> str:
    """The state in which a run ends that `error` left."""
    if error is None or isinstance(error, GeneratorExit):
        return FINISHED
    if isinstance(error, SystemExit):
        return _state_of_exit(error.code)
    if isinstance(error, BaseExceptionGroup):
        states = {state_of(one) for one in error.exceptions}
        return next(state for state in (FAILED, INTERRUPTED, FINISHED) if state in states)
    is_cancelled = not isinstance(error, Exception) and type(error).__name__ in _CANCELLED
    return INTERRUPTED if is_cancelled or isinstance(error, KeyboardInterrupt) else FAILED


def _state_of_exit(code: Any) -> str:
    """By the status that the parent process sees: 128 and more tell of a signal, and a text is an error's."""
    if code is None:
        return FINISHED
    if not isinstance(code, int):
        return FAILED
    if not -(2**63) <= code < 2**63:
        return FAILED
    status = code if os.name == "nt" else code & 0xFF
    if status == 0:
        return FINISHED
    return INTERRUPTED if status - 128 in signal.valid_signals() else FAILED


class Program:
    """The program of this process, from `watch` on."""

    def __init__(self) -> None:
        self._bottom: FrameType | None = None
        self._exit_state: str | None = None
        self._error_before: BaseException | None = None
        self._is_noting = False

    def watch(self) -> None:
        """Note exits from now on; also again in a forked child, whose main thread may be another."""
        frame = frame_of(threading.main_thread().ident)
        while frame is not None and frame.f_back is not None:
            frame = frame.f_back
        self._bottom = frame
        if not self._is_noting:
            self._is_noting = True
            sys.exit = self._noting(sys.exit)
            quitter = type(getattr(builtins, "exit", None))
            if quitter.__name__ == "Quitter":
                quitter.__call__ = self._noting(quitter.__call__)

    @property
    def state(self) -> str:
        """In which state its runs end, once it has ended."""
        if hasattr(sys, "ps1") or (self._bottom is not None and _has_returned(self._bottom)):
            return FINISHED
        error = getattr(sys, "last_value", None)
        if error is not None and error is not self._error_before:
            return state_of(error)
        return self._exit_state or FINISHED

    def keep_interrupt(self) -> None:
        """Let the exit status say that Ctrl-C ended the program, also where modules were imported after that.

        The interpreter remembers an interrupt that was not handled, and forgets it when other code runs through `exec`, as in
        most imports; it would exit with status 1 then.
        """
        error = getattr(sys, "last_value", None)
        if isinstance(error, KeyboardInterrupt) and error is not self._error_before and not hasattr(sys, "ps1"):
            try:
                exec("raise KeyboardInterrupt")
            except KeyboardInterrupt:
                pass

    def _noting(self, leave: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(leave)
        def noted(*args: Any, **options: Any) -> Any:
            try:
                return leave(*args, **options)
            except SystemExit as error:
                if threading.current_thread() is threading.main_thread():
                    self._exit_state = state_of(error)
                    self._error_before = getattr(sys, "last_value", None)
                raise

        return noted


def _has_returned(frame: FrameType) -> bool:
    """Whether the frame ended by returning, and not by an exception."""
    return opcode.opname[frame.f_code.co_code[frame.f_lasti]].startswith("RETURN_")


# SIGTERM


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
        if _deliver is not None:
            _deliver()
    finally:
        os.kill(os.getpid(), number)
        os._exit(128 + number)  # the first process of a container ignores signals that it does not handle
