"""Ranges that the browser moves: what they keep of the automatic ones whose place they take, and where they lie.

Only what the author set is kept: Bokeh's own defaults suit pages whose data stay. Where a range lies around what it shows follows
the same rules here, for a page's first picture, and in `view.js`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from typing import Any

import numpy as np
from bokeh.models import DataRange1d, Range, Range1d
from bokeh.util.serialization import convert_datetime_type, convert_timedelta_type, is_timedelta_type

from streamvis.page.documents.models import own_names

__all__ = ["as_number", "kept_by", "moved_range", "range_instead_of", "spread"]

_MOVED_TAG = "streamvis moves this range"
_KEPT = ("start", "end", "flipped", "range_padding", "default_span", "min_interval", "max_interval")
_LIMITS = ("bounds", "min_interval", "max_interval")
_X_PADDING, _Y_PADDING = 0.0, 0.1
"""By how much a range is longer than what it shows."""
_FLAT = 1e-12
"""Numbers that differ by less, as a share of them, differ by rounding: those of a constant that was smoothed."""


def moved_range(*, log: bool = False, kept: Mapping[str, Any] | None = None, **settings: Any) -> Range1d:
    """A range that the browser moves, so that it fits what live sources hold, by the settings `kept` of an automatic one."""
    start, end = spread(*((1, 10) if log else (0, 1)), is_x=True, log=log, kept=kept or {})
    return Range1d(start=start, end=end, tags=[_MOVED_TAG, dict(kept or {})], **settings)


def range_instead_of(automatic: DataRange1d, *, log: bool, fitted: Set[str] = frozenset()) -> Range1d:
    """What takes the place of an automatic range, whose properties `fitted` were set by the browser and not by the author."""
    names = own_names(automatic) - fitted
    limits = {name: getattr(automatic, name) for name in _LIMITS if name in names and getattr(automatic, name) != "auto"}
    is_absolute = automatic.range_padding_units == "absolute"
    if is_absolute:
        # A length that is added has no place on a logarithmic axis.
        names = names - {"range_padding"} if log else names | {"range_padding"}
    kept = {name: found for name in _KEPT if name in names and (found := as_number(getattr(automatic, name))) is not None}
    if is_absolute and "range_padding" in kept:
        kept["is_absolute"] = True
    if {"start", "end"} <= kept.keys():
        return Range1d(start=kept["start"], end=kept["end"], **limits)
    return moved_range(log=log, kept=kept, **limits)


def kept_by(range_: Range) -> dict[str, Any] | None:
    """What the author set of the range that this one replaces; None for one that the browser does not move."""
    return range_.tags[1] if range_.tags[:1] == [_MOVED_TAG] else None


def as_number(value: Any) -> float | None:
    """A property of a range in the browser's units, where times are milliseconds; None for none."""
    if value is None:
        return None
    if not isinstance(value, int | float | np.number):
        value = convert_timedelta_type(value) if is_timedelta_type(value) else convert_datetime_type(value)
    return float(value) if math.isfinite(value) else None


def spread(low: float, high: float, *, is_x: bool, log: bool, kept: Mapping[str, Any]) -> tuple[float, float]:
    """Where a range starts and ends that shows what lies between `low` and `high`."""
    floor, ceiling = (kept.get(name) for name in (("end", "start") if kept.get("flipped") else ("start", "end")))
    floor, ceiling = (None if its is None or (log and its <= 0) else its for its in (floor, ceiling))
    low, high = low if floor is None else floor, high if ceiling is None else ceiling
    if low > high:  # no data lie on the side that the author wants to see
        low, high = (low, low) if floor is not None else (high, high)
    bottom, top = (math.log10(low), math.log10(high)) if log else (low, high)
    if top - bottom <= (0 if is_x else _FLAT * max(abs(bottom), abs(top))):
        usual = (math.log10(2) if is_x else 0.3) if log else 0.5 if is_x else abs(high) * _Y_PADDING / 2 or 0.5
        below = above = kept["default_span"] / 2 if kept.get("default_span") else usual
    else:
        padding = kept.get("range_padding", _X_PADDING if is_x else _Y_PADDING)
        below = above = padding if kept.get("is_absolute") else (top - bottom) * padding / 2
    below, above = 0.0 if floor is not None else below, 0.0 if ceiling is not None else above
    length = top - bottom + below + above
    more = min(max(length, kept.get("min_interval", 0.0)), kept.get("max_interval", math.inf)) - length
    if floor is not None:
        above += more
    elif ceiling is not None or (is_x and more < 0):  # the newest data stay
        below += more
    else:
        below, above = below + more / 2, above + more / 2
    # What gets no padding stays exactly where it is.
    start = low if below == 0 else 10 ** (bottom - below) if log else low - below
    end = high if above == 0 else 10 ** (top + above) if log else high + above
    return (end, start) if kept.get("flipped") else (start, end)
