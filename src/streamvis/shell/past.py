"""What the time bar knows of a run's past: its attempts, the columns that can be its scale, and how they go with the steps."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from streamvis.page.reader import EndpointReader
from streamvis.transport import path

__all__ = ["past_of", "scale_of"]

_POINTS = 300
_MOST_COLUMNS = 500
_NUMBERS = ("int", "uint", "float", "datetime64")


def past_of(reader: EndpointReader, run: str) -> dict[str, Any]:
    """The keys of a run that hold rows, their columns of numbers and times, and the attempts that resumed."""
    response = reader.ask("GET", path("runs", run))
    about = json.loads(response.body) if response.status == 200 else {}
    rows = {key: its["columns"] for key, its in about.get("keys", {}).items() if its["kind"] == "rows"}
    columns = [[key, name] for key, its in rows.items() for name, dtype in its.items() if dtype.startswith(_NUMBERS)]
    return {"keys": list(rows), "columns": columns[:_MOST_COLUMNS], "attempts": about.get("attempts", [])}


def scale_of(reader: EndpointReader, run: str, key: str, column: str) -> dict[str, Any]:
    """Steps of a key's rows, rising, and what the column is there, or the time: seconds since 1970 UTC, as every time.

    `rises` tells whether it never falls, so that it can be a scale.
    """
    asked = column or next(iter(reader.row_keys(run).get(key, {})), "")
    found = reader.history(run, key, x="step", columns=[asked], buckets=_POINTS) if asked else None
    if found is None:
        return {"steps": [], "x": [], "rises": False, "is_time": not column}
    cells = found.rows.columns[column] if column else found.rows.times
    if cells.dtype.kind == "M":
        cells = cells.astype("M8[us]").astype(np.int64) / 1e6
    steps, order = found.rows.steps, np.argsort(found.rows.steps, kind="stable")
    x = np.asarray(cells, dtype=np.float64)[order]
    there = np.isfinite(x)
    steps, x = steps[order][there], x[there]
    rises = len(x) > 1 and bool((np.diff(x) >= 0).all()) and bool(x[0] < x[-1])
    is_time = not column or found.rows.columns[column].dtype.kind == "M"
    return {"steps": steps.tolist(), "x": x.tolist(), "rises": rises, "is_time": is_time}
