"""`numbers`: the newest value of columns, large, with the lowest, the highest, and a small line of the past."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, CustomJS, Div

from streamvis.descriptions import description_of
from streamvis.page.fillers import Filler, Page, attach
from streamvis.page.live.sources import LiveSpec, source_for
from streamvis.page.new_data import NewData
from streamvis.palette import PALETTE
from streamvis.panels.boxes import box, boxed, keep_sources, plain_number, title_of
from streamvis.panels.curves import best_of, number_columns
from streamvis.panels.side_by_side import for_each_run

__all__ = ["numbers"]

_MOST = 24
_LINE_POINTS = 60
_TOTALS = ("steps", "total_steps", "max_steps", "num_steps", "n_steps", "iterations", "max_iterations", "total_timesteps")
_CSS = """
  .grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(128px, 1fr)); gap: 10px 16px }
  .name { color: var(--muted, #76808a); overflow: hidden; text-overflow: ellipsis; white-space: nowrap }
  .now { font-size: 22px; font-weight: 600; line-height: 1.2; font-variant-numeric: tabular-nums }
  .range { font-size: 11px; color: var(--muted, #76808a); font-variant-numeric: tabular-nums }
  svg { display: block; width: 100%; height: 26px; margin-top: 2px; overflow: visible }
  .bar { height: 6px; border-radius: 3px; background: var(--line, #8884); overflow: hidden; margin: 4px 0 10px }
  .bar i { display: block; height: 100% }
"""


@for_each_run
def numbers(
    key: str,
    columns: str | Sequence[str] | None = None,
    *,
    title: str | None = None,
    names: Mapping[str, str] | None = None,
    total: int | None = None,
    **options: Any,
) -> Div:
    """Make a box with the newest value of each column, its lowest and highest finite ones so far, and a small line of its past.

    Where the number of steps is known, it says how far the run is, and how long the rest takes at the pace so far.

    Args:
        key: the key whose rows to show
        columns: by default all columns of numbers, also those that come later; at most 24
        title: by default the key
        names: what to call columns
        total: how many steps the run has; by default what its config says as `steps`, `total_steps`, `max_steps` or similar
        options: of Bokeh's `Div`, such as height=120
    """
    chosen = [columns] if isinstance(columns, str) else None if columns is None else list(columns)
    heading = title_of(title, key)
    div = box(heading, options, css=_CSS, height=None)
    filler = _Numbers(div, key, chosen, heading, names or {}, total)
    attach(div, filler)
    filler.follow(chosen or ())
    return div


class _Numbers(Filler):
    def __init__(
        self, div: Div, key: str, columns: list[str] | None, title: str, names: Mapping[str, str], total: int | None
    ) -> None:
        self._div, self._key, self._title, self._names, self._total = div, key, title, names, total
        self.wants_keys = columns is None
        self._sources: dict[str, ColumnDataSource] = {}
        self._kept: CustomJS | None = None
        self._state, self._is_due = "", False

    def begin(self, page: Page) -> None:
        super().begin(page)
        self._show()

    def keys_changed(self) -> None:
        info = self.page.keys.get(self._key)
        columns = number_columns(info.columns)[:_MOST] if info else []
        if columns != list(self._sources):
            self.follow(columns)
            self._show()

    def follow(self, columns: Sequence[str]) -> None:
        """Read these columns, and no others."""
        self._sources = {name: self._sources[name] if name in self._sources else self._source_of(name) for name in columns}
        self._kept = keep_sources(self._div, list(self._sources.values()), instead_of=self._kept)

    def _source_of(self, column: str) -> ColumnDataSource:
        source = source_for(LiveSpec(self._key, "step", [column], 4 * _LINE_POINTS, None, carry=("time",)))
        source.on_change("data", lambda attr, old, new: self._show_once())
        return source

    def _show_once(self) -> None:
        """Show what this update brings, once for all columns."""
        if not self._is_due:
            self._is_due = True
            self.page.in_update(self._show)

    def update(self, new_data: NewData) -> None:
        if self._state != new_data.run.state:
            self._show()

    def _show(self) -> None:
        self._is_due = False
        self._state = self.page.run.state
        cells = [self._cell(column, i) for i, column in enumerate(self._sources)]
        self._div.text = boxed(self._title, f'{self._progress()}<div class="grid">{"".join(cells)}</div>')

    def _cell(self, column: str, i: int) -> str:
        data, color = self._sources[column].data, PALETTE[i % len(PALETTE)]
        cells = data[column]
        values = np.empty(0)
        if isinstance(cells, np.ndarray) and cells.dtype.kind in "iuf":
            values = cells.astype(np.float64)
        good = values[np.isfinite(values)]
        name = escape(self._names.get(column, column))
        if not len(good):
            return f'<div><div class="name">{name}</div><div class="now">{_newest(values)}</div></div>'
        low, high = plain_number(good.min()), plain_number(good.max())
        said = description_of(column if "/" in column else f"{self._key}/{column}", self.page.described)
        best = best_of(data, column, said.best) if said.best else None
        spread = f"{low} … {high}" + (f" · best {plain_number(best[0])} at step {best[1]:,}" if best else "")
        return (
            f'<div><div class="name" title="{name}">{name}</div><div class="now">{_newest(values)}</div>'
            f'<div class="range">{spread}</div>{_line(np.asarray(data["step"], dtype=np.float64), values, color)}</div>'
        )

    def _progress(self) -> str:
        total = self._total or _total_of(self.page.run.config)
        data = next((s.data for s in self._sources.values() if len(s.data["step"])), None)
        if not total or data is None:
            return ""
        step, times = int(data["step"][-1]), np.asarray(data["time"])
        share = min(1.0, (step + 1) / total)
        left = ""
        taken_s = float((times[-1] - times[0]) / np.timedelta64(1, "us")) / 1e6 if len(times) > 1 else 0.0
        done = step - int(data["step"][0])
        if share < 1 and done > 0 and taken_s > 0 and self.page.run.state == "running":
            left = f" · about {_duration(taken_s / done * (total - 1 - step))} left"
        said = f"{plain_number(step + 1)} of {plain_number(total)} steps ({share:.0%}){left}"
        return f'<div>{said}</div><div class="bar"><i style="width:{share:.2%};background:{PALETTE[0]}"></i></div>'


def _newest(values: np.ndarray) -> str:
    """What came last, as it is: a loss that is NaN now was a number before. Of the rows before, the source has only some."""
    last = float(values[-1]) if len(values) else None
    if last is None or math.isfinite(last):
        return plain_number(last)
    return "NaN" if math.isnan(last) else "∞" if last > 0 else "−∞"


def _total_of(config: Mapping[str, Any]) -> int | None:
    found = next((config[name] for name in _TOTALS if name in config), None)
    return found if isinstance(found, int) and not isinstance(found, bool) and found > 0 else None


def _duration(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}" if seconds < 10 * size else f"{seconds / size:.0f} {unit}"
    return f"{math.ceil(seconds)} s"


def _line(x: np.ndarray, y: np.ndarray, color: str) -> str:
    good = np.isfinite(y) & np.isfinite(x)
    x, y = x[good], y[good]
    if len(x) < 2 or x[-1] == x[0]:
        return '<svg class="past"></svg>'
    if len(x) > 2 * _LINE_POINTS:
        # The lowest and the highest of each piece, in their order.
        groups = np.array_split(np.arange(len(x)), _LINE_POINTS)
        kept = np.unique([at for g in groups for at in (g[y[g].argmin()], g[y[g].argmax()])])
        x, y = x[kept], y[kept]
    across, spread = (x - x[0]) / (x[-1] - x[0]) * 100, float(y.max() - y.min()) or 1.0
    down = 24 - (y - y.min()) / spread * 22
    points = " ".join(f"{a:.1f},{d:.1f}" for a, d in zip(across, down, strict=True))
    style = f'fill="none" stroke="{color}" stroke-width="1.5" vector-effect="non-scaling-stroke"'
    return f'<svg class="past" viewBox="0 0 100 26" preserveAspectRatio="none"><polyline points="{points}" {style}/></svg>'
