"""One curve of a figure: the line of a column, and what belongs to it.

A curve knows its source and its renderers. Which curves a figure has, in which order and under which names, is for `curves`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, GlyphRenderer, Line, Scatter, VArea
from bokeh.plotting import figure

from streamvis.page.live.sources import LiveSpec, band_columns, source_for
from streamvis.palette import PALETTE
from streamvis.panels.boxes import whole_view
from streamvis.panels.side_by_side import Thing
from streamvis.series.exponential_mean import smoothed_name

__all__ = ["Curve", "Drawing"]

_DASHES = ("solid", "dashed", "dotted", "dotdash")
_MOST_ROWS, _MOST_BAND_ROWS = 8000, 4000


@dataclass(frozen=True, slots=True)
class Drawing:
    """What all curves of a figure have in common; see `curves`.

    `in_update` calls a function with the page's other changes, `dotted` is called when a curve got or lost its dot, `gapped` when
    it has values that a logarithmic axis cannot show.
    """

    plot: figure
    x: str
    smooth: float
    window: float | None
    line: Mapping[str, Any]
    is_log: bool
    in_update: Callable[[Callable[[], object]], None]
    dotted: Callable[[], None]
    gapped: Callable[[], None]


class Curve:
    """The curve of a column of `key`, of a run or of a group of runs.

    `number` chooses its colour, or its dashes where runs have colours.

    With `band`, the area between these two columns is filled. `lines` are what a legend hides, the line as it was sent first;
    `renderers` are all, but for `dot`, which is there while the curve has one row: a line through one point shows nothing.
    """

    def __init__(self, its: Drawing, thing: Thing, key: str, column: str, number: int, *, band: tuple[str, ...] = ()) -> None:
        self._its, self._thing, self._column, self._number = its, thing, column, number
        self.dot: GlyphRenderer | None = None
        self.lines: list[GlyphRenderer] = []
        self.renderers: list[GlyphRenderer] = []
        if thing.stat:
            self._draw_group(key)
        else:
            self._draw_run(key, band)

    @property
    def _style(self) -> dict[str, Any]:
        thing, number = self._thing, self._number
        dash = {"line_dash": _DASHES[number % len(_DASHES)]} if thing.color else {}
        color = thing.color or PALETTE[number % len(PALETTE)]
        return {"line_width": 1.8, "line_join": "round", "line_color": color, **dash, **self._its.line}

    def _draw_run(self, key: str, band: tuple[str, ...]) -> None:
        """The line as it was sent, and in front of it the smoothed one, if there is to be one."""
        plot, x, style = self._its.plot, self._its.x, self._style
        also: dict[str, Any] = {"carry": ("step", "time"), "smooth": self._its.smooth, "runs": self._thing.runs}
        source = source_for(LiveSpec(key, x, [self._column, *band], _MOST_ROWS, self._its.window, **also))
        if band:
            self.renderers = [plot.varea(x, *band, source=source, fill_color=style["line_color"], fill_alpha=0.2)]
        # Not by `line`, which makes three more glyphs for selections that lines do not have.
        faint: dict[str, Any] = {"line_alpha": 0.3, "line_width": 1.2} if self._its.smooth else {}
        self.lines = [plot.add_glyph(source, Line(x=x, y=self._column, **(style | faint)), view=whole_view())]
        if self._its.smooth:
            smoothed = Line(x=x, y=smoothed_name(self._column), **style)
            self.lines.append(plot.add_glyph(source, smoothed, view=whole_view()))
        self.renderers += self.lines
        source.on_change("data", lambda attr, old, new: self._look(source, self._column, new))

    def _draw_group(self, key: str) -> None:
        """The middle of a group of runs, the band around it, and marks where one of them ended."""
        middle, low, high, _, end = band_columns(self._column)
        plot, x, style = self._its.plot, self._its.x, self._style
        also: dict[str, Any] = {"smooth": self._its.smooth, "runs": self._thing.runs, "stat": self._thing.stat}
        source = source_for(LiveSpec(key, x, [self._column], _MOST_BAND_ROWS, None, **also))
        line = plot.add_glyph(source, Line(x=x, y=middle, **style), view=whole_view())
        band = plot.varea(x, low, high, source=source, fill_color=style["line_color"], fill_alpha=0.2)
        color = style["line_color"]
        mark = Scatter(x=x, y=end, marker="x", size=9, line_width=2, line_color=color, fill_color=color)
        self.lines = self.renderers = [line, band, plot.add_glyph(source, mark, view=whole_view())]
        source.on_change("data", lambda attr, old, new: self._look(source, middle, new))

    def name(self, name: str) -> None:
        """Say what the mouse reads on this curve."""
        column = self._column
        curve = {"name": name, "x": self._its.x, "y": column, "smooth": smoothed_name(column) if self._its.smooth else None}
        if self._thing.stat:
            middle, *_, runs, _ = band_columns(column)
            curve |= {"y": middle, "smooth": None, "runs": runs}
        self.lines[0].tags = [{"streamvis curve": curve}]

    def renumber(self, number: int) -> None:
        """Have the look of this number."""
        if number == self._number:
            return
        self._number = number
        style = self._style
        color = style["line_color"]
        for one in [*self.renderers, *([self.dot] if self.dot is not None else [])]:
            match one.glyph:
                case Line():
                    one.glyph.update(line_color=color, **{name: its for name, its in style.items() if name == "line_dash"})
                case VArea():
                    one.glyph.fill_color = color
                case Scatter():
                    one.glyph.update(line_color=color, fill_color=color)

    def remove(self) -> None:
        """Take the curve out of its figure."""
        mine = [*self.renderers, self.dot]
        self._its.plot.renderers = [one for one in self._its.plot.renderers if one not in mine]

    def _look(self, source: ColumnDataSource, y: str, data: Mapping[str, Any]) -> None:
        values = data[y]
        # The lowest of all values is among those that are drawn.
        if self._its.is_log and isinstance(values, np.ndarray) and values.dtype.kind == "f" and (values <= 0).any():
            self._its.gapped()
        if (len(data[self._its.x]) == 1) != (self.dot is not None):
            self._its.in_update(lambda: self._dot_or_line(source, y))

    def _dot_or_line(self, source: ColumnDataSource, y: str) -> None:
        plot, x = self._its.plot, self._its.x
        if (len(source.data[x]) == 1) == (self.dot is not None):
            return
        if self.dot is None:
            color = self._style["line_color"]
            glyph = Scatter(x=x, y=y, size=6, line_color=color, fill_color=color)
            self.dot = plot.add_glyph(source, glyph, view=whole_view())
        else:
            plot.renderers = [one for one in plot.renderers if one is not self.dot]
            self.dot = None
        self._its.dotted()
