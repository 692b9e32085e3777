"""The house look: how a page is drawn whose author set no theme and no template.

Colours are CSS variables, since only the browser knows whether to be light or dark; Bokeh reads those that begin with --bk-. The
roots of a document are the cells of a grid that fills the window. Whatever an author sets wins: a theme replaces this theme, a
template this template, and an option of a model the same option here.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from bokeh.core.templates import FILE
from bokeh.document import DEFAULT_TITLE, Document
from bokeh.models import CustomJS, LayoutDOM, Plot, WheelZoomTool
from bokeh.themes import Theme, default

from streamvis.page.documents import widgets
from streamvis.page.documents.models import own_names
from streamvis.page.fillers import is_panel

__all__ = ["CARD", "PANEL_HEIGHT", "dress", "has_house_template", "prepare"]

CARD = {"background": "var(--panel)", "border": "1px solid var(--line)", "border-radius": "8px"}
PANEL_HEIGHT = 300
"""How high a panel is, in pixels, that its author gave no height."""
_GREY = "#76808a"
_CONTENTS = ("children", "tabs", "child")
"""What a container holds others in. One that is not as wide as its place leaves no width to a figure in it that fills it."""
_ATTRIBUTES = {
    "Plot": {"min_border": 12, "toolbar_location": "above", "styles": CARD},
    "Toolbar": {"autohide": True, "logo": None},
    "Title": {"text_font_size": "13px", "text_font_style": "bold"},
    "Axis": {"axis_label_text_font_style": "normal", "axis_label_text_font_size": "12px"},
    "Legend": {
        "background_fill_alpha": 0,
        "border_line_color": None,
        "click_policy": "hide",
        "glyph_height": 14,
        "glyph_width": 16,
        "inactive_fill_alpha": 0.4,
        "inactive_fill_color": _GREY,
        # Bokeh asks for the CSS variables of a legend before it is in the page, and finds none.
        "label_text_color": _GREY,
        "label_text_font_size": "12px",
        "padding": 2,
        "spacing": 2,
        "title_text_color": _GREY,
    },
    "WheelZoomTool": {"dimensions": "width"},
    "ColorBar": {"background_fill_alpha": 0, "bar_line_color": None},
}


@cache
def _theme() -> Theme:
    sheets = {name: {**_ATTRIBUTES.get(name, {}), "stylesheets": its} for name, its in widgets.SHEETS.items()}
    return Theme(json={"attrs": {**_ATTRIBUTES, **sheets}})


@cache
def _template() -> str:
    return files("streamvis.page.documents").joinpath("look.html").read_text(encoding="utf-8")


def prepare(doc: Document, *, title: str) -> None:
    """Give the document the house look and a title before its author's `init_page`, which may set others."""
    if doc.title == DEFAULT_TITLE:
        doc.title = title
    if doc.theme is default:
        doc.theme = _theme()
    if doc.template is FILE:
        doc.template = _template()  # pyright: ignore[reportAttributeAccessIssue]  # Bokeh takes a text too


def has_house_template(doc: Document) -> bool:
    """Whether the author has set no template."""
    return doc.template is FILE or doc.template is _template()


def dress(doc: Document) -> None:
    """After `init_page`: let what has no size of its own fill its cell, and the wheel and double clicks work as in panels."""
    if doc.template is not _template():
        return
    for root in doc.roots:
        if isinstance(root, LayoutDOM):
            _mark_sizes(root)
    widgets.colour(doc)
    if doc.theme is not _theme():
        return
    for root in doc.roots:
        if isinstance(root, LayoutDOM) and is_panel(root) and root.height in (None, PANEL_HEIGHT):
            # As high as its cell and not as its content, which scrolls: else the longest would make every row long.
            classes = [*root.css_classes, "streamvis-cell"]
            root.update(sizing_mode="stretch_both", height=None, min_height=PANEL_HEIGHT, css_classes=classes)
        elif isinstance(root, LayoutDOM):
            _stretch(root, "stretch_both" if isinstance(root, Plot) else "stretch_width")
    for model in doc.select({"type": LayoutDOM}):
        if isinstance(model, LayoutDOM):
            _stretch(model, "stretch_width")
        if isinstance(model, Plot):
            _equip(model)


def _mark_sizes(root: LayoutDOM) -> None:
    """Tell the template which sizes are the author's: it sets no other over these. Along a side that stretches, none counts."""
    its_own, mode = own_names(root), root.sizing_mode or ""
    for side, policy in (("width", root.width_policy), ("height", root.height_policy)):
        stretches = mode.endswith((side, "both")) or policy == "max"
        counts = mode == "fixed" or (side in its_own and not stretches)
        if counts or (side == "height" and "min_height" in its_own):
            root.update(css_classes=[*root.css_classes, f"streamvis-own-{side}"])


def _stretch(model: LayoutDOM, mode: str) -> None:
    its_own = own_names(model)
    if model.sizing_mode is None and not its_own & {"width", "width_policy", "sizing_mode"}:
        if mode == "stretch_both" and its_own & {"height", "height_policy"}:
            mode = "stretch_width"
        if isinstance(model, Plot) or any(hasattr(model, its) for its in _CONTENTS):
            model.update(sizing_mode=mode)


def _equip(plot: Plot) -> None:
    if plot.toolbar.active_scroll == "auto":
        plot.toolbar.update(active_scroll=next((tool for tool in plot.tools if isinstance(tool, WheelZoomTool)), "auto"))
    plot.js_on_event("doubletap", CustomJS(args={"plot": plot}, code="plot.reset.emit()"))
