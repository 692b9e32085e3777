"""Rows of one key from several bodies, whose columns had other dtypes here and there, as one table."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from streamvis.wire.arrow import encode_rows, table_of
from streamvis.wire.columns import column_dtype, unify_dtypes
from streamvis.wire.joining import join_rows
from streamvis.wire.jsonform import rows_to_json
from support.cells import as_moment, cells_of

NUMBERS = ["bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)), "float16", "float32", "float64"]
CELLS = {
    **{dtype: np.array([1, 0], dtype) for dtype in NUMBERS},
    **{f"array<{dtype}>": np.ones((2, 3), dtype) for dtype in ("bool", "int8", "uint64", "float16", "float64")},
    **{f"{kind}[{unit}]": np.array([0, 1], f"{kind}[{unit}]") for kind in ("datetime64", "timedelta64") for unit in ("s", "ns")},
    "datetime64[us, UTC]": [dt.datetime(2026, 1, 1, tzinfo=dt.UTC), None],
    "string": ["a", None],
    "json": [{"b": [1, "x"]}, 1.5],
    "null": [None, None],
    "int64 with gaps": [2**62 + 1, None],
    "float64 with gaps": [float("nan"), None],
    "array<float64> with gaps": [None, np.ones((2, 2))],
    "bool with gaps": [True, None],
    "times past the calendar": np.array([2**40, 0], "datetime64[s]"),
    "far times": [dt.datetime(2400, 1, 1), dt.datetime(1, 1, 1)],
    "fine times": np.array([1, 1_700_000_000_123_456_789], "datetime64[ns]"),
    "far durations": [dt.timedelta(days=200_000), dt.timedelta(days=-200_000)],
    "fine durations": np.array([1, -1], "timedelta64[ns]"),
    "the largest numbers": np.array([2**64 - 1, 2**63], "uint64"),
    "the lowest number": [-(2**63), 2**53 + 1],
    "large arrays": np.full((2, 2), 2**53 + 1),
    "numbers not finite": [float("inf"), float("-inf")],
}
LARGE = {"int64 with gaps", "the lowest number", "large arrays", "the largest numbers"}


def table(cells):
    return table_of(encode_rows("k", [0, 1], [0.0, 1.0], {"x": cells}).body)[1]


def said(table):
    """Each cell as its text in JSON."""
    return rows_to_json(table)["columns"]["x"]["data"]


def meant(table):
    """Each cell as what it says, whatever the dtype is that says it."""
    field, column = table.schema[2], table.column(2)
    return cells_of(field, column) if pa.types.is_temporal(field.type) else list(map(as_moment, said(table)))


@pytest.mark.parametrize("one", CELLS)
def test_a_column_of_any_two_kinds_says_what_all_cells_said_in_the_dtype_of_the_key_or_as_json(one):
    for other in CELLS:
        parts = [table(CELLS[one]), table(CELLS[other])]
        words = [column_dtype(part.schema[2]) for part in parts]
        dtype = unify_dtypes(*words)
        whole = join_rows(parts, {"x": dtype})
        whole.validate(full=True)
        found = column_dtype(whole.schema[2])
        assert found in (dtype, "json") or found.partition("[")[0] == dtype.partition("[")[0], (one, other)
        expected = [cell for part in parts for cell in meant(part)]
        assert meant(whole) == expected, (one, other)
        if not {one, other} & LARGE and "64[" not in dtype:
            assert found == ("json" if dtype == "array<json>" else dtype), (one, other)


def test_columns_that_a_body_lacks_are_missing_there_and_names_that_all_rows_have_are_no_trouble():
    parts = [table_of(encode_rows("k", [0], [0.5], columns).body)[1] for columns in ({"step": [1.5]}, {"time": ["a"], "n": [1]})]
    whole = join_rows(parts, {"step": "float64", "time": "string", "n": "int64"})
    assert rows_to_json(whole) == {
        "steps": [0, 0],
        "times": [0.5, 0.5],
        "columns": {
            "step": {"dtype": "float64", "data": [1.5, None]},
            "time": {"dtype": "string", "data": [None, "a"]},
            "n": {"dtype": "int64", "data": [None, 1]},
        },
    }


def test_no_rows_have_the_columns_of_the_key():
    dtypes = {name: name for name in CELLS if name.split()[0] == name} | {"mixed": "array<json>"}
    found = rows_to_json(join_rows([], dtypes))["columns"]
    assert {name: column["dtype"] for name, column in found.items()} == {**dtypes, "mixed": "json"}


@pytest.mark.parametrize("one", CELLS)
def test_rows_that_were_joined_before_are_joined_again_without_a_change(one):
    for other in CELLS:
        parts = [table(CELLS[one]), table(CELLS[other]), table(CELLS[one])]
        dtype = unify_dtypes(*(column_dtype(part.schema[2]) for part in parts[:2]))
        once = join_rows(parts[:2], {"x": dtype})
        expected = [cell for part in parts for cell in meant(part)]
        assert meant(join_rows([once], {"x": dtype})) == expected[:4], (one, other)
        assert meant(join_rows([once, parts[2]], {"x": dtype})) == expected, (one, other)
