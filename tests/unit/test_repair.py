"""`check` finds all damage, and `repair` saves all that is not damaged, whatever of the file was hit."""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from streamvis.errors import DamagedData, FolderUnusable, StoreError
from streamvis.records import Batch, HistoryQuery, Start
from streamvis.store import DataFolder, SqliteStore, check, repair
from streamvis.store.views.summaries import Sizes
from streamvis.wire.arrow import decode_tail_body, encode_rows, encode_value
from support.damage import FILE, break_page, flip_byte

SIZES = Sizes(seal_rows=64, merge_at=3, body_rows=128, fanout=2, block=2)
DAMAGES = pytest.mark.parametrize("damage", [flip_byte, break_page])


def quiet(done, all_):
    assert 0 <= done <= all_ or not all_


def text(run, key, number):
    return f"[{run} {key} {number:03}]"


def fill(store, run, *, keys=("loss", "acc"), batches=10):
    """Rows and values under a run, of which each batch has a text of its own."""
    store.append([Batch(run, "app", run, 0, [Start(f'{{"name": "config of {run}"}}', 0.0)])])
    for number in range(1, batches + 1):
        steps = np.arange(40 * (number - 1), 40 * number)
        chunks = []
        for key in keys:
            name = text(run, key, number)
            noise = np.random.default_rng(list(name.encode())).normal(size=(40, 20))
            chunks.append(encode_rows(key, steps, steps / 2, {"x": steps, "text": [name] * 40, "noise": noise}))
        chunks.append(encode_value("image", number, 0.0, {"text": text(run, "image", number), "pixels": np.arange(1500.0)}))
        store.append([Batch(run, "app", run, number, chunks)])


def everything(store):
    """Of each run and key the texts in it, and how often each."""
    found = {}
    for run in [*store.runs("app", limit=99), *store.runs("recovered", limit=99)]:
        cursor = None
        while True:
            tail = store.tail(run.id, cursor)
            for item in decode_tail_body(b"".join(tail.bodies)):
                for one in list(item.columns["text"]) if hasattr(item, "columns") else ():
                    found[one] = found.get(one, 0) + 1
            if not tail.more:
                break
            cursor = tail.cursor
        for key, info in store.keys(run.id).items():
            bodies = [store.value(run.id, key, step=step) for step in range(1, 11)] if info.kind == "value" else []
            for item in decode_tail_body(b"".join(body for body in bodies if body is not None)):
                found[item.data["text"]] = 1
    return found


def made(folder, *, tidied=0):
    store = SqliteStore(folder, sizes=SIZES)
    for run in ("one", "two"):
        fill(store, run)
    for _ in range(tidied):
        store.tidy()
    before = everything(store)
    store.close()
    return before


def test_a_sound_store_is_found_sound_and_is_not_touched(tmp_path):
    made(tmp_path, tidied=50)
    before = (tmp_path / FILE).read_bytes()
    checked = check(tmp_path, progress=quiet)
    assert not checked.damages and (checked.runs, checked.keys, checked.unchecked) == (2, 6, 0) and checked.bodies > 20
    assert repair(tmp_path, progress=quiet).kept is None
    assert (tmp_path / FILE).read_bytes() == before
    assert not list(tmp_path.glob("repair-*")) and not list(tmp_path.glob("*damaged*"))


@DAMAGES
@pytest.mark.parametrize("tidied", [0, 200])
def test_what_is_not_damaged_is_saved_and_the_damaged_store_is_kept_as_it_was(damage, tidied, tmp_path):
    before = made(tmp_path, tidied=tidied)
    with closing(sqlite3.connect(tmp_path / FILE)) as db:
        query = "SELECT body FROM chunks JOIN keys ON keys.no = key WHERE name = 'acc' ORDER BY chunks.log, first_row"
        _, _, (body,) = db.execute(query).fetchmany(3)
    content = (tmp_path / FILE).read_bytes()
    marker = next(part for at in range(len(body) // 2, len(body), 8) if content.count(part := body[at : at + 24]) == 1)
    damage(tmp_path, marker)
    damaged = (tmp_path / FILE).read_bytes()
    found = check(tmp_path, progress=quiet).damages
    assert {(one.run, one.key) for one in found if one.key} == {("one", "acc")}
    repaired = repair(tmp_path, progress=quiet)
    assert repaired.kept.read_bytes() == damaged
    assert [(one.run, one.key) for one in repaired.lost] == [("one", "acc")]
    assert not check(tmp_path, progress=quiet).damages
    store = SqliteStore(tmp_path, sizes=SIZES)
    saved = everything(store)
    lost = {one for one in before if saved.get(one) != before[one]}
    assert lost and all(one.startswith("[one acc") for one in lost) and set(saved) <= set(before)
    assert sum(before.values()) - sum(saved.values()) <= 4 * SIZES.seal_rows
    assert '"config of one"' in store.config("one")
    (ack,) = store.append([Batch("one", "app", "one", 10, [encode_rows("acc", [999], [0.0], {"x": [1]})])])
    assert ack.duplicate
    (ack,) = store.append([Batch("one", "app", "one", 11, [encode_rows("acc", [999], [0.0], {"x": [1]})])])
    assert not ack.duplicate and not ack.refused
    while store.tidy():
        pass
    assert {one: count for one, count in everything(store).items() if one is not None} == saved
    for key in ("loss", "acc"):
        history = store.history("one", key, HistoryQuery(x="row", columns=["x"], buckets=7))
        assert history.count == sum(count for one, count in saved.items() if one.startswith(f"[one {key}")) + (key == "acc")
    assert not store.damages()
    store.close()


def test_wherever_pages_are_broken_only_what_lies_there_is_lost(tmp_path):
    (tmp_path / "whole").mkdir()
    before = made(tmp_path / "whole", tidied=5)
    with closing(sqlite3.connect(tmp_path / "whole" / FILE)) as db:
        ((size,), (pages,)) = (db.execute(f"PRAGMA {name}").fetchone() for name in ("page_size", "page_count"))
    pick, content = random.Random(3), (tmp_path / "whole" / FILE).read_bytes()
    # What lies below an inner page of a table is not found without it.
    inner = [page for page in range(1, pages) if content[page * size] == 5]
    others = sorted({*range(2, pages)} - {*inner})
    for number in range(9):
        folder = tmp_path / str(number)
        folder.mkdir()
        shutil.copy(tmp_path / "whole" / FILE, folder / FILE)
        hit = pick.sample(others, 2) if number else [inner[0]]
        with (folder / FILE).open("r+b") as file:
            for page in hit:
                file.seek(page * size)
                file.write(pick.randbytes(size))
        damaged = (folder / FILE).read_bytes()
        assert check(folder, progress=quiet).damages, hit
        repaired = repair(folder, progress=quiet)
        assert repaired.kept.read_bytes() == damaged
        assert not check(folder, progress=quiet).damages
        store = SqliteStore(folder, sizes=SIZES)
        saved = everything(store)
        assert set(saved) <= set(before) and all(count <= before[one] for one, count in saved.items()), hit
        # A page of the tree may hold some pieces of every key; each of them holds 40 rows or, merged, some hundreds.
        assert not number or sum(saved.values()) >= 0.5 * sum(before.values()), (number, hit, repaired.lost)
        if any(saved.get(one) != count for one, count in before.items()):
            assert repaired.lost
        while store.tidy():
            pass
        assert everything(store) == saved and not store.damages()
        store.close()


def test_a_store_that_an_endpoint_uses_is_checked_but_not_repaired(tmp_path):
    made(tmp_path)
    flip_byte(tmp_path, text("two", "loss", 4).encode() * 2)
    held = DataFolder(tmp_path)
    held.announce("http://localhost:1")
    store = SqliteStore(tmp_path, sizes=SIZES)
    assert [(one.run, one.key) for one in check(tmp_path, progress=quiet).damages] == [("two", "loss")]
    with pytest.raises(StoreError, match="localhost:1.*Stop it"):
        repair(tmp_path, progress=quiet)
    store.close()
    held.release()
    with pytest.raises(FolderUnusable):
        check(tmp_path / "nothing", progress=quiet)


@pytest.mark.parametrize("schema", [1, 2, 3, 4, 5])
def test_an_older_store_has_no_checksums_and_what_cannot_be_decoded_in_it_is_found_all_the_same(schema, tmp_path):
    shutil.copy(Path(__file__).parent / "data" / f"schema-{schema}.sqlite", tmp_path / FILE)
    with pytest.raises(StoreError, match=f"schema {schema}"):
        check(tmp_path, progress=quiet)
    assert repair(tmp_path, progress=quiet).kept is None
    store = SqliteStore(tmp_path)
    assert (check(tmp_path, progress=quiet).unchecked > 1) == (schema < 5)
    no, body = store._writer.execute("SELECT no, body FROM chunks ORDER BY no LIMIT 1").fetchone()
    store._writer.execute("UPDATE chunks SET body = ? WHERE no = ?", (body[:-200], no))
    with pytest.raises(DamagedData):
        store.rows("run", "k")
    tail = store.tail("run", None, max_bytes=10**9)
    assert list(tail.damaged) == ["k"] and tail.bodies
    store.close()
    assert repair(tmp_path, progress=quiet).kept is not None
    assert not check(tmp_path, progress=quiet).damages
