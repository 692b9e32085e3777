"""The road when something fails in it: what passes costs nothing, and what does not is counted, and kept where it can be."""

import importlib
import os
import threading

import pyarrow as pa
import pytest

from streamvis import Client
from streamvis.client import producer_log, sender, writer
from streamvis.client.outbox import Begin
from streamvis.client.process.ending import close
from streamvis.client.spool import syncing
from streamvis.client.spool.frames import read_segment
from streamvis.client.spool.syncing import Sync
from support.conditions import wait_until
from support.fake_endpoint import away
from support.roads import fail, is_kept, spooled, steps

NO_MEMORY = pa.ArrowMemoryError("malloc of size 1 failed")


@pytest.fixture
def impatient(monkeypatch):
    """The sender tries again at once, and the writer soon."""
    monkeypatch.setattr(sender, "_RETRY_S", (0.0, 0.001))
    monkeypatch.setattr(writer, "_TRY_AGAIN_S", 0.001)


@pytest.fixture
def encoding_one(monkeypatch):
    """`encoding_one(change)`: replace how one group of records is encoded."""
    encoding = importlib.import_module("streamvis.client.encoding")  # as the sender finds it
    return lambda change: monkeypatch.setattr(encoding, "_encode_one", change(encoding._encode_one))


def test_memory_that_is_short_in_arrow_for_a_while_loses_nothing(script, endpoint, said, encoding_one, impatient):
    script.start_run()
    encoding_one(fail(NO_MEMORY, sender._MOST_TRIES + writer._MOST_TRIES + 5))
    for step in range(1000):  # more than are written as notes
        script.sendl(step)
    assert script.flush() and steps(endpoint) == list(range(1000))
    assert script.failed_records == 0 and said() == ["Streamvis: an unexpected error in the sender; it tries again."]


def test_a_batch_that_memory_never_suffices_for_is_set_aside_and_what_follows_goes_on(
    script, endpoint, said, tmp_path, encoding_one, impatient
):
    def too_large(real):
        def encode(group):
            if group.key == "large":
                raise NO_MEMORY
            return real(group)

        return encode

    script.start_run()
    script.sendl(0)
    assert script.flush()
    encoding_one(too_large)
    script.sendl(1, "large")
    assert script.flush()
    script.sendl(2)
    assert script.flush() and steps(endpoint) == [0, 2]
    assert script.failed_records == script.producer.log.runs.set_aside_records == 1 and script.lost_records == 0
    ((batch, _),) = read_segment(next((tmp_path / "spool" / "refused").glob("*.spool")))
    assert batch.records == 1 and b"large" in batch.bodies[0]
    assert not close([script], "finished")


def test_of_what_is_too_large_for_the_memory_at_once_less_is_tried_and_nothing_is_lost(script, endpoint, impatient):
    script.start_run()
    real = script.producer._writer._form

    def form(entries, left_out):
        if len(entries) > 3:
            raise MemoryError
        return real(entries, left_out)

    with script.producer._forming:
        script.producer._writer._form = form
        for step in range(20):
            script.sendl(step)
    assert script.flush() and steps(endpoint) == list(range(20)) and script.failed_records == 0


@pytest.mark.parametrize("error", [MemoryError("full"), OSError(24, "Too many open files"), ImportError("cut off")])
def test_an_error_that_passes_late_sets_nothing_aside(script, endpoint, error, tmp_path, impatient):
    script.start_run()
    endpoint.request = fail(error, 4 * sender._MOST_TRIES)(endpoint.request)
    script.sendl(0)
    assert script.flush() and steps(endpoint) == [0]
    assert script.failed_records == 0 and not (tmp_path / "spool" / "refused").exists()


def test_a_bad_record_at_the_end_of_a_run_costs_that_record_alone(script, endpoint, said, capsys, impatient):
    script.start_run()
    real = script.producer._writer._form

    def form(entries, left_out):
        if any(entry[1] == 0 for entry in entries):
            raise ZeroDivisionError("of ours")
        return real(entries, left_out)

    with script.producer._forming:
        script.producer._writer._form = form
        for step in range(5000):
            script.sendl(step)
        script.producer.stopping = True
    assert not close([script], "finished")
    assert steps(endpoint) == list(range(1, 5000)) and endpoint.runs["run"][-1].state == "finished"
    assert "1 record was dropped" in capsys.readouterr().err and any("step 0: ZeroDivisionError" in text for text in said())


def test_an_error_that_stays_until_the_end_leaves_what_was_sent_where_it_is_said(script, endpoint, tmp_path, capsys):
    script.start_run()
    request = endpoint.request
    endpoint.request = fail(MemoryError("full"), 10**6)(request)
    for step in range(5):
        script.sendl(step)
    assert not script.flush(0.1)
    wait_until(lambda: is_kept(script))
    assert not close([script], "finished", timeout_s=0.1)
    (segment,) = spooled(tmp_path)
    assert sum(batch.records for batch, _ in read_segment(segment)) == 5
    assert f"5 records did not reach http://fake in time. They are kept in {segment.parent}." in capsys.readouterr().err


def test_what_only_helps_a_later_delivery_stops_no_record_and_doubles_none(script, endpoint, monkeypatch):
    monkeypatch.setattr(producer_log, "notes_of_begin", fail(ZeroDivisionError("of ours"), 10**6)(producer_log.notes_of_begin))
    script.start_run()
    for step in range(3):
        script.sendl(step)
        assert script.flush()
    assert steps(endpoint) == [0, 1, 2] and script.producer.log.end == len(endpoint.requests)


def test_callers_who_wait_no_longer_are_forgotten(script, endpoint):
    script.start_run()
    endpoint.answer = away
    script.sendl(0)
    for _ in range(50):
        assert not script.wait(script.mark(), 0)
    script.mark()
    wait_until(lambda: not script.outbox.entries and not script.producer._writer._markers)
    assert len(script.producer.log._markers) <= 2


class Inside:
    """Stands for a function of the producer's, and holds a thread inside it; `order` tells when it left."""

    def __init__(self, real, order):
        self.real, self.order = real, order
        self.entered, self.may_leave = threading.Event(), threading.Event()

    def __call__(self, *args, **options):
        self.entered.set()
        self.may_leave.wait(10)
        self.order.append("left")
        return self.real(*args, **options)


@pytest.mark.parametrize("place", ["an import", "the import of init", "Arrow", "the log"])
def test_a_process_is_copied_while_no_thread_is_inside(place, script, endpoint, monkeypatch):
    producer, order = script.producer, []
    if place == "an import":
        inside = Inside(sender.importlib.import_module, order)
        monkeypatch.setattr(sender, "importlib", type("importlib", (), {"import_module": inside}))
        script.begin(Begin("run", {}, None, False))
    elif place == "the import of init":
        script.start_run()
        script.sendl(0)
        assert script.flush()
        inside = Inside(importlib._bootstrap._gcd_import, order)
        monkeypatch.setattr(importlib._bootstrap, "_gcd_import", inside)
        threading.Thread(target=producer.load).start()
    else:
        script.start_run()
        owner, name = {"Arrow": (producer._writer, "_form"), "the log": (producer.log, "append")}[place]
        inside = Inside(getattr(owner, name), order)
        setattr(owner, name, inside)
        script.sendl(0)
    assert inside.entered.wait(10)

    def fork():
        producer.before_fork()
        order.append("copied")
        assert not producer.can_wait  # what the program does around a fork waits for no thread of ours
        producer.after_fork()

    forking = threading.Thread(target=fork)
    forking.start()
    wait_until(lambda: producer._forking)
    forking.join(0.1)
    inside.may_leave.set()
    forking.join(10)
    assert order[0] == "left"
    script.sendl(1)
    assert script.flush() and steps(endpoint)[-1] == 1


def test_threads_that_copy_the_process_at_the_same_time_leave_nothing_held(script, endpoint, monkeypatch):
    script.start_run()
    script.sendl(0)
    assert script.flush()
    producer, both = script.producer, threading.Barrier(2)
    first = threading.Event()

    def fork():
        producer.before_fork()
        first.set()
        both.wait(10)
        producer.after_fork()

    def late():
        first.wait(10)
        monkeypatch.setattr("streamvis.client.producer._LONGEST_IMPORT_S", 0.01)
        fork()

    threads = [threading.Thread(target=fork), threading.Thread(target=late)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    for lock in (producer._sender.importing, producer._forming, producer.log.lock):
        assert lock.acquire(timeout=1)
        lock.release()


def test_an_endpoint_in_trouble_is_not_asked_more_often_because_callers_wait(script, endpoint, monkeypatch):
    monkeypatch.setattr(sender, "_RETRY_S", (0.0, 30.0))
    script.start_run()
    endpoint.answer = away
    script.sendl(0)
    wait_until(lambda: len(endpoint.requests) == 3)
    for _ in range(50):
        script.producer.deliver_soon()
        script.wait(script.mark(), 0.001)
    assert len(endpoint.requests) == 3


def refuse(endpoint, key):
    """The endpoint stores nothing of the key's."""
    endpoint.refused = [{"key": key, "reason": "it holds a value"}]


def test_records_whose_key_the_endpoint_refuses_are_not_delivered(script, endpoint, capsys):
    script.start_run()
    refuse(endpoint, "bad")
    with script.producer.log.lock:
        for step in range(3):
            script.sendl(step)
            script.sendl(step, "bad")
        script.outbox.put(script.intake.rows(3, "bad", {"x": [1, 2, 3]}))
    assert script.flush() and script.producer.log.runs.refused_records == script.failed_records == 4
    assert not script.has_delivered and not close([script], "finished")
    told = capsys.readouterr().err
    assert "4 records were refused by http://fake." in told and "dropped" not in told and "They are in" not in told


def test_refused_records_that_are_kept_are_told_from_those_that_are_not(script, endpoint, tmp_path, capsys):
    script.start_run()
    endpoint.answer = lambda params, body: 422 if params["number"] == 2 else None
    script.sendl(0)
    assert script.flush()
    refuse(endpoint, "k")
    script.sendl(1)
    assert script.flush() and not close([script], "finished")
    folder = tmp_path / "spool" / "refused"
    assert f"2 records were refused by http://fake. 1 of them is in {folder}." in capsys.readouterr().err


def test_a_batch_that_may_be_stored_is_not_set_aside_for_want_of_memory(script, endpoint, tmp_path, impatient, monkeypatch):
    monkeypatch.setattr(sender, "_MOST_TRIES_FOR_MEMORY", 3)
    script.start_run()
    request, left = endpoint.request, iter(range(10))

    def without_memory_for_the_answer(*args, **options):
        answer = request(*args, **options)
        if next(left, None) is not None:
            raise MemoryError
        return answer

    endpoint.request = without_memory_for_the_answer
    script.sendl(0)
    assert script.flush() and steps(endpoint) == [0] and next(left, None) is None
    assert script.failed_records == 0 and not (tmp_path / "spool" / "refused").exists()


@pytest.mark.parametrize("left_out", ["one of two keys", "all"])
def test_what_cannot_be_sent_of_what_an_earlier_process_left_is_said_and_not_counted_as_delivered(
    left_out, script, endpoint, tmp_path, encoding_one, monkeypatch
):
    def unsendable(real):
        def encode(group):
            if group.key == "bad":
                raise pa.ArrowInvalid("it has no form")
            return real(group)

        return encode

    script.start_run()
    endpoint.answer = away
    with script.producer.log.lock:
        script.sendl(0, "bad")
        if left_out != "all":
            script.sendl(0, "good")
    wait_until(lambda: is_kept(script))
    assert not close([script], "finished", timeout_s=0)
    wait_until(lambda: script.producer.ended)
    endpoint.answer = lambda params, body: None
    encoding_one(unsendable)
    monkeypatch.setattr(syncing, "Transport", lambda *_, **__: endpoint)
    synced = Sync(tmp_path / "spool", url=endpoint.url, token=None, other_hosts=False).run(lambda size: None)
    assert (synced.records, synced.refused) == (0 if left_out == "all" else 1, 1) and not synced.is_complete
    assert "it has no form" in " ".join(synced.troubles) and not spooled(tmp_path)


@pytest.fixture
def client(endpoint, tmp_path):
    client = Client(endpoint.url, "app", spool=tmp_path / "spool")
    object.__setattr__(client._settings, "make_transport", lambda: endpoint)
    client._road = client._new_road()
    client.init()
    yield client
    endpoint.refused = []
    client.close()


def test_flush_says_once_that_something_was_refused(client, endpoint):
    client.sendl(0, "k", {"x": 0})
    assert client.flush()
    refuse(endpoint, "k")
    client.sendl(1, "k", {"x": 1})
    assert not client.flush()
    assert client.flush()
    endpoint.refused = []
    client.sendl(2, "k", {"x": 2})
    assert client.flush() and not client.close()


def test_flush_after_the_end_is_true_only_if_all_is_stored(client, endpoint):
    client.sendl(0, "k", {"x": 0})
    assert client.close() and client.flush()
    client.init()
    endpoint.answer = away
    client.sendl(1, "k", {"x": 1})
    assert not client.close(0.0)
    assert not client.flush()


def test_what_is_refused_again_by_its_key_stays_where_it_is(script, endpoint, tmp_path, monkeypatch):
    script.start_run()
    assert script.flush()
    endpoint.answer = lambda params, body: 422
    script.sendl(0)
    script.flush()
    endpoint.answer = lambda params, body: None
    refuse(endpoint, "k")
    monkeypatch.setattr(syncing, "Transport", lambda *_, **__: endpoint)
    sync = Sync(tmp_path / "spool", url=endpoint.url, token=None, other_hosts=False)
    assert sync.run_refused().refused == 1 and sync.synced.records == 0 and "'k'" in sync.synced.troubles[0]
    assert list((tmp_path / "spool" / "refused").glob("*.spool"))
    endpoint.refused = []


def test_who_waits_for_a_batch_does_not_make_the_tries_for_memory_come_sooner(script, encoding_one, monkeypatch):
    monkeypatch.setattr(sender, "_RETRY_S", (0.0, 30.0))
    script.start_run()
    tries = []

    def without_memory(real):
        def encode(group):
            tries.append(group)
            raise NO_MEMORY

        return encode

    encoding_one(without_memory)
    script.sendl(0)
    wait_until(lambda: tries, what="a try")
    for _ in range(30):
        script.flush(0.005)
    assert len(tries) <= 2 and script.failed_records == 0


def in_a_child(work):
    """Whether `work` holds in a forked child."""
    child = os.fork()
    if child == 0:
        holds = False
        try:
            holds = work()
        finally:
            os._exit(0 if holds else 1)
    return os.waitpid(child, 0)[1] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded")
def test_what_failed_in_the_parent_did_not_fail_in_a_child(client, endpoint):
    def work():
        client.sendl(1, "k", {"x": 1})
        has_failed = [not client.flush(), not client.flush()]
        endpoint.refused = []
        client.sendl(2, "k", {"x": 2})
        return [*has_failed, not client.flush()] == [True, False, False]

    refuse(endpoint, "k")
    client.sendl(0, "k", {"x": 0})
    assert not client.flush()
    assert in_a_child(work)
