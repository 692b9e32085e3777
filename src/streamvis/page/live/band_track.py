"""The rows of a source that shows the middle and the spread of columns over several runs (see `sources.band_source`).

The endpoint computes them from all rows of all runs. What is new live only tells that they have to be asked for again, at a pace
that follows from how long the last answer took: so an open page shows what a new one shows, a moment later.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from streamvis.page.feeds.reader import BandAnswer, EndpointReader, Piece
from streamvis.page.live.sources import LiveSpec, band_columns
from streamvis.page.live.track import Change

__all__ = ["BandTrack"]

_PAUSE_S, _SHARE = 0.5, 0.2
"""The shortest time from one answer to the next question, and the share of the time that asking may take."""
_LEAST_BUCKETS, _LEAST_WIDTH_PX = 100, 100


class BandTrack:
    """The rows of one source. `fetch` may run in a thread; everything else under the document lock. See `LiveTrack`.

    Where it does not rest, they are asked for again as soon as they may have changed.
    """

    def __init__(self, spec: LiveSpec, *, log: bool, rests: bool = True) -> None:
        self.spec, self._log, self._rests = spec, log, rests
        self._view: tuple[float, float] | None = None
        self._buckets = self._most_buckets = max(_LEAST_BUCKETS, spec.max_rows // (6 * len(spec.columns)))
        self._next_at = 0.0
        self.is_stale, self.is_fetching = True, False
        self.trouble = ""
        self.scale = 1.0
        self.numbers = np.empty(0, np.int64)

    @property
    def pause_s(self) -> float:
        """How long to wait before the rows are asked for."""
        return self._next_at - time.monotonic() if self._rests else 0.0

    def refused(self, reason: str) -> None:
        """The runs have not what is asked for. They are asked again when something new comes."""
        self.is_fetching, self.trouble = False, reason

    def failed(self, reason: str) -> None:
        """Something went wrong here. The rows are read again."""
        self.is_fetching, self.is_stale, self.trouble = False, True, reason

    def look(self, view: tuple[float, float] | None, *, width_px: int | None = None) -> None:
        """The figures now show this range of x; None: they follow. The widest has `width_px` pixels."""
        buckets = min(self._most_buckets, max(width_px, _LEAST_WIDTH_PX)) if width_px else self._buckets
        if view != self._view or buckets > self._buckets:
            # What a viewer does is answered at once.
            self.is_stale, self._next_at = True, 0.0
        self._view, self._buckets = view, buckets

    def fetch(self, reader: EndpointReader, run: str) -> tuple[BandAnswer | None]:
        """Ask for the rows that the figures show, of all of its runs."""
        began, spec = time.monotonic(), self.spec
        start, stop = (None, None) if self._view is None else self._around(*self._view)
        ask = {"x": spec.x, "columns": spec.columns, "stat": spec.stat, "buckets": self._buckets}
        try:
            return (reader.band(spec.runs, spec.key, start=start, stop=stop, log=self._log, smooth=spec.smooth, **ask),)
        finally:
            now = time.monotonic()
            self._next_at = now + max(_PAUSE_S, (now - began) / _SHARE)

    def _around(self, low: float, high: float) -> tuple[float, float]:
        """The view, and as much again on both sides."""
        if self._log and low > 0:
            return low * low / high, high * high / low
        return 2 * low - high, 2 * high - low

    def take(self, found: BandAnswer | None) -> Change | None:
        """The endpoint answered: the source's new data."""
        self.is_fetching, self.trouble = False, ""
        if found is None:
            return None
        columns = dict(found.columns)
        x = columns[self.spec.x] = columns.pop("x")
        is_end = np.isin(x, [end for end in found.ends if end != found.last_x])
        for name in self.spec.columns:
            middle, *_, end = band_columns(name)
            columns[end] = np.where(is_end, columns[middle], np.nan)
        return Change(True, {name: columns[name] for name in self.spec.names})

    def add(self, pieces: Sequence[Piece]) -> Change | None:
        """Pieces of a run's log came."""
        self.is_stale = True
        return None
