"""What `update_page` is given: `NewData`, and how decoded pieces of a log are merged into it. Pure.

The columns of rows are made so that they always fit `ColumnDataSource.stream`, whatever came before. In the browser the first
data of a column decide how it is kept, and later data are squeezed into that: a whole number first would cut the fractions off
everything after it. So each column is of one form for as long as a page is open: numbers are float64, times datetime64, and
anything else is a list. Which form that is follows from all that the column has ever held in the run (its dtype word), not from
the piece at hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from streamvis.counting import counted
from streamvis.errors import NoSuchName
from streamvis.page.runs import PageRun
from streamvis.records import Rows, Value
from streamvis.wire.moments import microseconds

__all__ = ["Names", "NewData", "column_form", "is_number_or_time", "merge_rows", "own_copy"]

_CAN_CHANGE = frozenset({dict, list, np.ndarray})
NUMBER, TIME, DURATION, LIST = "number", "time", "duration", "list"


class Names(dict[str, Any]):
    """A dict, and the dicts in it, that say which names there are when page code asks for one that is not there."""

    def __init__(self, data: Mapping[str, Any], *, what: str) -> None:
        super().__init__(
            (name, Names(item, what=f"{what}[{name!r}]") if type(item) is dict else item) for name, item in data.items()
        )
        self.what = what

    def __missing__(self, name: object) -> Any:
        raise NoSuchName(self.what, name, [str(found) for found in self])

    def __getattr__(self, name: str) -> Any:
        if name in self:
            raise AttributeError(f"{self.what} is a dict. Write {self.what}[{name!r}].")
        raise AttributeError(f"{self.what} is a dict and has no attribute {name!r}.")


class NewData(Mapping[str, Mapping[str, Any]]):
    """The new data since the last call of `update_page`: maps each key that has new data to its columns.

    For rows, a column is a float64 array (numbers; missing ones are NaN), a datetime64 or timedelta64 array (NaT), or a list
    (anything else; None), all of the same length, as `ColumnDataSource.stream` needs them. For a value, the columns are as they
    were sent. The page may change the data.

    `run` is the run; `replay` is true if the page shows an earlier step. For each key whose earlier rows were reduced to the
    page's budget, `reduced` has the number of rows that the given ones represent.
    """

    def __init__(
        self,
        run: PageRun,
        rows: Mapping[str, Rows],
        values: Mapping[str, Value],
        *,
        reduced: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self.run, self.reduced = run, reduced
        self._rows, self._values = rows, values
        self._asked: set[str] = set()

    def noting(self, asked: set[str]) -> NewData:
        """The same, which adds every key that page code asks for to `asked`."""
        self._asked = asked
        return self

    @property
    def replay(self) -> bool:
        """Whether the page shows the past, so that nothing here is live."""
        return self.run.at is not None

    def __getitem__(self, key: str) -> Mapping[str, Any]:
        self._asked.add(key)
        if key in self._rows:
            return Names(self._rows[key].columns, what=f"new_data[{key!r}]")
        return Names(self._value(key).data, what=f"new_data[{key!r}]")

    def _value(self, key: str) -> Value:
        if key not in self._values:
            what = "new_data, which holds what is new in this call (ask with `in` first),"
            raise NoSuchName(what, key, list(self))
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        yield from self._rows
        yield from self._values

    def __len__(self) -> int:
        return len(self._rows) + len(self._values)

    def __repr__(self) -> str:
        rows = [f"{key!r}: {counted(len(rows.steps), 'row')}" for key, rows in self._rows.items()]
        values = [f"{key!r}: a value at step {value.step}" for key, value in self._values.items()]
        return f"NewData({', '.join(rows + values)})"

    def steps(self, key: str) -> np.ndarray:
        """The step of each row, int64 of shape (n,); for a value, of shape (1,)."""
        return self._rows[key].steps if key in self._rows else np.array([self._value(key).step], dtype=np.int64)

    def times(self, key: str) -> np.ndarray:
        """When each row was sent, datetime64[us] in UTC of shape (n,); for a value, of shape (1,)."""
        seconds = self._rows[key].times if key in self._rows else np.array([self._value(key).time])
        return np.rint(seconds * 1e6).astype(np.int64).view("M8[us]")

    def copy(self, run: PageRun) -> NewData:
        """The same for another page, which may change all of it in place."""
        rows = {key: Rows(key, its.steps.copy(), its.times.copy(), own_copy(its.columns)) for key, its in self._rows.items()}
        values = {key: replace(value, data=own_copy(value.data)) for key, value in self._values.items()}
        return NewData(run, rows, values, reduced=dict(self.reduced))

    @property
    def row_count(self) -> int:
        """How many rows there are, over all keys."""
        return sum(len(rows.steps) for rows in self._rows.values())


def own_copy(node: Any) -> Any:
    """A copy that shares nothing that can be changed with `node`: of dicts, lists and arrays, at every depth."""
    if isinstance(node, Mapping):
        return {name: own_copy(part) for name, part in node.items()}
    if isinstance(node, list):
        # Most lists are of numbers or texts alone, and copied at once.
        return node.copy() if _CAN_CHANGE.isdisjoint(map(type, node)) else [own_copy(part) for part in node]
    if isinstance(node, np.ndarray):
        return deepcopy(node) if node.dtype.kind == "O" else node.copy()
    return node


def column_form(dtype: str) -> str:
    """The form in which a column of this dtype word reaches a page. Cells that were all None so far count as numbers."""
    if dtype == "null" or dtype.startswith(("int", "uint", "float")):
        return NUMBER
    if dtype.startswith("datetime64"):
        return TIME
    return DURATION if dtype.startswith("timedelta64") else LIST


def is_number_or_time(form: str) -> bool:
    """Whether a column of this form has a lowest and a highest value."""
    return form != LIST


def merge_rows(key: str, pieces: Sequence[Rows], dtypes: Mapping[str, str]) -> Rows:
    """The pieces of one key, in log order, as one: with every column of `dtypes`, each in its form, and nothing shared."""
    columns = {}
    for name, dtype in dtypes.items():
        parts = [(piece.columns.get(name), len(piece.steps)) for piece in pieces]
        columns[name] = _FORMS[column_form(dtype)](parts)
    return Rows(key, np.concatenate([p.steps for p in pieces]), np.concatenate([p.times for p in pieces]), columns)


_Parts = Sequence[tuple[Any, int]]


def _numbers(parts: _Parts) -> np.ndarray:
    return np.concatenate([np.full(count, np.nan) if _is_missing(part) else part.astype(np.float64) for part, count in parts])


def _moments(parts: _Parts, kind: str) -> np.ndarray:
    return np.concatenate(
        [np.full(count, "NaT", dtype=f"{kind}8[us]") if _is_missing(part) else microseconds(part) for part, count in parts]
    )


def _cells(parts: _Parts) -> list[Any]:
    cells: list[Any] = []
    for part, count in parts:
        if part is None:
            cells.extend([None] * count)
        elif isinstance(part, np.ndarray) and part.dtype.kind in "mM":
            cells.extend(_python_moments(part))
        else:
            cells.extend(own_copy(part.tolist() if isinstance(part, np.ndarray) else part))
    return cells


def _python_moments(part: np.ndarray) -> list[Any]:
    """Times or durations as Python's own; as NumPy's where they are beyond its calendar, which `tolist` makes numbers."""
    moments = microseconds(part)
    return [item if not isinstance(item, int) else scalar for item, scalar in zip(moments.tolist(), moments, strict=True)]


def _is_missing(part: Any) -> bool:
    """Whether the piece lacked the column, or had nothing but None in it."""
    return part is None or part.dtype.kind == "O"


_FORMS = {
    NUMBER: _numbers,
    TIME: lambda parts: _moments(parts, "M"),
    DURATION: lambda parts: _moments(parts, "m"),
    LIST: _cells,
}
