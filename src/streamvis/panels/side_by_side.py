"""Panels on a page of several runs: those that show one run are made once for each, side by side.

What draws all runs in one figure asks `things_shown` what to draw: each run, or each group of runs as a middle and a band.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

from bokeh.io import curdoc
from bokeh.layouts import row as row_of
from bokeh.models import LayoutDOM

from streamvis.page.live.sources import bound_run, of_run
from streamvis.page.runs import PageRun, Showing, of_document
from streamvis.selection import Selection

__all__ = ["Thing", "for_each_run", "parts_of", "things_shown"]

_MOST_BESIDE = 8
_PARTS = "_streamvis_parts"
_Make = TypeVar("_Make", bound=Callable[..., LayoutDOM])


@dataclass(frozen=True, slots=True)
class Thing:
    """What has one colour in a figure: a run, or a group of runs, which is drawn with the statistic `stat`.

    On a page of one run it has no label and no color.
    """

    runs: tuple[str, ...] = ()
    label: str = ""
    color: str = ""
    stat: str = ""

    def is_of(self, run: str) -> bool:
        """Whether the run with this id is part of it."""
        return not self.runs or run in self.runs


def _showing() -> Showing:
    """What the page that is being made shows; without a page, nothing."""
    try:
        return of_document(curdoc())
    except RuntimeError:
        # Bokeh says so where the document that was current is gone.
        return Showing(Selection(), ())


def _runs() -> Sequence[PageRun]:
    """The runs of the page that is being made, where it shows several and the panel is not for one of them."""
    showing = _showing()
    return showing.runs if len(showing.runs) > 1 and not bound_run() else ()


def things_shown() -> list[Thing]:
    """What a figure of the page that is being made has to draw."""
    if not _runs():
        return [Thing((bound_run(),) if bound_run() else ())]
    showing = _showing()
    if showing.groups:
        stat = showing.selection.stat
        groups = showing.groups.items()
        return [Thing(tuple(run.id for run in runs), f"{name} ({len(runs)})", runs[0].color, stat) for name, runs in groups]
    return [Thing((run.id,), run.label, run.color) for run in showing.runs]


def for_each_run(make: _Make) -> _Make:
    """Let a panel function that shows one run make one panel for each run, where a page shows several."""

    @wraps(make)
    def made(key: str, *arguments: Any, title: str | None = None, **options: Any) -> LayoutDOM:
        runs = _runs()
        if not runs:
            return make(key, *arguments, title=title, **options)
        parts = {}
        for run in runs[:_MOST_BESIDE]:
            # What another panel selects is selected run by run.
            own = {name: parts_of(option).get(run.id, option) for name, option in options.items()}
            with of_run(run.id):
                parts[run.id] = make(key, *arguments, title=f"{run.label} · {title if title is not None else key}", **own)
        beside = row_of(*parts.values(), sizing_mode="stretch_width", spacing=8)
        setattr(beside, _PARTS, parts)
        return beside

    return made


def parts_of(model: Any) -> dict[str, LayoutDOM]:
    """The panels by run of what `for_each_run` made; of nothing else any."""
    return getattr(model, "__dict__", {}).get(_PARTS, {})
