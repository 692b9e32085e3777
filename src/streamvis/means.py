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

_BLOCK = 128


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
    """The uncorrected means. In blocks: within each by a product of matrices, from one to the next by what the last came to."""
    if not weight:
        return values
    blocks = -(-len(values) // _BLOCK)
    padded = np.zeros(blocks * _BLOCK)
    padded[: len(values)] = values
    power = np.arange(_BLOCK)
    lag = power[None, :] - power[:, None]
    within = np.where(lag >= 0, (1 - weight) * weight ** np.maximum(lag, 0), 0.0)
    means = padded.reshape(blocks, _BLOCK) @ within
    fade = weight ** (power + 1)
    for block in means:
        block += mean * fade
        mean = block[-1]
    return means.ravel()[: len(values)]
