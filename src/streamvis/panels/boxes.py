"""The figures and HTML boxes that panels are made in, with the looks that they share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from html import escape
from typing import Any, Literal

from bokeh.models import (
    AllIndices,
    AllLabels,
    BasicTicker,
    BasicTickFormatter,
    CDSView,
    ColumnDataSource,
    CrosshairTool,
    CustomJS,
    Div,
    Grid,
    InlineStyleSheet,
    LinearAxis,
    LinearScale,
    Model,
    Plot,
    Title,
    Toolbar,
    WheelZoomTool,
)
from bokeh.plotting import figure

from streamvis.page.documents.look import CARD, PANEL_HEIGHT
from streamvis.page.live.moved_ranges import moved_range
from streamvis.panels.log_ticks import tick_logarithmically

__all__ = ["GREY", "Parts", "box", "html_table", "keep_sources", "plain_number", "plot_frame", "short", "whole_view"]

GREY = "#76808a"
_TOOLS = "pan,box_zoom,reset,save"
_WIDE_TITLE, _NARROW_TITLE = 80, 36
"""Characters of a title that fit into most charts, and into a narrow one. The end of a name may be what differs."""
_READ = "window.streamvisPanels?.read(cb_obj)"
_MOUSE = "window.streamvisPanels?.mouse(cb_obj)"
_BOX = """
  :host {
    display: block; overflow: auto; box-sizing: border-box; color: var(--text, inherit); font: 13px/1.45 system-ui, sans-serif }
  .bk-clearfix { width: 100%; height: 100% }
  .box { padding: 10px 12px; box-sizing: border-box; min-height: 100% }
  h3 { font-size: 13px; margin: 0 0 8px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap }
  .muted { color: var(--muted, #76808a) }
  table { border-collapse: collapse; font-variant-numeric: tabular-nums }
  td, th { padding: 2px 10px 2px 0; text-align: left; vertical-align: top }
  th { color: var(--muted, #76808a); font-weight: 500; white-space: nowrap; max-width: 12em;
    overflow: hidden; text-overflow: ellipsis }
  details > :not(summary) { margin-left: 14px } summary { cursor: pointer }
"""


class Parts:
    """Models without a state of their own, which all figures of one document may share, so that they are made and sent once."""

    _used: ContextVar[Parts | None] = ContextVar("parts", default=None)

    def __init__(self) -> None:
        self._made: dict[str, Model] = {}

    @property
    def made(self) -> list[Model]:
        """All of them, so far."""
        return list(self._made.values())

    @contextmanager
    def used(self) -> Iterator[None]:
        """Within this, panels share these parts."""
        token = self._used.set(self)
        try:
            yield
        finally:
            self._used.reset(token)

    @classmethod
    def part(cls, name: str, make: Callable[[], Model]) -> Any:
        """The shared part of this name, or a new one where nothing is shared."""
        parts = cls._used.get()
        if parts is None:
            return make()
        if name not in parts._made:
            parts._made[name] = make()
        return parts._made[name]


def whole_view() -> CDSView:
    """A view of all rows of a source."""
    return CDSView(filter=Parts.part("all rows", AllIndices))


def plot_frame(title: str, options: Mapping[str, Any], *, reads: bool = False, **defaults: Any) -> figure:
    """A figure as panels have them; `options` are the author's, and win. With `reads`, the mouse shows the values at its x.

    One without a toolbar has only what works without one: dragging zooms, a double click goes back, the wheel scrolls the page.
    """
    settings = {"height": PANEL_HEIGHT, "sizing_mode": "stretch_width", "tools": _TOOLS, "min_border_left": 46}
    settings |= {"title": short(title, _WIDE_TITLE), "toolbar_location": "above", "min_border": 12, "styles": CARD} | defaults
    if {"width", "frame_width"} & options.keys() and "sizing_mode" not in options:
        settings.pop("sizing_mode")
    settings |= options
    if reads and settings["toolbar_location"] is None:
        return _lean(settings)
    plot = figure(**settings)
    tick_logarithmically(plot)
    plot.toolbar.autohide, plot.toolbar.logo = True, None
    plot.js_on_event("doubletap", CustomJS(args={"plot": plot}, code="plot.reset.emit()"))
    if reads:
        across = WheelZoomTool(dimensions="width")
        plot.add_tools(across, WheelZoomTool(dimensions="height", modifiers="alt"))
        plot.toolbar.active_scroll = across
        plot.add_tools(CrosshairTool(dimensions="height", line_color=GREY, line_alpha=0.6))
        plot.js_on_event("mousemove", CustomJS(code=_READ))
        plot.js_on_event("mouseleave", CustomJS(code="window.streamvisPanels?.hide()"))
    return plot


def _lean(settings: dict[str, Any]) -> figure:
    """A figure of as few models as can be, since a page may show dozens. What tools would do, panels.js does."""
    if isinstance(settings["title"], str):
        settings["title"] = Title(text=short(settings["title"], _NARROW_TITLE))
    is_log = {side: settings.get(f"{side}_axis_type") == "log" for side in "xy"}
    axes = {side: settings.get(f"{side}_axis_type", "auto") for side in "xy"}
    for side in "xy":
        settings.setdefault(f"{side}_range", moved_range(log=is_log[side]))
        if axes[side] in ("auto", "linear"):
            settings |= {f"{side}_axis_type": None, f"{side}_scale": Parts.part("scale", LinearScale)}
    label = settings.pop("x_axis_label", None), settings.pop("y_axis_label", None)
    settings.setdefault("min_border_bottom", 28)
    settings |= {"tools": [], "toolbar": Parts.part("toolbar", lambda: Toolbar(logo=None)), "context_menu": None}
    plot = figure(**settings)
    tick_logarithmically(plot)
    sides: tuple[tuple[Literal[0, 1], str, Literal["below", "left"]], ...] = ((0, "x", "below"), (1, "y", "left"))
    for dimension, side, place in sides:
        if settings[f"{side}_axis_type"] is None:
            ticker = Parts.part("ticker", BasicTicker)
            formatter, policy = Parts.part("formatter", BasicTickFormatter), Parts.part("labels", AllLabels)
            axis = LinearAxis(ticker=ticker, formatter=formatter, major_label_policy=policy, axis_label=label[dimension])
            plot.add_layout(axis, place)
            plot.add_layout(Grid(dimension=dimension, ticker=ticker))
        elif label[dimension]:
            getattr(plot, f"{side}axis").axis_label = label[dimension]
    mouse = Parts.part("mouse", lambda: CustomJS(code=_MOUSE))
    events = ("mousemove", "mouseleave", "doubletap", "panstart", "pan", "panend")
    plot.js_event_callbacks = dict.fromkeys(events, [mouse])
    return plot


def box(title: str, options: Mapping[str, Any], *, css: str = "", **defaults: Any) -> Div:
    """An HTML box as panels have them; what is put into it goes through `fill`."""
    settings: dict[str, Any] = {"height": PANEL_HEIGHT, "sizing_mode": "stretch_width", "styles": CARD, "margin": 0} | defaults
    # What a run sends is shown as it is: "\(" in a log does not begin a formula.
    settings["disable_math"] = True
    if "width" in options and "sizing_mode" not in options:
        settings.pop("sizing_mode")
    sheets = [InlineStyleSheet(css=_BOX + css), *options.get("stylesheets", ())]
    settings |= dict(options) | {"stylesheets": sheets, "text": boxed(title, "")}
    if settings.get("max_height") is not None and isinstance(settings["styles"], Mapping):
        # Bokeh adds "at most 100 % of what is around", and browsers then ignore both where that is as high as its parts.
        settings["styles"] = {"max-height": f"{settings['max_height']}px", **settings["styles"]}
    return Div(**settings)


def boxed(title: str, content: str) -> str:
    """The text of a box: its title, and HTML."""
    heading = f'<h3 title="{escape(title)}">{escape(title)}</h3>' if title else ""
    return f'<div class="box">{heading}{content}</div>'


def keep_sources(model: Model, sources: Sequence[ColumnDataSource], *, instead_of: CustomJS | None = None) -> CustomJS:
    """Have the document hold these sources, where they are found and filled: by a callback that does nothing, which is returned.

    It comes in place of an earlier one. Those of others stay: by one of them, the first root holds what connects page and server.
    """
    kept = CustomJS(args={f"source{i}": one for i, one in enumerate(sources)}, code="/* keeps the sources */")
    others = [one for one in model.js_property_callbacks.get("change:name", ()) if one is not instead_of]
    model.js_property_callbacks = {**model.js_property_callbacks, "change:name": [*others, kept]}
    return kept


def html_table(rows: Mapping[str, str]) -> str:
    """A table of names and HTML."""
    told = ((escape(name), cell) for name, cell in rows.items())
    return "<table>" + "".join(f'<tr><th title="{name}">{name}</th><td>{cell}</td></tr>' for name, cell in told) + "</table>"


def short(text: str, most: int) -> str:
    """The text with its middle left out where it is longer than `most` characters."""
    keep = (most - 1) // 2
    return text if len(text) <= most else f"{text[: most - 1 - keep]}…{text[-keep:]}"


def plain_number(value: Any, *, digits: int = 4) -> str:
    """A number as people read it: at most `digits` significant digits. Whole numbers are in full: floats below 1e12, and integers
    of up to 20 digits, such as seeds."""
    if value is None or value != value:
        return "–"
    if isinstance(value, str):
        return value
    try:
        size = abs(float(value))
    except OverflowError:
        return short(str(value), 24)
    if size < (1e20 if isinstance(value, int) else 1e12) and float(value).is_integer():
        return f"{int(value):,}".replace(",", "\u202f")
    return f"{value:.2e}" if size >= 1e7 or size < 1e-3 else f"{value:.{digits}g}"


def title_of(title: str | None, key: str | list[str]) -> str:
    """The title that was given, else the key."""
    return title if title is not None else ", ".join([key] if isinstance(key, str) else key)


def fit(plot: Plot) -> None:
    """Hide what a picture needs no axes for."""
    plot.axis.visible = plot.grid.visible = False
