"""Smoothed columns, against the slowest way to find them: one value after the other, over all rows."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamvis.records import Batch, HistoryQuery, Start
from streamvis.series.exponential_mean import DebiasedMean
from streamvis.store import SqliteStore
from streamvis.store.chunks.tables import numbers_of
from streamvis.store.views.summaries import Sizes
from streamvis.wire.arrow import encode_rows

SIZES = Sizes(seal_rows=16, merge_at=3, body_rows=32, fanout=2, block=2)
WEIGHTS = st.sampled_from([0.1, 0.6, 0.9, 0.99, 0.999])


def oracle(values, weight):
    """The debiased mean after each value; NaN where there is none."""
    mean, count, found = 0.0, 0, []
    for value in np.asarray(values, np.float64).tolist():
        if not math.isfinite(value):
            found.append(math.nan)
            continue
        mean, count = weight * mean + (1 - weight) * value, count + 1
        found.append(mean / (1 - weight**count))
    return np.array(found)


@given(
    st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(math.nan), st.just(math.inf)), max_size=400), WEIGHTS, st.integers(1, 300)
)
def test_the_mean_is_the_same_however_the_values_come(values, weight, size):
    mean, found = DebiasedMean(weight), []
    for at in range(0, len(values), size):
        found.append(mean.add(np.array(values[at : at + size])))
    np.testing.assert_allclose(np.concatenate(found) if found else [], oracle(values, weight), rtol=1e-9, atol=1e-6)


def stored(folder, values, *, x=None, sizes=SIZES, tidied=20, rows_a_batch=37):
    store = SqliteStore(folder, sizes=sizes)
    store.append([Batch("run", "app", "p", 0, [Start("{}", 0.0)])])
    x = np.arange(len(values)) if x is None else x
    for number, at in enumerate(range(0, len(values), rows_a_batch), 1):
        part = slice(at, at + rows_a_batch)
        steps = np.arange(len(values))[part]
        store.append([Batch("run", "app", "p", number, [encode_rows("k", steps, steps / 2, {"x": x[part], "y": values[part]})])])
    for _ in range(tidied):
        store.tidy()
    return store


def check(history, values, slow, *, tolerance):
    """All that is drawn is what the oracle says (`slow`), and no bucket's lowest or highest smoothed value is missing."""
    rows = numbers_of(history.table, "row")
    np.testing.assert_array_equal(numbers_of(history.table, ".y").astype(float), np.asarray(values, float)[rows])
    np.testing.assert_allclose(numbers_of(history.table, ".y (smoothed)"), slow[rows], rtol=tolerance, atol=tolerance)
    x = numbers_of(history.table, ".x").astype(float)
    if history.start is None or history.stop is None or not history.rising:
        return
    width = (history.stop - history.start) / history.buckets
    if width <= 0:
        return

    def places(x):
        inside = (x >= history.start) & (x <= history.stop)
        return np.where(inside, np.minimum((x - history.start) / width, history.buckets - 1).astype(int), -1)

    everywhere, drawn = places(np.arange(len(values), dtype=float)), places(x)
    for at in range(history.buckets):
        inside = slow[(everywhere == at) & np.isfinite(slow)]
        if len(inside):
            shown = slow[rows[drawn == at]]
            assert np.nanmin(shown) == pytest.approx(inside.min(), abs=tolerance)
            assert np.nanmax(shown) == pytest.approx(inside.max(), abs=tolerance)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 300),
    WEIGHTS,
    st.integers(1, 20),
    st.tuples(st.floats(-0.2, 1.2), st.floats(-0.2, 1.2)) | st.none(),
)
def test_every_view_shows_the_mean_over_all_rows(seed, count, weight, buckets, view):
    random = np.random.default_rng(seed)
    values = np.cumsum(random.normal(size=count))
    values[random.random(count) < 0.1] = math.nan
    start, stop = sorted(share * (count - 1) for share in view) if view else (None, None)
    with tempfile.TemporaryDirectory() as folder:
        store = stored(Path(folder), values)
        asked = HistoryQuery(x="x", columns=["y"], start=start, stop=stop, buckets=buckets, smooth=weight)
        history = store.history("run", "k", asked)
        if start is None or not start > stop:
            check(history, values, oracle(values, weight), tolerance=1e-9)
        store.close()


def test_rows_whose_x_falls_are_smoothed_in_the_order_of_the_log(tmp_path):
    values = np.random.default_rng(1).normal(size=200)
    store = stored(tmp_path, values, x=np.concatenate([np.arange(100), np.arange(100)]))
    history = store.history("run", "k", HistoryQuery(x="x", columns=["y"], buckets=10, smooth=0.9))
    assert not history.rising
    np.testing.assert_allclose(numbers_of(history.table, ".y (smoothed)"), oracle(values, 0.9)[numbers_of(history.table, "row")])


def test_the_mean_goes_on_from_the_end_of_what_was_read(tmp_path):
    values = np.random.default_rng(2).normal(size=300)
    store = stored(tmp_path, values[:200])
    history = store.history("run", "k", HistoryQuery(x="x", columns=["y"], start=150, stop=199, buckets=5, smooth=0.95))
    mean = DebiasedMean(0.95, *history.means["y"])
    np.testing.assert_allclose(mean.add(values[200:]), oracle(values, 0.95)[200:], rtol=1e-9)


def test_a_million_rows_are_smoothed_over_all_of_them_at_every_zoom(tmp_path):
    random = np.random.default_rng(3)
    values = np.sin(np.arange(1_000_000) / 1e5) + random.normal(size=1_000_000)
    values[500_000:500_100] = math.nan
    store = stored(tmp_path, values, sizes=Sizes(), tidied=0, rows_a_batch=100_000)
    while store.tidy():
        pass
    slow = oracle(values, 0.99)
    for start, stop in [(None, None), (400_000, 600_000), (499_000, 501_000), (777_000, 777_040), (999_990, 999_999)]:
        history = store.history("run", "k", HistoryQuery(x="x", columns=["y"], start=start, stop=stop, buckets=200, smooth=0.99))
        check(history, values, slow, tolerance=1e-9)
        assert len(history.table) < 5_000
