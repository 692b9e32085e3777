"""`table`: the newest rows of a key, or the columns of a value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from bokeh.layouts import column as column_of
from bokeh.models import (
    Column,
    ColumnDataSource,
    CustomJS,
    DataTable,
    DateFormatter,
    Div,
    InlineStyleSheet,
    NumberFormatter,
    StringFormatter,
    TableColumn,
)

from streamvis.page.documents.look import CARD
from streamvis.page.fillers import attach
from streamvis.page.live.sources import LiveSpec, source_for
from streamvis.page.new_data import LIST, NUMBER, TIME, NewData, column_form
from streamvis.panels.boxes import boxed, keep_sources, title_of
from streamvis.panels.side_by_side import for_each_run
from streamvis.panels.value_filler import ValueFiller

__all__ = ["table"]

_ROWS = 1_000
_FREE_ROWS = 200
"""Of a key with a column of any form, each of whose cells may be large."""
_MOST_CELLS = 12_000
_LONG_CELL = 200
_MOST_COLUMNS = 60
_CSS = """
  :host { --cell: var(--panel, #fff); border: 0 }
  .slick-header, .slick-header-column, .slick-header-columns, .slick-row, .slick-cell, .slick-viewport, .grid-canvas {
    background: transparent !important; color: var(--text, inherit) !important; border-color: var(--line, #ddd) !important }
  .slick-header-column { font-weight: 600 } .slick-cell { border-right: 0 !important; font-variant-numeric: tabular-nums }
  .slick-row:hover .slick-cell, .slick-cell.selected {
    background: color-mix(in srgb, var(--accent, #3f90da) 18%, transparent) !important }
"""


@for_each_run
def table(key: str, columns: str | Sequence[str] | None = None, *, title: str | None = None, **options: Any) -> Column:
    """Make a table of the newest rows of a key, the newest first, or of the columns of a value.

    It has 1,000 rows, or fewer where there are more than 12 columns: 12,000 cells. With a column of mixed or nested cells it has
    200; what is nested is shown as short text.

    A click on a column's name sorts.

    Args:
        key: the key to show
        columns: by default all, also those that come later, at most 60
        title: by default the key
        options: of Bokeh's `DataTable`, such as height=300
    """
    heading = Div(
        text=boxed(title_of(title, key), ""), styles={"font": "600 13px system-ui, sans-serif", "padding": "8px 12px 0"}
    )
    heading.text = title_of(title, key)
    heading.render_as_text = True
    settings = {
        "height": 260,
        "sizing_mode": "stretch_both",
        "min_height": 120,
        "index_position": None,
        "selectable": True,
    } | options
    sheets = [InlineStyleSheet(css=_CSS), *options.get("stylesheets", ())]
    grid = DataTable(**(settings | {"source": ColumnDataSource(), "columns": [], "stylesheets": sheets}))
    panel = column_of(heading, grid, sizing_mode="stretch_width", styles=CARD, spacing=0, margin=0)
    attach(panel, _Table(grid, key, [columns] if isinstance(columns, str) else None if columns is None else list(columns)))
    return panel


class _Table(ValueFiller):
    wants_keys = True

    def __init__(self, grid: DataTable, key: str, columns: list[str] | None) -> None:
        super().__init__(key)
        self._grid, self._columns = grid, columns
        self._source: ColumnDataSource | None = None
        self._kept: CustomJS | None = None
        self._forms: dict[str, str] = {}
        self._drawn: dict[str, str] = {}
        self._rows = _ROWS

    def keys_changed(self) -> None:
        info = self.page.keys.get(self.key)
        if info is None or info.kind != "rows":
            return
        shown = {name: form for name, form in _forms(info.columns).items() if self._columns is None or name in self._columns}
        shown = dict(list(shown.items())[:_MOST_COLUMNS])
        if shown and shown != self._forms:
            self._forms = shown
            is_free = "json" in (info.columns[name] for name in shown)
            self._rows = min(_FREE_ROWS if is_free else _ROWS, _MOST_CELLS // len(shown))
            # So many that each row is a bucket of its own, and none is left out for being like the others.
            most = 2 * len(shown) * self._rows
            spec = LiveSpec(self.key, "row", list(shown), most, float(self._rows), carry=("step", "time"))
            source = self._source = source_for(spec)
            source.on_change("data", lambda attr, old, new: self.page.in_update(lambda: self._show_rows(source)))
            # In the place of the one before, so that it alone is in the document and is filled.
            self._kept = keep_sources(self._grid, [source], instead_of=self._kept)

    def update(self, new_data: NewData) -> None:
        if self._source is None:
            super().update(new_data)

    def seek(self) -> None:
        if self._source is None:
            super().seek()

    def _show_rows(self, source: ColumnDataSource) -> None:
        data = {name: source.data[name] for name in ("step", *self._forms)}
        self._draw({name: _cells(cells)[-self._rows :][::-1] for name, cells in data.items()}, {"step": NUMBER, **self._forms})

    def show(self, data: Mapping[str, Any], step: int) -> None:
        names = [name for name in data if self._columns is None or name in self._columns][:_MOST_COLUMNS]
        cells = {name: _cells(data[name]) for name in names}
        forms = {name: _form_of(cells[name]) for name in names}
        length = max(map(len, cells.values()), default=0)
        cells = {name: [*column[:_ROWS], *[None] * (min(length, _ROWS) - len(column))] for name, column in cells.items()}
        self._draw(cells, forms)

    def _draw(self, cells: Mapping[str, list[Any]], forms: Mapping[str, str]) -> None:
        forms = {name: forms.get(name, LIST) for name in cells}
        if forms != self._drawn or list(forms) != list(self._drawn):
            self._drawn = forms
            self._grid.source = ColumnDataSource(dict(cells))
            self._grid.columns = [_column(name, form) for name, form in forms.items()]
        else:
            self._grid.source.update(data=dict(cells))


def _forms(dtypes: Mapping[str, str]) -> dict[str, str]:
    return {name: column_form(dtype) for name, dtype in dtypes.items() if not dtype.startswith("array<")}


def _form_of(cells: list[Any]) -> str:
    if cells and all(isinstance(cell, np.datetime64) for cell in cells):
        return TIME
    are_numbers = all(cell is None or (isinstance(cell, (int, float)) and not isinstance(cell, bool)) for cell in cells)
    return NUMBER if are_numbers else LIST


def _cells(column: Any) -> list[Any]:
    """The cells of a column as Bokeh's table takes them: numbers, texts, times, and None."""
    if isinstance(column, np.ndarray) and column.ndim == 0:
        column = [column.item()]
    if isinstance(column, np.ndarray):
        if column.dtype.kind == "M":
            return list(column)
        column = column.astype("m8[us]") if column.dtype.kind == "m" else column
        cells = list(column) if column.ndim > 1 else column.tolist()
    else:
        cells = column if isinstance(column, (list, tuple)) else [column]
    return [cell if isinstance(cell, (int, float, str)) or cell is None else _text(cell) for cell in cells]


def _text(cell: Any) -> str:
    text = str(cell)
    return text if len(text) <= _LONG_CELL else f"{text[:_LONG_CELL]}…"


def _column(name: str, form: str) -> TableColumn:
    formatter = StringFormatter()
    if form == NUMBER:
        formatter = NumberFormatter(format="0.[00000]", text_align="right", nan_format="–")
    elif form == TIME:
        formatter = DateFormatter(format="%Y-%m-%d %H:%M:%S")
    # Bokeh takes a title for HTML.
    return TableColumn(field=name, title=escape(name), formatter=formatter)
