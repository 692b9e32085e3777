"""The colours of runs and curves. Pure.

Ten colours that colour-blind readers can tell apart as well as ten can be: Petroff 2021, arXiv:2107.02270; the two darkest are
lighter here, so that thin lines of them show on dark.
"""

from __future__ import annotations

from functools import cache

__all__ = ["PALETTE", "color_of"]

PALETTE = "#3f90da #ffa90e #d63a20 #9c5bd0 #94a4a2 #a96b59 #e76300 #b9ac70 #717581 #92dadd".split()

_SHADES = ((0, 0.0), (0, 0.35), (255, 0.4))
"""The colours after the tenth are the same ones mixed with this grey, by this share: darker, then lighter."""


def color_of(number: int) -> str:
    """The colour "#rrggbb" of the run with this number in its app, from 0. The first thirty differ, then they repeat."""
    return _color(number % (len(PALETTE) * len(_SHADES)))


@cache
def _color(number: int) -> str:
    grey, share = _SHADES[number // len(PALETTE)]
    base = PALETTE[number % len(PALETTE)]
    parts = (int(base[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(part + (grey - part) * share):02x}" for part in parts)
