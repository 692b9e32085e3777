"""Histories of keys whose x does not rise: exact, and what is held at a time does not grow with the key."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamvis.records import Batch, HistoryQuery, Start
from streamvis.store import SqliteStore
from streamvis.store.chunks.tables import numbers_of
from streamvis.store.views import downsampling, levels
from streamvis.store.views.summaries import Sizes
from streamvis.wire.arrow import encode_rows

SIZES = Sizes(seal_rows=16, merge_at=3, body_rows=32, fanout=2, block=2)


def filled(folder, x, y, *, tidied=10**6):
    store = SqliteStore(folder, sizes=SIZES)
    store.append([Batch("run", "app", "p", 0, [Start("{}", 0.0)])])
    for number, first in enumerate(range(0, len(x), 500), 1):
        part = slice(first, first + 500)
        steps = np.arange(len(x))[part]
        store.append([Batch("run", "app", "p", number, [encode_rows("k", steps, steps / 2, {"x": x[part], "y": y[part]})])])
    for _ in range(tidied):
        if not store.tidy():
            break
    return store


def falling(kind, count, random):
    """An x that does not rise: at random, again and again from the start, or but for one row."""
    if kind == "random":
        return random.normal(size=count)
    if kind == "epochs":
        return np.arange(count) % 37 - 5.0
    x = np.arange(count, dtype=float)
    x[count // 2] = -3.0
    return x


@settings(max_examples=25)
@given(
    st.sampled_from(["random", "epochs", "one row"]),
    st.integers(2, 500),
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, 6, 40]),
    st.sampled_from([(None, None), (0.2, 0.4), (0.0, 0.9), (0.49, 0.5)]),
    st.booleans(),
    st.sampled_from([0, 25, 10**6]),
)
def test_no_extreme_and_no_gap_is_lost_however_little_is_held_at_a_time(kind, count, seed, buckets, view, log, tidied):
    random = np.random.default_rng(seed)
    x, y = falling(kind, count, random), random.normal(size=count)
    y[random.random(count) < 0.01] = math.nan
    low, high = np.quantile(x, [0 if view[0] is None else view[0], 1 if view[1] is None else view[1]])
    start, stop = (None, None) if view[0] is None else (float(low), float(high))
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(levels, "_ROWS_AT_ONCE", 64)
        patch.setattr(downsampling, "_LEAST_ROWS", 16)
        store = filled(Path(folder), x, y, tidied=tidied)
        history = store.history("run", "k", HistoryQuery(x="x", columns=["y"], start=start, stop=stop, buckets=buckets, log=log))
        store.close()
    rows = numbers_of(history.table, "row")
    inside = np.flatnonzero((x >= low) & (x <= high) & ((x > 0) | (not log)))
    if log and len(inside) and (view[0] is None or low <= 0):
        assert history.start == x[inside].min()
    assert history.rising == bool((np.diff(x) >= 0).all())
    if history.rising:
        return
    assert (np.diff(rows) > 0).all() and set(rows) <= set(inside)
    assert not history.complete or set(rows) == set(inside)
    np.testing.assert_array_equal(numbers_of(history.table, ".y"), y[rows])
    if not len(inside):
        return
    assert rows[0] == inside[0] and rows[-1] == inside[-1]
    assert np.nanmin(y[inside], initial=9) == np.nanmin(y[rows], initial=9)
    assert np.nanmax(y[inside], initial=-9) == np.nanmax(y[rows], initial=-9)
    assert np.isnan(y[inside]).any() == np.isnan(y[rows]).any()
    assert len(rows) <= 5 * buckets + 2


@pytest.mark.parametrize("kind", ["random", "epochs"])
def test_what_is_held_at_a_time_does_not_grow_with_the_key(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(levels, "_ROWS_AT_ONCE", 256)
    monkeypatch.setattr(downsampling, "_LEAST_ROWS", 256)
    held, load, add = [0], levels.Loader.load, downsampling.Choice.add

    def counted_load(self, level, ranges):
        loaded = load(self, level, ranges)
        held.append(sum(len(part.row) for part in loaded))
        return loaded

    def counted_add(self, part, places):
        add(self, part, places)
        held.append(self._count)

    most = {}
    for count in (1_500, 4_500):
        (tmp_path / str(count)).mkdir()
        random = np.random.default_rng(0)
        store = filled(tmp_path / str(count), falling(kind, count, random), random.normal(size=count))
        with monkeypatch.context() as patch:
            patch.setattr(levels.Loader, "load", counted_load)
            patch.setattr(downsampling.Choice, "add", counted_add)
            for start, stop, log in ((None, None, False), (-0.2, 0.5, False), (0.1, 0.7, True), (None, None, True)):
                store.history("run", "k", HistoryQuery(x="x", columns=["y"], start=start, stop=stop, buckets=50, log=log))
        store.close()
        most[count] = max(held)
        held.clear()
    assert most[4_500] < 1.5 * most[1_500] < 3_000, most


def test_no_more_than_some_histories_are_read_at_a_time(tmp_path):
    store = filled(tmp_path, np.arange(3.0), np.arange(3.0))
    for _ in range(20):
        store.history("run", "k", HistoryQuery(x="x", buckets=2))
        with pytest.raises(ValueError):
            store.history("run", "k", HistoryQuery(x="nothing", buckets=2))
    taken = [store._histories.acquire(blocking=False) for _ in range(6)]
    assert taken == [True] * 4 + [False] * 2
    store.close()
