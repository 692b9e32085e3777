"""Housekeeping keeps up: many keys to a commit, kinds of work in turn, what is taken back in pieces; and writers wait for it."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import contextmanager

import pytest

from streamvis.endpoint.app import create_app
from streamvis.endpoint.writer import Writer
from streamvis.records import Ack, Batch, Clear, HistoryQuery, Start
from streamvis.store import SqliteStore, tidying
from streamvis.store.fair_lock import Turns
from streamvis.store.removing import cutting, discarding
from streamvis.wire.arrow import decode_tail_body, encode_rows, encode_value
from support.conditions import wait_until

START = Start("{}", 1.0)
PIECE = 100
"""How many records a piece of work is about, here."""


class Counted(SqliteStore):
    """A store that notes how many rows of its file each transaction changed, and does `between` after each."""

    def __init__(self, folder):
        self.changed, self.between = [], lambda: None
        super().__init__(folder)

    @contextmanager
    def _writing(self):
        with super()._writing() as (db, changes):
            before = db.total_changes
            yield db, changes
            self.changed.append(db.total_changes - before)
        between, self.between = self.between, lambda: None
        between()
        self.between = between


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(cutting, "_RECORDS_AT_ONCE", PIECE)
    monkeypatch.setattr(discarding, "_ROWS_AT_ONCE", PIECE)
    monkeypatch.setattr(tidying, "_KEYS_AT_ONCE", 16)


@pytest.fixture
def store(tmp_path):
    made = Counted(tmp_path)
    yield made
    made.close()


def start(store, *runs):
    store.append([Batch(run, "app", "p", 0, [START]) for run in runs])


def send_values(store, run, count, *, keys):
    for number, first in enumerate(range(0, count, 1000), 1):
        values = [encode_value(f"k{i % keys}", i // keys, 0.0, {"n": i}) for i in range(first, min(count, first + 1000))]
        store.append([Batch(run, "app", "p", number, values)])


def send_rows(store, run, number, keys, *, producer="p"):
    chunks = [encode_rows(key, [number], [0.0], {"x": [number]}) for key in keys]
    (ack,) = store.append([Batch(run, "app", producer, number, chunks)])
    assert isinstance(ack, Ack)


def tidy_all(store, most=10_000):
    for done in range(most):
        if not store.tidy():
            return done
    pytest.fail("housekeeping does not come to an end")


def resume(run, step, *more, producer="q", attempt=""):
    return Batch(run, "app", producer, 1, [Start("{}", 2.0, joins=True, attempt=attempt, resume_at=step), *more])


# What is taken back


@pytest.mark.parametrize("keys", [1, 30])
def test_a_resume_takes_back_in_pieces_and_others_are_stored_in_between(keys, store):
    start(store, "run", "other")
    send_values(store, "run", 700, keys=keys)
    stored = []

    def send_another():
        stored.append(True)
        send_rows(store, "other", len(stored), ["k"])

    store.changed.clear()
    store.between = send_another
    (ack,) = store.append([resume("run", 3)])
    store.between = lambda: None
    assert isinstance(ack, Ack) and max(store.changed) <= 3 * PIECE and len(stored) >= 700 // PIECE
    assert len(decode_tail_body(b"".join(store.tail("other", None).bodies))) == len(stored)
    assert store.run("run").last_step == 2 and store.run("run").cursor.epoch == 1
    assert [store.value("run", f"k{keys - 1}", step=step) is None for step in range(5)] == [False] * 3 + [True] * 2
    assert decode_tail_body(store.value("run", "k0"))[0].step == 2


def test_rows_are_taken_back_in_pieces_too(store):
    start(store, "run")
    for number in range(1, 251):
        send_rows(store, "run", number, ["a"])
    store.changed.clear()
    store.append([resume("run", 30)])
    assert max(store.changed) <= 2 * PIECE and len(store.changed) > 3
    assert store.history("run", "a", HistoryQuery(x="x", buckets=5000)).table[".x"].to_pylist() == list(range(1, 30))
    assert (store.run("run").first_step, store.run("run").last_step) == (1, 29)


def test_a_resume_that_was_cut_short_is_completed_by_the_next_endpoint(store, tmp_path):
    start(store, "run", "other")
    send_values(store, "run", 500, keys=2)
    before = store.run("run").cursor

    class Killed(Exception):
        pass

    def kill():
        raise Killed

    store.between = kill
    with pytest.raises(Killed):
        store.append([resume("run", 10)])
    left = store._writer.execute("SELECT count(*) FROM key_values").fetchone()[0]
    assert 20 < left < 500  # it had begun
    store.close()
    again = SqliteStore(tmp_path)
    tidy_all(again)
    assert again._writer.execute("SELECT count(*) FROM key_values").fetchone() == (20,)
    assert again.tail("run", before).restart and again.run("run").last_step == 9
    (ack,) = again.append([resume("run", 10)])
    assert not ack.duplicate and again.run("run").cursor.epoch == 1
    again.close()


def test_what_another_rank_of_the_attempt_sends_meanwhile_stays(store):
    start(store, "run")
    send_values(store, "run", 400, keys=1)

    def send_from_another_rank():
        store.between = lambda: None
        value = encode_value("k0", 350, 0.0, {"n": "new"})
        store.append([resume("run", 50, value, producer="r", attempt="A")])

    store.between = send_from_another_rank
    (ack,) = store.append([resume("run", 50, attempt="A")])
    steps = [step for (step,) in store._writer.execute("SELECT step FROM key_values ORDER BY step")]
    assert steps == [*range(50), 350] and not ack.warnings
    assert decode_tail_body(store.value("run", "k0"))[0].data["n"] == "new"


def test_a_batch_that_is_refused_or_known_takes_nothing_back(store):
    start(store, "run")
    send_values(store, "run", 300, keys=1)
    wrong = Batch("run", "another app", "q", 1, [Start("{}", 2.0, resume_at=0)])
    assert not isinstance(store.append([wrong])[0], Ack)
    known = Batch("run", "app", "p", 1, [Start("{}", 2.0, resume_at=0)])
    assert store.append([known])[0].duplicate
    assert store.run("run").last_step == 299 and store.run("run").cursor.epoch == 0


@pytest.mark.parametrize("keys", [1, 250])
def test_a_deleted_run_goes_in_pieces(keys, store):
    start(store, "run", "other")
    send_values(store, "run", 500, keys=keys)
    send_values(store, "other", 10, keys=1)
    store.changed.clear()
    store.delete("run", restorable_s=0)
    assert max(store.changed) < 20
    pieces = tidy_all(store)
    assert max(store.changed) <= 2 * PIECE and pieces <= 3 * 750 // PIECE
    counts = [store._writer.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("key_values", "keys", "logs")]
    assert counts == [10, 1, 2]  # a deleted run keeps an empty log


# Merging


def chunks(store):
    return store._writer.execute("SELECT count(*) FROM chunks").fetchone()[0]


def test_many_keys_are_merged_in_one_commit_and_all_sizes_at_once(store):
    keys = [f"k{i}" for i in range(40)]
    start(store, "run")
    for number in range(1, 20):
        send_rows(store, "run", number, keys)
    assert store.unmerged == 19 * 40
    store.changed.clear()
    tidy_all(store)
    assert chunks(store) == 40 and store.unmerged == 0
    assert len([changed for changed in store.changed if changed]) <= 4  # one of them for the summaries
    start(store, "long")
    for number in range(1, 16 * 16 + 1):
        send_rows(store, "long", number, ["k"])
    store.changed.clear()
    tidy_all(store)
    assert chunks(store) == 41 and len([changed for changed in store.changed if changed]) == 2  # and the summaries


def test_no_key_waits_for_ever_while_others_are_due_again_and_again(store):
    keys = [f"k{i}" for i in range(40)]
    start(store, "run")
    for number in range(1, 120):
        if number <= 16:
            send_rows(store, "run", number, ["last"])
        send_rows(store, "run", number, keys, producer="q")
        if number % 16 == 0:
            store.tidy()
    assert store._writer.execute("SELECT count(*) FROM chunks JOIN keys ON keys.no = key WHERE name = 'last'").fetchone() == (1,)


def test_what_was_deleted_goes_while_there_is_always_something_to_merge(store):
    start(store, "gone", "run")
    send_values(store, "gone", 300, keys=3)
    store.delete("gone", restorable_s=0)
    for number in range(1, 150):
        send_rows(store, "run", number, [f"k{i}" for i in range(20)])
        if number % 8 == 0:
            assert store.tidy()
    assert store._writer.execute("SELECT count(*) FROM key_values").fetchone() == (0,)


# Writers


def acks_of(store, batches, **options):
    async def main():
        writer = Writer(store, **options)
        return [await writer.append(batch) for batch in batches]

    return asyncio.run(main())


def many(run, count, keys, *, first=1):
    for number in range(first, first + count):
        yield Batch(run, "app", "p", number, [encode_rows(f"k{i}", [number], [0.0], {"x": [number]}) for i in range(keys)])


def test_writers_wait_for_merging_where_too_much_is_unmerged(store):
    start(store, "run")
    most = []
    store.listen(lambda _: most.append(store.unmerged))
    acks_of(store, many("run", 60, 20), most_unmerged=400)
    assert max(most) <= 400 + 20 * 16
    assert chunks(store) <= 20 * 32
    assert len(decode_tail_body(b"".join(store.tail("run", None, max_bytes=10**9).bodies))) == chunks(store)


def test_the_pace_is_that_of_chunks_where_batches_hold_many_keys(store):
    now = 0.0

    def clock():
        nonlocal now
        now += 0.02
        return now

    start(store, "few", "run")
    assert not any(ack.pace_s for ack in acks_of(store, many("few", 150, 1), clock=clock))
    assert acks_of(store, many("run", 110, 90), clock=clock)[-1].pace_s > 0.1


def test_while_a_long_resume_is_under_way_others_are_acknowledged(store):
    start(store, "run", "other")
    send_values(store, "run", 300, keys=1)
    is_begun, may_go_on = threading.Event(), threading.Event()
    going_on = store._go_on_cutting

    def waiting(cut):
        is_begun.set()
        assert may_go_on.wait(20)
        return going_on(cut)

    store._go_on_cutting = waiting

    async def main():
        writer = Writer(store)
        resuming = asyncio.create_task(writer.append(resume("run", 1)))
        assert await asyncio.to_thread(is_begun.wait, 20)
        try:
            for batch in many("other", 20, 3):
                assert (await asyncio.wait_for(writer.append(batch), 20)).seq
            assert not resuming.done()
        finally:
            may_go_on.set()
        assert (await resuming).seq

    asyncio.run(main())
    assert store.run("run").last_step == 0


def test_health_says_how_much_is_unmerged(store):
    start(store, "run")
    for batch in many("run", 17, 5):
        store.append([batch])

    async def main():
        sent = []
        scope = {"type": "http", "method": "GET", "path": "/healthz", "query_string": b"", "headers": [(b"host", b"localhost")]}

        async def receive():
            await asyncio.Future()

        async def send(message):
            sent.append(message)

        await create_app(store, version="0")(scope, receive, send)
        return json.loads(sent[-1]["body"])

    assert asyncio.run(main())["unmerged"] == 17 * 5


def test_turns_go_to_those_who_wait_in_the_order_in_which_they_came():
    turns, order, threads = Turns(), [], []

    def take(name):
        with turns:
            order.append(name)

    with turns:
        for name in range(5):
            threads.append(threading.Thread(target=take, args=[name]))
            threads[-1].start()
            wait_until(lambda: len(turns._waiting) == len(threads))
    with turns:
        assert order == list(range(5))
    for thread in threads:
        thread.join()


def test_a_clear_ends_a_cut_that_is_under_way(store):
    start(store, "run")
    send_values(store, "run", 400, keys=1)

    def clear():
        store.between = lambda: None
        store.append([Batch("run", "app", "r", 1, [Clear(3.0)])])

    store.between = clear
    store.append([resume("run", 5)])
    assert store._writer.execute("SELECT count(*) FROM cuts").fetchone() == (0,)
    tidy_all(store)
    assert store.keys("run") == {} and store._writer.execute("SELECT count(*) FROM key_values").fetchone() == (0,)
