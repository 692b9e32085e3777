"""Broken input to every decoder, and to a real endpoint: some of what `benchmarks/fuzz.py` tries."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import pyarrow as pa
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import fuzz
from streamvis.errors import InvalidData
from streamvis.transport import Transport
from streamvis.wire.arrow import decode_batch_body, encode_rows, table_of


@pytest.mark.parametrize("name", fuzz.DECODERS)
def test_a_decoder_gives_a_value_or_the_error_that_it_says(name):
    found = fuzz.fuzz_decoder(name, 1500, random.Random(7))
    print(f"{name}: {dict(found)}")
    assert found["taken"] and (found["refused"] or not fuzz.DECODERS[name][2])


def test_no_request_breaks_the_endpoint_and_a_refused_one_changes_nothing():
    found = fuzz.fuzz_endpoint(250, random.Random(7))
    print(f"endpoint: {dict(found)}")
    assert found["taken"] and found["refused"]


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_what_would_grow_when_it_is_unpacked_is_refused_before_that(codec):
    table = table_of(encode_rows("k", [0] * 10_000, [0.0] * 10_000, {"x": [0.0] * 10_000}).body)[1]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
        writer.write_table(table)
    body = sink.getvalue().to_pybytes()
    assert len(body) < table.nbytes / 10
    allocated = pa.total_allocated_bytes()
    with pytest.raises(InvalidData, match="compressed"):
        decode_batch_body(body)
    assert pa.total_allocated_bytes() <= allocated


def test_text_that_no_file_can_hold_is_refused_and_holds_up_nobody(start_endpoint):
    endpoint = start_endpoint()
    for place in ("app", "producer", "name"):
        order = {"app": "a", "producer": "p", "number": 1, "records": [{"kind": "start", "name": "n", "config": {}}]}
        (order["records"][0] if place == "name" else order)[place] = "\ud800"
        answer = Transport(endpoint.url).request(
            "POST", "/api/v1/runs/r/batches", body=json.dumps(order).encode(), headers={"Content-Type": "application/json"}
        )
        assert answer.status == 422, (place, answer.body)


def test_a_text_that_utf_8_cannot_say_comes_back_as_it_was_sent(start_endpoint):
    endpoint = start_endpoint()
    records = [{"kind": "start", "config": {"c": "\ud800"}}, {"kind": "value", "key": "v", "step": 0, "data": {"t": "\ud800"}}]
    Transport(endpoint.url).request(
        "POST",
        "/api/v1/runs/r/batches?app=a",
        body=json.dumps({"records": records}).encode(),
        headers={"Content-Type": "application/json"},
    )
    tail = Transport(endpoint.url).request("GET", "/api/v1/runs/r/tail")
    assert tail.status == 200 and json.loads(tail.body)["records"][0]["data"]["t"] == "\ud800"
    run = Transport(endpoint.url).request("GET", "/api/v1/runs/r")
    assert run.status == 200 and json.loads(run.body)["config"] == {"c": "\ud800"}
