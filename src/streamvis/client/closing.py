"""The end of a producer: deliver what waits, within a time limit, and say what became of it.

An end is a call of `close`, the exit of the program (by itself, by an exception, by Ctrl-C), SIGTERM, the end of a worker of
`multiprocessing`, or a client that no one holds any more. Around a fork the child's roads become producers of their own.
"""

from __future__ import annotations

import atexit
import os
import shlex
import sys
import time
import weakref
from collections.abc import Iterator, Sequence

from streamvis.client.ending import FINISHED, INTERRUPTED, Program, catch_sigterm, release_sigterm, state_of
from streamvis.client.outbox import Marker
from streamvis.client.road import Road

__all__ = ["close", "close_with_process", "watch"]

_PATIENCE_S = 10.0
"""So long nothing need be acknowledged before the end gives up."""
_LONGEST_S = 60.0
_TELL_AFTER_S = 1.0
_TELL_EVERY_S = 5.0
_LOOK_AGAIN_S = 0.1
_TERMINATED_S = 8.0
"""After SIGTERM there is this long to deliver: some schedulers kill after ten seconds. What is left then is in the spool."""

_program = Program()


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
            road.end(state)
            marker = road.mark()
            if road.producer.can_wait:  # else the road delivers, and ends, when the call that it is in returns
                waiting.append((road, marker))
        road.producer.stop()
    try:
        _wait(waiting, timeout_s)
    finally:
        for road, marker in waiting:
            if not marker.reached.is_set():
                road.producer.give_up()
            road.producer.join(1.0 if marker.reached.is_set() else 0.2)
            _report(road)
        for road in roads:
            _roads.discard(road)  # not before: a signal that ends the process meanwhile waits for it too
    return all(marker.reached.is_set() for _, marker in waiting) and all(road.has_delivered for road in roads)


def _wait(waiting: Sequence[tuple[Road, Marker]], timeout_s: float | None) -> None:
    began = progressed = time.monotonic()
    tell_at = began + _TELL_AFTER_S
    last_settled = 0
    while left := [(road, marker) for road, marker in waiting if road.can_deliver and not marker.reached.is_set()]:
        now = time.monotonic()
        if (settled := sum(road.producer.settled for road, _ in waiting)) != last_settled:
            last_settled, progressed = settled, now
        give_up_at = began + timeout_s if timeout_s is not None else min(progressed + _PATIENCE_S, began + _LONGEST_S)
        if now >= give_up_at:
            return
        if now >= tell_at:
            tell_at = now + _TELL_EVERY_S
            for road in (road for road, _ in left if road.url is not None):
                _print(f"delivering {road.unsettled_records:,} records to {road.url} ... (Ctrl-C gives up)")
        left[0][1].reached.wait(min(_LOOK_AGAIN_S, give_up_at - now))


def _report(road: Road) -> None:
    left, kept, kept_in = road.unsettled_records, road.producer.kept_records, road.producer.kept_in
    command = f"streamvis sync {shlex.quote(str(kept_in.parent))}" if kept_in else ""
    if road.url is None and kept_in:
        _print(f"{kept:,} records are kept in {kept_in}. Deliver them: {command} --url http://HOST:PORT")
    elif left:
        kept_there = f"They are kept in {kept_in}. The next producer delivers them, or: {command}" if kept_in else ""
        _print(f"{left:,} records did not reach {road.url or 'the disk'} in time. {kept_there}".strip())
    if left > kept:
        _print(f"{left - kept:,} of them were in memory alone, and are lost.")
    if road.lost_records:
        _print(f"{road.lost_records:,} records were dropped.")
    if road.producer.set_aside_records:
        kept_in = road.producer.set_aside_in
        where = f" They are in {kept_in.parent}." if kept_in else ""
        _print(f"{road.producer.set_aside_records:,} records were refused by {road.url}.{where}")


def _print(text: str) -> None:
    try:
        print(f"Streamvis: {text}", file=sys.stderr, flush=True)
    except (OSError, ValueError, AttributeError, RuntimeError):
        pass  # standard error is closed, or there is none, or a signal handler interrupted somebody who writes there


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


def _close_quietly(roads: Sequence[Road], state: str, *, timeout_s: float | None = None) -> None:
    try:
        close(roads, state, timeout_s=timeout_s)
    except KeyboardInterrupt:
        pass  # the second Ctrl-C: the process is ending already


def close_with_process(road: Road) -> None:
    """The road has started: have it closed however the process ends."""
    _program.watch()
    catch_sigterm(_close_at_sigterm)
    # Workers of `multiprocessing` end without `atexit`.
    process, util = sys.modules.get("multiprocessing.process"), sys.modules.get("multiprocessing.util")
    if process is not None and util is not None and process.parent_process() is not None:
        util.Finalize(None, _close_in_worker, args=(weakref.ref(road),), exitpriority=100)


def _before_fork() -> None:
    for road in list(_roads):
        road.producer.before_fork()


def _after_fork_in_parent() -> None:
    for road in list(_roads):
        road.producer.after_fork()


def _after_fork_in_child() -> None:
    release_sigterm()
    for road in list(_roads):
        road.after_fork_in_child()


atexit.register(_close_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
