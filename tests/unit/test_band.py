"""Bands over runs against a slow and obvious reference, over runs that hypothesis thinks of."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamvis.errors import UnknownRun
from streamvis.records import Batch, Start
from streamvis.store import STATISTICS_OF_RUNS, SqliteStore
from streamvis.store.views import band
from streamvis.store.views.downsampling import Axis
from streamvis.store.views.spread import t_of_95
from streamvis.store.views.summaries import Sizes
from streamvis.wire.arrow import encode_rows
from support.stores import hasty_store

SIZES = Sizes(seal_rows=8, merge_at=3, body_rows=16, fanout=2, block=2)
STUDENT = {1: 12.706204736, 2: 4.302652730, 3: 3.182446305, 4: 2.776445105, 5: 2.570581836, 9: 2.262157163, 30: 2.042272456}
"""Of published tables."""

CELLS = st.one_of(st.floats(-100, 100), st.just(float("nan")), st.none())
# A row: by how much x goes on, and its cells; a run: its first x, the rows, and how many of them come in a batch.
ROWS = st.lists(st.tuples(st.sampled_from([0, 1, 1, 1, 2, 7]), CELLS, CELLS), max_size=40)
SPANS = st.tuples(st.integers(-2, 30), st.integers(0, 60))
RUNS = st.lists(st.tuples(st.integers(0, 5), ROWS, st.integers(1, 9), st.booleans()), min_size=1, max_size=4)


def rows_of(first, rows, backward):
    """The steps and cells of a run; backward, each third row stands where an earlier one was."""
    step, made = first, []
    for i, (ahead, one, other) in enumerate(rows):
        step += ahead
        made.append((step - 3 * (i % 3 == 2) if backward and step >= 3 else step, one, other))
    return made


def filled(store, runs):
    for i, (first, rows, together, backward) in enumerate(runs):
        store.append([Batch(f"r{i}", "app", "p", 0, [Start("{}", 1.0)])])
        made = rows_of(first, rows, backward)
        for number, begin in enumerate(range(0, len(made), together), 1):
            steps, ones, others = zip(*made[begin : begin + together], strict=True)
            columns = {"y": list(ones), "z": list(others)}
            store.append([Batch(f"r{i}", "app", "p", number, [encode_rows("k", list(steps), [0.0] * len(steps), columns)])])
        while store.tidy():
            pass


def smoothed(cells, weight):
    """The debiased exponential means of the cells; a NaN, and what is missing, has none."""
    mean, count = 0.0, 0
    for cell in cells:
        if cell is None or math.isnan(cell):
            yield cell
            continue
        mean, count = weight * mean + (1 - weight) * cell, count + 1
        yield mean / (1 - weight**count)


def reference(runs, column, stat, weight):
    """At each x: middle, low, high and count, in loops."""
    at = {}
    for first, rows, _, backward in runs:
        made = rows_of(first, rows, backward)
        cells = list(smoothed([row[1 + column] for row in made], weight))
        last = {row[0]: cell for row, cell in zip(made, cells, strict=True) if cell is not None}
        for x, cell in last.items():
            if not math.isnan(cell):
                at.setdefault(x, []).append(cell)
    return {x: (*spread(cells, stat), len(cells)) for x, cells in sorted(at.items())}


def spread(cells, stat):
    n, mean = len(cells), sum(cells) / len(cells)
    if n == 1:
        return cells[0], cells[0], cells[0]
    if stat == "quartiles":
        return float(np.median(cells)), float(np.quantile(cells, 0.25)), float(np.quantile(cells, 0.75))
    if stat == "range":
        return mean, min(cells), max(cells)
    width = math.sqrt(sum((cell - mean) ** 2 for cell in cells) / (n - 1))
    width *= {"std": 1, "sem": 1 / math.sqrt(n), "ci95": STUDENT.get(n - 1, 0) / math.sqrt(n)}[stat]
    return mean, mean - width, mean + width


def shown(found, column):
    parts = [found.table[f"{column}.{part}"].to_pylist() for part in ("middle", "low", "high", "runs")]
    return {x: cells for x, *cells in zip(found.table["x"].to_pylist(), *parts, strict=True) if cells[-1]}


@settings(max_examples=80)
@given(RUNS, st.sampled_from(STATISTICS_OF_RUNS), SPANS, st.integers(1, 4), st.sampled_from([0.0, 0.6]))
@example([(0, [(1, 1.0, None)] * 40, 9, False), (3, [(2, 3.0, 1.0)] * 20, 1, False)], "std", (0, 90), 2, 0.0)
@example([(0, [(1, i % 7, None) for i in range(40)], 9, False), (3, [(2, 3.0, 1.0)] * 20, 1, False)], "std", (20, 9), 2, 0.6)
@example([(0, [(1, 1.0, None)] * 40, 9, True), (3, [(0, i, 1.0) for i in range(40)], 4, True)], "quartiles", (0, 90), 2, 0.6)
def test_a_band_is_what_the_slow_reference_says(runs, stat, span, at_once, weight):
    start, stop = span[0], span[0] + span[1]
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.multiple(band, _ENOUGH_ROWS=3 * at_once, _SORTED_AT_ONCE=5 * at_once, _LEAST_ROWS=4),
    ):
        store = hasty_store(Path(folder), sizes=SIZES)
        filled(store, runs)
        ids, asked = [f"r{i}" for i in range(len(runs))], {"x": "step", "columns": ["y", "z"], "stat": stat, "smooth": weight}
        whole = store.band(ids, "k", **asked, buckets=10_000)
        part = store.band(ids, "k", **asked, start=start, stop=stop, buckets=10_000)
        few = store.band(ids, "k", **asked, buckets=3)
        store.close()
    assert whole.complete and part.complete
    for i, column in enumerate("yz"):
        expected = reference(runs, i, stat, weight)
        inside = {x: cells for x, cells in expected.items() if start <= x <= stop}
        for found, its in ((whole, expected), (part, inside)):
            told = shown(found, column)
            assert list(told) == list(its)
            for x, cells in its.items():
                # A bound near zero is the difference of a middle and a width that are not.
                assert told[x] == pytest.approx(cells, rel=1e-9, abs=1e-9 * (1 + max(map(abs, cells[:3])))), (column, x)
    ends = {f"r{i}": max(row[0] for row in rows_of(*one[:2], one[3])) for i, one in enumerate(runs) if one[1]}
    assert {run: x for run, x, _ in whole.ends} == ends and part.ends == whole.ends and whole.runs == len(ends)
    assert (whole.first_x is None) == (not ends) and (not ends or whole.last_x == max(ends.values()))
    keeps_extremes(whole, few, buckets=3)


def keeps_extremes(whole, few, *, buckets):
    """Each row of `few` is one of `whole`, and of each bucket the lowest and highest of each column are among them."""
    names = whole.table.column_names
    rows = {row["x"]: row for row in whole.table.to_pylist()}
    kept = few.table.to_pylist()
    assert all(rows[row["x"]] == row for row in kept)
    assert few.complete == (len(kept) == len(rows))
    if not rows or whole.first_x is None:
        return
    places = Axis("x", None, None, buckets).places(np.array(list(rows)), whole.start, whole.stop)
    for place in set(places.tolist()):
        its = [row for row, at in zip(rows.values(), places, strict=True) if at == place]
        there = [row for row in kept if any(row is one or row == one for one in its)]
        for name in names[1:]:
            cells = [row[name] for row in its if row[name] is not None]
            if cells:
                shown = [row[name] for row in there if row[name] is not None]
                assert (min(cells), max(cells)) == (min(shown), max(shown))


@pytest.fixture
def store(place):
    made = place.open(sizes=SIZES)
    yield made
    made.close()


def send(store, run, steps, number=1, **columns):
    store.append([Batch(run, "app", "p", 0, [Start("{}", 1.0)])])
    store.append([Batch(run, "app", "p", number, [encode_rows("k", list(steps), [0.0] * len(steps), columns)])])


def test_students_t_is_that_of_the_tables():
    assert {freedom: t_of_95(freedom) for freedom in STUDENT} == pytest.approx(STUDENT, rel=1e-8)
    assert t_of_95(10_000) == pytest.approx(1.960201, abs=1e-5)


def test_rows_of_one_step_that_lack_the_column_hide_no_number(store):
    send(store, "a", [1, 1, 2], loss=[5.0, None, None], accuracy=[None, 0.5, 0.6])
    found = store.band(["a"], "k", x="step", columns=["loss", "accuracy"], stat="std", buckets=100)
    assert found.table.to_pydict() == {
        "x": [1.0, 2.0],
        "loss.middle": [5.0, None], "loss.low": [5.0, None], "loss.high": [5.0, None], "loss.runs": [1, 0],
        "accuracy.middle": [0.5, 0.6], "accuracy.low": [0.5, 0.6], "accuracy.high": [0.5, 0.6], "accuracy.runs": [1, 1],
    }  # fmt: skip


def test_a_band_over_another_column_on_a_log_axis_keeps_extremes_of_its_buckets(store):
    x = [float(i) for i in range(-3, 200)]
    send(store, "a", range(len(x)), t=x, y=[math.sin(one) for one in x])
    send(store, "b", range(len(x)), t=x, y=[math.cos(one) for one in x])
    while store.tidy():
        pass
    asked = {"x": "t", "columns": ["y"], "stat": "range"}
    found = store.band(["a", "b"], "k", **asked, buckets=10, log=True)
    assert found.table["x"].to_pylist()[0] == found.start == 1.0 and found.table["x"].to_pylist()[-1] == 199.0
    assert not found.complete and found.first_x == -3.0
    places = Axis("x", None, None, 10, True).places(np.array(x), 1.0, x[-1])
    middles = {one: (math.sin(one) + math.cos(one)) / 2 for one in x}
    for place in range(1, 11):
        inside = [middles[one] for one, at in zip(x, places, strict=True) if at == place]
        told = [row["y.middle"] for row in found.table.to_pylist() if places[x.index(row["x"])] == place]
        assert not inside or (min(told), max(told)) == pytest.approx((min(inside), max(inside)))


def test_runs_without_the_key_the_column_or_numbers_are_left_out(store):
    send(store, "a", [0, 1], y=[1.0, 2.0])
    send(store, "b", [0, 1], y=["text", "more"])
    send(store, "c", [0, 1], other=[1.0, 2.0])
    store.append([Batch("d", "app", "p", 0, [Start("{}", 1.0)])])
    ids = ["a", "b", "c", "d", "none such"]
    found = store.band(ids, "k", x="step", columns=["y"], stat="std", buckets=100)
    assert found.table["y.middle"].to_pylist() == [1.0, 2.0] and found.table["y.runs"].to_pylist() == [1, 1]
    assert store.band(ids, "no key", x="step", columns=["y"], stat="std", buckets=9).table.num_rows == 0
    assert store.band([], "k", x="step", columns=["y"], stat="std", buckets=9).runs == 0
    with pytest.raises(UnknownRun):
        store.band(["none such"], "k", x="step", columns=["y"], stat="std", buckets=9)


def test_a_close_look_reads_the_rows_in_its_range_once_and_few_others(tmp_path):
    store = SqliteStore(tmp_path, sizes=Sizes(seal_rows=64, body_rows=256, block=4))
    for run in "ab":
        send(store, run, range(4096), y=[float(i) for i in range(4096)])
    while store.tidy():
        pass
    read = []
    from streamvis.store.chunks import rows

    chunks = rows.read_chunks_of

    def noting(db, key, numbers):
        numbers = list(numbers)
        read.extend(numbers)
        return chunks(db, key, numbers)

    with mock.patch.object(rows, "read_chunks_of", noting):
        asked = {"x": "step", "columns": ["y"], "stat": "std", "buckets": 100}
        found = store.band(["a", "b"], "k", **asked, start=1000, stop=1127)
        close, read[:] = list(read), []
        store.band(["a", "b"], "k", **asked)
    store.close()
    assert found.table.num_rows <= 128 and found.table["x"].to_pylist()[0] == 1000.0
    # 128 rows of each run lie in three chunks of 64, and blocks of summaries reach a few chunks further; all are 64 each.
    assert len(close) == len(set(close)) <= 2 * 8
    assert len(read) == len(set(read)) == 2 * 64
