"""Nested data as JSON text that loses nothing: the form of values, of configs, and of cells that are not a plain column.

`pack` turns data into what `json.dumps` can write. Arrays, and long lists of numbers, leave the tree where an `arrays` list is
given: a tag stands in their place, `{"~a": 3}` for the array and `{"~l": 3}` for the list number 3. Times are
`{"~t": iso}`, durations `{"~d": microseconds}`, or `{"~d": [count, unit]}` where microseconds cannot say them; a name of the
user's that begins with `~` gets a second one. NaN and the infinities are written as Python's `json` writes them, so they come
back as they were; `to_plain` gives strict JSON for other readers.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from streamvis.errors import InvalidData
from streamvis.wire.limits import MAX_DEPTH
from streamvis.wire.moments import UNITS, converted, scalar_of, seconds

__all__ = ["MAX_DEPTH", "pack", "to_plain", "unpack"]

_LONG_LIST = 16
"""Lists of plain numbers from this length on are stored as arrays."""

_FINE = re.compile(r"\.\d{7}")


def pack(node: Any, arrays: list[np.ndarray] | None = None, *, depth: int = 0) -> Any:
    """Turn nested data into a JSON tree; arrays go into `arrays`, or become nested lists where that is None."""
    if node is None or isinstance(node, (bool, int, float, str)):
        return node
    if isinstance(node, dict):
        _check_depth(depth)
        return {f"~{name}" if name.startswith("~") else name: pack(part, arrays, depth=depth + 1) for name, part in node.items()}
    if isinstance(node, (list, tuple)):
        if arrays is not None and len(node) >= _LONG_LIST and (flat := _flat_numbers(node)) is not None:
            arrays.append(flat)
            return {"~l": len(arrays) - 1}
        _check_depth(depth)
        return [pack(part, arrays, depth=depth + 1) for part in node]
    if isinstance(node, np.ndarray):
        if arrays is None and node.dtype.kind in "mM":
            return pack(list(node) if node.ndim else node[()], None, depth=depth)
        if arrays is None or node.dtype.kind == "O":
            return pack(node.tolist(), arrays, depth=depth)
        arrays.append(node)
        return {"~a": len(arrays) - 1}
    if isinstance(node, dt.datetime):
        return {"~t": node.isoformat()}
    if isinstance(node, dt.timedelta):
        return {"~d": node // dt.timedelta(microseconds=1)}
    if isinstance(node, (np.datetime64, np.timedelta64)):
        return _packed_scalar(node)
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
            return _moment(content)
        if tag == "~d":
            return _duration(content)
    return {name.removeprefix("~"): unpack(part, arrays, depth=depth + 1) for name, part in node.items()}


def to_plain(node: Any) -> Any:
    """Turn unpacked data into strict JSON: arrays as lists, times in ISO form, "NaN" and "Infinity" for what JSON lacks."""
    if isinstance(node, float) and not math.isfinite(node):
        return "NaN" if math.isnan(node) else "Infinity" if node > 0 else "-Infinity"
    if isinstance(node, dict):
        return {name: to_plain(part) for name, part in node.items()}
    if isinstance(node, (list, tuple)):
        return [to_plain(part) for part in node]
    if isinstance(node, np.ndarray) and node.dtype.kind in "mM" and node.size:
        return [to_plain(part) for part in node] if node.ndim else to_plain(node[()])
    if isinstance(node, np.ndarray):
        return to_plain(node.tolist()) if node.size else []  # whatever its shape: that may speak of very many empty lists
    if isinstance(node, (np.datetime64, np.timedelta64)):
        return _plain_scalar(node)
    if isinstance(node, (dt.datetime, dt.date)):
        return node.isoformat()
    if isinstance(node, dt.timedelta):
        return seconds(node // dt.timedelta(microseconds=1), "us")
    return node


def _packed_scalar(scalar: np.datetime64 | np.timedelta64) -> Any:
    """A time or duration of NumPy: as Python's own where that says the same."""
    if np.isnat(scalar):
        return None
    fine = converted(np.array([scalar]), "us")
    item = fine[0].item() if fine is not None else None
    if isinstance(item, (dt.datetime, dt.timedelta)):
        return pack(item)
    if isinstance(scalar, np.datetime64):
        return {"~t": str(scalar)}
    for unit in UNITS:
        made = converted(np.array([scalar]), unit)
        if made is not None:
            return {"~d": [int(made.view(np.int64)[0]), unit]}
    raise InvalidData(f"a duration of {scalar}", allowed="no finer than nanoseconds")


def _moment(text: str) -> dt.datetime | np.datetime64:
    # Python reads more digits than microseconds have, and forgets them.
    if not _FINE.search(text):
        try:
            return dt.datetime.fromisoformat(text)
        except ValueError:
            pass
    return scalar_of(text)


def _duration(content: Any) -> dt.timedelta | np.timedelta64:
    if isinstance(content, list):
        count, unit = content
        return np.timedelta64(count, UNITS[UNITS.index(unit)])
    return dt.timedelta(microseconds=content)


def _plain_scalar(scalar: np.datetime64 | np.timedelta64) -> Any:
    if np.isnat(scalar):
        return None
    if isinstance(scalar, np.datetime64):
        return str(scalar)
    return seconds(int(scalar.astype(np.int64)), *np.datetime_data(scalar.dtype))


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
