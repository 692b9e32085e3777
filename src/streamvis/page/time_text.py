"""Moments as people read them, of any year: clocks of producers may be wrong."""

from __future__ import annotations

import time

__all__ = ["moment"]


def moment(seconds: float, *, with_day: bool = False) -> str:
    """Local time, from seconds since 1970 UTC; without the day where that is today, unless it is wanted."""
    try:
        then = time.localtime(seconds)
    except (OverflowError, OSError, ValueError):
        return f"{seconds:.0f} s after 1970"
    is_today = then[:3] == time.localtime()[:3]
    return time.strftime("%H:%M:%S" if is_today and not with_day else "%Y-%m-%d %H:%M:%S", then)
