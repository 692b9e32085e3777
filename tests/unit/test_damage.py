"""A store whose file was damaged: what was changed is never given as data, and only the damaged key suffers."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from streamvis.addresses.database import DatabaseAddress
from streamvis.errors import DamagedData
from streamvis.records import Batch, HistoryQuery, Start
from streamvis.store import SqliteStore
from streamvis.store.chunks import key_pieces
from streamvis.store.views.summaries import Sizes
from streamvis.wire.arrow import decode_tail_body, encode_rows, encode_value
from support.damage import FILE, break_page, break_page_of_database, flip_byte

SIZES = Sizes(seal_rows=64, merge_at=3, body_rows=128, fanout=2, block=2)
DAMAGES = pytest.mark.parametrize("damage", [flip_byte, break_page])
FILL = np.random.default_rng(0).normal(size=(40, 20))
KEYS = ["train", "eval", "other"]


def marker(key, number):
    """Bytes that only the batch `number` of the key holds."""
    return f"<{key} no {number:03}>".encode()


def filled(folder, *, batches=12, tidied=0, rows=40):
    """Rows under three keys, each batch with a text of its own, and a value."""
    store = SqliteStore(folder, sizes=SIZES)
    store.append([Batch("run", "app", "p", 0, [Start("{}", 0.0)])])
    for number in range(1, batches + 1):
        steps = np.arange(rows * (number - 1), rows * number)
        chunks = []
        for key in KEYS:
            # A page is for one key alone where a chunk fills it.
            columns = {"x": steps, "text": [marker(key, number).decode()] * rows, "fill": FILL}
            chunks.append(encode_rows(key, steps, steps / 2, columns))
        name = marker("picture", number).decode()
        chunks.append(encode_value("picture", number, 0.0, {"name": name, "fill": np.arange(2000.0)}))
        store.append([Batch("run", "app", "p", number, chunks)])
    for _ in range(tidied):
        store.tidy()
    return store


def reopened(store, damage, folder, *markers):
    store.close()
    for one in markers:
        damage(folder, one)
    return SqliteStore(folder, sizes=SIZES)


def steps_of(bodies, key):
    return [step for item in decode_tail_body(b"".join(bodies)) if item.key == key for step in np.atleast_1d(item.steps).tolist()]


@DAMAGES
def test_damaged_rows_are_named_and_never_given_and_all_others_are_read(damage, tmp_path):
    store = reopened(filled(tmp_path), damage, tmp_path, marker("eval", 5))
    with pytest.raises(DamagedData) as caught:
        store.rows("run", "eval")
    assert (caught.value.run, caught.value.key) == ("run", "eval") and "'eval'" in str(caught.value)
    with pytest.raises(DamagedData):
        store.history("run", "eval", HistoryQuery(x="x", buckets=10))
    assert steps_of(store.rows("run", "eval", to_step=150).bodies, "eval") == list(range(160))
    assert steps_of(store.rows("run", "eval", from_step=200).bodies, "eval") == list(range(200, 480))
    tail = store.tail("run", None, max_bytes=10**9)
    assert set(tail.damaged) == {"eval"}
    assert steps_of(tail.bodies, "eval") == [*range(160), *range(200, 480)]
    for key in ("train", "other"):
        assert steps_of(tail.bodies, key) == steps_of(store.rows("run", key).bodies, key) == list(range(480))
        assert store.history("run", key, HistoryQuery(x="x", buckets=10)).count == 480
    assert [(one.run, one.key) for one in store.damages()] == [("run", "eval")]
    store.close()


@DAMAGES
def test_a_damaged_value_is_named_and_older_ones_are_given(damage, tmp_path):
    store = reopened(filled(tmp_path), damage, tmp_path, marker("picture", 12))
    with pytest.raises(DamagedData, match="picture"):
        store.value("run", "picture")
    assert store.value("run", "picture", step=1) is not None
    tail = store.tail("run", None, max_bytes=10**9)
    assert set(tail.damaged) == {"picture"} and steps_of(tail.bodies, "train") == list(range(480))
    store.close()


@DAMAGES
def test_damage_is_logged_once_however_often_it_is_met(damage, tmp_path, caplog):
    store = reopened(filled(tmp_path), damage, tmp_path, marker("eval", 2), marker("eval", 9))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            with pytest.raises(DamagedData):
                store.rows("run", "eval", from_step=300)
            store.tail("run", None)
            while store.tidy():
                pass
    (line,) = [record.getMessage() for record in caplog.records]
    assert "'eval'" in line and "'run'" in line and "streamvis check" in line
    store.close()


@DAMAGES
def test_tidying_leaves_a_damaged_key_and_goes_on_with_all_others(damage, tmp_path):
    store = reopened(filled(tmp_path), damage, tmp_path, marker("train", 7))
    for _ in range(1000):
        if not store.tidy():
            break
    else:
        pytest.fail("tidying does not come to an end")
    counts = {key: len(store.rows("run", key).bodies) for key in ("eval", "other")}
    assert all(count < 12 for count in counts.values())
    assert [(one.run, one.key) for one in store.damages()] == [("run", "train")]
    store.append([Batch("run", "app", "p", 99, [encode_rows("train", [999], [0.0], {"x": [1]})])])
    assert steps_of(store.rows("run", "train", from_step=999).bodies, "train") == [999]
    store.close()


def test_a_damaged_page_under_a_deleted_run_does_not_stop_tidying(tmp_path):
    store = filled(tmp_path)
    store.append([Batch("gone", "app", "q", 0, [Start("{}", 0.0)])])
    fill = {"fill": FILL, "text": ["<to be deleted>"] * 40}
    store.append([Batch("gone", "app", "q", n, [encode_rows("k", np.arange(40), np.zeros(40), fill)]) for n in range(1, 9)])
    store.delete("gone", restorable_s=0)
    store = reopened(store, break_page, tmp_path, b"<to be deleted>")
    for _ in range(1000):
        if not store.tidy():
            break
    else:
        pytest.fail("tidying does not come to an end")
    assert all(len(store.rows("run", key).bodies) < 12 for key in KEYS)
    assert len(store.damages()) == 1
    store.close()


@DAMAGES
def test_a_damaged_summary_changes_no_history(damage, tmp_path):
    store = filled(tmp_path, tidied=200)
    expected = store.history("run", "eval", HistoryQuery(x="x", columns=["x"], buckets=3)).table
    query = "SELECT body FROM summaries JOIN keys ON keys.no = key WHERE name = 'eval' ORDER BY level DESC"
    (body,) = store._writer.execute(query).fetchone()
    store.close()
    content = (tmp_path / FILE).read_bytes()
    its_own = next(part for at in range(0, len(body), 20) if content.count(part := body[at : at + 40]) == 1)
    store = reopened(store, damage, tmp_path, its_own)
    found = store.history("run", "eval", HistoryQuery(x="x", columns=["x"], buckets=3))
    assert found.table.equals(expected)
    assert [one.key for one in store.damages()] == ["eval"]
    store.close()


@pytest.mark.parametrize("change", ["first_step = first_step + 1", "last_seq = last_seq + 1", "count = count - 1"])
def test_what_stands_beside_a_body_is_checked_too(change, tmp_path):
    store = filled(tmp_path)
    store._writer.execute(f"UPDATE chunks SET {change} WHERE first_row = 80 AND key = 2")
    with pytest.raises(DamagedData, match="eval"):
        store.rows("run", "eval")
    store.close()


def test_a_batch_that_meets_damage_fails_alone(tmp_path):
    store = filled(tmp_path)
    many = {f"column {i} of <bad>": [1.0] for i in range(200)}
    store.append([Batch("bad", "app", "b", 0, [Start("{}", 0.0), encode_rows("k", [0], [0.0], many)])])
    store = reopened(store, break_page, tmp_path, b"column 100 of <bad>")
    bad, good = encode_rows("k", [1], [0.0], many), encode_rows("train", [999], [0.0], {"x": [1]})
    refused, stored = store.append([Batch("bad", "app", "b", 1, [bad]), Batch("run", "app", "p", 99, [good])])
    assert isinstance(refused, DamagedData) and stored.seq
    assert steps_of(store.rows("run", "train", from_step=999).bodies, "train") == [999]
    store.close()


@pytest.fixture
def break_rows(request, place):
    """Damages rows of a store that is closed, in which its marker stands very often."""
    if hasattr(place, "path"):
        yield lambda marker: break_page(place.path, marker)
        return
    server, schema = request.getfixturevalue("postgres_server"), DatabaseAddress.of(place.address).schema
    yield lambda marker: break_page_of_database(server, schema, marker)
    server.execute(f"DROP SCHEMA {schema} CASCADE")  # its tables cannot be emptied


def test_of_keys_that_are_read_together_the_damaged_one_is_named_and_all_others_are_read(place, break_rows):
    keys, rows = [f"key {i:02}" for i in range(20)], 2000
    store = place.open()
    chunks = [encode_rows(key, np.arange(rows), np.zeros(rows), {"text": [f"<{key} rows>"] * rows}) for key in keys]
    store.append([Batch("run", "app", "p", 0, [Start("{}", 0.0), *chunks])])
    store.close()
    break_rows(b"<key 13 rows>")
    store = place.open()
    tail = store.tail("run", None)
    assert set(tail.damaged) == {"key 13"} and [(one.run, one.key) for one in store.damages()] == [("run", "key 13")]
    sound = [key for key in keys if key != "key 13"]
    assert all(steps_of(tail.bodies, key) == list(range(rows)) for key in sound) and steps_of(tail.bodies, "key 13") == []
    with pytest.raises(DamagedData) as caught:
        store.rows("run", "key 13")
    assert (caught.value.run, caught.value.key) == ("run", "key 13") and len(store.rows("run", "key 14").bodies) == 1
    store.close()


def test_a_value_that_only_an_index_still_has_is_named(tmp_path, monkeypatch):
    store = filled(tmp_path, batches=3)
    monkeypatch.setattr(key_pieces, "read_value", lambda db, key, step: None)
    with pytest.raises(DamagedData, match="picture"):
        store.values("run", "picture", limit=10, max_bytes=10**9)
