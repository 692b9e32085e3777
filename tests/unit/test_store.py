"""The SQLite store against the plainest model of a log, over histories that hypothesis thinks of."""

from __future__ import annotations

import datetime as dt
import math
import shutil
import sqlite3
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamvis.errors import DeletedRun, FolderUnusable, RunConflict, UnknownRun
from streamvis.records import Ack, Batch, Clear, Cursor, Finish, HistoryQuery, Start
from streamvis.store import SqliteStore
from streamvis.store.chunks.packed_rows import unpack
from streamvis.store.removing import cutting
from streamvis.store.views.summaries import Sizes
from streamvis.wire.arrow import decode_tail_body, encode_rows, encode_value, table_of
from support.cells import cells_of
from support.stores import ask

START = Start("{}", 1.0)

STEPS = st.one_of(st.integers(0, 4), st.integers(0, 99))
PARTS = st.one_of(
    st.tuples(st.just("rows"), st.sampled_from("ab"), st.lists(st.integers(0, 99), min_size=1, max_size=3)),
    st.tuples(st.just("value"), st.sampled_from("vw"), st.integers(0, 3), st.integers(0, 99)),
    st.tuples(st.just("clear")),
    # The attempt, at which step it resumes, and when by its clock.
    st.tuples(st.just("start"), st.sampled_from(["A", "B", "C", ""]), st.one_of(st.none(), STEPS), st.integers(0, 3)),
)
# A producer's batch: sent once or again, the store closed and opened before it or not, how often it is tidied after it, and
# whether it comes live or late.
BATCHES = st.tuples(
    st.sampled_from("pq"),
    st.lists(PARTS, min_size=1, max_size=3),
    st.booleans(),
    st.booleans(),
    st.integers(0, 4),
    st.booleans(),
)
# So small that chunks are merged, sealed and summarized all the time.
SIZES = Sizes(seal_rows=8, merge_at=3, body_rows=16, fanout=2, block=2)


def sent(producer, steps, *before):
    """A batch for each step, tidied after it, the first with some parts before it."""
    parts = [[*(before if i == 0 else ()), ("rows", "a", [step])] for i, step in enumerate(steps)]
    return [(producer, its, False, False, 3, True) for its in parts]


def chunk(part, number):
    kind, *details = part
    if kind == "rows":
        key, steps = details
        return encode_rows(key, steps, [0.0] * len(steps), {"x": [1000 * number + step for step in steps]})
    if kind == "value":
        key, step, number = details
        return encode_value(key, step, 0.0, {"n": [number]})
    if kind == "start":
        attempt, resume_at, time = details
        return Start("{}", float(time), attempt=attempt, resume_at=resume_at)
    return Clear(0.0)


class Model:
    """A run's log, kept in the plainest way: records of attempts, of which a later one takes the place of earlier ones."""

    def __init__(self):
        self.records, self.late = [], 0
        self.attempts, self.resumed = [], {}
        self.of = {}

    def start(self, producer, attempt, resume_at, time, live):
        place = next((place for place in self.attempts if attempt and place[2] == attempt), None)
        if place is None:
            began = max([time, *(one[0] for one in self.attempts)]) if live else time
            place = (began, len(self.attempts), attempt)
            self.attempts.append(place)
        self.of[producer] = place
        if resume_at is not None and place not in self.resumed:
            self.resumed[place] = resume_at
            self.records = [one for one in self.records if not (one[0][:2] < place[:2] and one[3] >= resume_at)]

    def add(self, producer, part, number, live):
        kind, *details = part
        if kind == "start":
            self.start(producer, *details, live)
        elif kind == "clear":
            self.records = []
        elif kind == "rows":
            for step in details[1]:
                self.put(producer, kind, details[0], step, 1000 * number + step)
        elif self.put(producer, kind, *details):
            self.records = [one for one in self.records[:-1] if one[2:4] != self.records[-1][2:4]] + self.records[-1:]

    def put(self, producer, kind, key, step, data):
        place = self.of[producer]
        is_late = any(other[:2] > place[:2] and at <= step for other, at in self.resumed.items())
        self.late += is_late
        if not is_late:
            self.records.append((place, kind, key, step, data))
        return not is_late

    @property
    def steps(self):
        return [one[3] for one in self.records]

    @property
    def rows(self):
        rows = defaultdict(list)
        for _, kind, key, _, number in self.records:
            if kind == "rows":
                rows[key].append(number)
        return rows

    @property
    def values(self):
        values = {}
        for _, kind, key, step, number in self.records:
            if kind == "value" and step >= values.get(key, (0,))[0]:
                values[key] = (step, number)
        return values


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
                    self.rows[item.key] += item.columns["x"].tolist()
                else:
                    self.values[item.key] = (item.step, item.data["n"][0])
            self.cursor = tail.cursor
            if not tail.more:
                return self


@given(st.lists(BATCHES, max_size=12), st.sets(st.integers(0, 12)))
@example([("p", [("value", "v", 1, 1)], False, False, 0, True), ("p", [("value", "v", 1, 2)], False, False, 0, True)], {0})
@example([("p", [("rows", "a", [i])], False, False, 3, True) for i in range(40)], {3, 17, 30})
@example([*sent("p", range(40)), *sent("q", [30], ("start", "A", 25, 1)), *sent("p", [24, 26]), *sent("q", range(40))], {17, 30})
@example([*sent("p", [(i * 7) % 40 for i in range(40)]), *sent("q", range(40), ("start", "A", 25, 1))], {17, 39, 50})
@example([*sent("p", [5], ("start", "A", None, 1)), *sent("q", [6], ("clear",), ("rows", "a", [7]), ("start", "B", 6, 1))], set())
@example([*sent("p", [9], ("start", "A", None, 1)), *sent("p", [5], ("clear",)), *sent("q", [6], ("start", "A", 3, 1))], set())
@example(
    [("q", [("rows", "a", [9]), ("start", "A", None, 1), ("rows", "a", [8])], False, False, 0, True)]
    + sent("p", [7], ("start", "A", 5, 1)),
    set(),
)
def test_a_reader_in_pieces_a_fresh_reader_and_what_was_sent_agree(folders, batches, looks):
    check_readers(folders, batches, looks, 1)


def check_readers(places, batches, looks, at_a_time):
    """`at_a_time`: so many batches share a commit, unless something is done between them."""
    at_once = (1, 3, 1000)[(len(batches) + len(looks)) % 3]
    with places() as place, mock.patch.object(cutting, "_RECORDS_AT_ONCE", at_once):
        store = place.open(sizes=SIZES)
        assert store.append([Batch("run", "app", "p", 0, [START]), Batch("run", "app", "q", 0, [START])])
        model, live, numbers = Model(), Reader(), {"p": 0, "q": 0}
        group = []
        for producer in "pq":
            model.start(producer, "", None, 1.0, True)
        for i, (producer, parts, again, reopened, tidied, is_live) in enumerate(batches):
            if reopened:
                store.close()
                store = place.open(sizes=SIZES)
            numbers[producer] += 1
            chunks = [chunk(part, 10 * i + j) for j, part in enumerate(parts)]
            batch = Batch("run", "app", producer, numbers[producer], chunks, is_live)
            group += [batch] * (1 + again)
            if len(group) >= at_a_time or i in looks or tidied or i + 1 == len(batches) or batches[i + 1][3]:
                append_all(store, group)
                group = []
            for j, part in enumerate(parts):
                model.add(producer, part, 10 * i + j, is_live)
            if i in looks:
                live.read(store)
            for _ in range(tidied):
                store.tidy()
        while store.tidy():
            pass
        live.read(store)
        fresh = Reader().read(store, max_bytes=10**9)
        assert (live.rows, live.values) == (fresh.rows, fresh.values) == (model.rows, model.values)
        run, steps = store.run("run"), model.steps
        assert (run.first_step, run.last_step, run.late) == (min(steps, default=None), max(steps, default=None), model.late)
        assert set(store.keys("run")) == {*model.rows, *model.values}
        for key, numbers in model.rows.items():
            history = store.history("run", key, HistoryQuery(x="row", buckets=3))
            shown = dict(zip(history.table["row"].to_pylist(), history.table[".x"].to_pylist(), strict=True))
            assert history.count == len(numbers) and all(numbers[row] == x for row, x in shown.items())
            assert (min(shown.values()), max(shown.values())) == (min(numbers), max(numbers))
        store.close()


def append_all(store, group):
    seqs = {}
    for batch, answer in zip(group, store.append(group), strict=True):
        assert isinstance(answer, Ack) and answer.duplicate == ((batch.producer, batch.number) in seqs)
        assert seqs.setdefault((batch.producer, batch.number), answer.seq) == answer.seq


@settings(max_examples=8)
@given(st.lists(BATCHES, max_size=12), st.sets(st.integers(0, 12)), st.integers(1, 5))
def test_the_same_holds_in_postgresql(schemas, batches, looks, at_a_time):
    check_readers(schemas, batches, looks, at_a_time)


@pytest.fixture
def store(place):
    made = place.open()
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


def test_columns_beyond_those_that_a_key_may_have_refuse_the_records_of_that_key_alone(store):
    started(store)

    def send(number, key, names):
        rows = encode_rows(key, [number], [0.0], dict.fromkeys(names, [1.0]))
        (ack,) = store.append([Batch("run", "app", "p", number, [rows])])
        return ack.refused

    assert not send(2, "k", [f"c{i}" for i in range(6_000)])
    (refused,) = send(3, "k", [f"d{i}" for i in range(6_000)])
    assert refused.key == "k" and "12,000 columns" in refused.reason and "several keys" in refused.reason
    assert not send(4, "k", [f"d{i}" for i in range(4_000)])
    assert not send(5, "k", ["c0", "d0"]) and not send(6, "other", ["new"])
    assert send(7, "k", ["new"])
    keys = store.keys("run")
    assert len(keys["k"].columns) == 10_000 and sorted(keys) == ["k", "other"]
    tail = store.tail("run", None)
    assert [rows.steps.tolist() for body in tail.bodies for rows in decode_tail_body(body)] == [[2], [4], [5], [6]]


def test_a_column_becomes_what_can_say_all_its_cells_however_many_columns_there_are(store):
    started(store)
    for number, cells in enumerate([[1], [None], [0.5], [1], ["a"]], start=2):
        many = {f"c{i}": [1] for i in range(500)}
        store.append([Batch("run", "app", "p", number, [encode_rows("k", [0], [0.0], {"x": cells} | many)])])
        store.append([Batch("run", "app", "q", number, [encode_rows("few", [0], [0.0], {"x": cells})])])
        words = [store.keys("run")[key].columns["x"] for key in ("k", "few")]
        assert words == 2 * [{2: "int64", 3: "int64", 4: "float64", 5: "float64", 6: "json"}[number]]


def test_a_tail_has_the_keys_that_are_asked_for_and_goes_on_to_the_end_without_the_others(store):
    started(store)
    for number, key in enumerate("abcd", start=2):
        body = encode_rows(key, [number], [0.0], {"x": [1]}) if key in "ab" else encode_value(key, number, 0.0, {"x": 1})
        store.append([Batch("run", "app", "p", number, [body])])
    head = store.run("run").cursor

    def keys(**which):
        found, cursor = [], None
        while cursor != head:
            tail = store.tail("run", cursor, max_bytes=1, **which)
            found += [item.key for body in tail.bodies for item in decode_tail_body(body)]
            cursor = tail.cursor
        return found

    assert keys() == ["a", "b", "c", "d"]
    assert keys(only=["b", "d", "no such key"]) == ["b", "d"]
    assert keys(kind="rows") == ["a", "b"] and keys(kind="value") == ["c", "d"]
    assert keys(only=["a", "c"], exclude=["a"]) == ["c"] and keys(only=["a"], kind="value") == []
    assert keys(only=["a\0", "c\0x", "d"]) == ["d"] and keys(only=["b\0"]) == [] and keys(exclude=["a\0", "c"]) == ["a", "b", "d"]


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


@pytest.mark.parametrize("schema", [1, 2, 3, 4, 5, 6, 7])
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
    history = store.history("run", "k", HistoryQuery(x="x", buckets=100))
    assert history.count == 40 and history.complete and history.rising
    store.append([Batch("run", "app", "p", 21, [encode_rows("k", [99], [0.0], {"x": [99]})])])
    assert Reader().read(store).rows["k"][-1] == 99
    store.close()
    SqliteStore(tmp_path, sizes=SIZES).close()


@pytest.mark.parametrize("is_unreleased", [False, True], ids=["released", "with the column"])
def test_of_a_file_of_schema_7_the_values_can_be_limited(is_unreleased, tmp_path):
    file = tmp_path / "streamvis.sqlite"
    shutil.copy(Path(__file__).parent / "data" / "schema-7.sqlite", file)
    if is_unreleased:
        with closing(sqlite3.connect(file)) as db:
            db.execute("ALTER TABLE keys ADD COLUMN first_missing INTEGER")
    store = SqliteStore(tmp_path, sizes=SIZES)
    (ack,) = store.append([Batch("run", "app", "p", 21, [encode_value("v", 50, 0.0, {"n": [50]}, keep=1)])])
    assert isinstance(ack, Ack) and store.keys("run", at=5)["v"].is_kept is False
    store.close()


def all_cells(store, *, max_bytes=500):
    """All that a run's readers are given, to the last digit: rows by key, as steps, times and cells, and values."""
    rows, values, cursor = defaultdict(list), {}, None
    while True:
        tail = store.tail("run", cursor, max_bytes=max_bytes)
        for body in tail.bodies:
            meta, table = table_of(body)
            if meta["kind"] == "value":
                values[meta["key"]] = repr(decode_tail_body(body))
                continue
            columns = {field.name: cells_of(field, column) for field, column in zip(table.schema, table.columns, strict=True)}
            for i in range(table.num_rows):
                rows[meta["key"]].append({name: cells[i] for name, cells in columns.items() if cells[i] is not None})
        cursor = tail.cursor
        if not tail.more:
            return rows, values


@pytest.mark.parametrize("schema", [1, 2, 3])
def test_what_was_acknowledged_never_changes_by_migration_merging_and_restarts(schema, tmp_path):
    file = tmp_path / "streamvis.sqlite"
    shutil.copy(Path(__file__).parent / "data" / f"schema-{schema}.sqlite", file)
    with closing(sqlite3.connect(file)) as db:
        tables = [rows_in(body) for (body,) in db.execute("SELECT body FROM chunks")]
    store = SqliteStore(tmp_path, sizes=SIZES)
    before = all_cells(store)
    steps = sorted(step for table in tables for step in table.column("step").to_pylist())
    assert sorted(row["step"] for rows in before[0].values() for row in rows) == steps != []
    odd = [
        *([dt.datetime(2400, 1, 1)], np.array([1], "M8[ns]"), [dt.timedelta(days=200_000)], np.array([1], "m8[ns]")),
        *([2**62 + 1], [0.5], [math.inf], np.array([2**64 - 1], np.uint64), np.array([7], np.int8), ["text"], [None]),
    ]
    for number, cells in enumerate(odd * 3, 100):
        for key in ("k", "new"):
            chunk = encode_rows(key, [number], [number / 3], {"x": cells})
            (ack,) = store.append([Batch("run", "app", f"p {key}", number, [chunk])])
            assert not ack.refused
        now = all_cells(store, max_bytes=10**9)
        for key, rows in before[0].items():
            assert now[0][key][: len(rows)] == rows, key
        assert now[1] == before[1]
        before = now
        for _ in range(number % 4):
            store.tidy()
        if number % 5 == 0:
            store.close()
            store = SqliteStore(tmp_path, sizes=SIZES)
        assert all_cells(store) == before
    while store.tidy():
        pass
    assert all_cells(store) == before
    store.close()


def rows_in(body):
    """The rows of a chunk as it lies in a file that no newer version has touched."""
    meta, table = table_of(body)
    return table if meta["kind"] == "rows" else unpack(body)[1]


def resumed(store, step, *, attempt="", producer="q", number=1, live=True, time=2.0):
    start = Start("{}", time, joins=True, attempt=attempt, resume_at=step)
    (ack,) = store.append([Batch("run", "app", producer, number, [start], live)])
    return ack


def send_steps(store, steps, *, producer="p", first_number=2):
    for number, step in enumerate(steps, first_number):
        (ack,) = store.append([Batch("run", "app", producer, number, [encode_rows("a", [step], [0.0], {"x": [step]})])])
    return ack


def test_an_attempt_cuts_once_however_many_ranks_join_it(store):
    started(store)
    send_steps(store, range(5))
    resumed(store, 3, attempt="2", producer="q")
    send_steps(store, [3, 4], producer="q")
    epoch = store.run("run").cursor.epoch
    assert epoch == 1 and not resumed(store, 3, attempt="2", producer="r").warnings
    send_steps(store, [3], producer="r")
    assert "resumed at step 3" in resumed(store, 1, attempt="2", producer="s").warnings[0]
    assert store.run("run").cursor.epoch == epoch
    assert Reader().read(store).rows["a"] == [0, 1, 2, 3, 4, 3]


def test_who_joins_without_a_config_is_not_warned_and_gives_no_config_away(store):
    def start(config, producer, number=1):
        (ack,) = store.append([Batch("run", "app", producer, number, [Start(config, 1.0, joins=True)])])
        return ack.warnings, store.config("run"), store.run("run").cursor.epoch

    assert start("{}", "p") == ((), "{}", 0)
    send_steps(store, [0], producer="p")
    reader = Reader()
    reader.read(store)
    one, other = '{"lr": NaN, "of": {"b": 1, "a": 2}}', '{"lr": 0.5}'
    assert start(one, "q") == ((), one, 1)  # open pages start over with it
    assert start("{}", "r") == ((), one, 1)
    assert start('{"of": {"a": 2, "b": 1}, "lr": NaN}', "s") == ((), one, 1)
    warnings, config, epoch = start(other, "t")
    assert len(warnings) == 1 and "another config" in warnings[0] and (config, epoch) == (one, 1)
    send_steps(store, [1], producer="p", first_number=3)
    assert reader.read(store).rows["a"] == [0, 1]


def test_a_rank_that_came_before_one_that_resumes_keeps_what_it_sent(store):
    started(store)
    send_steps(store, range(5))
    store.append([Batch("run", "app", "q", 1, [Start("{}", 2.0, joins=True, attempt="2")])])
    send_steps(store, [7], producer="q")
    resumed(store, 2, attempt="2", producer="r")
    assert Reader().read(store).rows["a"] == [0, 1, 7]


def test_what_an_earlier_attempt_sends_late_is_left_out_from_the_step_on(store):
    started(store)
    send_steps(store, range(2))
    resumed(store, 3)
    ack = send_steps(store, [2, 3, 4], first_number=4)
    assert "resumed this run at step 3" in ack.warnings[0] and not ack.refused
    assert Reader().read(store).rows["a"] == [0, 1, 2]
    assert store.run("run").late == 2


def test_an_attempt_first_heard_of_from_a_spool_is_put_where_its_clock_says(store):
    """The first attempt was online, the second had no endpoint, the third was online again."""
    started(store)
    send_steps(store, range(5))
    resumed(store, 6, producer="r", time=9.0)
    send_steps(store, [6, 7], producer="r")
    resumed(store, 3, producer="q", live=False, time=5.0)
    send_steps(store, range(3, 9), producer="q")
    assert Reader().read(store).rows["a"] == [0, 1, 2, 6, 7, 3, 4, 5]


def test_a_resumed_run_ends_with_the_producers_of_its_last_attempt(store):
    started(store)
    started(store, producer="killed")
    store.append([Batch("run", "app", "p", 2, [Finish("failed", 2.0)])])
    resumed(store, 0)
    store.append([Batch("run", "app", "q", 2, [Finish("finished", 3.0)])])
    assert store.run("run").state == "finished"
    resumed(store, 0, producer="", number=0)
    store.append([Batch("run", "app", "killed", 2, [Finish("failed", 4.0)])])
    assert store.run("run").state == "running"


def test_resuming_where_nothing_is_to_be_taken_back_disturbs_no_reader(store):
    started(store)
    send_steps(store, range(3))
    resumed(store, 3)
    assert store.run("run").cursor.epoch == 0


def test_resuming_a_run_that_is_not_there_makes_it(store):
    resumed(store, 5)
    send_steps(store, [5], producer="q")
    assert store.run("run").last_step == 5 and store.newest("app").id == "run"


def test_a_key_that_lost_all_it_had_may_hold_the_other_kind(store):
    started(store)
    send_steps(store, [5])
    resumed(store, 5)
    value = encode_value("a", 5, 0.0, {"n": [1]})
    (ack,) = store.append([Batch("run", "app", "q", 2, [value])])
    assert not ack.refused and store.keys("run")["a"].kind == "value"


def test_what_a_cut_left_is_tidied_again(place):
    store = place.open(sizes=SIZES)
    started(store)
    send_steps(store, [99, *range(63)])
    while store.tidy():
        pass
    resumed(store, 63)
    send_steps(store, range(63, 79), producer="q")
    while store.tidy():
        pass
    chunks = ask(store, "SELECT first_row, count, packed FROM chunks ORDER BY first_row")
    ((rows, sealed, summed),) = ask(store, "SELECT rows, sealed, summed FROM keys")
    assert rows == sum(count for _, count, _ in chunks) == 79 and summed == 64
    assert all(is_packed for first_row, _, is_packed in chunks if first_row < sealed)
    assert rows - sealed < SIZES.seal_rows and len(chunks) < rows // SIZES.seal_rows + SIZES.merge_at
    assert Reader().read(store).rows["a"] == list(range(79))
    store.close()


def test_what_was_prepared_before_a_cut_is_not_put_in_place_after_it(place):
    store = place.open(sizes=SIZES)
    started(store)
    send_steps(store, range(7))
    writing = store._tidier._writing

    def write_after_a_cut():
        store._tidier._writing = writing
        resumed(store, 2)
        send_steps(store, [2, 3], producer="q")
        return writing()

    store._tidier._writing = write_after_a_cut
    while store.tidy():
        pass
    assert store._tidier._writing is writing
    assert Reader().read(store).rows["a"] == [0, 1, 2, 3]
    store.close()


def test_the_producers_of_a_migrated_file_are_of_an_earlier_attempt(tmp_path):
    shutil.copy(Path(__file__).parent / "data" / "schema-3.sqlite", tmp_path / "streamvis.sqlite")
    store = SqliteStore(tmp_path, sizes=SIZES)
    resumed(store, 10)
    send_steps(store, [9, 10], first_number=21)
    assert Reader().read(store).rows == {"k": list(range(2, 10)), "a": [9]}
    store.close()
