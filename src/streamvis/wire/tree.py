"""Nested data as JSON text that loses nothing: the form of values, of configs, and of cells that are no plain column.

`pack` turns data into what `json.dumps` can write. Arrays, and long lists of numbers, leave the tree where an `arrays` list is
given: a tag stands in their place, `{"~a": 3}` for the array and `{"~l": 3}` for the list number 3. Times are
`{"~t": iso}`, durations `{"~d": microseconds}`; a name of the user's that begins with `~` gets a second one. NaN and the
infinities are written as Python's `json` writes them, so they come back as they were; `to_plain` gives strict JSON for
other readers.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from streamvis.errors import InvalidData

__all__ = ["MAX_DEPTH", "pack", "to_plain", "unpack"]

_LONG_LIST = 16
"""Lists of plain numbers from this length on are stored as arrays."""

MAX_DEPTH = 100
"""How deep lists and dicts may be nested: whatever is stored can be read again without running out of stack."""


def pack(node: Any, arrays: list[np.ndarray] | None = None, *, depth: int = 0) -> Any:
    """Turn nested data into a JSON tree; arrays go into `arrays`, or become nested lists where that is None."""
    if node is None or isinstance(node, (bool, int, float, str)):
        return node
    if isinstance(node, dict):
        _check_depth(depth)
        return {
            f"~{name}" if name.startswith("~") else name: pack(part, arrays, depth=depth + 1) for name, part in node.items()
        }
    if isinstance(node, (list, tuple)):
        if arrays is not None and len(node) >= _LONG_LIST and (flat := _flat_numbers(node)) is not None:
            arrays.append(flat)
            return {"~l": len(arrays) - 1}
        _check_depth(depth)
        return [pack(part, arrays, depth=depth + 1) for part in node]
    if isinstance(node, np.ndarray):
        if arrays is None or node.dtype.kind == "O":
            return pack(node.tolist(), arrays, depth=depth)
        arrays.append(node)
        return {"~a": len(arrays) - 1}
    if isinstance(node, dt.datetime):
        return {"~t": node.isoformat()}
    if isinstance(node, dt.timedelta):
        return {"~d": node // dt.timedelta(microseconds=1)}
    raise InvalidData(f"{type(node).__name__} cannot be stored", allowed="numbers, strings, times, None, arrays, lists, dicts")


def unpack(node: Any, arrays: Mapping[int, np.ndarray] | Sequence[np.ndarray], *, depth: int = 0) -> Any:
    """Turn the tree that `pack` made back into the data."""
    if isinstance(node, list):
        _check_depth(depth)
        return [unpack(part, arrays, depth=depth + 1) for part in node]
    if not isinstance(node, dict):
        return node
    _check_depth(depth)
    if len(node) == 1:
        (tag, content), *_ = node.items()
        if tag == "~a":
            return arrays[content]
        if tag == "~l":
            return arrays[content].reshape(-1).tolist()
        if tag == "~t":
            return dt.datetime.fromisoformat(content)
        if tag == "~d":
            return dt.timedelta(microseconds=content)
    return {name.removeprefix("~"): unpack(part, arrays, depth=depth + 1) for name, part in node.items()}


def to_plain(node: Any) -> Any:
    """Turn unpacked data into strict JSON: arrays as lists, times in ISO form, "NaN" and "Infinity" for what JSON lacks."""
    if isinstance(node, float) and not math.isfinite(node):
        return "NaN" if math.isnan(node) else "Infinity" if node > 0 else "-Infinity"
    if isinstance(node, dict):
        return {name: to_plain(part) for name, part in node.items()}
    if isinstance(node, (list, tuple)):
        return [to_plain(part) for part in node]
    if isinstance(node, np.ndarray):
        return to_plain(node.tolist()) if node.size else []  # whatever its shape: that may speak of very many empty lists
    if isinstance(node, (dt.datetime, dt.date)):
        return node.isoformat()
    if isinstance(node, dt.timedelta):
        return node.total_seconds()
    return node


def _check_depth(depth: int) -> None:
    if depth >= MAX_DEPTH:
        raise InvalidData("lists and dicts are nested too deep", allowed=f"{MAX_DEPTH} levels")


def _flat_numbers(node: Sequence[Any]) -> np.ndarray | None:
    kinds = set(map(type, node))
    if kinds == {float}:
        return np.array(node, dtype=np.float64)
    if kinds == {int}:
        try:
            return np.array(node, dtype=np.int64)
        except OverflowError:
            return None
    return None
