"""What the keys of a run hold, found out from the data: so that a page can show a run about which no one told it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from streamvis.panels.png_images import are_pictures

__all__ = ["Key", "contents_of", "number_array"]

_MOST_MATRIX = 40
_RATES = ("rate", "sample_rate", "sampling_rate", "sr")
_LEAST_RATE = 1_000
_MOST_CHANNELS = 8


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a run: its name, its kind ("rows" or "value"), the columns of rows with their dtypes, and what it holds.

    A value holds "images", "matrix", "histogram", "points", "audio", "table", "text" or, where it is nothing of these, "tree".
    """

    name: str
    kind: str
    columns: Mapping[str, str]
    holds: str


def contents_of(data: Mapping[str, Any]) -> str:
    """What a value holds, by the names, the shapes and the dtypes of its columns."""
    data = {name: cells if (array := number_array(cells)) is None else array for name, cells in data.items()}
    arrays = {name: cells for name, cells in data.items() if isinstance(cells, np.ndarray)}
    if {"counts", "edges"} <= data.keys() and _length(data["edges"]) == _length(data["counts"]) + 1:
        return "histogram"
    if _is_sound(data, arrays):
        return "audio"
    if any(name in ("image", "images", "img", "picture") or _is_file(cells) for name, cells in data.items()):
        if any(are_pictures(cells) for cells in data.values()):
            return "images"
    if any(_is_matrix(cells) for cells in data.values()):
        return "matrix"
    if any(are_pictures(cells) for cells in arrays.values()):
        return "images"
    if {"x", "y"} <= arrays.keys() and arrays["x"].ndim == 1 and arrays["x"].shape == arrays["y"].shape and _are_numbers(data):
        return "points"
    if data and all(_is_text(cells) for cells in data.values()):
        return "text"
    if len(arrays) == 1 and len(data) == 1 and next(iter(arrays.values())).size > 1 and _is_number(next(iter(arrays.values()))):
        return "histogram"
    lengths = {_length(cells) for cells in data.values()}
    if len(lengths) == 1 and lengths != {-1} and all(cells.ndim == 1 for cells in arrays.values()):
        return "table"
    return "tree"


def number_array(cells: Any) -> np.ndarray | None:
    """Cells as an array of numbers, whether they came as one or as lists, as from JSON; None for anything else."""
    if isinstance(cells, (list, tuple)) and cells and not isinstance(_first(cells), np.ndarray):
        try:
            cells = np.asarray(cells)
        except (ValueError, OverflowError):
            return None
    return cells if isinstance(cells, np.ndarray) and _is_number(cells) else None


def _first(cells: Any) -> Any:
    while isinstance(cells, (list, tuple)) and cells:
        cells = cells[0]
    return cells


def _length(cells: Any) -> int:
    """How many cells a column has; -1 for anything else."""
    if isinstance(cells, np.ndarray):
        return len(cells) if cells.ndim else -1
    return len(cells) if isinstance(cells, (list, tuple)) else -1


def _is_sound(data: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bool:
    """Whether there are samples, and how many of them are a second."""
    rate = next((data[name] for name in _RATES if name in data), None)
    if not isinstance(rate, (int, float, np.number)) or not rate >= _LEAST_RATE:
        return False
    return any(cells.ndim == 1 or (cells.ndim == 2 and cells.shape[1] <= _MOST_CHANNELS) for cells in arrays.values())


def _are_numbers(data: Mapping[str, Any]) -> bool:
    return _is_number(data["x"]) and _is_number(data["y"])


def _is_file(cells: Any) -> bool:
    return isinstance(cells, np.ndarray) and cells.ndim == 1 and cells.dtype == np.uint8 and are_pictures(cells)


def _is_matrix(cells: Any) -> bool:
    if isinstance(cells, (list, tuple)) and cells and all(isinstance(part, (list, tuple)) for part in cells):
        try:
            cells = np.asarray(cells, dtype=np.float64)
        except (TypeError, ValueError):
            return False
    if isinstance(cells, (list, tuple)) and len(cells) == 1 and isinstance(cells[0], np.ndarray):
        cells = cells[0]
    return isinstance(cells, np.ndarray) and cells.ndim == 2 and _is_number(cells) and 1 < max(cells.shape) <= _MOST_MATRIX


def _is_text(cells: Any) -> bool:
    return isinstance(cells, str) or (
        isinstance(cells, (list, tuple)) and bool(cells) and all(isinstance(part, str) for part in cells)
    )


def _is_number(cells: np.ndarray) -> bool:
    return cells.dtype.kind in "biuf"
