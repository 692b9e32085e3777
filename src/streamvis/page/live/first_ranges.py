"""Where ranges begin that the browser moves: around what their sources hold when the page is sent, by the rules of `view.js`.

So the first picture is right already, and need not be drawn again. Later only the browser moves them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from bokeh.document import Document
from bokeh.models import ColumnDataSource

__all__ = ["fit_once"]

_PADDING = 0.05


def fit_once(doc: Document, drawn: Mapping[str, Mapping[str, Any]]) -> None:
    """Set the ranges that follow; `drawn` is what the browser is told of the figures (see `figures`)."""
    for about in drawn.values():
        ranges = {its: facts for its, facts in about["ranges"].items() if facts["follows"]}
        if any(facts["window"] is not None for facts in ranges.values()):
            continue
        for its, facts in ranges.items():
            side = "x" if facts["is_x"] else "y"
            numbers = [_drawable(column, log=facts["log"]) for column in _columns(doc, about["curves"], its, side)]
            numbers = [found for found in numbers if len(found)]
            if numbers:
                low, high = float(min(found.min() for found in numbers)), float(max(found.max() for found in numbers))
                start, end = (_x if facts["is_x"] else _y)(low, high, log=facts["log"])
                if math.isfinite(start) and math.isfinite(end):
                    doc.models[its].update(start=start, end=end)


def _columns(doc: Document, curves: list[Mapping[str, Any]], range_: str, side: str) -> Iterator[Any]:
    for curve in curves:
        if curve[side] == range_:
            for name in curve[f"{side}_fields"]:
                source = doc.models[curve["source"]]
                if isinstance(source, ColumnDataSource):
                    yield source.data.get(name)


def _drawable(column: Any, *, log: bool) -> np.ndarray:
    if not (isinstance(column, np.ndarray) and column.dtype.kind in "fiu"):
        return np.empty(0)
    return column[np.isfinite(column) & (column > 0)] if log else column[np.isfinite(column)]


def _x(low: float, high: float, *, log: bool) -> tuple[float, float]:
    if low < high:
        return low, high
    return (low / 2, high * 2) if log else (low - 0.5, high + 0.5)


def _y(low: float, high: float, *, log: bool) -> tuple[float, float]:
    if log:
        padding = 0.3 if low == high else math.log10(high / low) * _PADDING
        return low / 10**padding, high * 10**padding
    padding = (high - low) * _PADDING or abs(high) * _PADDING or 0.5
    return low - padding, high + padding
