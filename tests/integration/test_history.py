"""History through a real endpoint, while chunks are merged behind it."""

import datetime as dt
import json
import math

import numpy as np
import pytest
import urllib3

from streamvis import Client
from streamvis.wire.arrow import ARROW, decode_history


def test_a_spike_in_a_long_run_is_in_every_view_of_it_in_both_forms(start_endpoint):
    endpoint = start_endpoint()
    count, at = 200_000, 123_456
    y = np.sin(np.arange(count) / 1000)
    y[at] = 50.0
    with Client(endpoint.url, "app") as client:
        run = client.init()
        for start in range(0, count, 10_000):
            part = slice(start, start + 10_000)
            client.sendl(start, "k", {"x": np.arange(count)[part] / 10, "y": y[part]})
    http = urllib3.PoolManager()
    for low, high in [(0, count), (at - 5000, at + 5000), (at - 3, at + 3)]:
        fields = {"key": "k", "x": "x", "columns": "y", "from": low / 10, "to": high / 10, "buckets": 100}
        answer = http.request("GET", f"{endpoint.url}/api/v1/runs/{run}/history", fields=fields)
        found = json.loads(answer.data)
        assert answer.status == 200 and found["count"] == count and found["rising"]
        assert at in found["rows"] and max(found["columns"]["y"]["data"]) == 50.0
        assert len(found["rows"]) <= 2 * 100 + 4
        packed = http.request("GET", f"{endpoint.url}/api/v1/runs/{run}/history", fields=fields, headers={"Accept": ARROW})
        meta, numbers, rows = decode_history(packed.data)
        assert numbers.tolist() == found["rows"] and rows.columns["y"].tolist() == found["columns"]["y"]["data"]
        assert {name: meta[name] for name in ("x", "complete", "first_x")} == {
            name: found[name] for name in ("x", "complete", "first_x")
        }


def test_a_view_that_makes_no_sense_is_refused(start_endpoint):
    endpoint = start_endpoint()
    with Client(endpoint.url, "app") as client:
        run = client.init()
        client.sendl(0, "k", {"x": 1.0})
    http = urllib3.PoolManager()
    for wrong in ({"x": "nothing"}, {"columns": "nothing"}, {"buckets": "0"}, {"from": "nan"}, {"scale": "round"}):
        answer = http.request("GET", f"{endpoint.url}/api/v1/runs/{run}/history", fields={"key": "k", **wrong})
        assert answer.status == 422, wrong
        assert json.loads(answer.data)["error"]["where"]
    assert http.request("GET", f"{endpoint.url}/api/v1/runs/{run}/history", fields={"key": "other"}).status == 404
    for columns in (["x", "x"], [f"c{i}" for i in range(21)]):
        fields = [("key", "k"), *(("columns", name) for name in columns)]
        answer = http.request("GET", f"{endpoint.url}/api/v1/runs/{run}/histories", fields=fields)
        assert answer.status == 422 and json.loads(answer.data)["error"]["where"].endswith("columns"), columns


def test_what_is_not_finite_and_what_fits_no_dtype_is_answered_in_both_forms(start_endpoint):
    endpoint = start_endpoint()
    x = [0.0, math.inf, 1.0, math.nan, -math.inf, 2.0]
    y = [1.0, math.inf, -math.inf, math.nan, 5.0, -5.0]
    with Client(endpoint.url, "app") as client:
        run = client.init()
        for step in range(6):
            client.sendl(step, "k", {"x": x[step], "y": y[step]})
        client.sendl(6, "k", {"t": dt.datetime(2400, 1, 1)})
        client.sendl(7, "k", {"t": np.array(["2024-01-02T00:00:00.000000001"], "M8[ns]"), "n": 2**62 + 1})
        client.sendl(8, "k", {"n": 0.5})
    http = urllib3.PoolManager()
    for scale in ("linear", "log"):
        for fields in ({"x": "x"}, {"x": "y"}, {"x": "x", "window": "1"}, {"x": "t"}, {"x": "x", "having": "y"}):
            fields = {"key": "k", "scale": scale, **fields}
            answer = http.request("GET", f"{endpoint.url}/api/v1/runs/{run}/history", fields=fields)
            assert answer.status == 200, (fields, answer.data)
            found = json.loads(answer.data, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
            packed = http.request("GET", f"{endpoint.url}/api/v1/runs/{run}/history", fields=fields, headers={"Accept": ARROW})
            assert decode_history(packed.data)[1].tolist() == found["rows"]
    answer = json.loads(http.request("GET", f"{endpoint.url}/api/v1/runs/{run}/history", fields={"key": "k", "x": "row"}).data)
    assert answer["columns"]["x"]["data"][:6] == [0.0, "Infinity", 1.0, "NaN", "-Infinity", 2.0]
    rows = json.loads(http.request("GET", f"{endpoint.url}/api/v1/runs/{run}/rows", fields={"key": "k"}).data)
    for columns in (answer["columns"], rows["columns"]):
        assert columns["t"]["data"][6:8] == ["2400-01-01T00:00:00.000000", "2024-01-02T00:00:00.000000001"]
        assert columns["n"]["data"][7:] == [2**62 + 1, 0.5]
