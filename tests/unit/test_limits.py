"""A few bytes from outside never ask for much memory: each way to make much of little is refused, with the reason."""

from __future__ import annotations

import json
import struct
import time
import tracemalloc

import numpy as np
import pyarrow as pa
import pytest

from streamvis.errors import InvalidData
from streamvis.records import Start
from streamvis.wire import limits, messages
from streamvis.wire.arrow import body_of, decode_batch_body, encode_control, encode_rows, encode_value, table_of
from streamvis.wire.columns import arrow_column
from streamvis.wire.jsonform import body_to_json, chunks_from_json
from streamvis.wire.tree import MAX_DEPTH

STEP, TIME = pa.field("step", pa.int64(), nullable=False), pa.field("time", pa.float64(), nullable=False)


def refused(body, reason):
    tracemalloc.start()
    try:
        with pytest.raises(InvalidData, match=reason):
            decode_batch_body(body)
        assert tracemalloc.get_traced_memory()[1] < 10 * len(body) + 2**20
    finally:
        tracemalloc.stop()


def rows(count, columns):
    """A body of rows with Arrow columns as they are."""
    fields, arrays = zip(*columns, strict=True)
    steps, times = pa.array([0] * count, pa.int64()), pa.array([0.0] * count)
    return body_of({"kind": "rows", "key": "k"}, pa.table([steps, times, *arrays], schema=pa.schema([STEP, TIME, *fields])))


def value(tree, columns):
    """A body of a value whose arrays are as they are."""
    meta = {"kind": "value", "key": "k", "step": 0, "time": 0.0, "tree": tree}
    fields = []
    for one, shape, dtype in columns:
        fields.append(pa.field(f"a{len(fields)}", one.type, metadata={"shape": shape, "dtype": dtype}))
    return body_of(meta, pa.table([one for one, _, _ in columns], schema=pa.schema(fields)))


def test_fields_and_texts_of_a_schema_are_counted_as_often_as_they_are_pointed_to():
    body = bytearray(rows(1, [(pa.field("c" * 10_000 if i == 0 else f"c{i}", pa.null()), pa.nulls(1)) for i in range(500)]))
    data, _ = messages._metadata(body, 0)
    start, count = messages._vector(data, messages._reference(data, messages._number("<I", data, 0), messages._HEADER), 1)
    first = start + 8 + struct.unpack_from("<I", data, start + 8)[0]
    for at in range(start + 12, start + 4 * count, 4):
        struct.pack_into("<I", body, 8 + at, first - at if first > at else 0)
    refused(bytes(body), "more than its bytes")


def test_buffers_of_a_message_are_no_more_than_its_bytes():
    whole = encode_rows("k", [0] * 100, [0.0] * 100, {"x": [1.0] * 100, "y": [2.0] * 100}).body
    after_schema = 8 + struct.unpack_from("<i", whole, 4)[0]
    data, _ = messages._metadata(whole, after_schema)
    start, count = messages._vector(data, messages._reference(data, messages._number("<I", data, 0), messages._HEADER), 2)
    body = bytearray(whole)
    for i in range(1, count, 2):  # every column is all that there is
        struct.pack_into("<qq", body, after_schema + 8 + start + 16 * i, 0, 3200)
    refused(bytes(body), "lie on each other")


def test_rows_of_nothing_are_counted_as_cells():
    count, columns = 2**15, limits.MAX_CELLS // 2**15
    refused(rows(count, [(pa.field(f"c{i}", pa.null()), pa.nulls(count)) for i in range(columns)]), "cells")


def test_columns_are_counted():
    refused(rows(1, [(pa.field(f"c{i}", pa.null()), pa.nulls(1)) for i in range(limits.MAX_COLUMNS + 1)]), "10,001 columns")


@pytest.mark.parametrize("kind", [pa.null(), pa.binary(), pa.list_(pa.int8()), pa.large_string(), pa.struct([("a", pa.int8())])])
def test_an_array_of_what_no_producer_makes_is_refused(kind):
    nothing = pa.ListArray.from_arrays(pa.array([0, 2**30], pa.int32()), pa.nulls(2**30)) if kind == pa.null() else None
    cells = nothing if nothing is not None else pa.array([[]], pa.list_(kind))
    refused(value({"a": {"~a": 0}}, [(cells, "[1]", "<f8")]), "array of nothing|not stored|none of ours")
    cell = pa.StructArray.from_arrays([cells, pa.array([[0]], pa.list_(pa.int32()))], names=["data", "shape"])
    refused(rows(1, [(pa.field("c", cell.type, metadata={"streamvis": "array"}), cell)]), "stored")


@pytest.mark.parametrize("zone", ["Europe/Berlin", "x" * 1000])
def test_times_are_in_utc(zone):
    refused(rows(1, [(pa.field("c", pa.timestamp("us", zone)), pa.nulls(1, pa.timestamp("us", zone)))]), "stored")


def test_an_array_is_in_a_value_once():
    numbers = pa.array([[0.0] * 1000], pa.list_(pa.float64()))
    refused(value({"a": [{"~l": 0}] * 1000}, [(numbers, "[1000]", "<f8")]), "KeyError")
    decode_batch_body(value({"a": [{"~l": 0}]}, [(numbers, "[1000]", "<f8")]))


def test_an_empty_array_is_an_empty_list_in_json_however_many_rows_it_says_it_has():
    empty = pa.array([[]], pa.list_(pa.float64()))
    for tag in ("~a", "~l"):
        body = value({"a": {tag: 0}}, [(empty, "[2000000000, 0]", "<f8")])
        decode_batch_body(body)
        assert body_to_json(body)["data"] == {"a": []}


def test_texts_of_an_array_are_not_made_as_long_as_the_longest():
    texts = pa.array([[""] * 10_000 + ["x" * 10_000]], pa.list_(pa.string()))
    refused(value({"a": {"~a": 0}}, [(texts, "[10001]", "<U9")]), "different lengths")


def test_a_list_of_texts_takes_no_more_memory_than_its_texts():
    cells = [["" for _ in range(1000)] + ["x" * 100_000]]
    tracemalloc.start()
    field, array = arrow_column("c", cells)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * 2**20
    assert json.loads(array[0].as_py()) == cells[0] and field.metadata


DTYPES = ["V2000000000", "U500000000", "int8,V2000000000", "(1000000000,)f8", "datetime64[Y]", "O", ["f8"], 8]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", ["{}", "array<{}>"])
def test_no_dtype_but_ours_is_read_in_json(dtype, form):
    for kind in ("rows", "value"):
        word = form.format(dtype) if isinstance(dtype, str) else dtype
        data = {"x": {"dtype": word, "data": [[0]] if form != "{}" else [0]}}
        with pytest.raises(InvalidData):
            chunks_from_json({"records": [{"kind": kind, "key": "k", "step": 0, "data": data}]}, now=0.0)


def test_metadata_of_a_message_are_refused():
    sink = pa.BufferOutputStream()
    batch = pa.record_batch({"x": [1]})
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch, custom_metadata={"a": "b"})
    refused(sink.getvalue().to_pybytes(), "metadata of its own")


def test_a_config_and_a_tree_have_their_limits():
    config = json.dumps({"a": "x" * limits.MAX_CONFIG_BYTES})
    refused(encode_control(Start(config, 0.0)), "a config of")
    deep = 1.0
    for _ in range(MAX_DEPTH):
        deep = [deep]
    refused(value({"a": deep}, []), "too deep")


@pytest.mark.parametrize("time", [float("nan"), float("inf"), 1e300, True, "now"])
def test_a_time_is_one_in_json_too(time):
    with pytest.raises(InvalidData, match="time"):
        chunks_from_json({"records": [{"kind": "clear", "time": time}]}, now=0.0)


@pytest.mark.parametrize("time", [1e12, -1e12, 1_700_000_000_000.0, float("nan"), float("inf"), float("-inf")])
def test_each_row_s_time_is_one_in_arrow_form_too(time):
    for times in ([time], [0.0, time, 1.0], [9e11, -1.0, time]):
        with pytest.raises(InvalidData, match="is not a valid time"):
            decode_batch_body(encode_rows("k", range(len(times)), times, {"x": [1] * len(times)}).body)
    assert decode_batch_body(encode_rows("k", [0, 1], [9.9e11, -9.9e11], {"x": [1, 2]}).body)


def test_what_is_within_the_limits_comes_back_whole():
    chunk = encode_rows("k", [0, 1], [0.0, 1.0], {"a": [np.zeros((2, 0)), None], "j": [{"b": ["x"]}, None], "n": [None, None]})
    (back,) = decode_batch_body(chunk.body)
    assert (back.columns, back.body) == (chunk.columns, chunk.body)
    sent = {"t": np.array(["a", "bb"]), "m": np.array(["2026-01-01"], "M8[D]"), "l": list(range(20)), "e": np.zeros((3, 0))}
    assert decode_batch_body(encode_value("v", 0, 0.0, sent).body)
    assert table_of(chunk.body)[1].num_rows == 2


def in_json(dtype, data, kind="rows"):
    record = {"kind": kind, "key": "k", "step": 0, "data": {"x": {"dtype": dtype, "data": data}}}
    (chunk,) = chunks_from_json({"records": [record]}, now=0.0)
    found = body_to_json(chunk.body)
    return found["columns"]["x"] if kind == "rows" else found["data"]["x"]


UNFIT = {
    "bool": ["x", 1, 0.0, [True], {}],
    "string": [1, True, ["a"], {"a": 1}, 0.5],
    "null": [0, "a", False, []],
    "int8": ["x", "1", 1.5, 128, True, [1], 2**70],
    "uint64": [-1, 2**64, "NaN", False],
    "float16": ["1.5", "nan", 1e6, True, {}],
    "float32": [1e39, "0", [0.5]],
    "float64": ["now", 10**400],
    "datetime64[us]": ["now", "today", "", "yesterday", 1.5, True, -(2**63), "2024-13-01", {}],
    "datetime64[s]": ["2024-01-01T00:00:00.5", " now"],
    "datetime64[ms, UTC]": ["now", "", 5, "2024-01-01T00:00:00.0005Z", True],
    "timedelta64[ns]": ["5", "x", 1.5, True, 2**63, -(2**63)],
    "array<int8>": [["a"], [1.5], [True], [None], [200]],
    "array<bool>": [[1], ["x"]],
    "array<float32>": [["1"], [[1e39]], [False]],
}


@pytest.mark.parametrize("dtype", UNFIT)
def test_a_cell_that_does_not_fit_its_dtype_in_json_is_an_error_with_or_without_gaps(dtype):
    for cell in UNFIT[dtype]:
        for data in ([cell], [None, cell], [cell, cell, None]):
            with pytest.raises(InvalidData) as error:
                in_json(dtype, data)
            assert error.value.where == "records[0].data.x", (dtype, cell)
        if dtype in ("bool", "int8", "float32", "datetime64[us]", "timedelta64[ns]") and not isinstance(cell, list):
            with pytest.raises(InvalidData):
                in_json(dtype, [cell], "value")


FIT = {
    "bool": [True, None, False],
    "string": ["now", None, ""],
    "null": [None, None],
    "int8": [-128, 127],
    "uint64": [2**64 - 1, None],
    "float64": [0.5, "NaN", "-Infinity", None],
    "datetime64[us]": ["2024-01-01T00:00:00.000001", None, "9999-12-31T23:59:59.000000"],
    "datetime64[us, UTC]": ["2024-01-01T00:00:00.000001Z", None],
    "timedelta64[ns]": [-(2**63) + 1000, None, 5],
    "array<uint8>": [[1, 255], [[0]], None],
    "json": [1, "a", None, {"b": [True]}],
}


@pytest.mark.parametrize("dtype", FIT)
def test_cells_that_fit_their_dtype_in_json_come_back_as_they_were(dtype):
    assert in_json(dtype, FIT[dtype]) == {"dtype": dtype, "data": FIT[dtype]}


def test_a_time_without_a_zone_is_in_utc_wherever_the_endpoint_is(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert in_json("datetime64[us, UTC]", ["2024-01-01T05:00"])["data"] == ["2024-01-01T05:00:00.000000Z"]
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("cell", [-(2**63) - 1, 2**64 + 1, -(10**30) - 1, 10**400])
def test_a_whole_number_beyond_64_bits_is_named_with_its_column(cell):
    for cells in ([cell], cell, [0.5, cell], [1, None, cell, -1], {"dtype": "json", "data": [cell]}):
        count = len(cells["data"] if isinstance(cells, dict) else cells) if isinstance(cells, (dict, list)) else 1
        record = {"kind": "rows", "key": "k", "step": 0, "data": {"fine": [1] * count, "v": cells}}
        with pytest.raises(InvalidData, match="64-bit integers") as error:
            chunks_from_json({"records": [{"kind": "clear"}, record]}, now=0.0)
        assert error.value.where == "records[1].data.v" and "beside others" not in str(error.value)


@pytest.mark.parametrize("place", ["key", "column", "attempt", "name of the run"])
def test_names_of_more_bytes_than_every_store_can_hold_are_refused_in_both_forms(place):
    def bodies(name):
        key, column = [name if place == one else "k" for one in ("key", "column")]
        if place in ("key", "column"):
            record = {"kind": "rows", "step": 1, "key": key, "data": {column: 1.0}}
            return encode_rows(key, [1], [0.0], {column: [1.0]}).body, record
        its = {"attempt": name} if place == "attempt" else {"name": name}
        return encode_control(Start("{}", 0.0, **its)), {"kind": "start", **its}

    body, record = bodies("𝔘" * 500)
    assert len(decode_batch_body(body)) == len(chunks_from_json({"records": [record]}, now=0.0)) == 1
    body, record = bodies("𝔘" * 500 + "x")
    for read in (lambda: decode_batch_body(body), lambda: chunks_from_json({"records": [record]}, now=0.0)):
        with pytest.raises(InvalidData, match=rf"the {place} '𝔘+'\.\.\. has 2,001 bytes in UTF-8.*at most 2,000"):
            read()
