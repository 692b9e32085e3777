"""Cells of columns in a form that compares to the last digit, whatever dtype says them."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa

from streamvis.wire.columns import numpy_column

__all__ = ["NANOSECONDS", "as_moment", "cells_of", "plain"]

NANOSECONDS = {"D": 86_400 * 10**9, "s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


def cells_of(field: pa.Field, column: pa.ChunkedArray) -> list:
    """The cells of a column; those of one that is JSON may be texts of times, see `as_moment`."""
    array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    # Of whole numbers with gaps NumPy would make doubles.
    cells = array.to_pylist() if pa.types.is_integer(field.type) else list(numpy_column(field, array))
    return [plain(cell) for cell in cells]


def plain(cell):
    """A cell: times and durations in whole nanoseconds, what is missing, or not a number, as None."""
    if isinstance(cell, np.ndarray):
        return (cell.shape, cell.ravel().tolist())
    if isinstance(cell, (np.datetime64, np.timedelta64)):
        unit, _ = np.datetime_data(cell)
        return None if np.isnat(cell) else (cell.dtype.kind, int(cell.astype(np.int64)) * NANOSECONDS[unit])
    if isinstance(cell, np.generic):
        cell = cell.item()
    return None if cell != cell else cell


def as_moment(cell):
    """What a cell says that is an ISO text of a time, or of a duration; any other cell as it is."""
    if not isinstance(cell, str):
        return cell
    if found := re.fullmatch(r"(-?)PT(\d+)(?:\.(\d+))?S", cell):
        sign, seconds, fraction = found.groups(default="")
        return ("m", int(f"{sign}1") * (int(seconds) * 10**9 + int(fraction.ljust(9, "0"))))
    return plain(np.datetime64(cell.removesuffix("Z").removesuffix("+00:00"))) if re.match(r"\d{4,}-\d\d-", cell) else cell
