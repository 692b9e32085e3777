"""Merging of chunks: whatever kinds of cells a key has had, readers find the same rows after it, and in the middle of it."""

from __future__ import annotations

import datetime as dt
import random
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamvis.records import Batch, HistoryQuery, Start
from streamvis.store import SqliteStore, tidying
from streamvis.store.chunks import tables
from streamvis.store.views import summaries
from streamvis.store.views.summaries import Sizes
from streamvis.wire.arrow import encode_rows, encode_rows_apart, table_of
from streamvis.wire.joining import join_rows
from support.cells import as_moment, cells_of

# So small that chunks are merged, sealed and summarized all the time.
SIZES = Sizes(seal_rows=8, merge_at=3, body_rows=16, fanout=2, block=2)
NOON = dt.datetime(2020, 1, 1, 12)
KINDS = {
    "whole numbers": lambda n, pick: [pick.randint(-(2**53), 2**53) for _ in range(n)],
    "whole numbers beyond doubles": lambda n, pick: [pick.randint(-(2**63), 2**63 - 1) for _ in range(n)],
    "the largest whole numbers": lambda n, pick: np.arange(2**64 - n, 2**64, dtype=np.uint64),
    "numbers not finite": lambda n, pick: [pick.choice([float("inf"), float("-inf"), 1e308, -1e308]) for _ in range(n)],
    "small whole numbers": lambda n, pick: np.arange(n, dtype=np.int8),
    "large whole numbers": lambda n, pick: np.full(n, 2**53, np.uint64),
    "numbers": lambda n, pick: [pick.random() for _ in range(n)],
    "numbers with gaps": lambda n, pick: [pick.choice([None, 0.5, 3]) for _ in range(n)],
    "half numbers": lambda n, pick: np.arange(n, dtype=np.float16),
    "single numbers": lambda n, pick: np.arange(n, dtype=np.float32) / 3,
    "booleans": lambda n, pick: [pick.choice([True, False]) for _ in range(n)],
    "booleans with gaps": lambda n, pick: [pick.choice([True, None]) for _ in range(n)],
    "texts": lambda n, pick: [pick.choice(["a", "", "é\n", '"']) for _ in range(n)],
    "nothing": lambda n, pick: [None] * n,
    "times": lambda n, pick: [NOON + dt.timedelta(microseconds=pick.randint(0, 10**9)) for _ in range(n)],
    "times with a zone": lambda n, pick: [NOON.replace(tzinfo=dt.UTC)] * n,
    "fine times": lambda n, pick: np.arange(n).astype("M8[ns]"),
    "coarse times": lambda n, pick: np.arange(n).astype("M8[D]") + pick.randint(-(10**6), 10**6),
    "far times": lambda n, pick: [dt.datetime(pick.randint(1, 9999), 1, 1) for _ in range(n)],
    "times beyond the calendar": lambda n, pick: (np.arange(n) + 2**40).astype("M8[s]"),
    "far durations": lambda n, pick: [dt.timedelta(days=pick.randint(-(10**8), 10**8)) for _ in range(n)],
    "fine durations": lambda n, pick: np.arange(n).astype("m8[ns]") - 1,
    "large arrays": lambda n, pick: np.full((n, 2), 2**53 + 1),
    "durations": lambda n, pick: [dt.timedelta(seconds=pick.random()) for _ in range(n)],
    "arrays": lambda n, pick: np.arange(6.0 * n).reshape(n, 2, 3),
    "ragged lists": lambda n, pick: [list(range(pick.randint(0, 4))) for _ in range(n)],
    "arrays with gaps": lambda n, pick: [pick.choice([None, np.ones((2, 2))]) for _ in range(n)],
    "dicts": lambda n, pick: [{"a": [1, None]}] * n,
    "a mixture": lambda n, pick: [pick.choice([1, "a", None, 2.5]) for _ in range(n)],
}


def read(store, max_bytes):
    """All rows: how many, and each column's cells that are there, by row, as they were sent."""
    cursor, count, found = None, 0, {}
    while True:
        tail = store.tail("run", cursor, max_bytes=max_bytes)
        for body in tail.bodies:
            _, table = table_of(body)
            for field, column in list(zip(table.schema, table.columns, strict=True))[2:]:
                there = dict(enumerate(cells_of(field, column), count))
                found.setdefault(field.name, {}).update({i: cell for i, cell in there.items() if cell is not None})
            count += table.num_rows
        cursor = tail.cursor
        if not tail.more:
            return count, found


def batches_of(kinds):
    """Batches of a few rows, whose columns take turns between few kinds, as those of one key do."""
    kind = st.sampled_from(kinds)
    return st.lists(st.tuples(st.integers(1, 7), kind, kind | st.none()), max_size=25)


@example([(3, kind, None) for kind in ("far times", "fine times") * 6], 0)
@example([(3, kind, None) for kind in ("far durations", "fine durations", "durations") * 4], 0)
@example([(3, kind, None) for kind in ("whole numbers beyond doubles", "numbers", "the largest whole numbers") * 4], 0)
@example([(3, kind, None) for kind in ("large arrays", "arrays") * 6], 0)
@given(st.lists(st.sampled_from(list(KINDS)), min_size=1, max_size=3).flatmap(batches_of), st.integers())
@example([(3, kind, None) for kind in ("texts", "a mixture") * 6], 0)
@example([(3, kind, "arrays") for kind in ("texts", "dicts", "nothing") * 4], 0)
def test_cells_of_every_kind_survive_merging_as_they_are(batches, seed):
    pick = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteStore(Path(folder), sizes=SIZES)
        store.append([Batch("run", "app", "p", 0, [Start("{}", 0.0)])])
        count = 0
        for number, (rows, kind, other) in enumerate(batches, 1):
            columns = {"a": KINDS[kind](rows, pick)} | ({"b": KINDS[other](rows, pick)} if other else {})
            chunks = encode_rows_apart("k", list(range(count, count + rows)), [0.0] * rows, columns)
            store.append([Batch("run", "app", "p", number, chunks)])
            count += rows
        before = read(store, 10**9)
        assert before[0] == count
        for _ in range(500):
            if not store.tidy():
                break
            assert read(store, pick.choice([1, 300])) == before
        else:
            pytest.fail("tidying does not come to an end")
        assert read(store, 10**9) == before
        if batches:
            check_history(store.history("run", "k", HistoryQuery(x="row", buckets=pick.choice([2, 10**4]))), before)
            check_rows(store, before)
        store.close()
        reopened = SqliteStore(Path(folder), sizes=SIZES)
        assert read(reopened, 300) == before
        reopened.close()


def check_history(history, sent):
    """What a screen is given is what was sent, of some rows."""
    assert history.count == sent[0]
    rows = history.table["row"].to_pylist()
    for field, column in list(zip(history.table.schema, history.table.columns, strict=True))[3:]:
        for row, cell in zip(rows, cells_as_sent(field, column), strict=True):
            assert cell == sent[1].get(field.name[1:], {}).get(row), (field, row)


def check_rows(store, sent):
    """What `rows` gives as one table is what was sent."""
    piece = store.rows("run", "k")
    whole = join_rows([table_of(body)[1] for body in piece.bodies], piece.info.columns)
    for field, column in list(zip(whole.schema, whole.columns, strict=True))[2:]:
        if not any(kind in piece.info.columns[field.name] for kind in ("json", "array", "bool", "string")):
            assert cells_as_sent(field, column) == [sent[1].get(field.name, {}).get(row) for row in range(sent[0])], field


def cells_as_sent(field, column):
    """Cells, out of what says in JSON what no one dtype says."""
    cells = cells_of(field, column)
    return list(map(as_moment, cells)) if field.metadata else cells


def test_a_key_that_cannot_be_tidied_holds_up_no_other(tmp_path, monkeypatch):
    store = SqliteStore(tmp_path, sizes=SIZES)
    store.append([Batch("run", "app", "p", 0, [Start("{}", 0.0)])])
    for number in range(1, 9):
        chunks = [encode_rows(key, [number], [0.0], {"a": [number]}) for key in ("bad", "good")]
        store.append([Batch("run", "app", "p", number, chunks)])
    merge = tidying.concat_exact
    failed = []

    def failing(tables):
        if not failed:
            failed.append(True)
            raise ValueError("as if the rows could not be merged")
        return merge(tables)

    monkeypatch.setattr(tidying, "concat_exact", failing)
    with pytest.raises(ValueError):
        store.tidy()
    while store.tidy():
        pass
    assert len(store.rows("run", "bad").bodies) == 8
    assert len(store.rows("run", "good").bodies) < 8
    store.close()


def test_a_wide_row_among_many_narrow_ones_costs_neither_memory_nor_disk(tmp_path):
    store = SqliteStore(tmp_path)
    wide = {f"c{i}": [1.0] for i in range(1000)}
    store.append([Batch("run", "app", "p", 0, [Start("{}", 1.0), encode_rows("k", [0], [0.0], wide)])])
    for number in range(1, 35):
        rows = encode_rows("k", [number] * 1000, [0.0] * 1000, {"x": np.arange(1000.0)})
        store.append([Batch("run", "app", "p", number, [rows])])
    pa.default_memory_pool().release_unused()
    before = pa.total_allocated_bytes()
    most = 0
    taken = tables.concat_common

    def watched(parts):
        nonlocal most
        whole = taken(parts)
        most = max(most, pa.total_allocated_bytes() - before)
        return whole

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(summaries, "concat_common", watched)
        while store.tidy():
            most = max(most, pa.total_allocated_bytes() - before)
    assert most < 32 * 2**20
    (size,) = store._writer.execute("SELECT sum(length(body)) FROM chunks").fetchone()
    assert size < 2**20
    assert store._writer.execute("SELECT count(*) FROM summaries").fetchone() == (1,)
    found = store.history("run", "k", HistoryQuery(x="row", columns=["x", "c7"], start=None, stop=None, buckets=10, log=False))
    assert found.count == 34_001 and found.table.column(".x").to_pylist()[1:3] == [0.0, 999.0]
    assert found.table.column(".c7").to_pylist()[:2] == [1.0, None]
    store.close()
