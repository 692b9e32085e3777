"""History at the resolution of a screen, against the slowest and most obvious way to find it, over all rows."""

from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from streamvis.errors import InvalidData
from streamvis.records import Batch, HistoryQuery, Start
from streamvis.store import SqliteStore
from streamvis.store.chunks.packed_rows import unpack
from streamvis.store.chunks.rows import KeyLevels
from streamvis.store.chunks.tables import numbers_of
from streamvis.store.views.history import Axis, select, select_each
from streamvis.store.views.summaries import Sizes
from streamvis.wire.arrow import encode_rows

# So small that a few hundred rows have summaries on four levels, and some rows have none yet.
SIZES = Sizes(seal_rows=16, merge_at=3, body_rows=32, fanout=2, block=2)

NUMBERS = st.one_of(st.integers(-20, 20), st.floats(-20, 20, width=16), st.just(math.nan))


@st.composite
def histories(draw):
    """Batches of rows: x, and two columns of which each batch has both or one."""
    count = draw(st.integers(0, 400))
    seed = draw(st.integers(0, 2**32 - 1))
    kind = draw(st.sampled_from(["noise", "smooth", "spikes"]))
    random = np.random.default_rng(seed)
    x = np.cumsum(random.integers(0, 4, count)) - draw(st.sampled_from([0, 30]))
    if draw(st.booleans()):
        x = x / 8
    a = {"noise": random.normal(size=count), "smooth": np.arange(count) * 0.5, "spikes": np.zeros(count)}[kind]
    if kind == "spikes" and count:
        a[random.integers(0, count, 3)] = [99.0, -99.0, 5.0]
    a[random.random(count) < draw(st.sampled_from([0, 0.05]))] = math.nan
    b = random.integers(-9, 9, count)
    batches, at = [], 0
    while at < count:
        size = int(random.integers(1, 40))
        part = slice(at, at + size)
        columns = {"x": x[part], "a": a[part], "b": b[part]}
        if random.random() < 0.2:
            del columns["b"]
        batches.append((np.arange(at, min(count, at + size)), columns))
        at += size
    return batches


def oracle(batches, start, stop, buckets, log):
    """Of each bucket, and each column, the lowest and the highest value, and whether there is a gap."""
    found = {}
    for _, columns in batches:
        for i, x in enumerate(columns["x"].tolist()):
            if not start <= x <= stop or (log and x <= 0):
                continue
            low, high, at = (math.log10(v) for v in (start, stop, x)) if log else (start, stop, x)
            width = (high - low) / buckets
            place = min(buckets - 1, int((at - low) / width)) if width > 0 else 0
            for name in "ab":
                value = float(columns[name][i]) if name in columns else math.nan
                lowest, highest, gap = found.get((place, name), (math.inf, -math.inf, False))
                if math.isnan(value):
                    found[place, name] = (lowest, highest, True)
                else:
                    found[place, name] = (min(lowest, value), max(highest, value), gap)
    return found


@given(
    histories(),
    st.integers(1, 30),
    st.tuples(st.floats(-0.2, 1.2), st.floats(-0.2, 1.2)) | st.none(),
    st.booleans(),
    st.integers(0, 60),
)
def test_every_bucket_has_its_lowest_and_highest_rows_and_its_gaps(batches, buckets, view, log, tidied):
    with tempfile.TemporaryDirectory() as folder:
        store = filled(Path(folder), batches, tidied)
        if not batches:
            return
        whole = [x for _, columns in batches for x in columns["x"].tolist()]
        start = stop = None
        if view:
            start, stop = sorted(whole[0] + share * (whole[-1] - whole[0]) for share in view)
            if log and start <= 0:
                start = None
        history = store.history("run", "k", HistoryQuery(x="x", start=start, stop=stop, buckets=buckets, log=log))
        assert (history.first_x, history.last_x, history.count, history.rising) == (whole[0], whole[-1], len(whole), True)
        check(history, batches, buckets, log)
        store.close()


def filled(folder, batches, tidied):
    store = SqliteStore(folder, sizes=SIZES)
    store.append([Batch("run", "app", "p", 0, [Start("{}", 0.0)])])
    for number, (steps, columns) in enumerate(batches, 1):
        store.append([Batch("run", "app", "p", number, [encode_rows("k", steps, steps / 2, columns)])])
    for _ in range(tidied):
        store.tidy()
    return store


def check(history, batches, buckets, log):
    rows = numbers_of(history.table, "row")
    assert (np.diff(rows) > 0).all()
    sent = {}
    for name in "xab":
        sent[name] = np.concatenate([columns.get(name, np.full(len(steps), math.nan)) for steps, columns in batches])
    for name in "xab":
        np.testing.assert_array_equal(numbers_of(history.table, f".{name}").astype(float), sent[name][rows].astype(float))
    if history.start is None or history.start > history.stop:
        return
    kept = {}
    for row in rows.tolist():
        one = ([row], {name: sent[name][row : row + 1] for name in "xab"})
        kept_here = oracle([one], history.start, history.stop, buckets, log)
        for at, (lowest, highest, gap) in kept_here.items():
            before = kept.get(at, (math.inf, -math.inf, False))
            kept[at] = (min(before[0], lowest), max(before[1], highest), before[2] or gap)
    assert kept == oracle(batches, history.start, history.stop, buckets, log)
    x = sent["x"]
    inside = np.flatnonzero((x >= history.start) & (x <= history.stop))
    assert history.complete == (set(inside) <= set(rows))
    if not history.complete:
        assert len(rows) <= 6 * buckets + 4
    if len(inside):
        assert inside[0] == 0 or log or inside[0] - 1 in rows
        assert inside[-1] == len(x) - 1 or inside[-1] + 1 in rows


@st.composite
def odd_histories(draw):
    """Batches of rows: x that falls, starts over, or is not finite, and two columns that are sent now and then, with gaps."""
    count = draw(st.integers(1, 200))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    odd = np.array([math.nan, math.inf, -math.inf, 1e308, -1e308])
    moves = draw(st.sampled_from([[1], [0, 1], [1, 1, 1, -2], [-1], [1, 1, 1e6, -1e6]]))
    x = np.cumsum(random.choice(moves, count)).astype(float)
    odd_share = draw(st.sampled_from([0, 0.05]))
    x = np.where(random.random(count) < odd_share, random.choice(odd, count), x)
    columns = {name: random.integers(-9, 9, count).astype(float) for name in "ab"}
    for name in columns:
        columns[name][random.random(count) < odd_share] = random.choice(odd)
    every = draw(st.sampled_from([1, 7, 40]))
    batches, at = [], 0
    while at < count:
        part = slice(at, min(count, at + int(random.integers(1, 20))))
        names = [name for name, step in (("a", every), ("b", 2)) if random.integers(step) == 0]
        cells = {name: [None if random.random() < 0.2 else cell for cell in columns[name][part].tolist()] for name in names}
        batches.append((np.arange(part.start, part.stop), {"x": x[part], **cells}))
        at = part.stop
    return batches


@settings(phases=[Phase.explicit, Phase.generate])
@given(
    odd_histories(),
    st.sampled_from([["a"], ["b"], ["a", "b"]]),
    st.integers(1, 20),
    st.integers(0, 60),
    st.booleans(),
    st.sampled_from([None, 5.0, 1e7]),
)
def test_whatever_x_and_y_are_the_extremes_of_the_rows_that_have_something_come(batches, columns, buckets, tidied, log, window):
    with tempfile.TemporaryDirectory() as folder:
        store = filled(Path(folder), batches, tidied)
        known = [name for name in columns if name in store.keys("run")["k"].columns]
        if known != columns:
            store.close()
            return
        asked = {"x": "x", "columns": columns, "buckets": buckets, "log": log, "window": window, "having": columns}
        history = store.history("run", "k", HistoryQuery(**asked))
        rows = numbers_of(history.table, "row").tolist()
        sent = {name: [cell for steps, its in batches for cell in its.get(name, [None] * len(steps))] for name in "xab"}
        there = [row for row in range(len(sent["x"])) if any(sent[name][row] is not None for name in columns)]
        assert set(rows) <= set(there) and sorted(rows) == rows
        for at in (history.first_x, history.last_x, history.start, history.stop):
            assert at is None or math.isfinite(at)
        inside = [row for row in there if math.isfinite(sent["x"][row]) and (not log or sent["x"][row] > 0)]
        if window is not None:
            inside = [row for row in inside if row >= first_of_newest(there, sent["x"], window, history.rising)]
        for name in columns:
            cells = [sent[name][row] for row in inside if sent[name][row] is not None]
            kept = [sent[name][row] for row in rows if row in set(inside) and sent[name][row] is not None]
            for chosen in (lambda c: True, math.isfinite):
                numbers, found = [[c for c in its if not math.isnan(c) and chosen(c)] for its in (cells, kept)]
                assert (min(numbers, default=0), max(numbers, default=0)) == (min(found, default=0), max(found, default=0)), name
            assert any(map(math.isnan, cells)) == any(map(math.isnan, kept)), "gaps that were sent"
        store.close()


@settings(phases=[Phase.explicit, Phase.generate])
@given(histories() | odd_histories(), st.integers(1, 20), st.integers(0, 60), st.booleans(), st.sampled_from([None, 5.0, 1e7]))
def test_histories_read_together_have_the_extremes_of_each_one_alone(batches, buckets, tidied, log, window):
    with tempfile.TemporaryDirectory() as folder:
        store = filled(Path(folder), batches, tidied)
        names = [name for name in "ab" if batches and name in store.keys("run")["k"].columns]
        if names:
            asked = {"x": "x", "buckets": buckets, "log": log, "window": window}
            together = store.histories("run", "k", HistoryQuery(columns=names, **asked))
            alone = [store.history("run", "k", HistoryQuery(columns=[name], having=[name], **asked)) for name in names]
            for name, one, other in zip(names, together, alone, strict=True):
                assert replace(one, table=None) == replace(other, table=None)
                # Of rows with the same value, either may be the one that is given.
                values = [numbers_of(its.table, f".{name}").astype(float) for its in (one, other)]
                for extreme in (np.min, np.max):
                    assert [extreme(its[~np.isnan(its)], initial=0) for its in values] == pytest.approx(
                        [extreme(values[1][~np.isnan(values[1])], initial=0)] * 2
                    )
                assert len(values[0]) <= len(values[1]) + 2 and np.isnan(values[0]).any() == np.isnan(values[1]).any()
                assert set(one.table.column_names) == set(other.table.column_names)
        store.close()


def test_histories_of_columns_that_all_rows_have_read_their_rows_once(tmp_path):
    count, random = 2000, np.random.default_rng(3)
    columns = {name: random.normal(size=count) for name in "abcd"}
    store = filled(tmp_path, [(np.arange(count), columns)], 60)
    loaded = {}
    with store._reading() as db:
        key = store._key(db, "run", "k", "rows")[0]
        for what in ("abcd", *"abcd"):
            levels = Counting(db, key, SIZES, note=None)
            assert select_each(levels, Axis("step", None, None, 16), [f".{name}" for name in what]) is not None
            loaded[what] = levels.loaded
    assert loaded["abcd"] < 0.75 * sum(loaded[name] for name in "abcd")
    store.close()


def first_of_newest(there, x, window, rising):
    """The first of the rows stored last that span no more than the window, found the slow way."""
    low, high = math.inf, -math.inf
    first = 0
    for row in reversed(there):
        if math.isfinite(x[row]):
            low, high = min(low, x[row]), max(high, x[row])
            if high - low > window:
                break
        first = row
    return first


def test_a_few_rows_all_come(tmp_path):
    store = filled(tmp_path, [(np.arange(9), {"x": np.arange(9), "a": np.arange(9.0)})], 0)
    history = store.history("run", "k", HistoryQuery(x="x", buckets=5))
    assert history.complete and history.table.num_rows == 9
    store.close()


def test_rows_whose_x_does_not_rise_come_in_log_order_with_their_extremes(tmp_path):
    x = np.tile(np.arange(100.0), 4)
    a = np.zeros(400)
    a[[57, 311]] = [7, -7]
    store = filled(tmp_path, [(np.arange(400), {"x": x, "a": a})], 60)
    history = store.history("run", "k", HistoryQuery(x="x", buckets=10))
    assert not history.rising and not history.complete
    rows = numbers_of(history.table, "row")
    assert (np.diff(rows) > 0).all() and {57, 311} <= set(rows.tolist()) and len(rows) < 60
    part = store.history("run", "k", HistoryQuery(x="x", start=10, stop=12, buckets=100))
    assert numbers_of(part.table, ".x").tolist() == [10, 11, 12] * 4
    store.close()


@pytest.mark.parametrize("x, columns", [("nothing", None), ("text", None), ("x", ["nothing"]), ("x", ["pictures"])])
def test_what_cannot_be_drawn_is_refused_with_what_can(tmp_path, x, columns):
    rows = {"x": np.arange(3), "text": ["a", "b", "c"], "pictures": np.zeros((3, 2, 2))}
    store = filled(tmp_path, [(np.arange(3), rows)], 0)
    with pytest.raises(InvalidData, match="x"):
        store.history("run", "k", HistoryQuery(x=x, columns=columns, buckets=10))
    texts = store.history("run", "k", HistoryQuery(x="step", columns=["text"], buckets=10))
    assert texts.table.column(".text").to_pylist() == ["a", "b", "c"]
    store.close()


class Counting(KeyLevels):
    """Counts what a view loads."""

    loaded = 0

    def rows(self, first, last, names):
        return self._counted(super().rows(first, last, names))

    def rows_each(self, ranges, names):
        return map(self._counted, super().rows_each(ranges, names))

    def _counted(self, tables):
        for table in tables:
            self.loaded += table.num_rows
            yield table

    def summaries(self, level, firsts):
        for body in super().summaries(level, firsts):
            self.loaded += unpack(body)[1].num_rows
            yield body


def test_what_a_view_loads_does_not_grow_with_the_run(tmp_path):
    loaded, tail_bytes, kept = {}, {}, {}
    random = np.random.default_rng(1)
    store = filled(tmp_path, [], 0)
    count = 0
    for number, target in enumerate((500, 2_000, 8_000), 1):
        row = np.arange(count, target)
        rows = encode_rows("k", row, row / 2, {"x": row, "a": random.normal(size=len(row))})
        store.append([Batch("run", "app", "p", 2 * number, [rows])])
        count = target
        while store.tidy():
            pass
        for name, view in (("all", (None, None)), ("a part", (count / 4, count / 2)), ("the end", (count - 100, count - 1))):
            with store._reading() as db:
                levels = Counting(db, db.execute("SELECT no FROM keys").fetchone()[0], SIZES, note=print)
                select(levels, Axis(".x", *view, 20), [".a"], [".a"])
                loaded.setdefault(name, []).append(levels.loaded)
        cursor = store.run("run").cursor
        step = encode_rows("k", [count], [0.0], {"x": [count], "a": [0.0]})
        store.append([Batch("run", "app", "p", 2 * number + 1, [step])])
        tail_bytes[target] = sum(map(len, store.tail("run", cursor).bodies))
        count += 1
        kept[target] = store.history("run", "k", HistoryQuery(x="x", buckets=20)).table.num_rows
    store.close()
    # From 500 rows to 8,000 there are four levels more, each of which adds a little; reading all rows would add 7,500.
    for name, counts in loaded.items():
        assert counts[-1] < counts[0] + 3_000, (name, counts)
    assert max(tail_bytes.values()) - min(tail_bytes.values()) < 64 and max(kept.values()) <= 2 * 20 + 4
