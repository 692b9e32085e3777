"""Sources that Streamvis fills: what they show is written into a tag of the Bokeh source, where a session finds it.

A source shows the rows of one run, or the middle and the spread of a column over several. What fills it is in `track` and
`band_track`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields
from typing import Any

from bokeh.models import ColumnDataSource

from streamvis.errors import UsageError
from streamvis.selection import STATS
from streamvis.series.exponential_mean import smoothed_name

__all__ = ["LiveSpec", "band_columns", "band_source", "bound_run", "live_source", "of_run", "source_for", "spec_of"]

_TAG = "streamvis live source"
_LEAST_ROWS = 100
_RUN: ContextVar[str] = ContextVar("run", default="")


@dataclass(frozen=True, slots=True)
class LiveSpec:
    """What a live source shows: columns of `key` over `x`, at most about `max_rows` rows, following the newest `window` of x.

    The newest are the rows stored last that span no more than that in x.
    Of the columns `carry` it has what the rows have that are shown for the others: the step, the time, texts. With `smooth`, each
    column of numbers has its debiased exponential mean of that weight beside it, over all rows (see `exponential_mean`). Where x
    is "elapsed" it is the seconds since `origin`, which is when the run started.

    `runs` are the ids of the runs whose rows are shown: one, or none for the page's first. With `stat`, it is the middle and the
    spread of each column over these runs (see `band_columns`); with `smooth`, of their smoothed columns.
    """

    key: str
    x: str
    columns: Sequence[str]
    max_rows: int
    window: float | None
    carry: Sequence[str] = ()
    smooth: float = 0.0
    origin: float = 0.0
    runs: Sequence[str] = ()
    stat: str = ""

    @property
    def smoothed(self) -> dict[str, str]:
        """The smoothed column of each column that has one."""
        return {name: smoothed_name(name) for name in self.columns if name != self.x} if self.smooth else {}

    @property
    def names(self) -> list[str]:
        """The columns of the source."""
        if self.stat:
            return [self.x, *(part for name in self.columns for part in band_columns(name))]
        return list(dict.fromkeys([self.x, *self.columns, *self.smoothed.values(), *self.carry]))


def band_columns(column: str) -> tuple[str, str, str, str, str]:
    """What a source of a band calls the middle of a column, its lower and its upper end, how many runs there are, and the middle
    where one of them ended."""
    return f"{column}.middle", f"{column}.low", f"{column}.high", f"{column}.runs", f"{column}.end"


def live_source(
    key: str, *, x: str = "step", columns: Sequence[str], max_rows: int = 8000, window: float | None = None, **options: Any
) -> ColumnDataSource:
    """Make a source that Streamvis fills with the rows of `key` while it is in the document.

    Its figures follow the newest data until the viewer zooms or pans, and then show the viewer's range in detail. If there are
    more than `max_rows` rows, the lowest and highest values of each small range are shown, so that every spike is visible. On a
    page of several runs it shows the first one; use `run.live_source` for others.

    Args:
        key: the key; its rows are not in `new_data` while a live source of the document shows it
        x: the x of the figures: "step", "time" (when each row was sent), or any column of numbers or times
        columns: the columns to draw; rows that have none of them are left out
        max_rows: about how many rows the browser holds at most; fewer for small figures, or if they show several runs
        window: show only the newest part of the run, of this length in units of x (seconds if x is a time); by default all of
            it. If x is not increasing, the newest part is the last stored rows that span no more than that
        options: for `ColumnDataSource`, such as `name`

    Raises UsageError for an invalid argument.
    """
    _check(columns, max_rows)
    if window is not None and not window > 0:
        raise UsageError(f"window is {window!r}. Give how much of x to follow, above 0, or None for all of it.")
    return source_for(LiveSpec(key, x, list(columns), max_rows, window), **options)


def band_source(
    key: str,
    *,
    x: str = "step",
    columns: Sequence[str],
    runs: Sequence[Any],
    stat: str = STATS[0],
    max_rows: int = 4000,
    **options: Any,
) -> ColumnDataSource:
    """Make a source with the middle and the spread of columns over several runs, at each x, computed from all of their rows.

    For a column "loss" the source has "loss.middle", "loss.low", "loss.high", and "loss.runs", the number of runs that have
    a number at that x. "loss.end" is the middle at the x where an ended run stops before others, and NaN elsewhere. Draw them
    with `line`, `varea` and `scatter`. The source follows the newest data, and has more detail after the viewer zooms in.

    Args:
        key: the key whose rows to read
        x: "step", or a column of numbers
        columns: the columns of numbers to summarize
        runs: the runs, as `init_page` got them, or their ids
        stat: "std" is the mean and the standard deviation (n - 1), "sem" its standard error, "ci95" its 95 % interval by
            Student's t, "quartiles" the median with the first and third quartile, "range" the mean with the lowest and highest
        max_rows: about how many rows the browser holds at most
        options: for `ColumnDataSource`, such as `name`

    Raises UsageError for an invalid argument.
    """
    _check(columns, max_rows)
    found = [run if isinstance(run, str) else getattr(run, "id", None) for run in runs]
    ids = [one for one in found if isinstance(one, str) and one]
    if not ids or len(ids) < len(found):
        raise UsageError("runs must be runs of this page, or their ids, at least one.")
    if stat not in STATS:
        raise UsageError(f"stat is {stat!r}. Give one of {', '.join(STATS)}.")
    return source_for(LiveSpec(key, x, list(columns), max_rows, None, runs=ids, stat=stat), **options)


def _check(columns: Sequence[str], max_rows: int) -> None:
    if isinstance(columns, str) or not columns or not all(isinstance(name, str) and name for name in columns):
        raise UsageError(f"columns is {columns!r}. Give the names of the columns to draw, such as columns=['loss'].")
    if max_rows < _LEAST_ROWS:
        raise UsageError(f"max_rows is {max_rows}. A figure needs at least {_LEAST_ROWS} rows.")


def source_for(spec: LiveSpec, **options: Any) -> ColumnDataSource:
    """A source that Streamvis fills as the spec says; of the run of `of_run`, where the spec names none."""
    tag = {field.name: getattr(spec, field.name) for field in fields(spec)}
    if not spec.runs and _RUN.get():
        tag["runs"] = [_RUN.get()]
    return ColumnDataSource({name: [] for name in spec.names}, tags=[{_TAG: tag}], **options)


def spec_of(source: ColumnDataSource) -> LiveSpec | None:
    """What the source was made for by `source_for`; None for any other source."""
    for tag in source.tags:
        if isinstance(tag, dict) and _TAG in tag:
            return LiveSpec(**tag[_TAG])
    return None


@contextmanager
def of_run(run: str) -> Iterator[None]:
    """Within this, panels and sources that are made and name no run are of the run with this id."""
    token = _RUN.set(run)
    try:
        yield
    finally:
        _RUN.reset(token)


def bound_run() -> str:
    """The id of the run of `of_run`, or "" for the page's first."""
    return _RUN.get()
