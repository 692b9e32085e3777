"""What a store says of a run as of a step is what a store says to which only records of steps up to that one were sent."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streamvis.errors import UnknownKey
from streamvis.records import Batch, HistoryQuery, Rows, Start
from streamvis.store.chunks.tables import numbers_of
from streamvis.store.views.history import Axis
from streamvis.store.views.summaries import Sizes
from streamvis.wire.arrow import decode_tail_body, encode_rows, encode_value

# So small that a few hundred rows have summaries on four levels, and some rows have none yet.
SIZES = Sizes(seal_rows=16, merge_at=3, body_rows=32, fanout=2, block=2)
KEY = "k"
FIGURES = ({"x": "step"}, {"x": "x", "smooth": 0.9}, {"x": "row"}, {"x": "step", "window": 5.0}, {"x": "step", "start": 3.0})


@st.composite
def logs(draw):
    """Batches of records ("rows", steps, columns) or ("value", step, number): steps rise, but for some that come late."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    late, step, batches = draw(st.sampled_from([0.0, 0.0, 0.1])), 0, []
    for _ in range(draw(st.integers(0, 30))):
        batch = []
        for _ in range(random.integers(1, 4)):
            step += int(random.integers(0, 4))
            at = int(random.integers(0, step + 1)) if random.random() < late else step
            if random.random() < 0.2:
                batch.append(("value", at, int(random.integers(0, 1000))))
                continue
            steps = np.sort(random.integers(at, at + 4, random.integers(1, 12)))
            y = random.normal(size=len(steps))
            y[random.random(len(steps)) < 0.05] = math.nan
            batch.append(("rows", steps, {"x": steps / 2 + random.random(), "y": y}))
            step = max(step, int(steps[-1]))
        batches.append(batch)
    return batches, step


def until(batches, at):
    """The records of steps up to `at`."""
    for batch in batches:
        found = []
        for kind, steps, data in batch:
            if kind == "value":
                found += [(kind, steps, data)] if steps <= at else []
            elif (shown := steps <= at).any():
                found.append((kind, steps[shown], {name: column[shown] for name, column in data.items()}))
        yield found


def filled(place, batches, tidied):
    store = place.open(sizes=SIZES)
    store.append([Batch("run", "app", "p", 0, [Start("{}", 0.0)])])
    for number, batch in enumerate(batches, 1):
        chunks = [
            encode_rows(KEY, steps, steps / 2, data) if kind == "rows" else encode_value("v", steps, 0.0, {"n": data})
            for kind, steps, data in batch
        ]
        store.append([Batch("run", "app", "p", number, chunks)])
    for _ in range(tidied):
        store.tidy()
    return store


def told(store, at=None, max_bytes=2000):
    """All that a page is told: the rows and values of the tail, and keys."""
    rows, values, cursor, more = [], {}, None, True
    while more:
        piece = store.tail("run", cursor, max_bytes=max_bytes, at=at)
        for item in (item for body in piece.bodies for item in decode_tail_body(body)):
            if isinstance(item, Rows):
                rows += zip(item.steps, item.columns["x"], map(repr, item.columns["y"]), strict=True)
            else:
                values[item.key] = (item.step, item.data["n"])
        cursor, more = piece.cursor, piece.more
    return rows, values, set(store.keys("run", at=at))


def drawn(store, at=None, **asked):
    """What a figure shows of the rows: of each bucket the lowest and highest y and whether there is a gap; None without rows."""
    try:
        found = store.history("run", KEY, HistoryQuery(buckets=7, at=at, **asked))
    except UnknownKey:
        return None
    if not found.count:
        return None
    axis = Axis(asked["x"], found.start, found.stop, 7)
    x = numbers_of(found.table, f".{asked['x']}" if asked["x"] == "x" else asked["x"]).astype(float)
    places = axis.places(x, found.start, found.stop) if found.rising else np.ones(len(x))
    y = numbers_of(found.table, ".y")
    shown = {}
    for place in np.unique(places[(places > 0) & (places <= 7)]):
        its = y[places == place]
        shown[int(place)] = (np.fmin.reduce(its), np.fmax.reduce(its), bool(np.isnan(its).any()))
    means = {name: (round(mean, 9), count) for name, (mean, count) in (found.means or {}).items()}
    return repr((found.count, found.rising, found.first_x, found.last_x, found.start, found.stop, means, shown))


@settings(max_examples=25)
@given(logs(), st.floats(0, 1), st.integers(0, 40), st.integers(0, 40))
def test_what_is_told_as_of_a_step_is_what_is_told_where_nothing_later_was_sent(folders, log, share, tidied, tidied_too):
    batches, last = log
    at = round(last * share)
    with folders() as place, folders() as other:
        whole = filled(place, batches, tidied)
        past = filled(other, until(batches, at), tidied_too)
        assert told(whole, at) == told(past)
        for asked in FIGURES:
            assert drawn(whole, at, **asked) == drawn(past, **asked), asked
        if "v" in whole.keys("run"):
            assert whole.value("run", "v", at=at) == (past.value("run", "v") if "v" in past.keys("run") else None)
        if KEY in past.keys("run"):
            asked = {"x": "step", "columns": ["y"], "stat": "std", "buckets": 5}
            assert repr(whole.band(["run"], KEY, at=at, **asked)) == repr(past.band(["run"], KEY, **asked))
        whole.close()
        past.close()


@settings(max_examples=4)
@given(logs(), st.floats(0, 1), st.integers(0, 40), st.integers(0, 40))
def test_the_same_holds_in_postgresql(schemas, log, share, tidied, tidied_too):
    in_sqlite = test_what_is_told_as_of_a_step_is_what_is_told_where_nothing_later_was_sent
    in_sqlite.hypothesis.inner_test(schemas, log, share, tidied, tidied_too)
