"""Where ranges begin that the browser moves: around what their sources hold when the page is sent, by the rules of `view.js`.

So the first picture is right already, and need not be drawn again. Later only the browser moves them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from bokeh.document import Document
from bokeh.models import ColumnDataSource, Range1d

from streamvis.page.live.moved_ranges import as_number, spread

__all__ = ["fit_once"]


def fit_once(doc: Document, drawn: Mapping[str, Mapping[str, Any]]) -> None:
    """Set the ranges that follow; `drawn` is what the browser is told of the figures (see `figures`)."""
    for about in drawn.values():
        ranges = {its: facts for its, facts in about["ranges"].items() if facts["follows"]}
        if any(facts["window"] is not None for facts in ranges.values()):
            continue
        # What y shows depends on x.
        for its, facts in sorted(ranges.items(), key=lambda found: not found[1]["is_x"]):
            numbers = [_drawable(column, log=facts["log"]) for column in _columns(doc, about, its, is_x=facts["is_x"])]
            numbers = [found for found in numbers if len(found)]
            if numbers:
                low, high = float(min(found.min() for found in numbers)), float(max(found.max() for found in numbers))
                start, end = spread(low, high, is_x=facts["is_x"], log=facts["log"], kept=facts["kept"])
                if math.isfinite(start) and math.isfinite(end):
                    doc.models[its].update(start=start, end=end)


def _columns(doc: Document, about: Mapping[str, Any], range_: str, *, is_x: bool) -> Iterator[Any]:
    for curve in about["curves"]:
        source = doc.models[curve["source"]]
        if curve["x" if is_x else "y"] != range_ or not isinstance(source, ColumnDataSource):
            continue
        inside = None if is_x else _inside(doc, source, curve, about["ranges"][curve["x"]])
        for name in curve["x_fields" if is_x else "y_fields"]:
            column = source.data.get(name)
            yield column[inside] if inside is not None and isinstance(column, np.ndarray) else column


def _inside(doc: Document, source: ColumnDataSource, curve: Mapping[str, Any], about_x: Mapping[str, Any]) -> np.ndarray | None:
    """Which rows lie in the figure's x; None where all do."""
    x, column = doc.models[curve["x"]], source.data.get(curve["x_fields"][0])
    shows_all = about_x["follows"] and not about_x["kept"]
    if shows_all or not isinstance(x, Range1d) or not isinstance(column, np.ndarray) or column.dtype.kind not in "fiu":
        return None
    low, high = sorted(as_number(its) or 0.0 for its in (x.start, x.end))
    return (column >= low) & (column <= high)


def _drawable(column: Any, *, log: bool) -> np.ndarray:
    if not (isinstance(column, np.ndarray) and column.dtype.kind in "fiu"):
        return np.empty(0)
    return column[np.isfinite(column) & (column > 0)] if log else column[np.isfinite(column)]
