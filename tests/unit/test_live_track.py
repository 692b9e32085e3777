"""A live source: what is joined to it row by row shows what a source that is filled now shows, whatever x and y are."""

from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from streamvis.endpoint.responses import history_answer
from streamvis.page.feeds.reader import HistoryAnswer, Piece
from streamvis.page.live.sources import LiveSpec
from streamvis.page.live.track import LiveTrack
from streamvis.records import Batch, HistoryQuery, Start
from streamvis.store import SqliteStore
from streamvis.store.views.summaries import Sizes
from streamvis.wire.arrow import decode_history, decode_tail_body, encode_rows

SIZES = Sizes(seal_rows=16, merge_at=3, body_rows=32, fanout=2, block=2)
ODD = [math.nan, math.inf, -math.inf, 1e308, -1e308, 0.0]


class Log:
    """A run in a store, read without an endpoint."""

    def __init__(self, folder):
        self.store = SqliteStore(Path(folder), sizes=SIZES)
        self.store.append([Batch("run", "app", "p", 0, [Start("{}", 0.0)])])
        self.number, self.count, self.cursor = 0, 0, None

    def send(self, columns, *, times=None):
        count = len(next(iter(columns.values())))
        self.number += 1
        rows = encode_rows("k", range(self.count, self.count + count), [0.0] * count if times is None else times, columns)
        self.store.append([Batch("run", "app", "p", self.number, [rows])])
        self.count += count

    def piece(self):
        """What has come since the last piece."""
        tail = self.store.tail("run", self.cursor, max_bytes=10**9)
        self.cursor = tail.cursor
        items = decode_tail_body(b"".join(tail.bodies))
        dtypes = {key: info.columns for key, info in tail.keys.items()}
        first_rows = {key: info.first_row for key, info in tail.keys.items()}
        return Piece(str(tail.cursor), False, False, "run", "running", dtypes, items, 0, first_rows)

    def history(self, run, key, query):
        found = self.store.history(run, key, query)
        meta, numbers, rows = decode_history(history_answer(key, query.x, found, as_arrow=True))
        about = (meta[name] for name in ("rising", "complete", "count", "first_x", "last_x", "from"))
        return HistoryAnswer(*about, numbers, rows, meta["means"])


def filled(log, spec, view=None, *, is_log=False, origin=0.0):
    """A source as a page that opens now has it."""
    track = LiveTrack(spec, log=is_log, origin=origin)
    track.is_stale = False
    track.take(*track.fetch(log, "run"))
    if view is not None:
        track.look(view)
        track.take(*track.fetch(log, "run"))
    return track


class Source:
    """What a browser holds, by the changes that it was sent."""

    def __init__(self, track):
        self.track = track
        self.columns = dict(track._table.columns)

    def apply(self, change):
        if change is not None and change.is_new:
            self.columns = dict(change.data)
        elif change is not None:
            self.columns = {name: np.concatenate([cells, change.data[name]]) for name, cells in self.columns.items()}


def shown(columns, window):
    """What a figure that follows shows: the rows with an x in the window before its highest."""
    x, y = (np.asarray(columns[name], dtype=float) for name in "xy")
    has_x = np.isfinite(x)
    if not has_x.any():
        return set()
    inside = has_x & (x >= x[has_x].max() - window)
    return {(a, b) for a, b in zip(x[inside].tolist(), y[inside].tolist(), strict=True) if not math.isnan(b)}


def newest(rows, window):
    """The rows stored last that span no more than the window, found the slow way; all that have a y."""
    low, high, kept = math.inf, -math.inf, []
    for x, y in reversed(rows):
        if math.isfinite(x) and y is not None:
            low, high = min(low, x), max(high, x)
            if high - low > window:
                break
            kept.append((x, y))
    return {(x, y) for x, y in kept if not math.isnan(y)}


@st.composite
def runs(draw):
    """Batches of rows: x as it was sent, and y, which is missing in some of them."""
    batches, x = [], 0.0
    for _ in range(draw(st.integers(1, 12))):
        batch = []
        for _ in range(draw(st.integers(1, 12))):
            move = draw(st.sampled_from(["up", "up", "up", "stay", "down", "again", "far", "odd"]))
            x = {"up": x + 1, "stay": x, "down": x - 2, "again": 0.0, "far": x + 10**6}.get(move, x)
            y = draw(st.one_of(st.integers(-9, 9).map(float), st.sampled_from(ODD)))
            is_sent = draw(st.integers(0, 3)) > 0
            batch.append((draw(st.sampled_from(ODD)) if move == "odd" else x, y if is_sent else None))
            if move == "far":
                x -= 10**6
        batches.append(batch)
    return batches


@settings(phases=[Phase.explicit, Phase.generate])
@given(runs(), st.sampled_from([3.0, 20.0, 1e9]), st.integers(0, 8))
@example([[(float(x), 1.0) for x in range(100)], [(float(x), 2.0) for x in range(50)]], 20.0, 8)
@example([[(float(x), 1.0) for x in range(50)] + [(1e6, 1.0)], [(float(x), 1.0) for x in range(50, 60)]], 20.0, 0)
@example([[(float(-x), float(x)) for x in range(100)], [(-100.0, 1.0)]], 20.0, 3)
@example([[(0.0, 1.0), (1.0, 2.0)], [(math.inf, 3.0)], [(2.0, 4.0)]], 20.0, 0)
@example([[(-1e308, None), (1.0, 0.0), (2.0, 1.0)], [(4.0, 0.0), (5.0, 0.0), (6.0, 0.0), (7.0, 1.0)]], 3.0, 3)
@example([[(-1e9, None), (0.0, 0.0), (0.5, 1.0)], [(0.5 + x / 8, 0.0) for x in range(20)]], 2.0, 0)
def test_an_open_source_a_fresh_one_and_what_was_sent_agree_on_the_newest_rows(batches, window, tidied):
    with tempfile.TemporaryDirectory() as folder:
        log = Log(folder)
        spec = LiveSpec("k", "x", ["y"], 400, window)
        source, sent = None, []
        for batch in batches:
            log.send({"x": [x for x, _ in batch], "y": [y for _, y in batch]})
            sent += batch
            for _ in range(tidied):
                log.store.tidy()
            if source is None:
                log.piece()
                source = Source(filled(log, spec))
                continue
            source.apply(source.track.add([log.piece()]))
            if source.track.is_stale:
                source.track.is_stale, source.track.is_fetching = False, True
                source.apply(source.track.take(*source.track.fetch(log, "run")))
        fresh = filled(log, spec)
        has_y = [(x, math.nan if y is None else y) for x, y in sent if y is not None]
        expected = newest(sent, window)
        rising = all(math.isfinite(x) for x, _ in sent) and all(a[0] <= b[0] for a, b in zip(sent, sent[1:], strict=False))
        if not rising or window < 1e9:
            assert shown(fresh._table.columns, window) == in_view(expected, window), "a fresh one"
            assert shown(source.columns, window) == in_view(expected, window), "an open one"
        assert len(fresh._table.numbers) <= len(has_y)
        log.store.close()


def in_view(rows, window):
    """Those within the window before the highest x of all rows that have a y."""
    high = max((x for x, _ in rows), default=0)
    return {(x, y) for x, y in rows if x >= high - window}


@pytest.mark.parametrize("x", [math.inf, -math.inf, math.nan, 1.7e308, -1.7e308, 5e-324])
@pytest.mark.parametrize("is_log", [False, True])
def test_an_x_that_no_axis_can_show_stops_nothing(tmp_path, x, is_log):
    log = Log(tmp_path)
    log.send({"x": [1.0, 2.0, x, 3.0], "y": [1.0, 2.0, 3.0, math.inf]})
    log.piece()
    spec = LiveSpec("k", "x", ["y"], 400, None)
    for view in (None, (0.5, 2.5), (-1e308, 1.7e308), (-3.0, -1.0), (1e-320, 1e300)):
        track = filled(log, spec, view, is_log=is_log)
        x_now = track._table.columns["x"].tolist()
        assert {1.0, 2.0} <= set(x_now) or view == (-3.0, -1.0)
        assert track.add([replace(log.piece())]) is None
    log.send({"x": [4.0], "y": [4.0]})
    change = filled(log, spec, is_log=is_log).add([log.piece()])
    assert change is None or 4.0 in change.data["x"].tolist()
    log.store.close()


@pytest.mark.parametrize("tidied", [0, 60])
def test_a_column_that_came_late_is_drawn_as_finely_as_one_that_was_there_from_the_start(tmp_path, tidied):
    log = Log(tmp_path)
    for first in range(0, 6000, 500):
        log.send({"x": np.arange(first, first + 500.0), "loss": np.ones(500)})
    for first in range(6000, 6300, 100):
        log.send({"x": np.arange(first, first + 100.0), "late": np.arange(100.0) % 7})
    log.send({"x": np.arange(6300, 9000.0), "loss": np.ones(2700)})
    for _ in range(tidied):
        log.store.tidy()
    found = log.history("run", "k", HistoryQuery(x="x", columns=["late"], buckets=100, having=["late"]))
    assert (found.first_x, found.last_x) == (6000.0, 6299.0)
    assert filled(log, LiveSpec("k", "x", ["late"], 400, None))._table.columns["x"].tolist() == [*range(6000, 6300)]
    log.store.close()


def test_where_summaries_do_not_tell_which_rows_have_a_text_all_of_the_key_is_looked_at(tmp_path):
    log = Log(tmp_path)
    for first in range(0, 4000, 500):
        cells = {"note": [None] * 300 + ["here"] + [None] * 199} if first == 1000 else {}
        log.send({"x": np.arange(first, first + 500.0), "loss": np.ones(500), **cells})
    for _ in range(60):
        log.store.tidy()
    found = log.history("run", "k", HistoryQuery(x="x", columns=["note"], buckets=16, having=["note"]))
    assert (found.first_x, found.last_x) == (0.0, 3999.0)
    log.store.close()


def test_sparse_columns_have_no_gaps_but_those_that_were_sent(tmp_path):
    log = Log(tmp_path)
    values = {}
    for step in range(400):
        log.send({"x": [step], "loss": [step / 2]})
        if step % 40 == 7:
            values[step] = math.nan if step == 127 else float(step)
            log.send({"x": [step], "eval": [values[step]]})
        for _ in range(2):
            log.store.tidy()
    while log.store.tidy():
        pass
    spec = LiveSpec("k", "x", ["eval"], 400, None)
    track = filled(log, spec)
    np.testing.assert_array_equal(track._table.columns["x"], list(values))
    np.testing.assert_array_equal(track._table.columns["eval"], list(values.values()))
    near = filled(log, spec, (170.0, 180.0))
    assert {167.0, 207.0} <= set(near._table.columns["x"].tolist()), "the lines through a view between two values"
    log.piece()
    source = Source(track)
    for step in range(400, 420):
        log.send({"x": [step], "loss": [0.0]})
        source.apply(track.add([log.piece()]))
    log.send({"x": [420, 421], "eval": [5.0, math.nan]})
    source.apply(track.add([log.piece()]))
    assert source.columns["x"].tolist() == [*map(float, values), 420.0, 421.0] and not track.is_stale
    both = filled(log, LiveSpec("k", "x", ["loss", "eval"], 4000, None))
    assert len(both._table.numbers) == log.count
    log.store.close()


def slow_means(values, weight):
    """The debiased exponential mean, one value after the other."""
    mean, count, found = 0.0, 0, []
    for value in values.tolist():
        if math.isfinite(value):
            mean, count = weight * mean + (1 - weight) * value, count + 1
        found.append(mean / (1 - weight**count) if math.isfinite(value) else math.nan)
    return np.array(found)


@pytest.mark.parametrize("seed", range(4))
def test_smoothed_rows_that_come_live_go_on_from_all_rows_before(tmp_path, seed):
    random, log = np.random.default_rng(seed), Log(tmp_path)
    values = np.cumsum(random.normal(size=3000))
    values[random.random(3000) < 0.05] = math.nan
    log.send({"x": np.arange(1000.0), "y": values[:1000]})
    log.piece()
    live = filled(log, LiveSpec("k", "x", ["y"], 400, None, smooth=0.95))
    at = 1000
    while at < 3000:
        size = int(random.integers(1, 60))
        log.send({"x": np.arange(at, min(3000, at + size)) * 1.0, "y": values[at : at + size]})
        live.add([log.piece()])
        at += size
    assert not live.is_stale
    for track in (live, filled(log, live.spec)):
        shown = track._table
        np.testing.assert_allclose(shown.columns["y (smoothed)"], slow_means(values, 0.95)[shown.numbers], rtol=1e-9, atol=1e-9)
    assert len(live._table.numbers) < 2_000


def test_a_closer_look_at_smoothed_rows_shows_the_mean_over_all_rows(tmp_path):
    log, values = Log(tmp_path), np.random.default_rng(5).normal(size=5000)
    log.send({"x": np.arange(5000.0), "y": values})
    track = filled(log, LiveSpec("k", "x", ["y"], 400, None, smooth=0.9), view=(3000.0, 3050.0))
    shown = track._table
    assert {*range(3000, 3051)} <= {*shown.numbers.tolist()}
    np.testing.assert_allclose(shown.columns["y (smoothed)"], slow_means(values, 0.9)[shown.numbers], rtol=1e-9)


def test_x_can_be_the_time_since_the_run_started(tmp_path):
    log, spec = Log(tmp_path), LiveSpec("k", "elapsed", ["y"], 400, None)
    times = 1_000_000.0 + np.arange(3000) / 4
    log.send({"y": np.arange(3000.0)}, times=times)
    log.piece()
    live = filled(log, spec, origin=1_000_000.0)
    assert live._table.columns["elapsed"][[0, -1]].tolist() == [0.0, 749.75]
    log.send({"y": [3000.0]}, times=[1_000_800.0])
    change = live.add([log.piece()])
    assert not change.is_new and change.data["elapsed"].tolist() == [800.0]
    near = filled(log, spec, view=(100.0, 110.0), origin=1_000_000.0)
    assert {*range(400, 441)} <= {*near._table.numbers.tolist()}


def test_a_narrow_figure_gets_fewer_rows_and_a_wide_one_more(tmp_path):
    log = Log(tmp_path)
    log.send({"x": np.arange(20_000.0), "y": np.random.default_rng(0).normal(size=20_000)})
    counts = {}
    for width_px in (200, 1000):
        track = LiveTrack(LiveSpec("k", "x", ["y"], 8000, None), log=False)
        track.look(None, width_px=width_px)
        track.take(*track.fetch(log, "run"))
        counts[width_px] = len(track._table.numbers)
        assert width_px <= counts[width_px] <= 4 * width_px + 2
    track.look(None, width_px=1400)
    assert track.is_stale


class Busy(Log):
    """A run to which rows come between any two questions."""

    def __init__(self, folder, *, rows):
        super().__init__(folder)
        self.rows, self.pieces = rows, []

    def history(self, run, key, query):
        self.grow()
        return super().history(run, key, query)

    def grow(self):
        at = np.arange(self.count, self.count + self.rows, dtype=float)
        self.send({"x": at, "y": np.sin(at)})
        self.pieces.append(self.piece())


@pytest.mark.parametrize("rows", [1, 7, 400])
@pytest.mark.parametrize("smooth", [0.0, 0.9])
def test_rows_that_come_between_two_questions_are_not_lost(tmp_path, rows, smooth):
    log = Busy(tmp_path, rows=rows)
    log.grow()
    track = LiveTrack(LiveSpec("k", "x", ["y"], 8000, None, smooth=smooth), log=False)
    for _ in range(6):
        log.pieces.clear()
        track.is_fetching = True
        answer = track.fetch(log, "run")
        # What came meanwhile reaches the source before, or after, the answer does.
        before, after = log.pieces[:1], log.pieces[1:]
        track.add(before)
        track.take(*answer)
        track.add(after)
        log.grow()
        track.add(log.pieces[-1:])
    # The last answer may have left something to ask for, as the page does.
    log.rows = 0
    log.history = lambda *asked: Log.history(log, *asked)
    if track.is_stale:
        track.is_fetching, track.is_stale = True, False
        track.take(*track.fetch(log, "run"))
    assert track._table.numbers.tolist() == list(range(log.count))
    if smooth:
        wanted = slow_means(np.sin(np.arange(log.count)), smooth)
        np.testing.assert_allclose(track._table.columns["y (smoothed)"], wanted, atol=1e-9)


@pytest.mark.parametrize(("at", "questions"), [(2999, 1), (20_000, 3)])
def test_another_step_is_asked_for_once_where_rows_lie_as_expected_and_shows_what_a_new_page_does(tmp_path, at, questions):
    y = np.sin(np.arange(5000) / 50)
    for name in ("now", "then"):
        (tmp_path / name).mkdir()
    now, then, asked = Log(tmp_path / "now"), Log(tmp_path / "then"), []
    now.send({"y": y})
    then.send({"y": y[:3000]})
    spec = LiveSpec("k", "step", ["y"], 400, None)
    track = LiveTrack(spec, log=False)
    track.follow_on(filled(now, spec), at)
    counted = SimpleNamespace(history=lambda *ask: asked.append(ask) or then.history(*ask))
    track.take(*track.fetch(counted, "run"))
    assert len(asked) == questions
    assert track.numbers.tolist() == filled(then, spec).numbers.tolist()
