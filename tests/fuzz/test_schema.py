"""The endpoint does what its OpenAPI document says, whatever is asked: some of what `benchmarks/schema.py` tries."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

from streamvis.transport import Transport
from streamvis.wire.arrow import ARROW

TOKEN = "a-token-of-this-test"
OPTIONS = ["--token", TOKEN, "--vanish-after", "3600"]

BROKEN = """
import sys
from streamvis.endpoint import responses
from streamvis.endpoint.routes import read as read_routes
from streamvis.errors import InvalidData
from streamvis.store.sqlite import SqliteStore
{broken}
from streamvis.cli import main
sys.argv[1:] = ["rest", "--port", "0", "--data", sys.argv[1], *sys.argv[2:]]
sys.exit(main())
"""


def ask(endpoint, method, where, *, accept="application/json", body=None):
    headers = {"Accept": accept, "Content-Type": "application/json"}
    body = None if body is None else json.dumps(body).encode()
    return Transport(endpoint.url, token=TOKEN).request(method, f"/api/v1{where}", body=body, headers=headers)


@pytest.fixture(scope="module")
def schema():
    """The program, imported by the test that needs it: each process of the tests collects this file, and that takes seconds."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("schema")


def tried(schema, url, **wanted):
    found = schema.try_all(url, TOKEN, **{"examples": 5, "sequences": 0, "limits": False, "seed": 7} | wanted)
    print("\n".join(found.lines()))
    return found


def test_no_request_breaks_the_endpoint_or_its_word_and_a_refused_one_changes_nothing(schema, start_endpoint):
    found = tried(schema, start_endpoint(args=OPTIONS).url, sequences=2)
    assert not found.faults, "\n\n".join(found.faults.values())
    answered = {label for label, _ in found.answers}
    assert len(answered) == 24 and sum(found.answers.values()) > 100
    assert {status for _, status in found.answers} >= {200, 201, 204, 422}


FAULTS = {
    "a plain exception": ("history", "SqliteStore.history = lambda *arguments, **options: 1 / 0", "Server error"),
    "a refusal that stores": (
        "describe",
        """
describe = SqliteStore.describe
def broken(self, runs, description):
    describe(self, runs, description)
    raise InvalidData("no")
SqliteStore.describe = broken
""",
        "a_refusal_changes_nothing",
    ),
    "a status that is not documented": (
        "clear",
        """
responses._KINDS[InvalidData] = (418, "tea")
def broken(self, run):
    raise InvalidData("no")
SqliteStore.clear = broken
""",
        "Undocumented status code",
    ),
    "an answer of another form": ("healthz", "read_routes.PROTOCOL = 'one'", "Response violates schema"),
    "an answer that never comes": (
        "newest",
        "import threading\nSqliteStore.newest = lambda *arguments: threading.Event().wait()",
        "timeout",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_an_endpoint_does_wrong_is_found(fault, schema, start_service, tmp_path, monkeypatch):
    operation, broken, title = FAULTS[fault]
    if title == "timeout":
        monkeypatch.setattr(schema, "LIMIT_S", 2.0)
    command = [sys.executable, "-c", BROKEN.format(broken=broken), tmp_path / "data", *OPTIONS]
    endpoint = start_service(command, ready=r"ready at (?P<url>http://[^:]+:(?P<port>\d+))", is_warm=True)
    # Enough that some are right, whichever come: a request that is refused does not reach the fault.
    found = tried(schema, endpoint.url, operations=[operation], examples=30)
    assert {label for label, _ in found.answers} == {label for label, _ in found.faults}
    assert any(title in told for told in found.faults.values()), found.faults


def test_the_document_names_every_route_with_what_it_takes_and_all_that_it_answers(start_endpoint):
    answer = Transport(start_endpoint(args=OPTIONS).url, token=TOKEN).request("GET", "/openapi.json")
    document = json.loads(answer.body)
    assert document["security"] == [{"token": []}]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["description"], (method, path)
            for status, told in operation["responses"].items():
                told = told.get("content", {}).get("application/json", {}).get("schema", {})
                expected = "Error" if status >= "400" else None if status == "204" else "any"
                assert ("$ref" in told) == (expected is not None), (method, path, status)
                assert expected != "Error" or told["$ref"].endswith("/Error")
            assert {"503", "421", "403"} <= set(operation["responses"]), (method, path)
            names_runs = "{run}" in path or path.endswith(("newest", "band", "delete")) or (method, path[8:]) == ("patch", "runs")
            assert ("404" in operation["responses"]) == names_runs, (method, path)


def test_rows_whose_column_held_numbers_and_texts_can_be_read(start_endpoint):
    endpoint = start_endpoint(args=OPTIONS)
    start = {"kind": "start", "config": {}}
    for step, cells in enumerate(([1.5], ["a"], [{"b": 1}])):
        records = [start, {"kind": "rows", "key": "k", "step": step, "data": {"x": cells}}]
        assert ask(endpoint, "POST", "/runs/r/batches?app=a", body={"records": records}).status == 200
    assert ask(endpoint, "GET", "/runs/r/rows?key=k", accept=ARROW).status == 200
    found = json.loads(ask(endpoint, "GET", "/runs/r/rows?key=k").body)
    assert found["columns"] == {"x": {"dtype": "json", "data": [1.5, "a", {"b": 1}]}} and found["steps"] == [0, 1, 2]
    none = json.loads(ask(endpoint, "GET", "/runs/r/rows?key=k&from_step=9").body)
    assert none["columns"] == {} and not none["more"]


def test_a_step_past_64_bits_is_refused_and_a_wrong_method_is_told_the_right_ones(start_endpoint):
    endpoint = start_endpoint(args=OPTIONS)
    records = [{"kind": "start", "config": {}}, {"kind": "value", "key": "v", "step": 2**63 - 1, "data": {"x": 1}}]
    assert ask(endpoint, "POST", "/runs/r/batches?app=a", body={"records": records}).status == 200
    assert ask(endpoint, "GET", f"/runs/r/value?key=v&step={2**63 - 1}").status == 200
    for where in (f"value?key=v&step={2**63}", f"rows?key=v&from_step={2**63}", f"rows?key=v&to_step={10**30}"):
        assert ask(endpoint, "GET", f"/runs/r/{where}").status == 422, where
    refused = ask(endpoint, "DELETE", "/apps")
    assert (refused.status, refused.headers["allow"]) == (405, "GET")
    assert ask(endpoint, "POST", "/runs", body={"app": "a", "attempt": {}}).status == 422
