"""Imports of ours that a signal's handler must not find half done.

Python runs handlers in the main thread, between two steps, so also in the middle of an import. A handler that needs the same
module gets half of it. One that waits for another thread, which needs the module, waits until its time is up: the import
continues when the handler has returned. So what a handler has to do is put off until such an import is over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["are_under_way", "forget", "undisturbed", "when_over"]

# By thread. Each change is one step of the interpreter, as a signal's handler may interrupt any other.
_under_way: list[int] = []
_put_off: dict[int, Callable[[], object]] = {}


@contextmanager
def undisturbed() -> Iterator[None]:
    """Around imports: what `when_over` is told in this thread meanwhile is done behind them."""
    thread = threading.get_ident()
    _under_way.append(thread)
    try:
        yield
    finally:
        _under_way.remove(thread)
        if thread not in _under_way and (work := _put_off.pop(thread, None)) is not None:
            work()


def are_under_way() -> bool:
    """Whether this thread is in such imports, so that a signal's handler asks."""
    return threading.get_ident() in _under_way


def when_over(work: Callable[[], object]) -> None:
    """Do the work now, or as soon as this thread has done the imports that it is in."""
    if are_under_way():
        _put_off[threading.get_ident()] = work
    else:
        work()


def forget() -> None:
    """In a forked child: what was put off is the parent's to do. Imports of the thread that forked continue, others do not."""
    _put_off.clear()
    _under_way[:] = [thread for thread in _under_way if thread == threading.get_ident()]
