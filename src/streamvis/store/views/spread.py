"""The middle and the spread of numbers that several runs have at the same x. Pure.

`std` is the mean and one sample standard deviation (n - 1) on each side, `sem` the mean and its standard error, `ci95` the mean
and its 95 % interval by Student's t, `quartiles` the median and the quartiles (interpolated linearly, as numpy does by default),
and `range` the mean, the lowest and the highest. A single number has no spread: all three are that number.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

__all__ = ["STATISTICS_OF_RUNS", "Spread", "StatisticOfRuns", "spread_of", "t_of_95"]

StatisticOfRuns = Literal["std", "sem", "ci95", "quartiles", "range"]
STATISTICS_OF_RUNS: tuple[StatisticOfRuns, ...] = get_args(StatisticOfRuns)


@dataclass(frozen=True, slots=True)
class Spread:
    """For each group of numbers its middle, low and high, float64 (groups,), and how many numbers there are, int64."""

    middle: np.ndarray
    low: np.ndarray
    high: np.ndarray
    runs: np.ndarray


def spread_of(values: np.ndarray, starts: np.ndarray, stat: str) -> Spread:
    """The spread of each group, where group i begins at `starts[i]` and ends before the next. No group is empty, no value NaN."""
    counts = np.diff(starts, append=len(values))
    with np.errstate(invalid="ignore", over="ignore"):
        if stat == "quartiles":
            low, middle, high = _quartiles(values, starts, counts)
        else:
            middle = np.add.reduceat(values, starts) / counts
            if stat == "range":
                low, high = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
            else:
                width = _width(values, starts, counts, middle, stat)
                low, high = middle - width, middle + width
    single = counts == 1
    first = values[starts]
    low, middle, high = (np.where(single, first, column) for column in (low, middle, high))
    return Spread(middle, low, high, counts)


def _width(values: np.ndarray, starts: np.ndarray, counts: np.ndarray, means: np.ndarray, stat: str) -> np.ndarray:
    squares = np.add.reduceat((values - np.repeat(means, counts)) ** 2, starts)
    deviations = np.sqrt(squares / np.maximum(1, counts - 1))
    if stat == "std":
        return deviations
    errors = deviations / np.sqrt(counts)
    if stat == "sem":
        return errors
    sizes, place = np.unique(counts, return_inverse=True)
    return errors * np.array([t_of_95(max(1, int(size) - 1)) for size in sizes])[place]


def _quartiles(values: np.ndarray, starts: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    group = np.repeat(np.arange(len(starts)), counts)
    ordered = values[np.lexsort((values, group))]
    found = []
    for share in (0.25, 0.5, 0.75):
        at = share * (counts - 1)
        below = np.floor(at).astype(np.int64)
        one, other = ordered[starts + below], ordered[starts + np.minimum(below + 1, counts - 1)]
        found.append(np.where(one == other, one, one + (other - one) * (at - below)))
    return found[0], found[1], found[2]


@functools.lru_cache(maxsize=4096)
def t_of_95(freedom: int) -> float:
    """The t between whose negative and itself lie 95 % of Student's distribution with so many degrees of freedom.

    The distribution for whole degrees of freedom is that of Abramowitz and Stegun, 26.7.3 and 26.7.4; t is found by halving.
    """
    low, high = 1.0, 20.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _share_within(middle, freedom) < 0.95 else (low, middle)
    return (low + high) / 2


def _share_within(t: float, freedom: int) -> float:
    angle = math.atan(t / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    is_odd = freedom % 2
    term = total = cosine if is_odd else 1.0
    for i in range(3 if is_odd else 2, freedom - 1, 2):
        term *= cosine**2 * (i - 1) / i
        total += term
    if not is_odd:
        return sine * total
    return 2 / math.pi * (angle + (sine * total if freedom > 1 else 0.0))
