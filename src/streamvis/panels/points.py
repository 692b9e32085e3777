"""`points`: a scatter of a value's columns, or of rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from bokeh.core.properties import value
from bokeh.models import (
    BoxSelectTool,
    ColorBar,
    ColumnDataSource,
    GlyphRenderer,
    HoverTool,
    LassoSelectTool,
    Legend,
    LegendItem,
    LinearColorMapper,
    Scatter,
    TapTool,
)
from bokeh.palettes import Viridis256
from bokeh.plotting import figure

from streamvis.errors import UsageError
from streamvis.page.fillers import attach
from streamvis.palette import PALETTE
from streamvis.panels.boxes import GREY, plot_frame, title_of, whole_view
from streamvis.panels.side_by_side import for_each_run
from streamvis.panels.value_filler import ValueFiller

__all__ = ["points"]

_MARKERS = ["circle", "x", "triangle", "square", "diamond", "plus", "star", "inverted_triangle", "hex", "asterisk"]
_MOST_CATEGORIES = 10
_MOST = 200_000
_FEW = 5_000
"""So many points are drawn faster without WebGL, which each tab has to set up, and whose picture is copied at each paint."""


@for_each_run
def points(
    key: str,
    x: str = "x",
    y: str = "y",
    *,
    color: str | None = None,
    marker: str | None = None,
    title: str | None = None,
    size: float = 7,
    **options: Any,
) -> figure:
    """Make a scatter of two columns of a value, whose points can be hovered, and selected by lasso, box and click.

    A selection stays with its points while the value is replaced, as long as it has as many. `images(..., select=...)` shows
    what belongs to the selected ones.

    Args:
        key: the key whose value to show
        x: the column with x
        y: the column with y
        color: a column by which to colour: texts, booleans and few whole numbers by category, other numbers on a scale
        marker: a column by which to choose markers, of at most 10 categories
        title: by default the key
        size: of a point, in screen pixels
        options: of Bokeh's `figure`
    """
    tools = "pan,reset,save"
    plot = plot_frame(title_of(title, key), options, tools=tools, min_border_left=40)
    source = ColumnDataSource({name: [] for name in ("x", "y", "color", "marker", "label", "number")})
    style: dict[str, Any] = {"size": size, "line_width": 1.5, "fill_alpha": 0.6, "line_alpha": 0.9}
    faint: dict[str, Any] = {"nonselection_fill_alpha": 0.12, "nonselection_line_alpha": 0.15}
    renderer = plot.scatter("x", "y", source=source, marker="marker", color="color", **style, **faint)
    lasso = LassoSelectTool(renderers=[renderer])
    plot.add_tools(lasso, BoxSelectTool(renderers=[renderer]), TapTool(renderers=[renderer]))
    plot.toolbar.active_drag = lasso
    plot.add_tools(
        HoverTool(renderers=[renderer], tooltips=[("point", "@number"), (color or "at", "@label"), ("x, y", "@x, @y")])
    )
    attach(plot, _Points(key, x, y, color, marker, plot, source, renderer, chooses="output_backend" not in options))
    return plot


class _Points(ValueFiller):
    def __init__(
        self,
        key: str,
        x: str,
        y: str,
        color: str | None,
        marker: str | None,
        plot: figure,
        source: ColumnDataSource,
        renderer: Any,
        *,
        chooses: bool,
    ) -> None:
        super().__init__(key)
        self._chooses = chooses
        self._x, self._y, self._color, self._marker = x, y, color, marker
        self._plot, self._source, self._renderer = plot, source, renderer
        self._bar: ColorBar | None = None
        self._legend: Legend | None = None
        self._samples: GlyphRenderer | None = None

    def show(self, data: Mapping[str, Any], step: int) -> None:
        wanted = [name for name in (self._x, self._y, self._color, self._marker) if name is not None]
        lacking = [name for name in wanted if name not in data]
        if lacking:
            raise UsageError(f"The value of {self.key!r} has no column {lacking[0]!r}. It has {', '.join(map(repr, data))}.")
        count = min(len(data[self._x]), len(data[self._y]), _MOST)
        columns: dict[str, Any] = {
            side: np.asarray(data[name], np.float64)[:count] for side, name in (("x", self._x), ("y", self._y))
        }
        columns["number"] = np.arange(count)
        columns["label"] = list(map(_name_of, _listed(data[self._color], count))) if self._color else [""] * count
        columns["color"] = self._colors(data[self._color], count) if self._color else [PALETTE[0]] * count
        columns["marker"] = _markers(data[self._marker], count) if self._marker else ["circle"] * count
        if self._chooses:
            # A browser that shows the figure already draws it as before.
            self._plot.output_backend = "webgl" if count > _FEW else "canvas"
        kept = self._source.selected.indices if len(self._source.data["x"]) == count else []
        self._source.data = columns
        if kept != self._source.selected.indices:
            self._source.selected.indices = kept

    def _colors(self, cells: Any, count: int) -> Any:
        listed = _listed(cells, count)
        categories = _categories(listed)
        self._show_legend(categories or [])
        self._show_scale(listed if categories is None else None)
        if categories is None:
            return self._on_a_scale(np.asarray(listed, np.float64))
        colors = {name: PALETTE[i] for i, name in enumerate(categories)}
        return [colors.get(_name_of(cell), GREY) for cell in listed]

    def _on_a_scale(self, numbers: np.ndarray) -> list[str]:
        # Colours and no mapper in the glyph: the browser's glyphs of selected and muted points would continue without it.
        low, high = _span(numbers)
        places = (np.nan_to_num(numbers) - low) / ((high - low) or 1) * (len(Viridis256) - 1)
        return np.array([*Viridis256, GREY])[np.where(np.isfinite(numbers), places, -1).astype(int)].tolist()

    def _show_scale(self, cells: list[Any] | None) -> None:
        """Say in a bar which colours stand for which numbers; None: there is no scale."""
        if self._bar is None and cells is not None:
            mapper = LinearColorMapper(palette=Viridis256)
            self._bar = ColorBar(color_mapper=mapper, width=10, major_label_text_font_size="10px", background_fill_alpha=0)
            self._plot.add_layout(self._bar, "right")
        if self._bar is not None and self._bar.color_mapper is not None and cells is not None:
            low, high = _span(np.asarray(cells, np.float64))
            self._bar.color_mapper.update(low=low, high=high)
        if self._bar is not None:
            self._bar.visible = cells is not None

    def _show_legend(self, names: list[str]) -> None:
        if self._legend is None and names:
            look: dict[str, Any] = {"background_fill_alpha": 0, "border_line_color": None, "padding": 2, "spacing": 0}
            self._legend = Legend(click_policy="none", label_text_color=GREY, **look)
            self._plot.add_layout(self._legend, "right")
        if self._legend is None or names == [cast(Any, item).label.value for item in self._legend.items]:
            return
        if self._samples is None:
            # One renderer, of which each item shows a row: a renderer for each would be a hundred models.
            samples = ColumnDataSource({"nowhere": [np.nan] * len(PALETTE), "color": list(PALETTE)})
            glyph = Scatter(x="nowhere", y="nowhere", fill_color="color", line_color="color", size=8)
            self._samples = self._plot.add_glyph(samples, glyph, view=whole_view())
        items = [LegendItem(label=value(name), renderers=[self._samples], index=i) for i, name in enumerate(names)]
        self._legend.update(items=items, visible=bool(names))


def _span(numbers: np.ndarray) -> tuple[float, float]:
    """The lowest and the highest of the numbers that are finite."""
    good = numbers[np.isfinite(numbers)]
    return (float(good.min()), float(good.max())) if len(good) else (0.0, 1.0)


def _listed(cells: Any, count: int) -> list[Any]:
    """The first `count` cells; None for those that are not there."""
    listed = cells.tolist() if isinstance(cells, np.ndarray) else list(cells) if isinstance(cells, (list, tuple)) else cells
    listed = listed if isinstance(listed, list) else [listed] * count
    return [*listed[:count], *[None] * (count - len(listed))]


def _name_of(cell: Any) -> str:
    return "" if cell is None else str(cell)


def _categories(cells: list[Any]) -> list[str] | None:
    """The categories, in order, at most 10, of texts, booleans or few whole numbers; None for a scale."""
    kinds = {type(cell) for cell in cells}
    if kinds <= {int, float, type(None)} and (float in kinds or len(set(cells)) > _MOST_CATEGORIES):
        return None
    found = map(str, sorted(set(cells))) if kinds <= {int} else sorted(set(map(_name_of, cells)))
    return list(found)[:_MOST_CATEGORIES]


def _markers(cells: Any, count: int) -> list[str]:
    listed = _listed(cells, count)
    order = {name: _MARKERS[i % len(_MARKERS)] for i, name in enumerate(sorted(set(map(_name_of, listed))))}
    return [order[_name_of(cell)] for cell in listed]
