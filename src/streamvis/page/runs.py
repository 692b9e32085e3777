"""The runs that a page shows: what its author gets of each, and which there are in a document.

`of_document` is how panels learn of them; what is not in a session has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from bokeh.document import Document
from bokeh.io import curdoc
from bokeh.models import ColumnDataSource

from streamvis.errors import UsageError
from streamvis.filters import Filter
from streamvis.page.author.requests import Answer, Asking, PastValue
from streamvis.page.live.sources import live_source, of_run
from streamvis.selection import Selection

__all__ = ["PageRun", "Showing", "grouped", "labelled", "of_document", "runs", "show_in"]

_SHOWING = "_streamvis_showing"
_WAIT_S = 2.0
_MOST_LISTED = 1000
_MOST_VALUES = 1000


class FindsRuns(Protocol):
    """What knows the runs of an app: the endpoint's reader."""

    def runs(self, *, app: str | None, where: str, order: str, limit: int, with_config: bool, timeout_s: float) -> Any:
        """The runs that fit, as the endpoint describes them."""


@dataclass(frozen=True, slots=True)
class PageRun:
    """A run that a page shows: its id, its name, the config that `Client.init` was given, its state, records dropped,
    when it started, in seconds since 1970 UTC, and its app.

    `color` ("#rrggbb") is the same for a run on all pages; runs of one group have one color. `label` is what to call it beside
    the page's other runs, and `group` what its group is called, or "". `at` is the step as of which the page shows it, or None.
    """

    id: str
    name: str
    config: Mapping[str, Any]
    state: str
    dropped: int = 0
    started: float = 0.0
    app: str = ""
    color: str = ""
    label: str = ""
    group: str = ""
    at: int | None = None
    asking: Asking | None = field(default=None, repr=False, compare=False)

    def live_source(self, key: str, **arguments: Any) -> ColumnDataSource:
        """Make a live source of this run's rows; the arguments are those of `streamvis.live_source`."""
        with of_run(self.id):
            return live_source(key, **arguments)

    def value(self, key: str, *, step: int | None = None) -> Answer[PastValue | None]:
        """Read a value of the run: the latest of the steps up to `step`, by default the latest of all that the page shows.

        The page continues meanwhile: `await run.value("weights")` in `async def`, or `run.value("weights").then(function)` in any
        callback. What comes is the value as it was sent, with its `step` and `time`; None where the key has no value then.
        Reading raises EndpointError when the endpoint does not answer.
        """
        return self._asks().value(self.id, key, step)

    def values(self, key: str, *, limit: int = _MOST_VALUES) -> Answer[list[PastValue]]:
        """Read the values of a key by rising step, as `value` does; of more than `limit`, at most so many, evenly spread."""
        if not (isinstance(limit, int) and 0 < limit <= _MOST_VALUES):
            raise UsageError(f"limit is {limit!r}. Give a whole number from 1 to {_MOST_VALUES:,}.")
        return self._asks().values(self.id, key, limit)

    def _asks(self) -> Asking:
        if self.asking is None:
            raise UsageError("Only the runs of a page read values: those of init_page, new_data.run and streamvis.runs().")
        return self.asking


@dataclass(frozen=True, slots=True)
class Showing:
    """What a document shows: its runs, in the order of the selection that chose them. `reader` finds others."""

    selection: Selection
    runs: Sequence[PageRun]
    reader: FindsRuns | None = None
    asking: Asking | None = None

    @property
    def groups(self) -> dict[str, list[PageRun]]:
        """The runs by their group, where the selection groups them."""
        found: dict[str, list[PageRun]] = {}
        for run in self.runs if self.selection.group else ():
            found.setdefault(run.group, []).append(run)
        return found


def runs(where: str = "", *, order: str = "-created", limit: int = 100) -> list[PageRun]:
    """List runs of the page's app, also those that the page does not show, by default the newest first.

    The page server waits for the endpoint's answer, for two seconds at most: call it in `init_page` and in callbacks, not in
    each update. Archived runs are left out. Times in configs are texts. A live source for a run that the page does not show is
    filled once.

    Args:
        where: a filter, such as "config.lr < 0.1 and state == 'finished'"
        order: a name of the filter language, with - before it for descending order
        limit: the maximum number of runs, up to 1,000

    Raises FilterError, UsageError outside of a page, and EndpointError if the endpoint does not answer.
    """
    showing = of_document(curdoc())
    if showing.reader is None:
        raise UsageError("streamvis.runs lists the runs of a page's app. Call it in init_page, or in a callback of a page.")
    if not (isinstance(limit, int) and 0 < limit <= _MOST_LISTED):
        raise UsageError(f"limit is {limit!r}. Give a whole number from 1 to {_MOST_LISTED:,}.")
    if where:
        Filter.parse(where)
    app = showing.selection.app or (showing.runs[0].app if showing.runs else None)
    ask = {"app": app, "where": where, "order": order, "limit": limit}
    found = showing.reader.runs(**ask, with_config=True, timeout_s=_WAIT_S).runs
    made = [
        PageRun(its["run"], its["name"], its["config"], its["state"], its["dropped"], its["created"], its["app"], its["color"])
        for its in found
    ]
    return labelled([replace(run, asking=showing.asking) for run in made])


def show_in(doc: Document, showing: Showing) -> None:
    """Note what the document shows."""
    setattr(doc, _SHOWING, showing)


def of_document(doc: Document) -> Showing:
    """What the document shows."""
    return vars(doc).get(_SHOWING) or Showing(Selection(), ())


def labelled(runs: Sequence[PageRun]) -> list[PageRun]:
    """The runs, each with a label that no other one has."""
    names = [run.name or run.id for run in runs]
    labels = [name if names.count(name) == 1 else f"{name} ({run.id})" for run, name in zip(runs, names, strict=True)]
    return [replace(run, label=label) for run, label in zip(runs, labels, strict=True)]


def grouped(runs: Sequence[PageRun], by: str) -> list[PageRun]:
    """The runs, each with the group that it is in by a value of its config, such as "config.lr", and that group's color."""
    if not by:
        return list(runs)
    parts = by.split(".")
    parts = parts[1:] if parts[0] == "config" else parts
    colors: dict[str, str] = {}
    found = []
    for run in sorted(runs, key=lambda run: run.started):
        group = f"{parts[-1]} = {_value_at(run.config, parts)}"
        found.append(replace(run, group=group, color=colors.setdefault(group, run.color)))
    order = {run.id: i for i, run in enumerate(runs)}
    return sorted(found, key=lambda run: order[run.id])


def _value_at(config: Any, parts: Sequence[str]) -> Any:
    for part in parts:
        if not isinstance(config, Mapping) or part not in config:
            return "not set"
        config = config[part]
    return config
