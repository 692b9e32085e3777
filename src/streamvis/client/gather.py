"""Entries of the outbox, gathered by key into columns. Pure.

Rows of one key that stand between two control records become one `Gathered`; of values for the same key and step the last
one stays. Order within a key is the order of the entries.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from streamvis.client.entries import CONTROL, ROW, VALUE, Entry, row_count

__all__ = ["Control", "GatheredRows", "GatheredValue", "gather"]


class GatheredRows(NamedTuple):
    """Rows of one key: `steps` and `times` have one element per row, each column a list or an array of as many cells."""

    key: str
    steps: Sequence[int]
    times: Sequence[float]
    columns: Mapping[str, Any]


class GatheredValue(NamedTuple):
    """One key's value at a step."""

    key: str
    step: int
    time: float
    data: Mapping[str, Any]


class Control(NamedTuple):
    """A control record as it came."""

    time: float
    record: Any


def gather(entries: Iterable[Entry]) -> list[GatheredRows | GatheredValue | Control]:
    """Gather entries; nothing passes a control record."""
    gathered: list[GatheredRows | GatheredValue | Control] = []
    rows: dict[str, list[Entry]] = {}
    values: dict[tuple[str, int], Entry] = {}
    for entry in entries:
        kind = entry[0]
        if kind is VALUE:
            values.pop((entry[3], entry[1]), None)
            values[entry[3], entry[1]] = entry
        elif kind is CONTROL:
            gathered += _between_controls(rows, values)
            rows, values = {}, {}
            gathered.append(Control(entry[2], entry[4]))
        elif entry[3] in rows:
            rows[entry[3]].append(entry)
        else:
            rows[entry[3]] = [entry]
    return gathered + _between_controls(rows, values)


def _between_controls(rows: Mapping[str, list[Entry]], values: Mapping[Any, Entry]) -> list[GatheredRows | GatheredValue]:
    gathered: list[Any] = [_rows_of(key, entries) for key, entries in rows.items()]
    gathered = [one for one in gathered if one.steps]
    return gathered + [GatheredValue(key, step, time, data) for _, step, time, key, data, _ in values.values()]


def _rows_of(key: str, entries: Sequence[Entry]) -> GatheredRows:
    if any(entry[0] is not ROW for entry in entries):
        return _rows_of_columns(key, [entry for entry in entries if row_count(entry[0], entry[4])])
    datas = [entry[4] for entry in entries]
    names = _names(datas)
    steps, times = [entry[1] for entry in entries], [entry[2] for entry in entries]
    if all(len(data) == len(names) for data in datas):
        return GatheredRows(key, steps, times, {name: [data[name] for data in datas] for name in names})
    return GatheredRows(key, steps, times, {name: [data.get(name) for data in datas] for name in names})


def _rows_of_columns(key: str, entries: Sequence[Entry]) -> GatheredRows:
    counts = [row_count(entry[0], entry[4]) for entry in entries]
    steps = [entry[1] for entry, count in zip(entries, counts, strict=True) for _ in range(count)]
    times = [entry[2] for entry, count in zip(entries, counts, strict=True) for _ in range(count)]
    names = _names(entry[4] for entry in entries)
    return GatheredRows(key, steps, times, {name: _column(name, entries, counts) for name in names})


def _names(datas: Iterable[Mapping[str, Any]]) -> dict[str, None]:
    """All the names, in the order in which they came."""
    return dict.fromkeys(name for data in datas for name in data)


def _column(name: str, entries: Sequence[Entry], counts: Sequence[int]) -> Any:
    """One column out of the parts that the entries have of it; None stands for a part that is missing."""
    parts: list[Any] = []
    for entry, count in zip(entries, counts, strict=True):
        part = entry[4].get(name)
        if entry[0] is ROW:
            part = [part]
        parts.append(count if part is None else part)
    arrays = [part for part in parts if isinstance(part, np.ndarray)]
    if len(arrays) == len(parts) and _fit(arrays):
        return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    cells: list[Any] = []
    for part in parts:
        if isinstance(part, int):
            cells += [None] * part
        else:
            cells += part if isinstance(part, list) else _cells(part)
    return cells


def _fit(arrays: Sequence[np.ndarray]) -> bool:
    """Whether the arrays make one array without a change of what the cells are, whatever these are."""
    if len({array.shape[1:] for array in arrays}) > 1:
        return False
    dtypes = {array.dtype for array in arrays}
    kinds = {dtype.kind for dtype in dtypes}
    if len(dtypes) == 1 or kinds == {"U"}:
        return True
    # What is left is joined by value: numbers as doubles lack some whole numbers of 64 bits, and each unit some times.
    widest = np.result_type(*dtypes) if kinds <= {"i", "u", "f"} else None
    return widest is not None and not (widest.kind == "f" and any(one.kind in "iu" and one.itemsize == 8 for one in dtypes))


def _cells(array: np.ndarray) -> list[Any]:
    return list(array) if array.ndim > 1 or array.dtype.kind in "mM" else array.tolist()
