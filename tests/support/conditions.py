"""Waiting for a condition with a deadline: what every test does where it would be tempted to sleep."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.01, 0.25
_PAUSE_SHARE = 0.1


def wait_until(
    predicate: Callable[[], T],
    within_s: float = 20,
    what: str = "",
    *,
    every_s: float | None = None,
    pause: Callable[[float], object] | None = None,
) -> T:
    """Ask `predicate` until what it returns is true, and return that.

    An AssertionError raised by `predicate` counts as "not yet". After `within_s` seconds an AssertionError names what was
    awaited (`what`, else the predicate's name) and the last value or failed assertion. Without `every_s`, looks become rarer the
    longer it takes: looking costs time that what is awaited needs. `pause` waits the given seconds between two looks; it is
    there for the browser's tabs, which have events to hand out meanwhile.
    """
    __tracebackhide__ = True
    began = time.monotonic()
    deadline = began + within_s
    pause = pause or threading.Event().wait
    while True:
        try:
            last, failure = predicate(), None
        except AssertionError as error:
            last, failure = None, error
        if failure is None and last:
            return last
        if time.monotonic() >= deadline:
            named = what or getattr(predicate, "__name__", repr(predicate))
            seen = f"the last value was {_shortened(repr(last))}" if failure is None else f"it last failed with: {failure}"
            raise AssertionError(f"waited {within_s:g} s for: {named}; {seen}") from failure
        pause(every_s or min(max(_SHORTEST_PAUSE_S, (time.monotonic() - began) * _PAUSE_SHARE), _LONGEST_PAUSE_S))


def _shortened(text: str, limit: int = 2000) -> str:
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"
