"""`matrix`: a heat map with a number on every cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, CustomJSTransform, FixedTicker, HoverTool, Range1d
from bokeh.plotting import figure
from bokeh.transform import transform

from streamvis.errors import UsageError
from streamvis.page.fillers import attach
from streamvis.palette import PALETTE
from streamvis.panels.boxes import plain_number, plot_frame, short, title_of
from streamvis.panels.side_by_side import for_each_run
from streamvis.panels.value_filler import ValueFiller

__all__ = ["matrix"]

_BLUE, _ORANGE = PALETTE[0], PALETTE[6]
_MOST_TEXTS = 1_000
_MOST_CELLS = 250_000
# Only the browser knows whether a pale cell is nearly white or nearly black, and hears when that changes.
_INK = """
  const {documentElement: root} = document
  if (source.streamvis_redraws == null) {
    const scheme = matchMedia("(prefers-color-scheme: dark)")
    // A source that has left its document, as when its panel is removed, is released.
    const redraw = () => {
      if (source.document != null) return source.change.emit()
      source.streamvis_redraws.disconnect()
      scheme.removeEventListener("change", redraw)
      source.streamvis_redraws = null
    }
    source.streamvis_redraws = new MutationObserver(redraw)
    source.streamvis_redraws.observe(root, {attributeFilter: ["data-theme"]})
    scheme.addEventListener("change", redraw)
  }
  const is_dark = getComputedStyle(root).colorScheme == "dark"
  return Array.from(xs, (alpha) => is_dark || alpha > 0.7 ? "#ffffff" : "#1f2933")
"""


@for_each_run
def matrix(
    key: str,
    column: str | None = None,
    *,
    title: str | None = None,
    labels: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    confusion: bool = False,
    text: bool | None = None,
    **options: Any,
) -> figure:
    """Make a heat map of a value's matrix (h, w): the larger a number, the stronger its colour; below zero it is orange.

    Args:
        key: the key whose value to show
        column: which of its columns holds the matrix; by default the first that does
        title: by default the key
        labels: names of the rows, and of the columns as well where `columns` is not given
        columns: names of the columns
        confusion: the rows are true classes, the columns predicted ones: each row is coloured by its share, right ones blue and
            wrong ones orange
        text: whether to write the number on every cell; by default where there are at most 1,000
        options: of Bokeh's `figure`
    """
    axes: dict[str, Any] = {"x_axis_label": "predicted", "y_axis_label": "true"} if confusion else {}
    axes |= {"x_range": Range1d(start=0, end=1), "y_range": Range1d(start=1, end=0), "tools": "save", "min_border_bottom": 40}
    plot = plot_frame(title_of(title, key), options, **axes)
    source = ColumnDataSource({name: [] for name in ("x", "y", "color", "alpha", "text", "row", "column", "value")})
    plot.rect("x", "y", 0.96, 0.96, source=source, fill_color="color", fill_alpha="alpha", line_color=None)
    style: dict[str, Any] = {"text_align": "center", "text_baseline": "middle", "text_font_size": "11px"}
    ink = transform("alpha", CustomJSTransform(args={"source": source}, v_func=_INK))
    plot.text("x", "y", "text", source=source, text_color=ink, **style)
    words = "predicted @column, true @row: @value" if confusion else "@row, @column: @value"
    plot.add_tools(HoverTool(tooltips=words))
    plot.grid.visible = False
    names = (labels, labels if columns is None else columns)
    attach(plot, _Matrix(key, column, plot, source, names, confusion, text))
    return plot


class _Matrix(ValueFiller):
    def __init__(
        self,
        key: str,
        column: str | None,
        plot: figure,
        source: ColumnDataSource,
        names: tuple[Sequence[str] | None, Sequence[str] | None],
        confusion: bool,
        text: bool | None,
    ) -> None:
        super().__init__(key)
        self._column, self._plot, self._source = column, plot, source
        self._names, self._confusion, self._text = names, confusion, text
        self._shape = (0, 0)

    def show(self, data: Mapping[str, Any], step: int) -> None:
        name = self._column or next((name for name, cells in data.items() if is_matrix(cells)), None)
        if name is None or name not in data or not is_matrix(data[name]):
            raise UsageError(f"The value of {self.key!r} has no matrix in {name!r}. It has {', '.join(map(repr, data))}.")
        numbers = as_matrix(data[name])
        if numbers.size > _MOST_CELLS:
            raise UsageError(
                f"The matrix of {self.key!r} has {numbers.size:,} cells; more than {_MOST_CELLS:,} are shown by `images`."
            )
        height, width = numbers.shape
        rows, columns = (_labels(names, size) for names, size in zip(self._names, numbers.shape, strict=True))
        if (height, width) != self._shape:
            self._shape = (height, width)
            x_range, y_range = (Range1d(start=a, end=b, bounds="auto") for a, b in ((0, width), (height, 0)))
            self._plot.update(x_range=x_range, y_range=y_range)
            for axis, texts in ((self._plot.xaxis, columns), (self._plot.yaxis, rows)):
                shown = range(0, len(texts), max(1, len(texts) // 24))
                axis.ticker = FixedTicker(ticks=[i + 0.5 for i in shown])
                axis.major_label_overrides = {i + 0.5: short(texts[i], 14) for i in shown}
        y, x = (part.ravel() for part in np.indices((height, width)))
        finite = np.where(np.isfinite(numbers), np.abs(numbers), 0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            totals = finite.sum(axis=1, keepdims=True) if self._confusion else finite.max(initial=0.0)
            strength = np.nan_to_num(np.abs(numbers) / totals, posinf=1.0).ravel() ** 0.6
        is_blue = (x == y) if self._confusion else numbers.ravel() >= 0
        writes = numbers.size <= _MOST_TEXTS if self._text is None else self._text
        texts = [plain_number(n, digits=3) if writes and (n or not self._confusion) else "" for n in numbers.ravel().tolist()]
        self._source.data = {
            "x": x + 0.5,
            "y": y + 0.5,
            "color": np.where(is_blue, _BLUE, _ORANGE).tolist(),
            "alpha": strength,
            "text": texts,
            "row": [rows[i] for i in y.tolist()],
            "column": [columns[i] for i in x.tolist()],
            "value": numbers.ravel(),
        }


def is_matrix(cells: Any) -> bool:
    """Whether these are numbers of shape (h, w), or a list of one such array."""
    try:
        return as_matrix(cells).ndim == 2
    except (TypeError, ValueError):
        return False


def as_matrix(cells: Any) -> np.ndarray:
    """The numbers as float64 of shape (h, w)."""
    found = np.asarray(cells, dtype=np.float64)
    return found[0] if found.ndim == 3 and len(found) == 1 else found


def _labels(names: Sequence[str] | None, size: int) -> list[str]:
    given = [str(name) for name in names] if names is not None else []
    return [*given[:size], *map(str, range(len(given), size))]
