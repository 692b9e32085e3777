"""History through a real endpoint, while chunks are merged behind it."""

import json

import numpy as np
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
