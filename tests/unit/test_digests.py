"""Summaries of columns against a slow reading of all rows, through histories that hypothesis thinks of."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamvis.filters import STATISTICS, Filter, parse_path
from streamvis.records import Batch, Clear, Start
from streamvis.store import RunQuery, SqliteStore
from streamvis.store.removing import cutting
from streamvis.store.views import digests
from streamvis.store.views.summaries import Sizes
from streamvis.wire.arrow import decode_tail_body, encode_rows
from support.stores import ask

SIZES = Sizes(seal_rows=8, merge_at=3, body_rows=16, fanout=2, block=2)
NAN = float("nan")
FLOATS = st.one_of(st.floats(-9, 9), st.sampled_from([NAN, float("inf"), -float("inf"), 0.0, None]))
CELLS = st.one_of(FLOATS, st.integers(-3, 3), st.sampled_from([2**62 + 1, 2**64 - 1]))
SENT = st.lists(st.tuples(st.integers(0, 30), CELLS, CELLS), min_size=1, max_size=6)
ROWS = st.tuples(st.just("rows"), st.sampled_from("kl"), SENT)
PARTS = st.one_of(ROWS, ROWS, ROWS, st.tuples(st.just("clear")), st.tuples(st.just("resume"), st.integers(0, 30)))
# What is sent, how often it is tidied after it, and whether the store is closed and opened before it.
HISTORIES = st.lists(st.tuples(PARTS, st.integers(0, 3), st.booleans()), max_size=12)


def chunk(part):
    kind, *details = part
    if kind == "clear":
        return Clear(0.0)
    if kind == "resume":
        return Start("{}", 0.0, resume_at=details[0])
    key, rows = details
    steps, ones, others = zip(*rows, strict=True)
    texts = ["t" if i % 2 else i for i in range(len(rows))]
    return encode_rows(key, list(steps), [0.0] * len(rows), {"a": cells_of_one_dtype(ones), "b": floats(others), "mixed": texts})


def cells_of_one_dtype(cells):
    """Whole numbers where all are, and of one sign where they are very large; floats otherwise. What is missing stays so."""
    there = [cell for cell in cells if cell is not None]
    if all(isinstance(cell, int) for cell in there) and (len(there) == len(cells)) and (min(there) >= 0 or max(there) < 2**63):
        return list(cells)
    return floats(cells)


def floats(cells):
    return [None if cell is None else float(cell) for cell in cells]


def columns_of(store, run):
    """All cells of each column with their steps, in log order."""
    found = {}
    for item in decode_tail_body(b"".join(store.tail(run, None, max_bytes=10**9).bodies)):
        for name, cells in getattr(item, "columns", {}).items():
            missing = item.missing.get(name, [False] * len(item.steps))
            for step, cell, is_missing in zip(item.steps.tolist(), list(cells), missing, strict=True):
                if not is_missing and cell is not None and not isinstance(cell, str):
                    found.setdefault((item.key, name), []).append((step, cell))
    return found


def slowly(cells):
    """Each statistic of a column, in loops."""
    count, low, high = 0, None, None
    for step, cell in cells:
        if not math.isnan(cell):
            count += 1
            low = (cell, step) if low is None or cell < low[0] else low
            high = (cell, step) if high is None or cell > high[0] else high
    last_step, last = cells[-1]
    low, high = low or (None, None), high or (None, None)
    return dict(zip(STATISTICS, (last, last_step, *low, *high, count), strict=True))


def told(store, run, key, column):
    paths = [("summary", key, column, statistic) for statistic in STATISTICS]
    (one,) = store.find(RunQuery(runs=[run], columns=paths)).runs
    numbers = {"NaN": NAN, "Infinity": math.inf, "-Infinity": -math.inf}
    return {name: numbers.get(value, value) for name, value in zip(STATISTICS, one.columns, strict=True)}


def same(one, other):
    return (
        one == other
        or (one is not None and other is not None and math.isnan(one) and math.isnan(other))
        or (one is not None and other is not None and float(one) == float(other))
    )


def agrees(store):
    seen = columns_of(store, "run")
    for key in "kl":
        for column in "ab":
            found = told(store, "run", key, column)
            expected = slowly(seen[key, column]) if (key, column) in seen else dict.fromkeys(STATISTICS)
            for name, value in expected.items():
                assert same(found[name], value), (key, column, name, found, expected)


def tidy(store):
    while store.tidy():
        pass


@settings(max_examples=40)
@given(HISTORIES)
@example([(("rows", "k", [(i, float(i % 7), float(i))]), 1, False) for i in range(12)] + [(("resume", 5), 2, True)])
@example([(("rows", "k", [(3, NAN, NAN)]), 4, False), (("rows", "k", [(5, None, None)]), 4, False)])
def test_summaries_say_what_a_slow_reading_of_all_rows_says(folders, history):
    with (
        folders() as place,
        mock.patch.multiple(digests, _CHUNKS_AT_ONCE=2, _KEYS_AT_ONCE=1),
        mock.patch.object(cutting, "_RECORDS_AT_ONCE", 2),
    ):
        store = place.open(sizes=SIZES)
        store.append([Batch("run", "app", "p", 0, [Start("{}", 1.0)])])
        for number, (part, tidied, reopened) in enumerate(history, 1):
            if reopened:
                store.close()
                store = place.open(sizes=SIZES)
            producer, at = ("p", number) if part[0] != "resume" else (f"q{number}", 0)
            (ack,) = store.append([Batch("run", "app", producer, at, [chunk(part)])])
            if part[0] == "resume":
                # The producer goes on in the attempt that resumed: nothing that it sends is late.
                store.append([Batch("run", "app", "p", number, [Start("{}", 0.0)])])
            for _ in range(tidied):
                store.tidy()
        tidy(store)
        agrees(store)
        store.close()


@settings(max_examples=8)
@given(HISTORIES)
def test_the_same_holds_in_postgresql(schemas, history):
    in_sqlite = test_summaries_say_what_a_slow_reading_of_all_rows_says
    in_sqlite.hypothesis.inner_test(schemas, history)


@pytest.fixture
def store(place):
    made = place.open(sizes=SIZES)
    yield made
    made.close()


def send(store, run, number, steps, key="train", **columns):
    if number == 1:
        store.append([Batch(run, "app", "p", 0, [Start("{}", float(len(run)))])])
    store.append([Batch(run, "app", "p", number, [encode_rows(key, steps, [0.0] * len(steps), columns)])])


def test_runs_are_filtered_ordered_and_listed_by_their_summaries(store):
    for run, losses in (("a", [3.0, 1.0, 2.0]), ("bb", [9.0, 4.0]), ("ccc", [NAN])):
        send(store, run, 1, list(range(len(losses))), loss=losses)
    send(store, "dddd", 1, [0], other=[1.0])
    tidy(store)
    order = parse_path("train.loss.last")
    found = store.find(RunQuery(app="app", order=order, columns=[order, parse_path("train.loss.min_step")]))
    assert [(one.info.id, *one.columns) for one in found.runs] == [
        ("a", 2.0, 1), ("bb", 4.0, 1), ("dddd", None, None), ("ccc", "NaN", None),
    ]  # fmt: skip
    where = Filter.parse("train.loss.min < 4 or train.loss.count == 2")
    assert {one.info.id for one in store.find(RunQuery(app="app", where=where)).runs} == {"a", "bb"}
    assert store.names("app").summaries == ["train.loss", "train.other"]


def test_summaries_of_a_run_that_is_cleared_or_deleted_are_gone_from_the_file(store):
    for run in ("a", "bb"):
        send(store, run, 1, [0, 1], loss=[1.0, 2.0])
    tidy(store)
    store.clear("a")
    assert told(store, "a", "train", "loss") == dict.fromkeys(STATISTICS)
    tidy(store)
    assert ask(store, "SELECT count(*) FROM digests") == [(1,)]


def test_a_file_of_an_older_schema_gets_its_summaries_in_the_background(tmp_path):
    shutil.copy(Path(__file__).parent / "data" / "schema-6.sqlite", tmp_path / "streamvis.sqlite")
    store = SqliteStore(tmp_path)
    (run,) = [one.id for one in store.runs("app", limit=5)]
    tidy(store)
    seen = columns_of(store, run)
    checked = 0
    for one in store.names("app").summaries:
        _, key, column, _ = parse_path(f"{one}.last")
        expected = slowly(seen[key, column])
        assert all(same(told(store, run, key, column)[name], value) for name, value in expected.items()), (one, expected)
        checked += 1
    store.close()
    assert checked


def test_what_was_digested_is_not_read_again(store):
    read = []
    chunk = digests.read_chunk
    with mock.patch.object(digests, "read_chunk", lambda db, key, no: read.append(no) or chunk(db, key, no)):
        for number in range(1, 41):
            send(store, "a", number, [number], loss=[float(number)])
            tidy(store)
    assert len(read) == 40 and told(store, "a", "train", "loss")["count"] == 40


def test_a_damaged_chunk_costs_the_summaries_its_rows_and_no_more(store):
    for number in range(1, 4):
        send(store, "a", number, [number], loss=[float(number)])
    with store._writing() as (db, _):
        db.execute("UPDATE chunks SET body = ? WHERE first_step = 3", (b"\0",))
    tidy(store)
    assert told(store, "a", "train", "loss")["max"] == 2.0
    assert json.loads(store.config("a")) == {}
