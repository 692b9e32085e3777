"""A run that is continued from a checkpoint, with real processes: some are killed, some send late."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from glob import glob

import pytest

from streamvis import Client
from streamvis.errors import InvalidData, UsageError
from streamvis.transport import Transport, path
from support.conditions import wait_until
from support.stored import Stored


@pytest.fixture
def stored(start_endpoint):
    endpoint = start_endpoint()
    found = Stored(endpoint.url)
    found.endpoint = endpoint
    return found


def rows(stored):
    return list(zip(stored.rows("job", "k", "x"), stored.rows("job", "k", "attempt"), strict=True))


def test_what_a_killed_attempt_left_in_its_spool_is_stored_up_to_the_step_at_which_the_next_resumed(
    stored, start_program, tmp_path
):
    endpoint, spool, flag = stored.endpoint, tmp_path / "spool", tmp_path / "go"
    script = tmp_path / "first.py"
    script.write_text(
        textwrap.dedent(f"""
            import os, threading, time
            from streamvis import Client
            client = Client({endpoint.url!r}, "app", spool={str(spool)!r})
            client.init({{"a": 1}}, run="job")
            for step in range(50):
                client.sendl(step, "k", {{"x": step, "attempt": 1}})
                client.send(step, "v", {{"n": [step]}})
            print("stored", client.flush(), flush=True)
            while not os.path.exists({str(flag)!r}):
                time.sleep(0.01)
            for step in range(50, 100):
                client.sendl(step, "k", {{"x": step, "attempt": 1}})
            print("kept", client.flush(0.5), flush=True)
            threading.Event().wait()
        """)
    )
    first = start_program([sys.executable, script], is_warm=True)
    first.wait_for_line("stored True")
    endpoint.kill()
    flag.touch()
    first.wait_for_line("kept False")
    first.kill()
    endpoint.restart()
    with Client(endpoint.url, "app", spool=spool) as client:
        client.init({"a": 1}, run="job", resume_at=60)
        for step in range(60, 80):
            client.sendl(step, "k", {"x": step, "attempt": 2})
        assert client.flush()
        wait_until(lambda: not any(map(os.path.getsize, glob(f"{spool}/*/*.spool"))), what="the spool that was left is delivered")
    assert sorted(rows(stored)) == [(step, 1 if step < 60 else 2) for step in range(80)]
    run = stored.run("job")
    assert (run["late"], run["last_step"], run["state"]) == (40, 79, "finished")


def test_the_ranks_of_a_launch_cut_once_and_a_rank_of_the_old_one_is_told(stored, monkeypatch, caplog):
    url = stored.endpoint.url
    with Client(url, "app") as old:
        old.init(run="job")
        for step in range(10):
            old.sendl(step, "k", {"x": step, "attempt": 1})
            old.send(step, "v", {"n": [step]})
        assert old.flush()
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "launch-2")
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
        with Client(url, "app") as rank0, Client(url, "app") as rank1:
            rank0.init(run="job", resume_at=5)
            rank0.sendl(5, "k", {"x": 5, "attempt": 2})
            assert rank0.flush() and stored.values("job")["v"]["n"] == [4]
            rank1.init(run="job", resume_at=5)
            rank1.sendl(6, "k", {"x": 6, "attempt": 2})
            old.sendl(7, "k", {"x": 7, "attempt": 1})
            assert rank1.flush() and old.flush()
    assert rows(stored) == [*((step, 1) for step in range(5)), (5, 2), (6, 2)]
    assert "A later attempt resumed this run at step 5" in caplog.text
    assert stored.run("job")["state"] == "finished"


def test_a_run_is_resumed_by_hand(stored):
    transport = Transport(stored.endpoint.url)

    def post(*parts, **order):
        headers = {"Content-Type": "application/json"}
        return transport.request("POST", path(*parts), body=json.dumps(order).encode(), headers=headers)

    def send(producer, *records):
        rows = [{"kind": "rows", "key": "k", "step": step, "data": {"x": step, "attempt": attempt}} for step, attempt in records]
        assert post("runs", "job", "batches", producer=producer, number=step_number(), records=rows).status == 200

    step_number = iter(range(100)).__next__
    start = {"kind": "start", "attempt": "1"}
    assert post("runs", "job", "batches", app="app", producer="p", number=step_number(), records=[start]).status == 200
    send("p", (0, 1), (1, 1), (2, 1))
    for _ in range(2):
        assert post("runs", app="app", run="job", resume_at=1, attempt="2").status == 201
        send("", (1, 2))
    send("p", (0, 1), (2, 1))
    assert rows(stored) == [(0, 1), (1, 2), (1, 2), (0, 1)]
    assert post("runs", app="app", resume_at=1).status == 422
    assert post("runs", app="app", run="job", resume_at=-1).status == 422


def test_what_cannot_be_resumed_is_an_error_on_the_callers_line(stored):
    client = Client(stored.endpoint.url, "app")
    with pytest.raises(UsageError, match="Say which run"):
        client.init(resume_at=5)
    with pytest.raises(InvalidData, match="resume_at"):
        client.init(run="job", resume_at=-1)
    with pytest.raises(InvalidData, match="attempt"):
        client.init(run="job", attempt=0)
    assert client.run is None and stored.runs("app") == []
