"""Values as strict JSON: what REST, `streamvis tail` and the text formats of an export say of them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from streamvis.wire.arrow import encode_value
from streamvis.wire.jsonform import body_to_json

IN_SECONDS = {"W": 604_800, "D": 86_400, "h": 3_600, "m": 60, "s": 1, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
ODD_DURATIONS = {f"{multiple or ''}{unit}": (multiple or 1) * size for unit, size in IN_SECONDS.items() for multiple in (None, 7)}


def said(value):
    data = body_to_json(encode_value("k", 0, 0.0, {"v": value}).body)["data"]["v"]
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    return data


@pytest.mark.parametrize("unit", ODD_DURATIONS)
def test_durations_of_any_unit_are_said_in_seconds(unit):
    size = ODD_DURATIONS[unit]
    counts = np.array([[3, -11], [0, 250]])
    found = said(counts.astype(f"m8[{unit}]"))
    assert found == [[pytest.approx(count * size) for count in row] for row in counts.tolist()]
    assert said({"deep": [np.timedelta64(3, unit)]}) == {"deep": [pytest.approx(3 * size)]}


@pytest.mark.parametrize("unit", ["M", "Y", "5M"])
def test_months_and_years_are_as_long_as_numpy_makes_them(unit):
    array = np.array([2, -13, "NaT"], f"m8[{unit}]")
    assert said(array) == [*array[:2].astype("m8[s]").astype(int).tolist(), None]


@pytest.mark.parametrize("unit", ["W", "M", "Y", "7D", "5h", "25us", "100ms", "3ns"])
def test_times_of_any_unit_are_said_as_iso_texts_of_the_same_moment(unit):
    array = np.array([0, 1, -9, 700, "NaT"], f"M8[{unit}]")
    *texts, missing = said(array)
    assert missing is None
    assert [np.datetime64(text) for text in texts] == list(array[:4])


def test_a_duration_that_no_double_says_is_an_iso_text_to_the_last_digit():
    assert said(np.array([2**53 + 1, 1], "m8[ns]")) == ["PT9007199.254740993S", 1e-9]
    assert said(np.array([3_002_399_751_580_331], "m8[3us]")) == ["PT9007199254.740993S"]
