"""The SQLite store against the plainest model of a log, over histories that hypothesis thinks of."""

from __future__ import annotations

import shutil
import tempfile
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamvis.errors import DeletedRun, FolderUnusable, RunConflict, UnknownRun
from streamvis.records import Ack, Batch, Clear, Cursor, Finish, Start
from streamvis.store import SqliteStore
from streamvis.store.summaries import Sizes
from streamvis.wire.arrow import decode_tail_body, encode_rows, encode_value

START = Start("{}", 1.0)

PARTS = st.one_of(
    st.tuples(st.just("rows"), st.sampled_from("ab"), st.lists(st.integers(0, 99), min_size=1, max_size=3)),
    st.tuples(st.just("value"), st.sampled_from("vw"), st.integers(0, 3), st.integers(0, 99)),
    st.tuples(st.just("clear")),
)
# A producer's batch: sent once or again, the store closed and opened before it or not, and how often it is tidied after it.
BATCHES = st.tuples(
    st.sampled_from("pq"), st.lists(PARTS, min_size=1, max_size=3), st.booleans(), st.booleans(), st.integers(0, 4)
)
# So small that chunks are merged, sealed and summarized all the time.
SIZES = Sizes(seal_rows=8, merge_at=3, body_rows=16, fanout=2, block=2)


def chunk(part):
    kind, *details = part
    if kind == "rows":
        key, steps = details
        return encode_rows(key, steps, [0.0] * len(steps), {"x": steps})
    if kind == "value":
        key, step, number = details
        return encode_value(key, step, 0.0, {"n": [number]})
    return Clear(0.0)


class Model:
    """A run's log, kept in the plainest way."""

    def __init__(self):
        self.rows, self.values = defaultdict(list), {}

    def add(self, part):
        kind, *details = part
        if kind == "rows":
            self.rows[details[0]] += details[1]
        elif kind == "value":
            key, step, number = details
            if key not in self.values or step >= self.values[key][0]:
                self.values[key] = (step, number)
        else:
            self.__init__()


class Reader:
    """Folds a tail, in pieces of a few bytes, from wherever it was."""

    def __init__(self):
        self.cursor, self.rows, self.values = None, defaultdict(list), {}

    def read(self, store, *, max_bytes=1):
        while True:
            tail = store.tail("run", self.cursor, max_bytes=max_bytes)
            if tail.restart:
                self.__init__()
            for item in decode_tail_body(b"".join(tail.bodies)):
                if item.key in "abk":
                    self.rows[item.key] += item.steps.tolist()
                else:
                    self.values[item.key] = (item.step, item.data["n"][0])
            self.cursor = tail.cursor
            if not tail.more:
                return self


@given(st.lists(BATCHES, max_size=12), st.sets(st.integers(0, 12)))
@example([("p", [("value", "v", 1, 1)], False, False, 0), ("p", [("value", "v", 1, 2)], False, False, 0)], {0})
@example([("p", [("rows", "a", [i])], False, False, 3) for i in range(40)], {3, 17, 30})
def test_a_reader_in_pieces_a_fresh_reader_and_what_was_sent_agree(batches, looks):
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteStore(Path(folder), sizes=SIZES)
        assert store.append([Batch("run", "app", "p", 0, [START]), Batch("run", "app", "q", 0, [START])])
        model, live, numbers = Model(), Reader(), {"p": 0, "q": 0}
        for i, (producer, parts, again, reopened, tidied) in enumerate(batches):
            if reopened:
                store.close()
                store = SqliteStore(Path(folder), sizes=SIZES)
            numbers[producer] += 1
            batch = Batch("run", "app", producer, numbers[producer], [chunk(part) for part in parts])
            (first,) = store.append([batch])
            assert isinstance(first, Ack) and not first.duplicate
            if again:
                (second,) = store.append([batch])
                assert second.duplicate and second.seq == first.seq
            for part in parts:
                model.add(part)
            if i in looks:
                live.read(store)
            for _ in range(tidied):
                store.tidy()
        while store.tidy():
            pass
        live.read(store)
        fresh = Reader().read(store, max_bytes=10**9)
        assert (live.rows, live.values) == (fresh.rows, fresh.values) == (model.rows, model.values)
        store.close()


@pytest.fixture
def store(tmp_path):
    made = SqliteStore(tmp_path)
    yield made
    made.close()


def started(store, run="run", *, live=True, producer="p", app="app"):
    (ack,) = store.append([Batch(run, app, producer, 1, [START], live)])
    return ack


def test_a_refused_batch_stores_nothing_and_spoils_no_other(store):
    started(store)
    rows = encode_rows("k", [0], [0.0], {"x": [1]})
    good, unknown = store.append([Batch("run", "app", "p", 2, [rows]), Batch("nobody", "app", "p", 1, [rows])])
    assert isinstance(good, Ack) and isinstance(unknown, UnknownRun)
    assert list(store.keys("run")) == ["k"]


def test_a_key_of_the_other_kind_is_refused_alone(store):
    started(store)
    rows, value = encode_rows("k", [0], [0.0], {"x": [1]}), encode_value("k", 0, 0.0, {"n": [1]})
    other = encode_rows("other", [0], [0.0], {"x": [1]})
    (ack,) = store.append([Batch("run", "app", "p", 2, [rows, value, other])])
    assert [refusal.key for refusal in ack.refused] == ["k"]
    assert sorted(store.keys("run")) == ["k", "other"]


def test_the_newest_run_is_the_one_made_live_last(store):
    started(store, "one")
    started(store, "two")
    started(store, "late", live=False)
    started(store, "one", producer="q")
    assert store.newest("app").id == "two"
    store.delete("two")
    assert store.newest("app").id == "one"


def test_a_deleted_run_is_never_made_again(store):
    started(store)
    store.delete("run")
    assert isinstance(started(store, producer="q"), DeletedRun)


def test_a_run_belongs_to_one_app(store):
    started(store)
    assert isinstance(started(store, app="another", producer="q"), RunConflict)


def test_a_run_ends_when_its_last_producer_ends_and_failure_outweighs(store):
    started(store)
    started(store, producer="q")
    store.append([Batch("run", "app", "p", 2, [Finish("failed", 2.0)])])
    assert store.run("run").state == "running"
    store.append([Batch("run", "app", "q", 2, [Finish("finished", 3.0)])])
    assert store.run("run").state == "failed"


def test_a_store_of_a_newer_version_is_refused(tmp_path):
    store = SqliteStore(tmp_path)
    store._writer.execute("PRAGMA user_version = 99")
    store.close()
    with pytest.raises(FolderUnusable, match="newer"):
        SqliteStore(tmp_path)


@pytest.mark.parametrize("schema", [1, 2])
def test_a_file_of_an_older_schema_is_opened_with_all_that_is_in_it(schema, tmp_path):
    shutil.copy(Path(__file__).parent / "data" / f"schema-{schema}.sqlite", tmp_path / "streamvis.sqlite")
    store = SqliteStore(tmp_path, sizes=SIZES)
    first_half = store.tail("run", None, until=Cursor(store.id, 0, 11), max_bytes=10**9)
    while store.tidy():
        pass
    items = decode_tail_body(b"".join(first_half.bodies))
    assert [step for item in items if item.key == "k" for step in item.steps.tolist()] == list(range(2, 22))
    tail = store.tail("run", first_half.cursor, max_bytes=10**9)
    steps = [step for item in decode_tail_body(b"".join(tail.bodies)) if item.key == "k" for step in item.steps.tolist()]
    assert steps == list(range(22, 42)) and tail.keys["k"].first_row == 20
    history = store.history("run", "k", x="x", buckets=100)
    assert history.count == 40 and history.complete and history.rising
    store.append([Batch("run", "app", "p", 21, [encode_rows("k", [99], [0.0], {"x": [99]})])])
    assert Reader().read(store).rows["k"][-1] == 99
    store.close()
    SqliteStore(tmp_path, sizes=SIZES).close()
