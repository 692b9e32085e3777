"""The end of a producer: deliver what waits, within a time limit, say what became of it, and in which state its runs ended.

An end is a call of `close`, the exit of the program (by itself, by an exception, by Ctrl-C), SIGTERM, the end of a worker of
`multiprocessing` or of a child that was forked in a thread (`last_thread`), or a client that no one holds any more. Around a
fork the child's roads become producers of their own.

At exit the interpreter does not say with which status. So what `sys.exit` and `exit` were called with is noted, and the program's
bottom frame tells whether that ended the program: it either returned, or an exception left it. An exception that is not an exit
is kept by the interpreter. A `raise SystemExit(...)` that no one notes counts as an exit with status 0.

SIGTERM, by which schedulers end a job: where the program does not handle it, deliver first, then end as it would have ended.
A handler that the program has stays. One that it sets later takes the place of ours, and where that calls ours, ours does
nothing. A forked child handles the signal as before, until it sends something. Python runs handlers in the main thread, between
two steps of Python: while that thread is inside other code, the signal waits. In workers of `multiprocessing`, which are ended
in this way while they wait for each other, that wait is interrupted (`unheard`). Around a fork the signal is held back: one for
the child would find the parent's handler there, and be lost.
"""

from __future__ import annotations

import atexit
import builtins
import functools
import opcode
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any

from streamvis.client.notices import say
from streamvis.client.outbox import Marker
from streamvis.client.process import imports, last_thread, last_words, unheard
from streamvis.client.road import Road
from streamvis.counting import counted
from streamvis.thread_frames import frame_of

__all__ = ["FAILED", "FINISHED", "INTERRUPTED", "STATES", "close", "close_with_process", "state_of", "watch"]

FINISHED, FAILED, INTERRUPTED = STATES = ("finished", "failed", "interrupted")
_CANCELLED = ("CancelledError", "Cancelled")
"""What asyncio and trio raise in a task that is to end, as after Ctrl-C."""
_PATIENCE_S = 10.0
"""So long nothing need be acknowledged before the end gives up."""
_LONGEST_S = 60.0
_TELL_AFTER_S = 1.0
_TELL_EVERY_S = 5.0
_LOOK_AGAIN_S = 0.1
_TERMINATED_S = 8.0
"""After SIGTERM there is this long to deliver: some schedulers kill after ten seconds. What is left then is in the spool."""


class _Watched:
    """The roads to close. Each change is one step of the interpreter, as a signal handler may interrupt any other."""

    def __init__(self) -> None:
        self._refs: dict[int, weakref.ref[Road]] = {}
        self.is_past_exit = False

    def __iter__(self) -> Iterator[Road]:
        return iter([road for ref in list(self._refs.values()) if (road := ref()) is not None])

    def add(self, road: Road) -> None:
        refs, key = self._refs, id(road)
        refs[key] = weakref.ref(road, lambda _: refs.pop(key, None))

    def discard(self, road: Road) -> None:
        self._refs.pop(id(road), None)


_roads = _Watched()


def watch(road: Road) -> bool:
    """Have `road` closed at the end of this process, and made again in children after a fork; False when that end is over."""
    _roads.add(road)
    return not _roads.is_past_exit


def close(roads: Sequence[Road], state: str, *, timeout_s: float | None = None) -> bool:
    """Finish the roads' runs in `state`, deliver, and end their threads; True when all was delivered.

    With `timeout_s` it takes so many seconds at most. Without, it continues for up to 60 s as long as batches are acknowledged,
    and gives up after 10 s in which none was. KeyboardInterrupt gives up at once, and is raised again.
    """
    waiting: list[tuple[Road, Marker]] = []
    for road in roads:
        if not road.is_untouched and not road.producer.ended:
            marker = _finish(road, state)
            # Else the road delivers, and ends, when the call that it is in returns.
            if road.producer.can_wait and not imports.are_under_way():
                waiting.append((road, marker))
        road.producer.stop()
    try:
        _wait(waiting, timeout_s)
    finally:
        for road, marker in waiting:
            if not (reached := road.has_reached(marker)):
                road.producer.give_up()
            road.producer.join(1.0 if reached else 0.2)
            last_words.report(road)
        for road in roads:
            _roads.discard(road)  # not before: a signal that ends the process meanwhile waits for it too
    return all(road.has_reached(marker) for road, marker in waiting) and all(road.has_delivered for road in roads)


def _finish(road: Road, state: str) -> Marker:
    try:
        road.end(state)
    except Exception:  # noqa: BLE001 - what was sent is still delivered, and no other run is held up
        say("an unexpected error while a run was finished.", exc_info=True)
    return road.mark()


def _wait(waiting: Sequence[tuple[Road, Marker]], timeout_s: float | None) -> None:
    began = progressed = time.monotonic()
    tell_at = began + _TELL_AFTER_S
    last_settled = 0
    while left := [(road, marker) for road, marker in waiting if road.can_deliver and not marker.reached.is_set()]:
        now = time.monotonic()
        if (settled := sum(road.producer.log.settled for road, _ in waiting)) != last_settled:
            last_settled, progressed = settled, now
        give_up_at = began + timeout_s if timeout_s is not None else min(progressed + _PATIENCE_S, began + _LONGEST_S)
        if now >= give_up_at:
            return
        if now >= tell_at:
            tell_at = now + _TELL_EVERY_S
            for road in (road for road, _ in left if road.url is not None):
                last_words.tell(f"delivering {counted(road.unsettled_records, 'record')} to {road.url} ... (Ctrl-C gives up)")
        left[0][1].reached.wait(min(_LOOK_AGAIN_S, give_up_at - now))


# How the program ended


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


class _Program:
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


_program = _Program()


def _close_at_exit() -> None:
    _roads.is_past_exit = True
    _close_quietly(list(_roads), _program.state)
    _program.keep_interrupt()


def _close_at_sigterm() -> None:
    # Pools end their workers so, and a process the daemons that it started: how the run ended is theirs to say.
    process = sys.modules.get("multiprocessing.process")
    is_daemon = process is not None and process.parent_process() is not None and process.current_process().daemon
    _close_quietly(list(_roads), FINISHED if is_daemon else INTERRUPTED, timeout_s=_TERMINATED_S)


def _close_in_worker(ref: weakref.ref[Road]) -> None:
    road = ref()
    if road is not None:
        _close_quietly([road], state_of(sys.exc_info()[1]))


def _close_after_threads() -> None:
    _close_quietly(list(_roads), _program.state)
    unheard.hear_no_more()


def _close_quietly(roads: Sequence[Road], state: str, *, timeout_s: float | None = None) -> None:
    try:
        close(roads, state, timeout_s=timeout_s)
    except KeyboardInterrupt:
        pass  # the second Ctrl-C: the process is ending already
    except Exception:  # noqa: BLE001 - no error of ours changes how the process ends
        say("an unexpected error while the client was closed.", exc_info=True)


def close_with_process(road: Road) -> None:
    """The road has started: have it closed however the process ends."""
    _program.watch()
    _catch_sigterm()
    # Workers of `multiprocessing` end without `atexit`.
    process, util = sys.modules.get("multiprocessing.process"), sys.modules.get("multiprocessing.util")
    if process is not None and util is not None and process.parent_process() is not None:
        util.Finalize(None, _close_in_worker, args=(weakref.ref(road),), exitpriority=100)
    last_thread.after_the_programs(_close_after_threads)


def _catch_sigterm() -> None:
    """Deliver before SIGTERM ends the process, where that is not handled yet and this is the main thread."""
    if os.name == "nt":
        return  # a process is ended there without a signal
    try:
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, _end)
        process = sys.modules.get("multiprocessing.process")
        is_worker = process is not None and process.parent_process() is not None
        if is_worker and signal.getsignal(signal.SIGTERM) is _end:
            unheard.interrupt_waits(signal.SIGTERM, _end)
    except ValueError:
        pass  # not the main thread


def _release_sigterm() -> None:
    """Handle the signal as if we had not caught it."""
    try:
        if signal.getsignal(signal.SIGTERM) is _end:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
    except ValueError:
        pass


def _end(number: int, frame: FrameType | None) -> None:
    if signal.getsignal(number) is not _end:
        return  # the program has a handler, which calls the one that it found
    signal.signal(number, signal.SIG_DFL)  # a second signal ends the process at once
    imports.when_over(functools.partial(_end_now, number))


def _end_now(number: int) -> None:
    try:
        _close_at_sigterm()
    finally:
        os.kill(os.getpid(), number)
        os._exit(128 + number)  # the first process of a container ignores signals that it does not handle


_masks: dict[int, set[int]] = {}
"""The signals that threads which fork had held back before."""


def _hold_back_sigterm() -> None:
    if signal.getsignal(signal.SIGTERM) is _end:
        _masks[threading.get_ident()] = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _let_sigterm_come() -> None:
    mask = _masks.pop(threading.get_ident(), None)
    if mask is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _before_fork() -> None:
    _hold_back_sigterm()
    for road in list(_roads):
        road.producer.before_fork()


def _after_fork_in_parent() -> None:
    for road in list(_roads):
        road.producer.after_fork()
    _let_sigterm_come()


def _after_fork_in_child() -> None:
    imports.forget()
    unheard.stop()
    _release_sigterm()
    for road in list(_roads):
        road.after_fork_in_child()
    _let_sigterm_come()
    _masks.clear()


atexit.register(_close_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
