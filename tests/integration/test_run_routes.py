"""Finding and describing runs through the endpoint, as the shell and other programs do."""

from __future__ import annotations

import json

import pytest

from streamvis.naming import readable_name
from streamvis.transport import Transport, path
from streamvis.wire.arrow import ARROW, encode_rows, table_of


class Api:
    def __init__(self, url):
        self._transport = Transport(url)

    def ask(self, method, *parts, body=None, accept="application/json", status=200, **params):
        headers = {"Accept": accept, "Content-Type": "application/json"}
        body = None if body is None else json.dumps(body).encode()
        answer = self._transport.request(method, path(*parts), params=params, body=body, headers=headers)
        assert answer.status == status, answer
        return answer.body if accept == ARROW else json.loads(answer.body or b"null")


@pytest.fixture
def api(start_endpoint):
    made = Api(start_endpoint().url)
    for i in range(4):
        config = {"lr": [0.1, 0.01][i % 2], "seed": i, "odd": [float("nan"), "x"][i % 2]}
        made.ask("POST", "runs", body={"app": "app", "run": f"r{i}", "config": config}, status=201)
    return made


def ids(answer):
    return [run["run"] for run in answer["runs"]]


def test_runs_are_found_in_json_and_in_arrow(api):
    columns = ["config.seed", "config.odd"]
    found = api.ask("GET", "runs", app="app", where="config.lr < 0.05", order="-config.seed", column=columns)
    assert ids(found) == ["r3", "r1"] and (found["more"], found["after"], found["matching"]) == (False, None, 2)
    assert found["runs"][0]["columns"] == {"config.seed": 3, "config.odd": "x"} and "config" not in found["runs"][0]
    asked = {"app": "app", "order": "config.seed", "limit": 3, "config": "true", "column": "config.odd"}
    first, body = api.ask("GET", "runs", **asked), api.ask("GET", "runs", accept=ARROW, **asked)
    meta, table = table_of(body)
    assert meta == {"kind": "runs", "more": True, "after": first["after"], "matching": 4}
    assert table["run"].to_pylist() == ids(first) == ["r0", "r1", "r2"]
    assert json.loads(table["config"][0].as_py())["seed"] == first["runs"][0]["config"]["seed"] == 0
    odd = [run["columns"]["config.odd"] for run in first["runs"]]
    assert table["columns.config.odd"].to_pylist() == odd == ["NaN", "x", "NaN"]
    assert ids(api.ask("GET", "runs", **asked, after=first["after"])) == ["r3"]
    _, nothing = table_of(api.ask("GET", "runs", app="nobody's", accept=ARROW))
    assert nothing.num_rows == 0 and "color" in nothing.column_names


def test_a_filter_that_cannot_be_read_is_answered_with_its_place(api):
    error = api.ask("GET", "runs", where="config.lr = 3", status=422)["error"]
    assert (error["code"], error["position"], error["length"]) == ("invalid", 10, 1) and "==" in error["message"]
    error = api.ask("GET", "runs", where="nonsense", status=422)["error"]
    assert (error["position"], error["length"]) == (0, 8)
    for wrong in ({"order": "nonsense"}, {"column": "a b"}, {"after": "x"}, {"archived": "maybe"}):
        assert api.ask("GET", "runs", status=422, **wrong)["error"]["message"]


def test_one_run_and_many_are_described_and_those_who_follow_hear_of_it(api):
    before = api.ask("GET", "apps", "tail", app="app")["cursor"]
    of_all = api.ask("GET", "apps", "tail")
    assert of_all["newest"] == api.ask("GET", "apps", "tail", app="app")["newest"]
    cursor = api.ask("GET", "runs", "r0", "tail")["cursor"]
    one = api.ask("PATCH", "runs", "r0", body={"note": "first", "color": "#ABCDEF"})
    assert (one["note"], one["color"], one["name"], one["named"]) == ("first", "#abcdef", readable_name("r0"), False)
    many = api.ask("PATCH", "runs", body={"runs": ["r0", "r1"], "set": {"archived": True}, "add_tags": ["old"]})
    assert [(run["archived"], run["tags"]) for run in many["runs"]] == [(True, ["old"])] * 2
    assert ids(api.ask("GET", "runs", app="app")) == ["r3", "r2"]
    assert ids(api.ask("GET", "runs", app="app", archived="true", where="'old' in tags")) == ["r1", "r0"]
    assert api.ask("GET", "apps", "tail", app="app")["cursor"] != before
    assert api.ask("GET", "apps", "tail", after=of_all["cursor"], wait=20)["cursor"] != of_all["cursor"]
    tail = api.ask("GET", "runs", "r0", "tail", after=cursor, wait=20)
    assert tail["cursor"] != cursor and not tail["restart"]
    assert (tail["run"]["color"], tail["run"]["tags"], tail["run"]["archived"]) == ("#abcdef", ["old"], True)


WRONG = [
    {"name": 1}, {"name": "x" * 1001}, {"color": "red"}, {"color": "#12345"}, {"archived": "yes"}, {"note": 3},
    {"note": "x" * 10_001}, {"tags": "a"}, {"tags": [""]}, {"tags": ["x" * 101]}, {"tags": [1]}, {"tags": ["\ud800"]},
]  # fmt: skip


def test_a_description_that_is_wrong_changes_nothing(api):
    whole = api.ask("GET", "runs", "r0")
    for change in WRONG:
        assert api.ask("PATCH", "runs", "r0", body={"note": "n", **change}, status=422)["error"]["where"]
        api.ask("PATCH", "runs", body={"runs": ["r0"], "set": change}, status=422)
    api.ask("PATCH", "runs", body={"runs": ["r0", "none such"], "set": {"note": "n"}}, status=404)
    api.ask("PATCH", "runs", body={"runs": "r0"}, status=422)
    assert api.ask("GET", "runs", "r0") == whole


@pytest.mark.parametrize("name", ["y\0", "\0y"])
def test_a_name_with_nul_is_refused_wherever_it_stands_and_nothing_is_stored(api, name):
    record = {"kind": "rows", "key": "k", "step": 0, "data": {"y": [1]}}
    for wrong in (
        {"records": [{**record, "key": name}]},
        {"records": [{**record, "data": {"y": [1], name: [2]}}]},
        {"records": [{**record, "kind": "value", "key": name}]},
        {"records": [{"kind": "start", "config": {}, "name": name}]},
        {"records": [record], "app": name},
        {"records": [record], "producer": name, "number": 1},
    ):
        for run in ("r1", "new"):
            told = api.ask("POST", "runs", run, "batches", body={"app": "app", **wrong}, status=422)["error"]
            assert "NUL" in told["message"] and told["where"], told
    for key, column in ((name, "y"), ("k", name)):
        body = encode_rows(key, [0], [0.0], {column: [1]}).body
        where = path("runs", "r1", "batches")
        for params, sent in (({}, body), ({"app": name}, encode_rows("k", [0], [0.0], {"y": [1]}).body)):
            answer = api._transport.request("POST", where, params=params, body=sent, headers={"Content-Type": ARROW})
            assert answer.status == 422 and b"NUL" in answer.body, answer
    api.ask("POST", "runs", body={"app": name, "config": {}}, status=422)
    api.ask("PATCH", "runs", "r1", body={"tags": ["good", name]}, status=422)
    api.ask("PATCH", "runs", "r1", body={"name": name}, status=422)
    assert api.ask("GET", "runs", "r1")["keys"] == {} and ids(api.ask("GET", "runs", run=["r1\0", "r2"])) == ["r2"]
    assert len(api.ask("GET", "runs")["runs"]) == 4


def test_runs_are_deleted_and_restored_and_those_who_follow_hear_of_it(api):
    before = api.ask("GET", "apps", "tail", app="app")["cursor"]
    whole = api.ask("GET", "runs", "r0")
    api.ask("POST", "runs", "delete", body={"runs": ["r0", "none such"]}, status=404)
    api.ask("POST", "runs", "delete", body={"runs": 1}, status=422)
    until = api.ask("POST", "runs", "delete", body={"runs": ["r0", "r1"]})["restorable_until"]
    assert api.ask("DELETE", "runs", "r2")["restorable_until"] >= until > whole["created"]
    assert ids(api.ask("GET", "runs", app="app")) == ["r3"]
    api.ask("GET", "runs", "r0", status=410)
    api.ask("POST", "runs", "r0", "batches", body={"records": []}, status=410)
    tail = api.ask("GET", "apps", "tail", app="app", after=before, wait=20)
    assert tail["cursor"] != before and ids(tail) == ["r3"]
    restored = api.ask("POST", "runs", "r0", "restore")
    assert restored["name"] == whole["name"] and api.ask("GET", "runs", "r0")["config"] == whole["config"]
    assert ids(api.ask("GET", "apps", "tail", app="app", after=tail["cursor"], wait=20)) == ["r3", "r0"]


def test_what_can_be_named_is_told_and_is_no_id_of_a_run(api):
    api.ask("PATCH", "runs", "r0", body={"tags": ["b", "a"]})
    names = api.ask("GET", "runs", "names", app="app")
    assert names["tags"] == ["a", "b"]
    assert {"name": "config.lr", "values": 2, "differs": True, "kind": "number"} in names["config"]
    api.ask("POST", "runs", body={"app": "app", "run": "names"}, status=422)


def test_a_band_over_runs_is_given_in_json_and_in_arrow(api):
    for i in range(4):
        rows = {"kind": "rows", "key": "train", "step": 3, "data": {"loss": [float(i)]}}
        api.ask("POST", "runs", f"r{i}", "batches", body={"records": [rows]})
    asked = {"key": "train", "column": "loss", "stat": "range"}
    found = api.ask("GET", "band", run=["r0", "r3"], **asked)
    assert {name: column["data"] for name, column in found["columns"].items()} == {
        "x": [3.0], "loss.middle": [1.5], "loss.low": [0.0], "loss.high": [3.0], "loss.runs": [2],
    }  # fmt: skip
    ends = [{"run": run, "x": 3.0, "running": True} for run in ("r0", "r3")]
    assert (found["runs"], found["complete"], found["ends"]) == (2, True, ends)
    meta, table = table_of(api.ask("GET", "band", app="app", where="config.lr < 0.05", accept=ARROW, **asked))
    assert meta["kind"] == "band" and table["loss.middle"].to_pylist() == [2.0] and table["loss.runs"].to_pylist() == [2]
    assert api.ask("GET", "band", app="app", where="config.lr < 0", **asked)["columns"]["x"]["data"] == []
    assert api.ask("GET", "band", status=404, run="none-such", **asked)["error"]["code"] == "unknown_run"
    assert api.ask("GET", "band", status=422, **asked)["error"]["where"] == "run"
    assert api.ask("GET", "band", status=422, app="app", where="x <", **asked)["error"]["code"] == "invalid"
