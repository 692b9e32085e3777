"""What the time bar knows of a run's past: its attempts, its alerts, the columns that can be its scale, and how they go with the
steps."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from streamvis.alerts import ALERTS, Alert, alerts_in
from streamvis.errors import LiveSourceRefused
from streamvis.page.feeds.reader import EndpointReader
from streamvis.records import HistoryQuery, Rows
from streamvis.transport import path

__all__ = ["past_of", "scale_of", "time_of"]

_POINTS = 300
_MOST_COLUMNS = 500
_MOST_ALERTS = 100
_MOST_KEYS = 20
_NUMBERS = ("int", "uint", "float", "datetime64")


def past_of(reader: EndpointReader, run: str) -> dict[str, Any]:
    """The columns of numbers and times of a run's keys that hold rows, the attempts that resumed, and the newest alerts."""
    response = reader.ask("GET", path("runs", run))
    about = json.loads(response.body) if response.status == 200 else {}
    rows = {key: its["columns"] for key, its in about.get("keys", {}).items() if its["kind"] == "rows"}
    columns = [[key, name] for key, its in rows.items() for name in _drawable(its)]
    alerts = _alerts_of(reader, run, rows[ALERTS]) if ALERTS in rows else []
    return {"columns": columns[:_MOST_COLUMNS], "attempts": about.get("attempts", []), "alerts": alerts}


def _alerts_of(reader: EndpointReader, run: str, dtypes: Mapping[str, str]) -> list[dict[str, Any]]:
    """The newest alerts, each with its step, time, title and level."""
    names = [name for name in ("title", "level") if name in dtypes]
    newest: deque[Alert] = deque(maxlen=_MOST_ALERTS)
    try:
        for rows in _newest_rows(reader, run, {name: dtypes[name] for name in names}) if "title" in names else ():
            columns = {name: {"data": _cells(rows.columns[name])} for name in names if name in rows.columns}
            newest.extend(alerts_in(run, {"steps": rows.steps.tolist(), "times": rows.times.tolist(), "columns": columns}))
    except LiveSourceRefused:
        pass  # such as where they are damaged: the bar has its steps anyway
    return [{"step": one.step, "time": one.time, "title": one.title, "level": one.level} for one in newest]


def _newest_rows(reader: EndpointReader, run: str, dtypes: Mapping[str, str]) -> Iterable[Rows]:
    """The newest alerts' rows; all rows if not all cells are texts, since histories have no columns of mixed kinds."""
    if not set(dtypes.values()) <= {"string", "null"}:
        return reader.rows_of(run, ALERTS)
    # A bucket for each row, and some to spare: none of them is left out.
    asked = HistoryQuery(x="row", columns=list(dtypes), window=_MOST_ALERTS - 1, buckets=4 * _MOST_ALERTS, having=["title"])
    found = reader.history(run, ALERTS, asked)
    return [] if found is None else [found.rows]


def _cells(column: Any) -> list[Any]:
    return column.tolist() if isinstance(column, np.ndarray) else [None if cell is None else cell.tolist() for cell in column]


def _drawable(dtypes: Mapping[str, str]) -> list[str]:
    """The columns of numbers and times among these."""
    return [name for name, dtype in dtypes.items() if dtype.startswith(_NUMBERS)]


def time_of(reader: EndpointReader, run: str) -> dict[str, Any]:
    """As `scale_of`: the time, by the key that spans the most steps among the first 20 with a column that can be drawn."""
    widest, most = ("", ""), -1.0
    drawn = [(key, _drawable(its)) for key, its in reader.row_keys(run).items() if key != ALERTS]
    for key, column in [(key, columns[0]) for key, columns in drawn if columns][:_MOST_KEYS]:
        found = reader.history(run, key, HistoryQuery(x="step", columns=[column], buckets=1))
        if found is None or found.first_x is None or found.last_x is None:
            continue
        if found.last_x - found.first_x > most:
            widest, most = (key, column), found.last_x - found.first_x
    return _scale(reader, run, *widest, is_time=True)


def scale_of(reader: EndpointReader, run: str, key: str, column: str) -> dict[str, Any]:
    """Steps of a key's rows, rising, and what the column is there, a time in seconds since 1970 UTC.

    `rises` tells whether it never falls, so that it can be a scale.
    """
    return _scale(reader, run, key, column, is_time=False)


def _scale(reader: EndpointReader, run: str, key: str, column: str, *, is_time: bool) -> dict[str, Any]:
    """The scale by this column, or, with `is_time`, by the times of its rows."""
    found = reader.history(run, key, HistoryQuery(x="step", columns=[column], buckets=_POINTS)) if key else None
    if found is None:
        return {"steps": [], "x": [], "rises": False, "is_time": is_time}
    cells = found.rows.times if is_time else found.rows.columns[column]
    is_time = cells.dtype.kind == "M" or is_time
    if cells.dtype.kind == "M":
        cells = cells.astype("M8[us]").astype(np.int64) / 1e6
    steps, order = found.rows.steps, np.argsort(found.rows.steps, kind="stable")
    x = np.asarray(cells, dtype=np.float64)[order]
    there = np.isfinite(x)
    steps, x = steps[order][there], x[there]
    rises = len(x) > 1 and bool((np.diff(x) >= 0).all()) and bool(x[0] < x[-1])
    return {"steps": steps.tolist(), "x": x.tolist(), "rises": rises, "is_time": is_time}
