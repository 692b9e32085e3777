"""`curves`: one line for each column of a key, however long the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from bokeh.models import ColumnDataSource, CustomJS, GlyphRenderer, Legend, LegendItem, Line, Plot, Title
from bokeh.plotting import figure

from streamvis.errors import UsageError
from streamvis.page.fillers import Filler, Page, attach
from streamvis.page.live.sources import source_for, spec_of
from streamvis.page.new_data import NUMBER, column_form
from streamvis.panels.boxes import GREY, keep_sources, plain_number, plot_frame, short, title_of
from streamvis.panels.curve import Curve, Drawing
from streamvis.panels.side_by_side import Thing, things_shown

__all__ = ["best_of", "curves", "mark_best", "number_columns"]

_MOST_CURVES = 40
_MOST_NAMED = 12
"""With more lines of several runs than this, the legend would be larger than the figure."""
_BEST_ROWS = 400
"""As few as show a best value: the lowest and the highest of every part of a run are among any number of rows."""
_LABEL, _NARROW_LABEL = 48, 36
"""Characters of a name that fit below most charts, and below a narrow one. The end of a name may be what differs."""
_LEGEND_CHARACTERS = 64
"""As many fit below most charts; the browser then makes as many columns as there is room for (`_FIT_LEGEND`)."""
_LEGEND = {
    "orientation": "horizontal",
    "click_policy": "hide",
    "location": "left",
    "background_fill_alpha": 0,
    "border_line_color": None,
    "padding": 2,
    "spacing": 4,
    "margin": 6,
    "label_text_font_size": "12px",
    "label_text_color": GREY,
    "glyph_width": 16,
    "glyph_height": 12,
}

# The server is not told: it does not draw.
_FIT_LEGEND = """
if (plot.properties.inner_width.is_unset) return
const {items, glyph_width, label_standoff, spacing, margin} = legend
const pen = document.createElement("canvas").getContext("2d")
pen.font = `${legend.label_text_font_size} ${legend.label_text_font}`
const widest = Math.max(0, ...items.map(({label}) => pen.measureText(label?.value ?? label ?? "").width))
const most = Math.floor((plot.inner_width - 2 * margin + spacing) / (widest + label_standoff + glyph_width + spacing))
if (items.length && plot.inner_width) legend.setv({ncols: Math.max(1, Math.min(items.length, most))}, {sync: false})
"""


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
    pairs: list[tuple[str, str]] = []
    if not isinstance(key, str):
        pairs = [(its, column) for its, column in (part for part in key if not isinstance(part, str))]
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
        filler.draw({pair: number for number, pair in enumerate(dict.fromkeys(pairs))})
    return plot


def _names(given: str | Sequence[Any], what: str) -> list[str]:
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
    """Draws columns of keys, always as a page does that is opened now: the order and the colours do not tell what came first."""

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
        self._plot, self._keys, self._columns, self._x, self._band = plot, keys, columns, x, tuple(band or ())
        told: dict[str, Callable[..., None]] = {
            "in_update": self._in_update,
            "dotted": self._arrange,
            "gapped": lambda: self._in_update(lambda: self._say(1, "Values of 0 and below are not shown on this axis")),
        }
        self._its = Drawing(plot, x, smooth, window, line, is_log=options_log(plot), **told)
        self.things = things_shown()
        self._drawn: dict[_Place, Curve] = {}
        self._legend: Legend | None = None
        self._title: Title | None = None
        self._said: dict[int, str] = {}

    def begin(self, page: Page) -> None:
        self.page = page

    def _in_update(self, function: Callable[[], object]) -> None:
        page: Page | None = getattr(self, "page", None)
        if page is not None:
            page.in_update(function)
        else:
            function()  # another figure shows the source: this one is in no document

    def add_legend(self) -> None:
        """Give the figure a legend, before it is drawn: what comes later gets no room."""
        self._legend = Legend(**_LEGEND)
        self._plot.add_layout(self._legend, "below")
        fit = CustomJS(args={"plot": self._plot, "legend": self._legend}, code=_FIT_LEGEND)
        self._plot.js_on_change("inner_width", fit)
        self._legend.js_on_change("items", fit)

    def keys_changed(self) -> None:
        passed = {self._x, *self._band}
        there = {key: self._columns_of(key) for key in self._keys}
        wanted = [(key, column) for key in self._keys for column in self._columns or there[key] if column not in passed]
        # Named columns have their colours before they come.
        found = {(key, column): number for number, (key, column) in enumerate(wanted) if column in there[key]}
        room = max(1, _MOST_CURVES // len(self.things))
        self.draw(dict(list(found.items())[:room]))
        if len(found) > room:
            self._say(0, f"{len(found) - room:,} more columns are not shown: choose columns with y=")

    def _columns_of(self, key: str) -> list[str]:
        """The columns of numbers that a key has in any of the runs."""
        found: dict[str, None] = {}
        for page in self.page.all:
            info = page.keys.get(key)
            if info is not None and info.kind == "rows" and any(thing.is_of(page.run.id) for thing in self.things):
                found |= dict.fromkeys(number_columns(info.columns))
        return list(found)

    def draw(self, numbers: Mapping[tuple[str, str], int]) -> None:
        """Draw these columns, each with its key and the number that gives its look, and no others: a curve for each thing."""
        places = [
            _Place(thing, key, column, self._band if i == 0 else ())
            for i, (key, column) in enumerate(numbers)
            for thing in self.things
        ]
        for place in self._drawn.keys() - set(places):
            self._drawn.pop(place).remove()
        if places == list(self._drawn):
            return
        before, self._drawn = self._drawn, {}
        for place in places:
            number = numbers[place.key, place.column]
            curve = before.get(place)
            if curve is None:
                curve = Curve(self._its, place.thing, place.key, place.column, number, band=place.band)
            curve.renumber(number)
            self._drawn[place] = curve
        self._arrange()
        names = self._names(list(numbers))
        for name, curve in zip(names, self._drawn.values(), strict=True):
            curve.name(name)
        if self._legend is not None:
            self._list(names, self._legend)

    def _arrange(self) -> None:
        """Put the renderers into the order of the curves. Those of the author stay in their places, and what an author took out
        stays out."""
        curves, there = self._drawn.values(), set(self._plot.renderers)
        ours = [one for curve in curves for one in curve.renderers] + [curve.dot for curve in curves if curve.dot is not None]
        are_ours = there.intersection(ours)
        rest = (one for one in ours if one in are_ours)
        arranged = [next(rest) if one in are_ours else one for one in self._plot.renderers]
        if arranged != self._plot.renderers:
            self._plot.renderers = arranged

    def _names(self, pairs: list[tuple[str, str]]) -> list[str]:
        """What to call each curve."""
        names = dict(zip(pairs, _distinct(pairs), strict=True))
        found = []
        for thing, key, column, _ in self._drawn:
            name = names[key, column] if len(names) > 1 or not thing.label else ""
            found.append(" · ".join(part for part in (thing.label, name) if part))
        return found

    def _list(self, names: list[str], legend: Legend) -> None:
        labels = [short(name, _LABEL if self._plot.toolbar_location else _NARROW_LABEL) for name in names]
        # Of many runs, the list of runs has the colors, and the mouse reads the names.
        if len(labels) < 2 or (len(self.things) > 1 and len(labels) > _MOST_NAMED):
            legend.items = []
            return
        curves = zip(labels, self._drawn.values(), strict=True)
        columns = max(1, min(len(labels), _LEGEND_CHARACTERS // (max(map(len, labels)) + 4)))
        items = [LegendItem(label=label, renderers=curve.lines[::-1]) for label, curve in curves]
        # The items last: the browser then knows better.
        legend.update(ncols=columns, items=items)

    def _say(self, place: int, text: str) -> None:
        """Say something above the figure. What has a lower place stands first, whenever it was said."""
        self._said[place] = text
        if self._title is None:
            self._title = Title(text="", text_font_size="11px", text_font_style="normal", text_color=GREY)
            self._plot.add_layout(self._title, "above")
        self._title.text = " · ".join(self._said[place] for place in sorted(self._said))


class _Place(NamedTuple):
    """What a curve is of."""

    thing: Thing
    key: str
    column: str
    band: tuple[str, ...]


def _x_of_bands(x: str) -> str:
    """What a band has as x where other lines have this: runs have no time in common."""
    return "step" if x in ("time", "elapsed") else x


def mark_best(plot: Plot, best: str) -> None:
    """Let the title say the best value of all curves and its step; `best` is "min" or "max"."""
    # The first line of a source is the one as it was sent.
    lines = {}
    for line in reversed(plot.renderers):
        if isinstance(line, GlyphRenderer) and isinstance(line.glyph, Line) and isinstance(line.data_source, ColumnDataSource):
            lines[line.data_source] = line.glyph.y
    sources = {_whole(source): column for source, column in lines.items()}
    keep_sources(plot, list(sources))
    heading = plot.title
    title = heading.text if isinstance(heading, Title) else ""

    def show(attr: str, old: object, new: object) -> None:
        found = [at for source, column in sources.items() if (at := best_of(source.data, column, best)) is not None]
        value, step = (min if best == "min" else max)(found, default=(None, None), key=lambda at: at[0])
        told = title if value is None else f"{title} · best {plain_number(value)} at step {step:,}"
        if isinstance(heading, Title):
            heading.text = told

    for source in sources:
        source.on_change("data", show)


def _whole(source: ColumnDataSource) -> ColumnDataSource:
    """A source of the same columns that has the best of all rows. What a figure draws is, after a zoom, only a part of them."""
    spec = spec_of(source)
    if spec is None:
        return source
    rows = spec.max_rows if spec.stat else _BEST_ROWS
    return source_for(replace(spec, x="step", max_rows=rows, window=None, smooth=0.0))


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
