"""`curves`: one line for each column of a key, however long the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, GlyphRenderer, Legend, LegendItem, Line, Scatter, Title
from bokeh.plotting import figure

from streamvis.errors import UsageError
from streamvis.exponential_mean import smoothed_name
from streamvis.page.fillers import Filler, Page, attach
from streamvis.page.live.sources import LiveSpec, band_columns, source_for
from streamvis.page.new_data import NUMBER, column_form
from streamvis.palette import PALETTE
from streamvis.panels.boxes import GREY, plain_number, plot_frame, short, title_of, whole_view
from streamvis.panels.side_by_side import Thing, things_shown

__all__ = ["best_of", "curves", "mark_best", "number_columns"]

_MOST_CURVES = 40
_MOST_NAMED = 12
"""With more lines of several runs than this, the legend would be larger than the figure."""
_DASHES = ("solid", "dashed", "dotted", "dotdash")
_LABEL = 48
_LEGEND_CHARACTERS = 64
_LEGEND = {
    "orientation": "horizontal",
    "click_policy": "hide",
    "location": "left",
    "background_fill_alpha": 0,
    "border_line_color": None,
    "padding": 2,
    "spacing": 4,
    "margin": 2,
    "label_text_font_size": "12px",
    "label_text_color": GREY,
    "glyph_width": 16,
    "glyph_height": 12,
}


def curves(
    key: str | Sequence[str] | Sequence[tuple[str, str]],
    y: str | Sequence[str] | None = None,
    x: str = "step",
    *,
    title: str | None = None,
    smooth: float = 0.0,
    band: tuple[str, str] | None = None,
    window: float | None = None,
    line: Mapping[str, Any] | None = None,
    **options: Any,
) -> figure:
    """Make a figure with one line for each column of rows.

    The figure follows the newest data until the viewer zooms; the mouse reads the values of all curves at an x. Of what does not
    fit into its pixels the lowest and the highest values are drawn, so that no spike is lost.

    Args:
        key: the key whose rows to draw, or several: then each column is drawn once for every key that has it; or pairs of a key
            and a column
        y: the column or columns; by default all columns of numbers that there are, also those that come later
        x: "step", "time" (when each row was sent), "elapsed" (seconds since the run began), or a column that rises
        title: by default the key
        smooth: from 0 (not at all) to below 1: weight of the past in a debiased exponential mean over all rows; the line as it
            was sent stays, faint, behind (Kingma and Ba 2015, arXiv:1412.6980, section 3, for the correction of the bias)
        band: two columns, a lower and an upper bound, between which to fill
        window: follow only the newest part of the run, so long in units of x (seconds for times)
        line: options of Bokeh's `Line`, such as {"line_width": 3}
        options: of Bokeh's `figure`, such as height=400 or y_axis_type="log", on which values of 0 and below are gaps

    Raises UsageError when an argument makes no sense.
    """
    pairs = [] if isinstance(key, str) else [tuple(part) for part in key if not isinstance(part, str)]
    keys = list(dict.fromkeys(its for its, _ in pairs)) if pairs else _names(key, "key")
    columns = None if y is None else _names(y, "y")
    if columns is not None and len(keys) == 1:
        pairs = [(keys[0], column) for column in columns]
    if not 0 <= smooth < 1:
        raise UsageError(f"smooth is {smooth!r}. Give a number from 0 (not at all) to below 1, such as 0.9.")
    if band is not None and len(_names(band, "band")) != 2:
        raise UsageError(f"band is {band!r}. Give two columns, the lower and the upper bound.")
    if any(thing.stat for thing in things_shown()):
        x = _x_of_bands(x)
    axis = {"x_axis_type": "datetime"} if x == "time" else {"x_axis_label": "seconds since start" if x == "elapsed" else x}
    plot = plot_frame(title_of(title, keys), options, reads=True, **axis)
    filler = _Curves(plot, keys, columns, x, smooth=smooth, band=band, window=window, line=dict(line or {}))
    if len(pairs) != 1 or len(filler.things) > 1:
        filler.add_legend()
    attach(plot, filler)
    if pairs:
        filler.wants_keys = False
        filler.add(pairs)
    return plot


def _names(given: str | Sequence[str], what: str) -> list[str]:
    names = [given] if isinstance(given, str) else list(given)
    if not names or not all(isinstance(name, str) and name for name in names):
        raise UsageError(f"{what} is {given!r}. Give a name or several, such as {what}='loss'.")
    return names


def _distinct(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """What to call each column of a key: what of its key and name differs from the others."""
    names = [[*([key] if len(pairs) > 1 else []), *column.split("/")] for key, column in pairs]
    while len(names) > 1 and all(len(name) > 1 for name in names) and len({name[0] for name in names}) == 1:
        names = [name[1:] for name in names]
    while len(names) > 1 and all(len(name) > 1 for name in names) and len({name[-1] for name in names}) == 1:
        names = [name[:-1] for name in names]
    found = ["/".join(name) for name in names]
    # Key "a" with column "b/c" reads as key "a/b" with column "c".
    return found if len(set(found)) == len(found) else [f"{key}: {column}" for key, column in pairs]


def number_columns(columns: Mapping[str, str]) -> list[str]:
    """The columns that hold numbers, given each column's dtype word."""
    return [name for name, dtype in columns.items() if column_form(dtype) == NUMBER]


class _Curves(Filler):
    wants_keys = takes_all = True

    def __init__(
        self,
        plot: figure,
        keys: list[str],
        columns: list[str] | None,
        x: str,
        *,
        smooth: float,
        band: tuple[str, str] | None,
        window: float | None,
        line: dict[str, Any],
    ) -> None:
        self._plot, self._keys, self._columns, self._x = plot, keys, columns, x
        self._smooth, self._band, self._window, self._line = smooth, band, window, line
        self.things = things_shown()
        self._drawn: dict[tuple[Thing, str, str], list[GlyphRenderer]] = {}
        self._said: Title | None = None
        self._is_log = options_log(plot)

    def begin(self, page: Page) -> None:
        self._page = page

    def add_legend(self) -> None:
        """Give the figure a legend, before it is drawn: what comes later gets no room."""
        self._legend = Legend(**_LEGEND)
        self._plot.add_layout(self._legend, "below")

    def keys_changed(self) -> None:
        found: list[tuple[str, str]] = []
        passed, drawn = {self._x, *(self._band or ())}, self._pairs
        for key in self._keys:
            there = self._columns_of(key)
            wanted = there if self._columns is None else [name for name in self._columns if name in there]
            found += [(key, column) for column in wanted if (key, column) not in drawn and column not in passed]
        room = max(1, _MOST_CURVES // len(self.things)) - len(drawn)
        if found:
            self.add(found[:room])
        if len(found) > room:
            self._say(f"{len(found) - room:,} more columns are not shown: choose columns with y=")

    def _columns_of(self, key: str) -> list[str]:
        """The columns of numbers that a key has in any of the runs."""
        found: dict[str, None] = {}
        for page in self._page.all:
            info = page.keys.get(key)
            if info is not None and info.kind == "rows" and any(thing.is_of(page.run.id) for thing in self.things):
                found |= dict.fromkeys(number_columns(info.columns))
        return list(found)

    @property
    def _pairs(self) -> list[tuple[str, str]]:
        """The columns that are drawn, each with its key."""
        return list(dict.fromkeys((key, column) for _, key, column in self._drawn))

    def add(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Draw columns, each with its key: a line for each thing that the page shows."""
        for key, column in pairs:
            for thing in self.things:
                self._drawn[thing, key, column] = self._line_of(thing, key, column)
        for name, ((thing, _, column), lines) in zip(self._names(), self._drawn.items(), strict=True):
            curve = {"name": name, "x": self._x, "y": column, "smooth": smoothed_name(column) if self._smooth else None}
            if thing.stat:
                middle, *_, runs, _ = band_columns(column)
                curve |= {"y": middle, "smooth": None, "runs": runs}
            lines[0].tags = [{"streamvis curve": curve}]
        if len(self._drawn) > 1:
            self._name()

    def _names(self) -> list[str]:
        """What to call each line."""
        names = dict(zip(self._pairs, _distinct(self._pairs), strict=True))
        found = []
        for thing, key, column in self._drawn:
            name = names[key, column] if len(names) > 1 or not thing.label else ""
            found.append(" · ".join(part for part in (thing.label, name) if part))
        return found

    def _name(self) -> None:
        labels = [short(name, _LABEL) for name in self._names()]
        if len(self.things) > 1 and len(labels) > _MOST_NAMED:
            # The list of runs has the colors, and the mouse reads the names.
            self._legend.items = []
            return
        items = zip(labels, self._drawn.values(), strict=True)
        columns = max(1, min(len(labels), _LEGEND_CHARACTERS // (max(map(len, labels)) + 4)))
        self._legend.update(items=[LegendItem(label=label, renderers=its[::-1]) for label, its in items], ncols=columns)

    def _line_of(self, thing: Thing, key: str, column: str) -> list[GlyphRenderer]:
        """The line as it was sent, and in front of it the smoothed one, if there is to be one."""
        number = self._pairs.index((key, column)) if (key, column) in self._pairs else len(self._pairs)
        options = {"line_width": 1.8, "line_join": "round", "line_color": thing.color or PALETTE[number % len(PALETTE)]}
        if thing.color:
            options["line_dash"] = _DASHES[number % len(_DASHES)]
        options |= self._line
        if thing.stat:
            return self._band_of(thing, key, column, options)
        extra = list(self._band or ()) if number == 0 else []
        also = {"carry": ("step", "time"), "smooth": self._smooth, "runs": thing.runs}
        source = source_for(LiveSpec(key, self._x, [column, *extra], 8000, self._window, **also))
        if extra:
            self._plot.varea(self._x, *extra, source=source, fill_color=options["line_color"], fill_alpha=0.2)
        # Not by `line`, which makes three more glyphs for selections that lines do not have.
        faint = {"line_alpha": 0.3, "line_width": 1.2} if self._smooth else {}
        lines = [self._plot.add_glyph(source, Line(x=self._x, y=column, **(options | faint)), view=whole_view())]
        if self._smooth:
            smoothed = Line(x=self._x, y=smoothed_name(column), **options)
            lines.append(self._plot.add_glyph(source, smoothed, view=whole_view()))
        if self._is_log:
            source.on_change("data", lambda attr, old, new: self._look_for_gaps(new[column]))
        self._dot_alone(source, column, options["line_color"])
        return lines

    def _dot_alone(self, source: ColumnDataSource, y: str, color: str) -> None:
        """Draw a dot while the source has one row: a line through one point shows nothing."""
        dot: GlyphRenderer | None = None

        def look(attr: str, old: object, new: Mapping[str, Any]) -> None:
            nonlocal dot
            if (len(new[self._x]) == 1) == (dot is not None):
                return
            if dot is None:
                glyph = Scatter(x=self._x, y=y, size=6, line_color=color, fill_color=color)
                dot = self._plot.add_glyph(source, glyph, view=whole_view())
            else:
                self._plot.renderers = [one for one in self._plot.renderers if one is not dot]
                dot = None

        source.on_change("data", look)

    def _band_of(self, thing: Thing, key: str, column: str, options: Mapping[str, Any]) -> list[GlyphRenderer]:
        """The middle of a group of runs, the band around it, and marks where one of them ended."""
        middle, low, high, _, end = band_columns(column)
        x, color = self._x, options["line_color"]
        source = source_for(LiveSpec(key, x, [column], 4000, None, smooth=self._smooth, runs=thing.runs, stat=thing.stat))
        line = self._plot.add_glyph(source, Line(x=x, y=middle, **options), view=whole_view())
        band = self._plot.varea(x, low, high, source=source, fill_color=color, fill_alpha=0.2)
        mark = Scatter(x=x, y=end, marker="x", size=9, line_width=2, line_color=color)
        self._dot_alone(source, middle, color)
        return [line, band, self._plot.add_glyph(source, mark, view=whole_view())]

    def _look_for_gaps(self, values: Any) -> None:
        # The lowest of all values is among those that are drawn.
        if isinstance(values, np.ndarray) and values.dtype.kind == "f" and (values <= 0).any():
            self._say("Values of 0 and below are not shown on this axis")

    def _say(self, text: str) -> None:
        if self._said is None:
            self._said = Title(text=text, text_font_size="11px", text_font_style="normal", text_color=GREY)
            self._plot.add_layout(self._said, "above")
        self._said.text = text


def _x_of_bands(x: str) -> str:
    """What a band has as x where other lines have this: runs have no time in common."""
    return "step" if x in ("time", "elapsed") else x


def mark_best(plot: figure, best: str) -> None:
    """Let the title say the best value of all curves and its step; `best` is "min" or "max"."""
    # The first line of a source is the one as it was sent.
    lines = [line for line in reversed(plot.renderers) if isinstance(line.glyph, Line)]
    title, sources = plot.title.text, {line.data_source: line.glyph.y for line in lines}

    def show(attr: str, old: object, new: object) -> None:
        found = [at for source, column in sources.items() if (at := best_of(source.data, column, best)) is not None]
        value, step = (min if best == "min" else max)(found, default=(None, None), key=lambda at: at[0])
        plot.title.text = title if value is None else f"{title} · best {plain_number(value)} at step {step:,}"

    for source in sources:
        source.on_change("data", show)


def best_of(data: Mapping[str, Any], column: str, best: str) -> tuple[float, int] | None:
    """The lowest or the highest value of a column of a source, and its step; None where there is none."""
    values = data.get(column)
    if "step" not in data or not isinstance(values, np.ndarray) or values.dtype.kind not in "iuf":
        return None
    there = np.flatnonzero(np.isfinite(values))
    if not len(there):
        return None
    at = there[(np.argmin if best == "min" else np.argmax)(values[there])]
    return float(values[at]), int(data["step"][at])


def options_log(plot: figure) -> bool:
    """Whether the figure's y is logarithmic."""
    return type(plot.y_scale).__name__ == "LogScale"
