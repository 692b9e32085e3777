"""A pause between things that are done again and again, which grows while more is spent on them than may be. Pure.

What is spent is counted, not guessed from how busy a machine seems to be: batches that came, or seconds of a thread's processor.
"""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Pace"]

_LOOK_EVERY_S = 0.5
_EASED = 0.8
"""The pause is eased by this much at a time, where less than this part of the limit was spent."""


class Pace:
    """Keeps what `spent` counts below `most_per_s` a second, where all who do something pause for as long as `pause_s` says.

    The pause is none at first, then between `first_s` and `longest_s` seconds.
    """

    def __init__(
        self,
        spent: Callable[[], float],
        most_per_s: float,
        *,
        first_s: float = 0.02,
        longest_s: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spent, self._most, self._clock = spent, most_per_s, clock
        self._first_s, self._longest_s = first_s, longest_s
        self._pause_s = 0.0
        self._looked_at, self._spent_then = clock(), spent()

    def pause_s(self) -> float:
        """For how long to pause now, in seconds. To be asked each time when something was done."""
        took_s = self._clock() - self._looked_at
        if took_s >= _LOOK_EVERY_S:
            spent = self._spent()
            share = (spent - self._spent_then) / took_s / self._most
            self._looked_at, self._spent_then = self._looked_at + took_s, spent
            if share > 1:
                self._pause_s = min(self._longest_s, max(self._first_s, self._pause_s * min(2.0, share)))
            elif share < _EASED:
                eased_s = self._pause_s * _EASED ** (took_s / _LOOK_EVERY_S)
                self._pause_s = eased_s if eased_s > self._first_s else 0.0
        return self._pause_s
