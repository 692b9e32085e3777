"""What a call like `log({"train/loss": 0.5, "sample": image})` means: which key, which column, rows or a value. Pure.

The key of a scalar is the text before the first `/` of its name, else "metrics"; the rest is its column. All scalars of one key
are one row. An array, an image or a figure is a value, whose key is its whole name. A dict of scalars counts as scalars with the
dict's name and a `/` before theirs; a dict that holds an array is one value.

`streamvis.log`, all integrations and the import of other formats follow these rules.
"""

from __future__ import annotations

import datetime as dt
import operator
from collections.abc import Mapping
from typing import Any, cast

from streamvis.pictures import is_picture

__all__ = ["METRICS", "Keys", "is_scalar", "place_of", "sorted_metrics", "whole_step"]

METRICS = "metrics"
"""The key of scalars whose names have no `/`."""
_SCALARS = (int, float, str, dt.date, dt.timedelta)
_CHANNELS = (1, 3, 4)
_MAX_STEP = 2**63 - 1

Data = dict[str, dict[str, Any]]


def place_of(name: str) -> tuple[str, str]:
    """The key and the column of a scalar with this name."""
    key, _, column = name.partition("/")
    return (key, column) if key and column else (METRICS, name)


def sorted_metrics(metrics: Mapping[str, Any]) -> tuple[Data, Data]:
    """The row of each key, and each value, by the rules of this module."""
    rows: Data = {}
    values: Data = {}
    for name, cell in metrics.items():
        if type(name) is not str:
            name = str(name)
        if is_scalar(cell):
            key, column = place_of(name)
            rows.setdefault(key, {})[column] = cell
        elif isinstance(cell, Mapping):
            inner_rows, inner_values = sorted_metrics({f"{name}/{inner}": part for inner, part in cell.items()})
            if inner_values:
                values[name] = dict(cell)
            for key, row in inner_rows.items() if not inner_values else ():
                rows.setdefault(key, {}).update(row)
        elif hasattr(cell, "keys") and hasattr(cell, "__getitem__"):
            values[name] = {str(column): cell[column] for column in cell.keys()}  # a DataFrame
        else:
            values[name] = {"image" if _is_image(cell) else "data": cell}
    return rows, values


def is_scalar(cell: Any) -> bool:
    """Whether this is one cell of a row: a number, a text, a time, nothing, or an array of a single number."""
    if cell is None or isinstance(cell, _SCALARS):
        return True
    shape = getattr(cell, "shape", None)
    try:
        return shape is not None and not hasattr(cell, "keys") and tuple(shape) in ((), (1,))
    except TypeError:
        return False


def whole_step(step: Any) -> int:
    """What a framework calls a step, as a whole number from 0: one below 0 is 0, a fraction is rounded down."""
    try:
        step = operator.index(step)
    except TypeError:
        try:
            step = int(step)
        except (TypeError, ValueError, OverflowError):
            return 0
    return min(max(step, 0), _MAX_STEP)


def _is_image(cell: Any) -> bool:
    if isinstance(cell, (list, tuple)):
        return bool(cell) and all(map(_is_image, cell))
    shape = cast("tuple[int, ...]", getattr(cell, "shape", None) or ())
    return is_picture(cell) or (len(shape) in (3, 4) and shape[-1] in _CHANNELS)


class Keys:
    """Gives rows and values of one name different keys: what comes second is called "NAME rows" or "NAME value".

    `kinds` are those of the keys that are there already: "rows" or "value".
    """

    def __init__(self, kinds: Mapping[str, str] | None = None) -> None:
        self._kinds = dict(kinds or {})

    def of_rows(self, key: str) -> str:
        """The key under which rows of this key are sent."""
        return key if self._kinds.setdefault(key, "rows") == "rows" else f"{key} rows"

    def of_value(self, key: str) -> str:
        """The key under which a value of this key is sent."""
        return key if self._kinds.setdefault(key, "value") == "value" else f"{key} value"
