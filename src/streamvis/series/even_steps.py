"""Which of many steps stand for all, evenly spread, so that those of a live page are those of a page that is opened later. Pure.

The steps are parted into stretches of one length, a power of two, beginning at 0. Of each stretch its last step stays; and the
first of all. As steps come, two stretches become one: what was left out before is never wanted again.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["kept_steps", "stretch_ends", "stretch_of"]


def stretch_of(first: int, last: int, most: int) -> int:
    """How long stretches are, so that of the steps from `first` to `last` at most `most` stay, 2 or more."""
    length = 1
    while last // length - first // length + 1 + (length > 1) > most:
        length *= 2
    return length


def stretch_ends(first: int, last: int, most: int) -> list[int]:
    """At most `most` rising places. The last step up to each stays, where `first` and `last` are the outermost that there are."""
    if most == 1:
        return [last]
    length = stretch_of(first, last, most)
    ends = [min(last, (nth + 1) * length - 1) for nth in range(first // length, last // length + 1)]
    return ends if ends[0] == first else [first, *ends]


def kept_steps(steps: Iterable[int], most: int) -> list[int]:
    """Those of these steps that stay, rising."""
    rising = sorted(steps)
    length = stretch_of(rising[0], rising[-1], most)
    return sorted({rising[0], *{step // length: step for step in rising}.values()})
