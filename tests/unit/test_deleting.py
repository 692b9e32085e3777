"""Deleting runs: hidden at once, restored whole within a minute, and freed on disk after it."""

from __future__ import annotations

import numpy as np
import pytest

from streamvis.errors import DeletedRun, UnknownRun
from streamvis.records import Batch, Description, Finish, Start
from streamvis.store import RunQuery, SqliteStore
from streamvis.wire.arrow import encode_rows, encode_value


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(place, clock):
    made = place.open(clock=clock)
    yield made
    made.close()


def fill(store, run, rows=1, seed=1):
    numbers = np.random.default_rng(seed).standard_normal((rows, 1000))
    store.append([Batch(run, "app", "p", 0, [Start('{"lr": 0.1}', 1.0, f"name of {run}")])])
    for number, cells in enumerate(numbers, 1):
        rows = encode_rows("k", np.arange(1000) + number, np.zeros(1000), {"y": cells})
        store.append([Batch(run, "app", "p", number, [rows, encode_value("v", number, 0.0, {"n": [number]})])])
    store.describe([run], Description(tags=["t"], note="n", color="#123456"))
    tidy(store)


def tidy(store):
    while store.tidy():
        pass


def whole(store, run):
    """All that can be read of a run."""
    info, tail = store.run(run), store.tail(run, None, max_bytes=10**9)
    columns = [("summary", "k", "y", name) for name in ("last", "min", "max", "count")]
    summaries = store.find(RunQuery(runs=[run], columns=columns)).runs[0].columns
    values = [store.value(run, "v", step=step) for step in (1, 2)]
    about = (info.name, info.state, info.tags, info.note, info.color, info.created, info.first_step, info.last_step, info.newest)
    return about, store.config(run), dict(store.keys(run)), tail.bodies, values, summaries


def test_a_restored_run_has_every_record_and_all_that_was_said_of_it(store, clock):
    fill(store, "one", rows=5)
    fill(store, "two")
    before, app = whole(store, "two"), store.apps()
    cursor = store.run("two").cursor
    assert store.delete("two") == clock.now + 60
    tidy(store)
    assert store.newest("app").id == "one" and [one.runs for one in store.apps()] == [1]
    clock.now += 59.9
    tidy(store)
    assert store.restore("two").id == "two"
    assert whole(store, "two") == before and store.apps() == app and store.newest("app").id == "two"
    assert store.tail("two", cursor).restart, "who had read the run starts over"
    (ack,) = store.append([Batch("two", "app", "p", 2, [Finish("finished", 9.0)])])
    assert not ack.duplicate and store.run("two").state == "finished"


def test_a_deleted_run_is_gone_for_all_who_ask_and_takes_no_late_batch(store):
    fill(store, "one")
    store.delete("one")
    for ask in (store.run, store.config, store.keys, store.clear, store.delete):
        with pytest.raises(DeletedRun):
            ask("one")
    with pytest.raises(DeletedRun):
        store.tail("one", None)
    (answer,) = store.append([Batch("one", "app", "p", 9, [Finish("finished", 2.0)])])
    assert isinstance(answer, DeletedRun)
    assert store.runs("app", limit=9) == [] and store.find(RunQuery()).matching == 0 and store.awaited() == []
    assert store.restore("one").state == "running"


def test_after_a_minute_a_deleted_run_is_freed_on_disk_and_never_comes_back(clock, tmp_path):
    store = SqliteStore(tmp_path, clock=clock)
    fill(store, "kept")
    fill(store, "big")
    pictures = np.random.default_rng(0).integers(0, 256, (16, 2**20), dtype=np.uint8)
    for number, picture in enumerate(pictures, 9):
        store.append([Batch("big", "app", "p", number, [encode_value("picture", number, 0.0, {"x": picture})])])
    before = on_disk(store, tmp_path)
    store.delete("big")
    clock.now += 59
    tidy(store)
    assert on_disk(store, tmp_path) > 0.9 * before
    clock.now += 1
    tidy(store)
    assert on_disk(store, tmp_path) < 0.4 * before
    with pytest.raises(DeletedRun):
        store.restore("big")
    assert isinstance(store.append([Batch("big", "app", "x", 0, [Start("{}", 1.0)])])[0], DeletedRun)
    tables = ("configs", "producers", "keys", "digests")
    left = [store._writer.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables]
    assert left == [1, 1, 2, 1] and whole(store, "kept")
    store.close()


def on_disk(store, folder):
    store._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return sum(path.stat().st_size for path in folder.glob("streamvis.sqlite*"))


def test_an_endpoint_that_starts_anew_knows_what_can_be_restored(store, clock, place):
    fill(store, "one")
    fill(store, "two")
    store.delete("one", "two")
    store.close()
    again = place.open(clock=clock)
    before = again.restore("one")
    clock.now += 61
    tidy(again)
    assert again.run("one") == before
    with pytest.raises(DeletedRun):
        again.restore("two")
    again.close()


def test_several_runs_are_deleted_in_one_commit_or_none_of_them(store):
    heard = []
    store.listen(heard.append)
    for run in ("one", "two", "three"):
        store.append([Batch(run, "app", "p", 0, [Start("{}", 1.0)])])
    heard.clear()
    with pytest.raises(UnknownRun):
        store.delete("one", "none such")
    assert store.run("one").id == "one" and not heard
    store.delete("one", "two", "one")
    assert [changes.runs for changes in heard] == [{"one", "two"}] and [one.runs for one in store.apps()] == [1]
    with pytest.raises(UnknownRun):
        store.restore("none such")
    assert store.restore("three").id == "three", "a run that was not deleted stays as it is"
