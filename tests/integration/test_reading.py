"""`streamvis.open`: what a script reads of runs equals what was sent."""

import math
import threading

import numpy as np
import pyarrow as pa
import pytest

import streamvis
from streamvis import Client
from streamvis.errors import EndpointUnreachable, StreamvisError, UnknownKey, UnknownRun, UsageError
from streamvis.transport import Transport, path
from support.conditions import wait_until


@pytest.fixture
def reader(shared_endpoint):
    with streamvis.open(shared_endpoint.url) as reader:
        yield reader


@pytest.fixture
def sent(shared_endpoint, request):
    """`sent(run, send)`: a run of an app of this test, which `send` fills; closed when that returns."""

    def make(run, send, config=None):
        with Client(shared_endpoint.url, request.node.name) as client:
            client.init(config or {}, run=run)
            send(client)

    return make


def test_rows_come_whole_in_the_order_of_the_log_with_missing_apart_from_nan(sent, reader):
    def send(client):
        client.sendl(5, "train", {"loss": [1.0, math.nan], "n": [2**60, 2**60 + 1]})
        client.sendl(3, "train", {"loss": [0.5]})
        client.sendl(4, "train", {"n": [7], "what": ["text"]})

    sent("rows-1", send)
    table = reader.run("rows-1").rows("train")
    assert table.column_names == ["step", "time", "loss", "n", "what"]
    assert table["step"].to_pylist() == [5, 5, 3, 4]
    loss = table["loss"].to_pylist()
    assert loss[0] == 1.0 and math.isnan(loss[1]) and loss[2:] == [0.5, None]
    assert table["n"].to_pylist() == [2**60, 2**60 + 1, None, 7]
    assert table["what"].to_pylist() == [None, None, None, "text"]
    assert reader.run("rows-1").rows("train", columns=["n"], steps=(4, 5)).to_pydict()["n"] == [2**60, 2**60 + 1, 7]


def test_a_column_called_as_the_log_s_own_keeps_its_data_under_a_name_with_a_dot(sent, reader):
    sent("rows-2", lambda client: client.sendl(1, "train", {"step": [10.5], "run": ["mine"]}))
    assert reader.run("rows-2").rows("train").select(["step", ".step"]).to_pylist() == [{"step": 1, ".step": 10.5}]
    whole = reader.runs("test_a_column_called_as_the_log_s_own_keeps_its_data_under_a_name_with_a_dot").rows("train")
    assert whole.select(["run", "step", ".run"]).to_pylist() == [{"run": "rows-2", "step": 1, ".run": "mine"}]


def test_batches_are_the_rows_in_pieces_of_one_schema(sent, reader):
    def send(client):
        for step in range(40):
            client.sendl(step, "long", {"x": np.arange(20_000) + step, **({"late": np.ones(20_000)} if step > 20 else {})})
            client.flush()

    sent("long-1", send)
    run = reader.run("long-1")
    batches = list(run.batches("long"))
    assert len(batches) > 2 and max(batch.num_rows for batch in batches) <= 2**16
    assert pa.Table.from_batches(batches).equals(run.rows("long").combine_chunks())
    coarse = run.rows("long", columns=["x"], buckets=10)
    assert coarse.num_rows < 200
    assert coarse["x"].to_pylist()[-1] == 20_000 + 38


def test_all_values_come_by_rising_step_also_over_gaps(sent, reader):
    steps = [0, 1, 2, 999, 1000, 1001, 5000, 10**9, 10**9 + 1]

    def send(client):
        for step in reversed(steps):
            client.send(step, "weights", {"w": np.full((2, 2), step, np.float32), "note": f"step {step}"})
            client.flush()

    sent("values-1", send)
    run = reader.run("values-1")
    found = list(run.values("weights"))
    assert [value.step for value in found] == steps
    assert all(value.data["w"].dtype == np.float32 and value.data["w"].tolist() == [[value.step] * 2] * 2 for value in found[:6])
    assert [value.step for value in run.values("weights", steps=(1000, 5000))] == [1000, 1001, 5000]
    assert run.value("weights")["note"] == f"step {10**9 + 1}"
    assert run.value("weights", step=999)["note"] == "step 999"


def test_a_run_tells_what_it_is(sent, reader, request):
    def send(client):
        client.sendl(0, "a/b", {"loss": [3.0, 1.0, 2.0], "name": ["x", "y", "z"]})
        client.send(0, "image", {"pixels": np.zeros((2, 2))})

    sent("about-1", send, {"lr": 0.1, "layers": [1, 2]})
    run = reader.run("about-1")
    assert (run.app, run.state, run.config) == (request.node.name, "finished", {"lr": 0.1, "layers": [1, 2]})
    assert {key: info.kind for key, info in run.keys.items()} == {"a/b": "rows", "image": "value"}
    assert run.keys["a/b"].columns == {"loss": "float64", "name": "string"}
    loss = wait_until(lambda: run.summary.get("a/b"), within_s=20, what="the summary of the column")["loss"]
    assert (loss["last"], loss["min"], loss["max"], loss["count"]) == (2.0, 1.0, 3.0, 3)
    assert reader.run(run.name).id == "about-1", "a name that one run has finds it too"


def test_runs_are_found_and_their_rows_come_together(sent, reader, request):
    for lr in (0.1, 0.2, 0.3):
        row = {"loss": [lr], **({"b": [1]} if lr > 0.2 else {})}
        sent(f"found-{lr}", lambda client, row=row: client.sendl(0, "train", row), {"lr": lr})
    runs = reader.runs(request.node.name, where="config.lr > 0.1", order="-config.lr")
    assert [run.id for run in runs] == ["found-0.3", "found-0.2"]
    table = runs.rows("train")
    assert table.select(["run", "loss", "b"]).to_pylist() == [
        {"run": "found-0.3", "loss": 0.3, "b": 1},
        {"run": "found-0.2", "loss": 0.2, "b": None},
    ]
    assert len(reader.runs(request.node.name, limit=2)) == 2
    assert len(reader.runs("no such app")) == 0


def test_following_gives_what_comes_and_ends_with_the_run(shared_endpoint, reader, request):
    client = Client(shared_endpoint.url, request.node.name)
    client.init({}, run="live-1")
    client.sendl(0, "train", {"loss": [0.0]})
    client.flush()
    seen = []
    first = threading.Event()

    def read():
        for update in reader.run("live-1").follow():
            seen.append(update)
            first.set()

    thread = threading.Thread(target=read)
    thread.start()
    assert first.wait(20)
    client.sendl(1, "train", {"loss": [1.0]})
    client.send(1, "image", {"a": 1})
    client.close()
    thread.join(30)
    assert not thread.is_alive()
    assert [loss for one in seen if one.rows is not None for loss in one.rows["loss"].to_pylist()] == [0.0, 1.0]
    assert [one.value.data for one in seen if one.value is not None] == [{"a": 1}]


def test_a_follower_hears_that_the_past_was_taken_back(shared_endpoint, reader, request):
    with Client(shared_endpoint.url, request.node.name) as client:
        client.init({}, run="cleared-1")
        client.sendl(0, "train", {"loss": [0.0]})
        client.flush()
        updates = reader.run("cleared-1").follow()
        assert not next(updates).restart
        Transport(shared_endpoint.url).request("POST", path("runs", "cleared-1", "clear"))
        client.sendl(1, "train", {"loss": [1.0]})
        client.flush()
        rest = iter(updates)
        later = [next(rest)]
        while later[-1].rows is None:
            later.append(next(rest))
        assert later[0].restart
        assert later[-1].rows["loss"].to_pylist() == [1.0]


def test_errors_name_what_is_there(sent, reader, shared_endpoint):
    sent("mistaken-1", lambda client: client.sendl(0, "train", {"loss": [1.0]}))
    with pytest.raises(UnknownRun, match="Did you mean 'mistaken-1'"):
        reader.run("mistakn-1")
    for no_id in ("names", "newest", "a/b", "🦜"):
        with pytest.raises(UnknownRun):
            reader.run(no_id)
    run = reader.run("mistaken-1")
    with pytest.raises(UnknownKey, match="Did you mean 'train'"):
        run.rows("trian")
    with pytest.raises(UnknownKey, match="Did you mean 'train'"):
        list(run.values("trian"))
    with pytest.raises(UsageError, match="no column 'los'. Did you mean 'loss'"):
        run.rows("train", columns=["los"])
    with pytest.raises(StreamvisError, match="holds rows"):
        list(run.values("train"))
    with pytest.raises(StreamvisError, match="Write a summary as|There is no name"):
        reader.runs(where="nothing > 1")
    with pytest.raises(EndpointUnreachable):
        streamvis.open("http://127.0.0.1:9")
