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

from streamvis.records import Batch, Start
from streamvis.store import SqliteStore, summaries, tables, tidying
from streamvis.store.summaries import Sizes
from streamvis.wire.arrow import decode_tail_body, encode_rows

# So small that chunks are merged, sealed and summarized all the time.
SIZES = Sizes(seal_rows=8, merge_at=3, body_rows=16, fanout=2, block=2)
NOON = dt.datetime(2020, 1, 1, 12)
KINDS = {
    "whole numbers": lambda n, pick: [pick.randint(-(2**53), 2**53) for _ in range(n)],
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
    "durations": lambda n, pick: [dt.timedelta(seconds=pick.random()) for _ in range(n)],
    "arrays": lambda n, pick: np.arange(6.0 * n).reshape(n, 2, 3),
    "ragged lists": lambda n, pick: [list(range(pick.randint(0, 4))) for _ in range(n)],
    "arrays with gaps": lambda n, pick: [pick.choice([None, np.ones((2, 2))]) for _ in range(n)],
    "dicts": lambda n, pick: [{"a": [1, None]}] * n,
    "a mixture": lambda n, pick: [pick.choice([1, "a", None, 2.5]) for _ in range(n)],
}


def plain(cell):
    """A cell in a form that compares: numbers as floats, what is missing as None."""
    if isinstance(cell, np.ndarray):
        return (cell.shape, cell.astype(float).ravel().tolist())
    if isinstance(cell, (np.datetime64, np.timedelta64)):
        return None if np.isnat(cell) else (cell.dtype.kind, int(cell.astype(f"{cell.dtype.kind}8[ns]").astype(np.int64)))
    if isinstance(cell, (int, float, np.number)) and not isinstance(cell, bool):
        return None if np.isnan(float(cell)) else float(cell)
    return bool(cell) if isinstance(cell, np.bool_) else cell


def read(store, max_bytes):
    """All rows: how many, and each column's cells that are there, by row."""
    cursor, count, found = None, 0, {}
    while True:
        tail = store.tail("run", cursor, max_bytes=max_bytes)
        for item in decode_tail_body(b"".join(tail.bodies)):
            for name, cells in item.columns.items():
                there = {count + i: plain(cell) for i, cell in enumerate(list(cells))}
                found.setdefault(name, {}).update({i: cell for i, cell in there.items() if cell is not None})
            count += len(item.steps)
        cursor = tail.cursor
        if not tail.more:
            return count, found


def batches_of(kinds):
    """Batches of a few rows, whose columns take turns between few kinds, as those of one key do."""
    kind = st.sampled_from(kinds)
    return st.lists(st.tuples(st.integers(1, 7), kind, kind | st.none()), max_size=25)


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
            chunk = encode_rows("k", range(count, count + rows), [0.0] * rows, columns)
            store.append([Batch("run", "app", "p", number, [chunk])])
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
            assert store.history("run", "k", x="row", buckets=5).count == count
        store.close()


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
    found = store.history("run", "k", x="row", columns=["x", "c7"], start=None, stop=None, buckets=10, log=False)
    assert found.count == 34_001 and found.table.column(".x").to_pylist()[1:3] == [0.0, 999.0]
    assert found.table.column(".c7").to_pylist()[:2] == [1.0, None]
    store.close()
