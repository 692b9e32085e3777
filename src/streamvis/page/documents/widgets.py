"""Sheets that draw Bokeh's widgets in the colours of the house look.

Bokeh gives each model its colours as variables in its shadow root, over those of the page: on a dark screen, text in fields would
be white on white. The look sets `--dark-...` only where it is dark (see look.html), so that on a light screen, and in a page with
another template, every widget keeps the colours of Bokeh, which stand here as fallbacks.
"""

from __future__ import annotations

from bokeh.document import Document
from bokeh.models.ui import UIElement

from streamvis.page.documents.models import all_of

__all__ = ["SHEETS", "colour"]

_COLOURS = """:host {
  --color: var(--dark-text, #18191d); --disabled-color: var(--dark-muted, #747679);
  --placeholder-color: var(--dark-muted, #9a9b9d); --shortcut-color: var(--dark-muted, #747679);
  --background-color: var(--dark-field, #fff); --disabled-background-color: var(--dark-raised, #ebebeb);
  --surface-background-color: var(--dark-raised, #ebebeb); --hover-color: var(--dark-raised, #f9f9f9);
  --inactive-bg: var(--dark-edge, #ebebeb); --border-color: var(--dark-edge, #bbbbbd); --divider-color: var(--dark-edge, #d7d7d8);
  --icon-color: var(--dark-muted, var(--bokeh-icon-color, #747679)) }"""
_ARROW = """select:not([multiple]).bk-input { background-image: var(--dark-arrow, url('data:image/svg+xml;utf8,\
<svg viewBox="0 0 25 20" xmlns="http://www.w3.org/2000/svg"><path d="M 0,0 25,0 12.5,20 Z"/></svg>')) }"""
_FILE = """:host { --file: var(--dark-raised, #fff); --file-border: var(--dark-edge, #ccc);
  --file-hover: var(--dark-edge, #f5f5f5); --file-hover-border: var(--dark-edge, #b8b8b8) }"""
_CHOICES = """
.choices.is-disabled .choices__inner, .choices.is-disabled .choices__input { background-color: var(--dark-raised, #eaeaea) }
.choices__list--dropdown, .choices__list[aria-expanded] { background-color: var(--dark-raised, #fff);
  border-color: var(--dark-edge, #ddd) }
.choices__list--dropdown .choices__item--selectable.is-highlighted,
.choices__list[aria-expanded] .choices__item--selectable.is-highlighted {
  background-color: var(--dark-edge, #f2f2f2) }"""
_BUTTON = (
    ":host {"
    + "".join(
        f"""
  --{kind}: var(--dark-raised, #fff); --{kind}-border: var(--dark-edge, #ccc); --{kind}-hover: var(--dark-edge, #f5f5f5);
  --{kind}-hover-border: var(--dark-edge, #b8b8b8); --{kind}-active: var(--dark-edge, #ebebeb);
  --{kind}-active-border: var(--dark-muted, #adadad); --{kind}-disabled: var(--dark-raised, #e6e6e6);
  --{kind}-disabled-border: var(--dark-edge, #ccc);"""
        for kind in ("default", "light")
    )
    + "}"
)
_SLIDER = """.noUi-target { background: var(--dark-raised, #fafafa); border-color: var(--dark-edge, #d3d3d3);
  box-shadow: var(--dark-shadow, inset 0 1px 1px #f0f0f0, 0 3px 6px -5px #bbb) }"""
_TABLE = """:host { --odd: var(--dark-raised, #f0f0f0); --special: var(--dark-raised, #f5f5f5);
  --muted-text: var(--dark-muted, #909090); --selected: var(--dark-selected, #f0f8ff) }
.slick-row { background: var(--dark-field, #fff) }
.slick-row.selected { background: var(--dark-selected, #dfe8f6) }
.slick-cell.editable { background: var(--dark-field, #fff); border-color: var(--dark-muted, #000) }
.slick-header-column:hover, .slick-header-column-active { background-color: var(--dark-raised, #fff) }"""

# Menus that the browser makes stay as light as Bokeh draws them: a sheet reaches a menu, but not the menus in it.
_MENU = """[class*="Menu"] { color: var(--dark-ink, inherit) }"""

SHEETS = {
    "AbstractButton": [_COLOURS, _BUTTON, _MENU],
    "AbstractSlider": [_COLOURS, _SLIDER],
    "Dialog": [_COLOURS],
    "Drawer": [_COLOURS],
    "FileInput": [_COLOURS, _FILE],
    "GroupBox": [_COLOURS],
    "InputWidget": [_COLOURS],
    "MultiChoice": [_COLOURS, _CHOICES],
    "Plot": [_MENU],
    "Select": [_COLOURS, _ARROW],
    "Switch": [_COLOURS],
    "TableWidget": [_COLOURS, _TABLE],
    "Tabs": [_COLOURS],
    "ToggleButtonGroup": [_COLOURS, _BUTTON],
    "Toolbar": [_MENU],
}
"""The sheets of each class of models, and of those derived from it that have none here."""


def colour(doc: Document) -> None:
    """Lay the sheets below those of the author too. A theme alone gives none to a model whose author set others."""
    for model in all_of(doc, UIElement):
        sheets = next((SHEETS[its.__name__] for its in type(model).__mro__ if its.__name__ in SHEETS), [])
        theirs = [sheet for sheet in model.stylesheets if sheet not in sheets]
        # Bokeh lays the variables of a model below all of its sheets.
        variables = "".join(f"{name}: {value};" for name, value in model.css_variables.items() if isinstance(value, str))
        wanted = [*sheets, *([f":host {{ {variables} }}"] if variables else []), *theirs]
        if sheets and wanted != list(model.stylesheets):
            model.update(stylesheets=wanted)
