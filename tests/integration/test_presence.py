"""A run whose producer vanished is shown as such, and as running again when it is back."""

from __future__ import annotations

import itertools
import json
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import pytest

from streamvis import Client
from streamvis.client import exchange
from streamvis.page.feeds.inbox import Inbox
from streamvis.page.feeds.reader import EndpointReader
from streamvis.page.feeds.table import Feeds
from streamvis.transport import Transport, path
from support.conditions import wait_until
from support.stored import Stored

VANISH_AFTER_S = 2


@pytest.fixture
def endpoint(start_endpoint):
    return start_endpoint(args=["--vanish-after", str(VANISH_AFTER_S)])


@pytest.fixture
def stored(endpoint):
    return Stored(endpoint.url)


def state(stored, run="job"):
    return stored.run(run)["state"]


def start_producer(start_program, tmp_path, url):
    script = tmp_path / "producer.py"
    script.write_text(
        textwrap.dedent(f"""
            import threading
            from streamvis import Client
            from streamvis.client import exchange, sender
            exchange._BEAT_S = sender._LONGEST_WAIT_S = 0.1
            client = Client({url!r}, "app", spool={str(tmp_path / "spool")!r})
            client.init(run="job")
            client.sendl(0, "k", {{"x": 0}})
            print("stored", client.flush(), flush=True)
            threading.Event().wait()
        """)
    )
    program = start_program([sys.executable, script], is_warm=True)
    program.wait_for_line("stored True")
    return program


def test_an_idle_producer_stays_running_and_a_stopped_one_vanishes_and_comes_back(endpoint, stored, start_program, tmp_path):
    program = start_producer(start_program, tmp_path, endpoint.url)
    heard = stored.run("job")["heard"]
    late = heard + 1.5 * VANISH_AFTER_S
    wait_until(lambda: stored.run("job")["heard"] > late, what="signs of life for longer than it takes to vanish")
    assert state(stored) == "running"
    program.stop()
    wait_until(lambda: state(stored) == "vanished", what="the run of the stopped producer vanishes")
    heard, updated = stored.run("job")["heard"], stored.run("job")["updated"]
    assert heard > updated
    assert [run["state"] for run in stored.runs("app")] == ["vanished"]
    program.resume()
    wait_until(lambda: state(stored) == "running", what="it is back")
    assert stored.run("job")["updated"] == updated


def test_readers_that_wait_are_told_at_once(endpoint, stored, monkeypatch):
    monkeypatch.setattr(exchange, "_BEAT_S", 600.0)
    with Client(endpoint.url, "app") as client:
        client.init(run="job")
        reader, feeds = EndpointReader(endpoint.url), Feeds()
        inbox = Inbox(lambda: None)
        feed = feeds.run(reader, "job", inbox, lambda: None)
        wait_until(lambda: feed.join(inbox, inbox), what="the feed delivers")
        with ThreadPoolExecutor(2) as readers:
            client.sendl(0, "k", {"x": 0})  # the time begins
            assert client.flush()
            after, apps = stored.run("job")["cursor"], reader.app_tail("app", after=None, wait_s=0)
            # Both would wait for longer than this test does.
            polls = [
                readers.submit(reader.tail, "job", after=after, wait_s=25),
                readers.submit(reader.app_tail, "app", after=apps.cursor, wait_s=25),
            ]
            wait_until(lambda: all(poll.done() for poll in polls), within_s=15, what="both readers are told")
        piece, found = (poll.result() for poll in polls)
        assert (piece.state, piece.cursor, piece.items) == ("vanished", after, [])
        assert found == apps
        told = []

        def states():
            told.extend(inbox.take())
            return [state for state, _ in itertools.groupby(piece.state for piece in told)]

        wait_until(lambda: states()[-1:] == ["vanished"], what="the feed tells its sessions")
        client.sendl(1, "k", {"x": 1})
        wait_until(lambda: "running" in states()[states().index("vanished") :], what="the feed tells that it is back")
        feed.leave(inbox)
    assert state(stored) == "finished"


def test_a_run_made_by_hand_never_vanishes(endpoint, stored, monkeypatch):
    monkeypatch.setattr(exchange, "_BEAT_S", 600.0)
    transport = Transport(endpoint.url)
    order = json.dumps({"app": "app", "run": "by-hand"}).encode()
    assert transport.request("POST", path("runs"), body=order, headers={"Content-Type": "application/json"}).status == 201
    with Client(endpoint.url, "app") as client:
        client.init(run="job")
        wait_until(lambda: state(stored) == "vanished", what="the other run vanishes")
        assert state(stored, "by-hand") == "running"
    assert transport.request("POST", path("runs", "nobody", "alive"), params={"producer": "p"}).status == 404


def test_after_a_restart_the_clock_begins_anew(endpoint, stored, start_program, tmp_path):
    program = start_producer(start_program, tmp_path, endpoint.url)
    endpoint.kill()
    program.kill()
    endpoint.restart()
    assert state(stored) == "running"
    wait_until(lambda: state(stored) == "vanished", what="nobody is heard of after the restart")
    assert stored.run("job")["heard"] == stored.run("job")["updated"]


def post(endpoint, where, **order):
    body, headers = json.dumps(order).encode(), {"Content-Type": "application/json"}
    return Transport(endpoint.url).request("POST", f"/api/v1/runs{where}", body=body, headers=headers).status


def test_a_batch_that_is_refused_and_a_deleted_run_give_no_sign_of_life(endpoint, stored):
    start = [{"kind": "start", "config": {}}]
    assert post(endpoint, "/job/batches", app="app", producer="p", number=1, records=start) == 200
    heard = stored.run("job")["heard"]
    assert post(endpoint, "/job/batches", app="another app", producer="p", number=2, records=[]) == 409
    assert stored.run("job")["heard"] == heard
    assert post(endpoint, "/job/batches", app="app", producer="p", number=2, records=[]) == 200
    assert stored.run("job")["heard"] > heard
    assert Transport(endpoint.url).request("DELETE", "/api/v1/runs/job").status == 200
    assert post(endpoint, "/job/alive?producer=p") == 410
