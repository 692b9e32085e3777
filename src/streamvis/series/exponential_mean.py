"""The debiased exponential mean by which columns are smoothed. Pure.

With a weight w, m of value i is w m(i-1) + (1 - w) v(i), begun at 0, and the smoothed value is m(n) / (1 - w^n) for the n-th
value (the correction of Kingma and Ba 2015, arXiv:1412.6980, section 3). What is not finite has no smoothed value and changes
nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

__all__ = ["DebiasedMean", "smoothed_name"]

_LEAST_SHARE = 1e-30
"""Where a value counts for less than this no double can tell."""


def smoothed_name(column: str) -> str:
    """What the smoothed values of a column are called beside it."""
    return f"{column} (smoothed)"


@dataclass(slots=True)
class DebiasedMean:
    """The mean so far: without its correction, and of how many values (as far as that still matters)."""

    weight: float
    mean: float = 0.0
    count: int = 0

    def add(self, values: np.ndarray) -> np.ndarray:
        """The smoothed value of each of these, float64 (n,), NaN where there is no finite value; they come after those before."""
        out = np.full(len(values), np.nan)
        at = np.flatnonzero(np.isfinite(values))
        if not len(at):
            return out
        means = _means(values[at].astype(np.float64), self.weight, self.mean)
        counts = self.count + np.arange(1, len(at) + 1)
        out[at] = means / -np.expm1(counts * math.log(self.weight)) if self.weight else means
        self.mean, self.count = float(means[-1]), int(counts[-1])
        return out


def _means(values: np.ndarray, weight: float, mean: float) -> np.ndarray:
    """The uncorrected means: sums over ever longer reaches, each twice as long as the one before."""
    means, reach = (1 - weight) * values, 1
    while reach < len(means) and (share := weight**reach) > _LEAST_SHARE:
        means[reach:] = means[reach:] + share * means[:-reach]
        reach *= 2
    return means + mean * weight ** np.arange(1.0, len(means) + 1)
