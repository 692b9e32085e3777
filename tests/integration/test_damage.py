"""A damaged store under real endpoints: the key is named in its answers, in the log and in /healthz, and all others go on."""

from __future__ import annotations

import json

import pytest

from streamvis import Client
from streamvis.errors import LiveSourceRefused
from streamvis.page.feeds.reader import EndpointReader
from streamvis.records import HistoryQuery
from streamvis.transport import Transport
from support.damage import break_page, flip_byte


def get(endpoint, where, *, token=None, **params):
    answer = Transport(endpoint.url, token=token).request("GET", where, params=params)
    return answer.status, json.loads(answer.body)


def send(client, run, keys, steps):
    for step in steps:
        for key in keys:
            client.sendl(step, key, {"x": step, "note": f"<{key} at step {step:04}>" * 20})
        assert client.flush()


@pytest.mark.parametrize("damage", [flip_byte, break_page])
def test_a_damaged_key_is_named_once_in_the_log_in_its_answers_and_in_healthz_and_all_others_go_on(
    damage, start_endpoint, start_streamvis, tmp_path
):
    data = tmp_path / "data"
    endpoint = start_endpoint(data, args=["--token", "write-token-1", "--read-token", "read-token-1"])
    with Client(endpoint.url, "app", token="write-token-1") as client:
        run = client.init()
        send(client, run, ["weather"], range(5))
        send(client, run, ["bad"], range(8))
        send(client, run, ["weather"], range(5, 10))
        endpoint.terminate()
        damage(data, b"<bad at step 0003>")
        endpoint.restart()
        assert get(endpoint, "/healthz")[1]["status"] == "ok"
        for _ in range(2):
            status, told = get(endpoint, f"/api/v1/runs/{run}/rows", key="bad", token="read-token-1")
            assert (status, told["error"]["code"]) == (500, "damaged") and "'bad'" in told["error"]["message"]
        with pytest.raises(LiveSourceRefused, match="'bad'"):
            reader = EndpointReader(endpoint.url, token="read-token-1")
            reader.history(run, "bad", HistoryQuery(x="step", columns=["x"], buckets=10))
        status, tail = get(endpoint, f"/api/v1/runs/{run}/tail", token="read-token-1")
        assert status == 200 and list(tail["damaged"]) == ["bad"]
        assert [x for one in tail["records"] if one["key"] == "weather" for x in one["columns"]["x"]["data"]] == list(range(10))
        healthy = get(endpoint, "/healthz", token="read-token-1")[1]
        assert healthy["status"] == "damaged" and [(one["run"], one["key"]) for one in healthy["damaged"]] == [(run, "bad")]
        hidden = get(endpoint, "/healthz")[1]
        assert hidden["status"] == "damaged" and hidden["damages"] == 1 and not hidden["damaged"]
        send(client, run, ["weather", "bad"], range(10, 60))
        status, rows = get(endpoint, f"/api/v1/runs/{run}/rows", key="weather", token="read-token-1")
        assert rows["columns"]["x"]["data"] == list(range(60))
        assert endpoint.output().count("is damaged") == 1
    check = start_streamvis("check", data)
    assert check.wait() == 1 and f"key 'bad' of run '{run}'" in check.output()
    refused = start_streamvis("check", "--repair", data)
    assert refused.wait() == 1 and "Stop it" in refused.output()
    endpoint.terminate()
    repair = start_streamvis("check", "--repair", data)
    assert repair.wait() == 0 and "Lost: key 'bad'" in repair.output() and "is kept" in repair.output()
    endpoint.restart()
    assert get(endpoint, f"/api/v1/runs/{run}/rows", key="bad", token="read-token-1")[0] == 200
    assert get(endpoint, "/healthz")[1]["status"] == "ok"
