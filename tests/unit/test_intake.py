"""What `send` and `sendl` take, copy, and refuse on the caller's line."""

import array
import datetime as dt
import enum
import logging
import subprocess
import sys

import numpy as np
import pytest

from streamvis.client.encoding import encode
from streamvis.client.intake import Intake, checked_text
from streamvis.client.outbox import ROW, ROWS, VALUE
from streamvis.client.values import copying
from streamvis.errors import InvalidData, UsageError
from streamvis.wire.arrow import decode_tail_body


@pytest.fixture
def intake():
    return Intake(now=lambda: 12.5)


def stored(entry):
    """What a reader gets of one entry."""
    encoded = encode([entry])
    assert encoded.left_out == []
    (one,) = decode_tail_body(encoded.body)
    return one.data if entry[0] == VALUE else one.columns


def test_scalars_become_one_row(intake):
    assert intake.rows(3, "k", {"x": 1, "y": 2.5}) == (ROW, 3, 12.5, "k", {"x": 1, "y": 2.5}, 0)
    assert intake.rows(4, "k", {"x": 2, "y": 3.5}) == (ROW, 4, 12.5, "k", {"x": 2, "y": 3.5}, 0)


def test_the_fast_way_copies_the_dict(intake):
    data = {"x": 1.0}
    intake.rows(0, "k", data)
    entry = intake.rows(1, "k", data)
    data["x"] = 9.0
    assert entry[4] == {"x": 1.0}


def test_a_scalar_beside_a_column_of_one_is_one_row(intake):
    entry = intake.rows(0, "k", {"x": 1, "y": [2.5]})
    assert entry[0] == ROWS and entry[4] == {"x": [1], "y": [2.5]}


@pytest.mark.parametrize(
    ("data", "column", "cells"),
    [
        ({"c": [1, 2]}, np.dtype("int64"), [1, 2]),
        ({"c": [1, 2.5]}, np.dtype("float64"), [1.0, 2.5]),
        ({"c": (True, False)}, np.dtype("bool"), [True, False]),
        ({"c": ["a", "ü"]}, np.dtype("O"), ["a", "ü"]),
        ({"c": range(3)}, np.dtype("int64"), [0, 1, 2]),
        ({"c": np.arange(2, dtype=">i2")}, np.dtype("int16"), [0, 1]),
        ({"c": np.float32(1.5)}, np.dtype("float64"), [1.5]),
        ({"c": np.array(7)}, np.dtype("int64"), [7]),
        ({"c": np.uint64(2**64 - 1)}, np.dtype("uint64"), [2**64 - 1]),
        ({"c": np.longdouble(2)}, np.dtype("float64"), [2.0]),
        ({"c": np.bool_(True)}, np.dtype("bool"), [True]),
        ({"c": np.array(["a", "b"])}, np.dtype("O"), ["a", "b"]),
        ({"c": np.array([1, "a", None], dtype=object)}, np.dtype("O"), [1, "a", None]),
        ({"c": np.ma.array([1, 2], mask=[False, True])}, np.dtype("float64"), [1.0, np.nan]),
        ({"c": np.ma.array([1.5, 2.5], mask=[True, False])}, np.dtype("float64"), [np.nan, 2.5]),
        ({"c": array.array("d", [1, 2])}, np.dtype("float64"), [1.0, 2.0]),
        ({"c": [{"a": 1}, [1, "x"]]}, np.dtype("O"), [{"a": 1}, [1, "x"]]),
        ({"c": {"a": [1]}}, np.dtype("O"), [{"a": [1]}]),
        ({"c": np.array(["2024-01-02T03"], dtype="M8[h]")}, None, [np.datetime64("2024-01-02T03")]),
        ({"c": dt.datetime(2024, 1, 2, 3)}, None, [np.datetime64("2024-01-02T03")]),
        ({"c": dt.date(2024, 1, 2)}, None, [np.datetime64("2024-01-02")]),
        ({"c": dt.datetime(2024, 1, 2, 3, tzinfo=dt.timezone(dt.timedelta(hours=2)))}, None, [np.datetime64("2024-01-02T01")]),
        ({"c": np.datetime64("2024-01-02", "D")}, None, [np.datetime64("2024-01-02")]),
        ({"c": [dt.timedelta(seconds=1)]}, None, [np.timedelta64(1, "s")]),
    ],
)
def test_rows_of_every_kind_arrive(intake, data, column, cells):
    got = stored(intake.rows(0, "k", data))["c"]
    assert column is None or got.dtype == column
    np.testing.assert_array_equal(np.asarray(got, dtype=got.dtype), np.asarray(cells, dtype=got.dtype))


@pytest.mark.parametrize("dtype", ["float16", "float32", "int8", "uint16", "bool"])
def test_arrays_per_row_keep_dtype_and_shape(intake, dtype):
    sent = np.ones((2, 3, 4), dtype=dtype)
    got = stored(intake.rows(0, "k", {"c": sent}))["c"]
    assert [cell.dtype for cell in got] == [np.dtype(dtype)] * 2 and [cell.shape for cell in got] == [(3, 4)] * 2


def test_ragged_lists_arrive_as_arrays(intake):
    got = stored(intake.rows(0, "k", {"c": [[1, 2], [], [3]]}))["c"]
    assert [cell.tolist() for cell in got] == [[1, 2], [], [3]]


def test_a_value_arrives_as_it_was_sent(intake):
    image = np.arange(6, dtype=np.float32).reshape(2, 3)
    sent = {
        "image": [image],
        "numbers": list(range(100)),
        "nested": {"a": [1, None, {"b": float("inf")}], "~": "x"},
        "when": dt.datetime(2024, 1, 2, tzinfo=dt.UTC),
        "words": np.array(["a", "b"]),
        "none": None,
    }
    got = stored(intake.value(0, "k", sent))
    assert got["image"][0].dtype == np.float32
    np.testing.assert_array_equal(got["image"][0], image)
    np.testing.assert_array_equal(got["words"], sent["words"])
    for name in ("numbers", "nested", "when", "none"):
        assert got[name] == sent[name]


class Phase(enum.StrEnum):
    TRAIN = "train"


class Level(enum.IntEnum):
    HIGH = 3


def test_subclasses_of_plain_kinds_are_sent_as_what_they_are(intake):
    got = stored(intake.value(0, "k", {"phase": Phase.TRAIN, "level": Level.HIGH, "mean": np.float64(0.5), "word": np.str_("w")}))
    assert got == {"phase": "train", "level": 3, "mean": 0.5, "word": "w"}
    assert [type(part) for part in got.values()] == [str, int, float, str]


def change(data):
    data["list"][0] = data["array"][0] = data["deep"]["inner"][0] = 99
    data["view"][:] = 99
    data["new"] = 99


def test_what_is_changed_after_the_call_does_not_change_what_was_sent(intake):
    def data():
        return {"list": [1, 2], "array": np.array([1, 2]), "deep": {"inner": [1, 2]}, "view": np.arange(4)[::2]}

    sent = data()
    entry = intake.value(0, "value", sent)
    change(sent)
    got = stored(entry)
    assert got["list"] == [1, 2] and got["deep"] == {"inner": [1, 2]} and "new" not in got
    assert got["array"].tolist() == [1, 2] and got["view"].tolist() == [0, 2]

    sent = {"list": [1, 2], "array": np.array([1, 2]), "cells": [[1], [2]]}
    entry = intake.rows(0, "rows", sent)
    sent["list"][0] = sent["array"][0] = sent["cells"][0][0] = 99
    got = stored(entry)
    assert got["list"].tolist() == [1, 2] and got["array"].tolist() == [1, 2] and got["cells"][0].tolist() == [1]


@pytest.mark.parametrize("name", ["\0", "loss\0", "a\0b", "\0ü"])
def test_a_name_with_nul_is_refused_in_the_call(intake, name):
    for call in (intake.rows, intake.value):
        for key, column, where in ((name, "x", "key"), ("k", name, "data")):
            with pytest.raises(InvalidData, match="NUL") as refused:
                call(0, key, {column: 1})
            assert refused.value.where == where and refused.value.allowed
    with pytest.raises(InvalidData, match="the app .* NUL"):
        checked_text(name, "app")
    intake.value(0, "k", {"text": name})


@pytest.mark.parametrize("step", [-1, 1.0, True, "1", None, np.float64(1), np.bool_(True), 2**63, np.array(1.0)])
def test_a_step_that_is_none_is_refused(intake, step):
    for call in (intake.rows, intake.value):
        with pytest.raises(InvalidData, match="whole number from 0") as refused:
            call(step, "k", {"x": 1})
        assert refused.value.where == "step"


def test_whole_numbers_of_numpy_are_steps(intake):
    entry = intake.rows(np.int32(7), "k", {"x": 1})
    assert entry[1] == 7 and type(entry[1]) is int


@pytest.mark.parametrize("name", ["", 1, None, b"x", "x" * 1_001, "\ud800", "é" * 999 + "\u4e00"])
def test_names_that_are_none_are_refused(intake, name):
    for call in (intake.rows, intake.value):
        with pytest.raises(InvalidData):
            call(0, name, {"x": 1})
        with pytest.raises(InvalidData):
            call(0, "k", {name: 1})


def test_a_name_may_have_as_many_bytes_as_every_store_can_hold(intake):
    longest = "\u4e00" * 666 + "xx"
    assert intake.rows(0, longest, {longest: 1})[3] == checked_text(longest, "app") == longest
    with pytest.raises(InvalidData, match="the app has 2,001 bytes in UTF-8.*at most 2,000 bytes in UTF-8"):
        checked_text("\u4e00" * 667, "app")


class NoArray:
    """It says that it becomes an array, and is one cell of it."""

    def __array__(self, dtype=None, copy=None):
        cell = np.empty((), dtype=object)
        cell[()] = self
        return cell


BAD = {
    "complex": (1j, "complex"),
    "complex array": (np.array([1j]), "complex"),
    "bytes": (b"x", "bytes"),
    "bytes array": (np.array([b"x"]), "bytes"),
    "object": (object(), "object cannot be stored"),
    "function": (len, "cannot be stored"),
    "class of numbers": (np.float32, "class float32 cannot be stored"),
    "class of arrays": (np.ndarray, "class ndarray cannot be stored"),
    "what becomes no array": (NoArray(), "NoArray cannot be stored"),
    "set": ({1}, "no order"),
    "records": (np.zeros(2, dtype=[("a", int)]), "records"),
    "large int": (2**64, "65 bits"),
    "large negative int": (-(2**63) - 1, "64 bits"),
    "surrogate": ("\ud800", "surrogate"),
    "surrogate array": (np.array(["\ud800"]), "surrogate"),
    "names": ({1: 2}, "not a string"),
    "large": (range(10**12), "bytes in one call"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_nobody_can_store_is_refused_with_its_place(intake, case):
    part, problem = BAD[case]
    for call in (intake.rows, intake.value):
        with pytest.raises(InvalidData, match=problem) as refused:
            call(0, "k", {"y": part})
        assert refused.value.where == 'data["y"]' and refused.value.allowed
        with pytest.raises(InvalidData, match=problem) as refused:
            call(0, "k", {"y": [1.5, {"z": part}]})
        assert refused.value.where == "data[\"y\"][1]['z']"


def test_data_that_contains_itself_is_refused(intake, monkeypatch):
    monkeypatch.setattr(copying, "MAX_CALL_BYTES", 2**20)
    loop = []
    loop.append(loop)
    bomb = []
    for _ in range(60):
        bomb = [bomb, bomb]
    for data in (loop, bomb):
        for call in (intake.rows, intake.value):
            with pytest.raises(InvalidData, match="contains itself|1,048,576 bytes in one call"):
                call(0, "k", {"y": data})


def test_columns_of_unequal_length_are_refused(intake):
    with pytest.raises(InvalidData, match=r'unequal length \("x": 2, "y": 3\)'):
        intake.rows(0, "k", {"x": [1, 2], "y": np.zeros(3)})
    with pytest.raises(InvalidData, match=r'"x": 1, "y": 3'):
        intake.rows(0, "k", {"x": 1, "y": np.zeros(3)})
    with pytest.raises(InvalidData, match="no columns"):
        intake.rows(0, "k", {})


@pytest.mark.parametrize("data", [None, [1], "x", 1.5])
def test_data_that_is_not_a_dict_is_refused(intake, data):
    for call in (intake.rows, intake.value):
        with pytest.raises(InvalidData, match="not a dict"):
            call(0, "k", data)


def test_a_key_holds_one_kind_until_a_clear(intake):
    intake.rows(0, "k", {"x": 1})
    with pytest.raises(UsageError, match=r"'k' holds rows"):
        intake.value(0, "k", {"x": [1]})
    intake.rows(1, "k", {"x": 1})
    intake.forget_keys()
    intake.value(0, "k", {"x": [1]})
    with pytest.raises(UsageError, match=r"'k' holds a value"):
        intake.rows(0, "k", {"x": 1})


def test_a_refused_call_claims_no_key(intake):
    with pytest.raises(InvalidData):
        intake.rows(0, "k", {"x": 1j})
    intake.value(0, "k", {"x": [1]})


def test_numbers_alone_in_send_hint_once_at_sendl_on_the_callers_line(intake, caplog):
    for data in ({"loss": 0.5, "n": 3}, {"loss": 0.25}, {"image": [1.0]}):
        intake.value(0, "loss", data)
        intake.tell_hint()
    (hint,) = caplog.records
    assert (hint.name, hint.pathname) == ("streamvis.hints", __file__) and "sendl" in hint.getMessage()


def test_a_filter_that_raises_is_no_error_of_a_call(intake):
    logger = logging.getLogger("streamvis.hints")
    logger.addFilter(lambda record: 1 / 0)
    try:
        intake.value(0, "loss", {"loss": 0.5})
        intake.tell_hint()
    finally:
        logger.filters.clear()


def test_a_data_frame_is_a_mapping_of_columns(intake):
    class Frame:
        def __init__(self):
            self.columns = {"a": np.array([1, 2]), "b": np.array(["x", "y"], dtype=object)}
            self.keys = self.columns.keys
            self.__getitem__ = None

        def __getitem__(self, name):
            return self.columns[name]

    assert intake.rows(0, "k", Frame())[4]["b"] == ["x", "y"]


def test_the_client_imports_neither_numpy_nor_arrow_nor_a_web_library():
    program = (
        "import sys; from streamvis import Client; Client('http://localhost:1', 'app');"
        "print(*sys.modules.keys() & {'numpy', 'pyarrow', 'urllib3', 'bokeh', 'fastapi', 'sqlite3'})"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert said.stdout.split() == []


def test_a_key_has_so_many_columns_in_a_run_and_the_call_that_passes_it_is_refused_alone():
    intake = Intake()
    for first in range(0, 10_000, 2_000):
        intake.rows(first, "k", {f"c{i}": 1.0 for i in range(first, first + 2_000)})
    with pytest.raises(InvalidData, match="10,001 columns in this run.*several keys"):
        intake.rows(0, "k", {"one more": 1.0, "c0": 1.0})
    intake.rows(0, "k", {"c0": 1.0, "c9999": 1.0})
    intake.rows(0, "other", {"one more": 1.0})
    intake.forget_keys()
    intake.rows(0, "k", {"one more": 1.0})


@pytest.mark.parametrize(
    "moment",
    [
        np.array([2**62], "datetime64[s]"),
        np.array([1], "datetime64[ps]"),
        np.datetime64(10**8, "Y"),
        np.timedelta64(1, "fs"),
        dt.timedelta(days=999_999_999),
        [dt.timedelta.min],
    ],
)
def test_times_that_no_dtype_holds_are_refused_on_the_callers_line(intake, moment):
    with pytest.raises(InvalidData, match=r"data\[\"t\"\].*292,000 years") as raised:
        intake.rows(0, "k", {"t": moment})
    assert "t" in raised.value.where
    with pytest.raises(InvalidData):
        intake.value(0, "v", {"t": moment})


def test_a_single_time_finer_than_pythons_own_keeps_its_digits(intake):
    fine = np.datetime64("2026-01-02T03:04:05.000000006", "ns")
    assert stored(intake.rows(0, "k", {"t": fine}))["t"].tolist() == np.array([fine]).tolist()
    assert stored(intake.rows(0, "k", {"t": np.datetime64("2026-01-02", "D")}))["t"].tolist() == [dt.datetime(2026, 1, 2)]
    nested = {"nested": [{"t": fine, "far": np.datetime64(20_000, "Y"), "d": np.timedelta64(7, "ns")}]}
    assert stored(intake.value(0, "v", nested)) == nested
    pandas = pytest.importorskip("pandas")
    exact = stored(intake.rows(0, "k", {"t": pandas.Timestamp(fine), "d": pandas.Timedelta(7, "ns")}))
    assert exact["t"][0] == fine and exact["d"][0] == np.timedelta64(7, "ns")


def test_whole_numbers_under_a_mask_are_floats_only_where_these_say_them(intake):
    numbers = np.ma.array([[1, 2], [3, 2**53]], mask=[[True, False], [False, False]])
    (first, second) = stored(intake.rows(0, "k", {"x": numbers}))["x"]
    assert np.isnan(first[0]) and second.tolist() == [3, 2**53]
    with pytest.raises(InvalidData, match="mask"):
        intake.rows(0, "k", {"x": numbers + 1})
