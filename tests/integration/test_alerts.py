"""Alerts: rows of a key of their own, each posted to a webhook once, whatever is killed in between."""

from __future__ import annotations

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import streamvis
from streamvis import Client
from streamvis.alerts import ALERTS, alert_row, alerts_in
from streamvis.endpoint import webhook
from streamvis.endpoint.alert_file import JOURNAL, AlertFile
from streamvis.endpoint.webhook import Webhook
from streamvis.errors import InvalidData, UsageError
from streamvis.reading.export import export_run
from streamvis.reading.importing import import_run
from streamvis.records import Batch
from streamvis.wire.jsonform import body_to_json, chunks_from_json
from support.conditions import wait_until
from support.postgresql import open_store

ROW = {"title": ["no space left"], "text": ["on /data"], "level": ["error"]}


class Receiver:
    """A webhook: answers what `answers` says next, then 204, and keeps what it answered with a 2xx."""

    def __init__(self):
        self.taken, self.answers, self.asked, self.paths = [], [], 0, []
        self.may_answer = threading.Event()
        self.may_answer.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.asked += 1
                receiver.paths.append(self.path)
                receiver.may_answer.wait()
                status = receiver.answers.pop(0) if receiver.answers else 204
                receiver.taken += [body] if status < 300 else []
                self.send_response(status)
                self.end_headers()

            def log_message(self, *words):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/hooks/secret"

    def close(self):
        self.may_answer.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.close()


def test_an_alert_is_posted_once_though_the_webhook_and_the_endpoint_fail(receiver, start_endpoint, tmp_path):
    receiver.answers = [503] * 1000
    endpoint = start_endpoint(env={"STREAMVIS_ALERT_WEBHOOK": receiver.url})
    with Client(endpoint.url, "alerts") as client:
        client.init(run="r", name="the run")
        client.sendl(7, "train", {"loss": 1.0})
        client.alert("loss is nan", "after 7 steps", "warning")
        client.alert("and another")
        assert client.flush()
        wait_until(lambda: receiver.asked, within_s=20, what="the first try")
        endpoint.kill()
        receiver.answers.clear()
        endpoint.restart()
        wait_until(lambda: len(receiver.taken) == 2, within_s=20, what="both alerts")
        first, second = receiver.taken
        assert (first["title"], first["message"], first["level"], first["step"]) == ("loss is nan", "after 7 steps", "warning", 7)
        assert (first["run"], first["name"], first["app"]) == ("r", "the run", "alerts") and first["id"] != second["id"]
        assert first["text"].startswith("warning: loss is nan\nafter 7 steps\n") and second["title"] == "and another"
        journal = tmp_path / "data" / JOURNAL
        wait_until(lambda: journal.read_text().count("posted") == 2, what="that to be noted")
        endpoint.kill()
        endpoint.restart()
        with streamvis.open(endpoint.url) as reader:
            exported = export_run(reader.run("r"), tmp_path)
            import_run(reader.connection, exported, new_id=True)
        client.alert("the last one", step=9)
        wait_until(lambda: len(receiver.taken) == 3, within_s=20, what="the last one")
    assert [one["title"] for one in receiver.taken] == ["loss is nan", "and another", "the last one"]
    assert set(receiver.paths) == {"/hooks/secret"} and "secret" not in endpoint.output(all_starts=True)
    with streamvis.open(endpoint.url) as reader:
        rows = reader.run("r").rows(ALERTS).drop(["time"]).to_pylist()
    assert rows[0] == {"step": 7, "title": "loss is nan", "text": "after 7 steps", "level": "warning"}
    assert [row["step"] for row in rows] == [7, 7, 9]


def test_a_webhook_that_does_not_answer_holds_up_no_batch(receiver, start_endpoint):
    receiver.may_answer.clear()
    endpoint = start_endpoint(args=["--alert-webhook", receiver.url])
    with Client(endpoint.url, "alerts") as client:
        client.init()
        for step in range(3):
            client.alert(f"alert {step}", step=step)
            assert client.flush()
        wait_until(lambda: receiver.asked, within_s=20, what="the first post")
        client.sendl(0, "k", {"x": 1})
        assert client.flush() and not receiver.taken


def test_what_is_not_an_alert_is_refused_in_the_call():
    client = Client(None, "alerts")
    with pytest.raises(UsageError, match="init"):
        client.alert("too early")
    client.init()
    for words in ({"title": ""}, {"title": "x" * 201}, {"title": "x", "level": "fatal"}, {"title": "x", "text": 3}):
        with pytest.raises(InvalidData):
            client.alert(**words)
    client.close()


def test_a_text_that_is_too_long_is_cut_and_stops_no_training():
    assert alert_row("x", "y" * 10_000, "info")["text"] == "y" * 10_000
    assert alert_row("x", "y" * 10_001, "info")["text"] == "y" * 9_999 + "…"


def batch(row=ROW, *, step=3, live=True, is_import=False):
    (chunk,) = chunks_from_json({"records": [{"kind": "rows", "key": ALERTS, "step": step, "data": row}]}, now=1.5e9)[:1]
    return Batch("r", "app", "p", 1, [chunk], live, 0, is_import)


def alerts_of(batch):
    (chunk,) = batch.chunks
    return alerts_in(batch.run, body_to_json(chunk.body))


class NoStore:
    """Of a run that is deleted: the store does not know it."""

    def run(self, run):
        raise webhook.StreamvisError("unknown")


@pytest.fixture
def stores(database):
    """Two on one database, as two endpoints have them."""
    made = [open_store(database), open_store(database)]
    yield made
    for store in made:
        store.close()


@pytest.fixture(params=["file", "table"])
def journal(request, tmp_path):
    """`journal()`: the journal of one data folder or database, as an endpoint that starts opens it."""
    if request.param == "file":
        return lambda: AlertFile(tmp_path / JOURNAL)
    return request.getfixturevalue("stores")[0].alerts


def posted(receiver, journal, *batches, is_stored=True, until=1):
    """Have the batches stored, and wait until the webhook was asked so often."""

    async def go():
        hook = Webhook(receiver.url, journal, backoff_s=(0.01,))
        task = asyncio.create_task(hook.post_all(NoStore()))
        for one in batches:
            alerts = await hook.expect(one)
            if alerts:
                await hook.settle(alerts, is_stored=is_stored)
        done = lambda: receiver.asked >= until and not journal.waiting  # noqa: E731
        await asyncio.to_thread(wait_until, done, within_s=20, what="all posts")
        task.cancel()

    asyncio.run(go())


def test_the_same_alert_is_posted_once_and_after_a_restart_not_again(receiver, journal):
    posted(receiver, journal(), batch(), batch(), batch(step=4), until=2)
    posted(receiver, journal(), batch(), batch(step=5), until=3)
    assert [one["step"] for one in receiver.taken] == [3, 4, 5]


def test_alerts_of_refused_batches_and_of_imports_are_not_posted(receiver, journal):
    posted(receiver, journal(), batch(), is_stored=False, until=0)
    posted(receiver, journal(), batch(is_import=True), until=0)
    assert not receiver.asked


def test_an_alert_that_a_killed_producer_left_in_its_spool_is_posted(receiver, tmp_path):
    posted(receiver, AlertFile(tmp_path / JOURNAL), batch(live=False))
    assert [one["step"] for one in receiver.taken] == [3]


@pytest.mark.parametrize("is_first_stored", [False, True])
def test_an_alert_is_posted_once_where_one_of_two_requests_of_its_batch_fails(receiver, journal, is_first_stored):
    async def go():
        hook = Webhook(receiver.url, journal())
        first, second = await hook.expect(batch()), await hook.expect(batch())
        await hook.settle(first, is_stored=is_first_stored)
        await hook.settle(second, is_stored=not is_first_stored)

    asyncio.run(go())
    # Posted by what begins after a kill: the journal has it.
    posted(receiver, journal())
    assert [one["step"] for one in receiver.taken] == [3]


def test_a_webhook_that_fails_is_asked_again_and_one_that_refuses_is_not(receiver, journal, caplog):
    receiver.answers = [500, 429, 204, 404]
    posted(receiver, journal(), batch(), batch(step=4), until=4)
    assert receiver.asked == 4 and [one["step"] for one in receiver.taken] == [3]
    assert "answers 404" in caplog.text and "secret" not in caplog.text


def test_the_endpoint_does_not_wait_for_a_webhook_when_it_ends(receiver, tmp_path):
    receiver.may_answer.clear()

    async def go():
        hook = Webhook(receiver.url, AlertFile(tmp_path / JOURNAL))
        task = asyncio.create_task(hook.post_all(NoStore()))
        await hook.settle(await hook.expect(batch()), is_stored=True)
        await asyncio.to_thread(wait_until, lambda: receiver.asked, within_s=20, what="the post")
        task.cancel()

    asyncio.run(go())
    assert [one for one in threading.enumerate() if one.name == webhook.THREAD]


def test_a_journal_that_a_kill_cut_off_is_read_up_to_there(receiver, tmp_path):
    receiver.answers = [404]
    file = tmp_path / JOURNAL
    posted(receiver, AlertFile(file), batch())
    whole = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(whole[0] + b'{"dropped": "x')
    posted(receiver, AlertFile(file), until=2)
    assert [one["step"] for one in receiver.taken] == [3]


def test_endpoints_on_one_database_post_each_alert_once(receiver, stores):
    async def go():
        journals = [store.alerts() for store in stores]
        hooks = [Webhook(receiver.url, journal) for journal in journals]
        tasks = [asyncio.create_task(hook.post_all(NoStore())) for hook in hooks]

        async def store_at(hook, step):
            await hook.settle(await hook.expect(batch(step=step)), is_stored=True)

        await asyncio.gather(*(store_at(hook, step) for step in range(12) for hook in hooks))
        await asyncio.to_thread(wait_until, lambda: not journals[0].waiting, within_s=20, what="all posts")
        for task in tasks:
            task.cancel()

    asyncio.run(go())
    assert sorted(one["step"] for one in receiver.taken) == list(range(12)) and receiver.asked == 12


def some_time_later(store):
    with store._writing() as (db, _):
        db.execute("UPDATE alerts SET due = due - 1000 WHERE state <> 'settled'")


@pytest.mark.parametrize("is_stored", [True, False], ids=["while it posts", "while it stores"])
def test_an_alert_of_an_endpoint_that_dies_is_posted_by_another(stores, is_stored):
    first, second = (store.alerts() for store in stores)
    alerts = first.expect(alerts_of(batch()))
    if is_stored:
        first.release(alerts)
        assert first.take()[0] == alerts[0]
    assert len(alerts) == 1 and second.take() is None
    some_time_later(stores[0])
    assert second.take()[0] == alerts[0]
    assert second.keep(alerts[0]) and not first.keep(alerts[0])
    second.settle(alerts[0], is_posted=True)
    some_time_later(stores[0])
    assert first.take() is None and not first.expect(alerts)


def test_that_an_alert_was_posted_is_noted_later_where_the_database_is_away(stores, caplog):
    journal = stores[0].alerts()
    journal.release(alerts_of(batch()))
    alert, _ = journal.take()
    with stores[1]._writing() as (db, _):
        db.execute("ALTER TABLE alerts RENAME TO away")
    journal.settle(alert, is_posted=True)
    assert journal.take() is None and not journal.keep(alert) and caplog.text.count("cannot be noted") == 1
    assert journal.expect([alert]) == [alert]
    with stores[1]._writing() as (db, _):
        db.execute("ALTER TABLE away RENAME TO alerts")
    some_time_later(stores[1])
    assert journal.take() is None and journal.waiting == 0


def test_an_endpoint_on_a_database_posts_alerts_and_limits_values(receiver, start_endpoint, database):
    endpoint = start_endpoint(database, args=["--alert-webhook", receiver.url, "--keep-values", "30d"])
    with Client(endpoint.url, "alerts") as client:
        client.init()
        client.alert("the disk is full", step=3)
        assert client.flush()
    wait_until(lambda: receiver.taken, within_s=20, what="the post")
    assert [(one["title"], one["step"]) for one in receiver.taken] == [("the disk is full", 3)]
