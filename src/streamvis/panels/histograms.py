"""`histograms`: how the numbers of a value are distributed, over the steps and now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from bokeh.layouts import row
from bokeh.models import BasicTicker, ColumnDataSource, HoverTool, NoOverlap, Row, Title
from bokeh.plotting import figure

from streamvis.errors import UsageError
from streamvis.page.documents.look import CARD, PANEL_HEIGHT
from streamvis.page.fillers import attach
from streamvis.palette import PALETTE
from streamvis.panels.boxes import plot_frame, title_of
from streamvis.panels.contents import number_array
from streamvis.panels.side_by_side import for_each_run
from streamvis.panels.value_filler import ValueFiller
from streamvis.records import Value
from streamvis.series.even_steps import kept_steps, stretch_of

__all__ = ["histograms"]

_MOST_STEPS = 120
_LARGEST = 1e300
"""Numbers beyond this count as this: how far apart edges are must be a number, too."""
_COUNTS, _EDGES = ("counts", "count"), ("edges", "bins", "limits")


@for_each_run
def histograms(key: str, column: str | None = None, *, title: str | None = None, bins: int = 40, **options: Any) -> Row:
    """Make two figures: the distribution of a value's numbers over the steps, as a heat map, and the newest one in full.

    Of a long run, at most 120 steps are shown over time, evenly spread.

    Args:
        key: the key whose value to show
        column: an array of numbers of any shape, to be put into bins; by default the first. A value with columns `counts` (n,)
            and `edges` (n + 1,) is shown as it is
        title: by default the key
        bins: how many bins for numbers that have none yet
        options: of Bokeh's `figure`, for both figures
    """
    fills = {"styles": {"border": "0"}, "height": None, "sizing_mode": "stretch_both"}
    over = plot_frame(title_of(title, key), options, x_axis_label="step", tools="pan,box_zoom,reset,save", **fills)
    fills |= {"width": 190, "sizing_mode": "stretch_height"}
    now = plot_frame("newest", options, x_axis_label=column or "", y_axis_label="count", tools="save", **fills)
    source = ColumnDataSource({name: [] for name in ("left", "right", "bottom", "top", "alpha", "count", "step")})
    bars = ColumnDataSource({name: [] for name in ("left", "right", "count")})
    quads = over.quad("left", "right", "bottom", "top", source=source, fill_alpha="alpha", fill_color=PALETTE[0], line_color=None)
    over.add_tools(HoverTool(renderers=[quads], tooltips="step @step: @count from @bottom to @top"))
    over.grid.visible = False
    # The figure is narrow, and steps can be long numbers.
    over.xaxis.ticker, over.xaxis.major_label_policy = BasicTicker(desired_num_ticks=4), NoOverlap(min_distance=8)
    drawn = now.quad(
        left="left", right="right", bottom=0, top="count", source=bars, fill_alpha=0.75, color=PALETTE[0], line_alpha=0.3
    )
    now.add_tools(HoverTool(renderers=[drawn], tooltips="@count from @left to @right"))
    now.y_range.update(start=0)
    panel = row(over, now, sizing_mode="stretch_width", height=options.get("height", PANEL_HEIGHT), styles=CARD)
    attach(panel, _Histograms(key, column, bins, source, bars, now))
    return panel


class _Histograms(ValueFiller):
    def __init__(
        self, key: str, column: str | None, bins: int, source: ColumnDataSource, bars: ColumnDataSource, now: figure
    ) -> None:
        super().__init__(key)
        self._column, self._bins, self._source, self._bars, self._now = column, bins, source, bars, now
        self._found: dict[int, tuple[np.ndarray, np.ndarray] | None] = {}
        self._known_to = -1
        self._is_asking = False
        self._seeks = 0

    def show(self, data: Mapping[str, Any], step: int) -> None:
        self._found[step] = binned = self._binned(data)
        self._ask_for_others()
        self._found = {step: self._found[step] for step in kept_steps(self._found, _MOST_STEPS)}
        if binned is None:
            there = ", ".join(map(repr, data))
            where = f"no numbers in the column {self._column!r}" if self._column else "no column of numbers"
            raise UsageError(f"The value of {self.key!r} has {where}. Its columns: {there}.")
        counts, edges = binned
        self._bars.data = {"left": edges[:-1], "right": edges[1:], "count": counts}
        if isinstance(self._now.title, Title):
            self._now.title.text = f"step {step:,}"
        self._draw()

    def _ask_for_others(self) -> None:
        """Ask for values that came together with a newer one, of which a page is given only the newest: for those that stay."""
        after, until, seeks = self._known_to, self._step, self._seeks
        if self._is_asking or until <= after:
            return
        length = stretch_of(min(self._found), until, _MOST_STEPS)
        if (after + 1) // length == until // length:
            self._known_to = until
            return
        self._is_asking = True
        # As long as nothing is known it is not known where the steps begin.
        limit = _MOST_STEPS if after < 0 else until // length - (after + 1) // length + 2
        ask = lambda reader, run: reader.values(run, self.key, limit=limit, after=after, until=until)  # noqa: E731
        self.page.ask(ask, lambda values: self._learn(values, until) if self._seeks == seeks else None)

    def seek(self) -> None:
        # What was asked for as of another step is not answered any more.
        self._found, self._known_to, self._is_asking, self._seeks = {}, -1, False, self._seeks + 1
        super().seek()

    def _learn(self, values: Sequence[Value], until: int) -> None:
        """Take what lies before a step: one answer, also where it could not hold all, as it does not of very large values."""
        self._is_asking, self._known_to = False, until
        for value in values:
            # Of what cannot be shown, only the newest is said.
            if value.step not in self._found:
                self._found[value.step] = self._binned(value.data)
        self._draw()
        self._ask_for_others()

    def _binned(self, data: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray] | None:
        """Counts and edges; None where there are no numbers."""
        counts, edges = (next((data[name] for name in names if name in data), None) for names in (_COUNTS, _EDGES))
        if self._column is None and counts is not None and edges is not None and len(edges) == len(counts) + 1:
            return np.asarray(counts, np.float64), np.asarray(edges, np.float64)
        named = {name: number_array(cells) for name, cells in data.items() if self._column in (None, name)}
        numbers = next((array for array in named.values() if array is not None), None)
        return None if numbers is None else _counted(numbers.astype(np.float64).ravel(), self._bins)

    def _draw(self) -> None:
        self._found = {step: self._found[step] for step in kept_steps(self._found, _MOST_STEPS)}
        drawn = {step: binned for step, binned in self._found.items() if binned is not None}
        if not (steps := list(drawn)):
            return
        columns: dict[str, list[np.ndarray]] = {name: [] for name in self._source.data}
        # Each is drawn from its own step to the next; the newest as wide as the one before.
        ends = [*steps[1:], steps[-1] + (steps[-1] - steps[-2] if len(steps) > 1 else 1)]
        for step, end in zip(steps, ends, strict=True):
            counts, edges = drawn[step]
            density = counts / np.maximum(np.diff(edges), 1e-300)
            most = density.max() if len(density) else 0
            filled = counts > 0
            made = {"left": step, "right": end, "bottom": edges[:-1][filled], "top": edges[1:][filled], "step": step}
            made |= {"count": counts[filled], "alpha": np.sqrt(density[filled] / (most or 1)) * 0.9}
            for name, cells in made.items():
                columns[name].append(np.broadcast_to(np.asarray(cells, np.float64), (int(filled.sum()),)))
        self._source.data = {name: np.concatenate(parts) if parts else [] for name, parts in columns.items()}


def _counted(numbers: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Counts and edges of the finite numbers."""
    good = np.clip(numbers[np.isfinite(numbers)], -_LARGEST, _LARGEST)
    try:
        return np.histogram(good, bins)
    except ValueError:
        # They differ by less than floats can divide.
        around = max(1e-300, float(np.abs(good).max()) * 1e-6)
        return np.histogram(good, bins, range=(float(good.min()) - around, float(good.max()) + around))
