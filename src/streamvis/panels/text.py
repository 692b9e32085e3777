"""`text`: a log that follows its end, and can be searched."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from typing import Any, cast

import numpy as np
from bokeh.layouts import column as column_of
from bokeh.models import Column, ColumnDataSource, CustomJS, Div, InlineStyleSheet, TextInput

from streamvis.page.documents.look import CARD
from streamvis.page.feeds.reader import EndpointReader
from streamvis.page.fillers import attach
from streamvis.page.live.sources import LiveSpec, source_for
from streamvis.page.new_data import LIST, NewData, column_form
from streamvis.panels.boxes import box, boxed, keep_sources, title_of
from streamvis.panels.side_by_side import for_each_run
from streamvis.panels.value_filler import ValueFiller

__all__ = ["text"]

_LINES, _FOUND = 500, 200
_LONG = 4_000
# Turned around, so that the end stays in view as lines come, and a viewer who has scrolled up stays where they are.
_CSS = """
  :host { display: flex; flex-direction: column-reverse }
  .bk-clearfix { height: auto; margin-bottom: auto }
  .line { display: flex; gap: 10px; font: 12px/1.5 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere }
  .line span { color: var(--muted, #76808a); flex: none; min-width: 7ch; text-align: right }
  mark { background: #ffa90e66; color: inherit }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; font: 12px/1.5 ui-monospace, monospace }
"""
_FIELD = ".bk-input { background: var(--field, #fff); color: inherit; border: 1px solid var(--line, #ccc); border-radius: 6px }"


@for_each_run
def text(key: str, column: str | None = None, *, title: str | None = None, **options: Any) -> Column:
    """Make a box with the newest lines of a log, which follows its end, and a field that searches all of it.

    Args:
        key: rows with a column of texts, one line each; or a value that holds texts, of which the newest is shown
        column: by default the first column of texts
        title: by default the key
        options: of the Bokeh `Div` that holds the lines, such as height=400
    """
    heading = title_of(title, key)
    div = box("", {"styles": {}, "sizing_mode": "stretch_both", "height": None, "min_height": 120, **options}, css=_CSS)
    sheet = InlineStyleSheet(css=_FIELD)
    search = TextInput(placeholder="Search all lines", sizing_mode="stretch_width", margin=(8, 12, 0, 12), stylesheets=[sheet])
    name = Div(text=f"<b>{escape(heading)}</b>", margin=(8, 12, 0, 12), styles={"font": "13px system-ui, sans-serif"})
    panel = column_of(name, search, div, sizing_mode="stretch_width", styles=CARD, spacing=0, margin=0)
    filler = _Text(div, search, key, column)
    attach(panel, filler)
    search.on_change("value", lambda attr, old, new: filler.search(new))
    return panel


class _Text(ValueFiller):
    wants_keys = True

    def __init__(self, div: Div, search: TextInput, key: str, column: str | None) -> None:
        super().__init__(key)
        self._div, self._field, self._chosen, self._column = div, search, column, column
        self._source: ColumnDataSource | None = None
        self._kept: CustomJS | None = None
        self._sought = ""

    def keys_changed(self) -> None:
        info = self.page.keys.get(self.key)
        if info is None:
            return
        self._field.visible = info.kind == "rows"
        texts = [name for name, dtype in info.columns.items() if column_form(dtype) == LIST and not dtype.startswith("array")]
        column = self._chosen or next(iter(texts), None)
        if info.kind == "rows" and column is not None and (self._source is None or column != self._column):
            self._column = column
            self._read(column)

    def _read(self, column: str) -> None:
        """Follow a column of rows, in place of another one that came before the first one was known to hold texts."""
        source = self._source = source_for(LiveSpec(self.key, "row", [column], 4 * _LINES, float(_LINES), carry=("step",)))
        source.on_change("data", lambda attr, old, new: self._follow())
        self._kept = keep_sources(self._div, [source], instead_of=self._kept)

    def show(self, data: Mapping[str, Any], step: int) -> None:
        texts = [cell for name, cell in data.items() if self._chosen in (None, name)]
        # Turned back: a text is read from its beginning.
        self._div.update(styles={**cast(Mapping[str, Any], self._div.styles), "flex-direction": "column"})
        self._div.text = boxed("", "".join(f"<pre>{escape(_joined(cell))}</pre>" for cell in texts))

    def update(self, new_data: NewData) -> None:
        if self._source is None:
            super().update(new_data)

    def seek(self) -> None:
        if self._source is None:
            super().seek()
        elif self._sought:
            self.search(self._sought)

    def _follow(self) -> None:
        if not self._sought and self._source is not None and self._column is not None:
            data = self._source.data
            self._show(
                list(data["step"][-_LINES:]), list(data[self._column][-_LINES:]), len(data["row"]) and int(data["row"][-1]) + 1
            )

    def _show(self, steps: list[Any], lines: list[Any], count: int, note: str = "") -> None:
        shown = "".join(self._line(step, line) for step, line in zip(steps, lines, strict=True))
        if not note and count > len(lines):
            note = f"The newest {len(lines):,} of {count:,} lines; search to find others."
        self._div.text = boxed("", (f'<div class="muted">{note}</div>' if note else "") + shown)

    def _line(self, step: Any, line: Any) -> str:
        said = "" if line is None else str(line)[:_LONG]
        told = escape(said)
        if self._sought and (found := re.search(re.escape(self._sought), said, re.IGNORECASE)):
            before, its, after = (escape(part) for part in (said[: found.start()], found[0], said[found.end() :]))
            told = f"{before}<mark>{its}</mark>{after}"
        return f'<div class="line"><span>{int(step):,}</span><div>{told}</div></div>'

    def search(self, sought: str) -> None:
        """Show the newest lines that hold the text, of all that there are; with nothing to seek, follow the end."""
        self._sought = sought.strip()
        if not self._sought:
            self._follow()
        elif self._source is not None and self._column is not None:
            key, column, wanted = self.key, self._column, self._sought
            self.page.ask(lambda reader, run: _found(reader, run, key, column, wanted), self._show_found)

    def _show_found(self, found: tuple[str, int, list[tuple[int, str]]]) -> None:
        sought, count, lines = found
        if sought == self._sought:
            note = f"{count:,} lines hold this" + (
                f", of which these are the newest {len(lines):,}." if count > len(lines) else "."
            )
            self._show([step for step, _ in lines], [line for _, line in lines], count, note)


def _found(reader: EndpointReader, run: str, key: str, column: str, sought: str) -> tuple[str, int, list[tuple[int, str]]]:
    """The newest lines that hold `sought`, whatever its case, and how many there are. Reads the whole key, in pieces."""
    wanted, count, lines = sought.lower(), 0, []
    for rows in reader.rows_of(run, key):
        texts = rows.columns.get(column)
        for i, line in enumerate(() if texts is None else np.asarray(texts, dtype=object)):
            if line is not None and wanted in str(line).lower():
                count += 1
                lines.append((int(rows.steps[i]), str(line)))
        del lines[:-_FOUND]
    return sought, count, lines


def _joined(cell: Any) -> str:
    return "\n".join(map(str, cell)) if isinstance(cell, (list, tuple)) else str(cell)
