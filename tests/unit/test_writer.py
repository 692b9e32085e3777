"""The writer: each frame is one that the endpoint takes, and no larger in memory than what was sent, whatever columns it has."""

from __future__ import annotations

import datetime as dt
import threading
import tracemalloc

import numpy as np
import pytest

from streamvis.client import encoding
from streamvis.client.intake import Intake
from streamvis.client.outbox import CONTROL, Begin, Outbox
from streamvis.client.producer_log import Log, Settings
from streamvis.client.spool.folders import SpoolPlace
from streamvis.client.values import copying
from streamvis.client.values.copying import MAX_CALL_BYTES
from streamvis.client.writer import Writer
from streamvis.errors import InvalidData
from streamvis.wire.arrow import decode_batch_body, decode_tail_body
from streamvis.wire.limits import MAX_BODY_BYTES


@pytest.fixture
def packed(tmp_path):
    """The bodies of all batches that entries make, what was said, and how many records were lost."""

    def pack(entries, *, has_arrow=True):
        outbox, said = Outbox(lambda: None, max_bytes=2**30), []
        log = Log("p", Settings("", "app", SpoolPlace(tmp_path), lambda: None), outbox, say=said.append)
        writer = Writer(outbox, log, forming=threading.Lock(), is_awaited=lambda: True, on_frame=lambda _: None)
        writer.encode = encoding.encode if has_arrow else None
        outbox.put_always((CONTROL, None, 1.0, None, Begin("run", {}, None, False), 0), *entries)
        bodies = []
        while outbox.entries:
            writer._write()
            if (batch := log.head()) is None:
                continue
            formed = encoding.encode_bodies(batch.bodies)
            said += formed.left_out
            log.runs.lose("run", len(formed.left_out))
            bodies.append(formed.body)
            log.settle(batch)
        return bodies, said, log.runs.lost_records

    return pack


def rows_in(bodies):
    """The steps of all rows with the names of the columns that are not missing, in order."""
    found = []
    for body in bodies:
        for chunk in decode_batch_body(body)[1 if body is bodies[0] else 0 :]:
            (rows,) = decode_tail_body(chunk.body)
            names, cells = [*rows.columns], np.array([*rows.columns.values()])
            for i, step in enumerate(rows.steps.tolist()):
                found.append((step, [names[at] for at in np.flatnonzero(cells[:, i] == cells[:, i])]))
    return found


@pytest.mark.parametrize("has_arrow", [True, False])
def test_rows_whose_columns_differ_make_no_more_of_themselves_than_they_are(packed, has_arrow):
    def entries():
        for part in range(2):  # what one client calls in one run would be refused in the call
            intake = Intake()
            for step in range(250 * part, 250 * part + 250):
                yield intake.rows(step, "k", {f"c{step} {i}": 1.0 for i in range(8)})

    entries = list(entries())
    tracemalloc.start()
    bodies, said, lost = packed(entries, has_arrow=has_arrow)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (said, lost) == ([], 0)
    assert peak < 22 * 2**20 and max(map(len, bodies)) < 6 * 2**20
    assert rows_in(bodies) == [(step, [f"c{step} {i}" for i in range(8)]) for step in range(500)]


@pytest.mark.parametrize("has_arrow", [True, False])
def test_no_batch_has_more_columns_of_a_key_than_are_taken(packed, has_arrow):
    rows = [Intake().rows(step, "k", {f"c{step} {i}": 1 for i in range(6000)}) for step in range(3)]
    small = [Intake().rows(9, "other", {"x": 1})]
    bodies, said, lost = packed(rows + small, has_arrow=has_arrow)
    assert (said, lost, len(bodies)) == ([], 0, 3)
    assert [(step, len(names)) for step, names in rows_in(bodies)] == [(0, 6000), (1, 6000), (2, 6000), (9, 1)]


def test_a_few_wide_rows_among_many_narrow_ones_are_sent_as_they_are(packed):
    intake = Intake()
    wide = {f"c{i}": 1.0 for i in range(3000)}
    entries = [intake.rows(step, "k", wide if step % 250 == 0 else {"x": 1.0}) for step in range(1000)]
    bodies, said, lost = packed(entries)
    assert (said, lost) == ([], 0) and sum(map(len, bodies)) < 2**24
    assert [step for step, _ in rows_in(bodies)] == list(range(1000))


def test_rows_with_the_same_columns_go_together(packed):
    intake = Intake()
    bodies, _, _ = packed([intake.rows(step, "k", {"x": step, "y": 0.5}) for step in range(30_000)])
    assert len(bodies) == 1


CALLS = {
    "numbers": lambda n: Intake().rows(0, "k", {"x": np.zeros(n // 8)}),
    "text": lambda n: Intake().rows(0, "k", {"x": ["\x00" * 1000] * (n // 1000)}),
    "mixed": lambda n: Intake().rows(0, "k", {"x": [1, *["ä\n" * 500] * (n // 1000)]}),
    "other": lambda n: Intake().value(0, "v", {"x": "\N{GRINNING FACE}" * (n // 12)}),
    "arrays": lambda n: Intake().rows(0, "k", {f"c{i}": np.zeros((n // 64, 1), np.uint8) for i in range(8)}),
    "tiny": lambda n: Intake().value(0, "v", {"x": [np.zeros(1)] * (n // 100)}),
    "times": lambda n: Intake().value(0, "v", {"x": [dt.datetime(2026, 1, 1, 0, 0, 0, 1, dt.UTC)] * (n // 10)}),
    "names": lambda n: Intake().rows(0, "k", {f"{i:06}".ljust(400, "ä"): np.zeros(n // 10_000, "f4") for i in range(10_000)}),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_a_call_takes_fits_into_a_body(packed, name, monkeypatch):
    # Small parts take long: an eighth of them, with an eighth of both limits.
    call, part = CALLS[name], 8 if name in ("tiny", "times") else 1
    monkeypatch.setattr(copying, "MAX_CALL_BYTES", MAX_CALL_BYTES // part)
    n = 2**22 // part
    most = int(0.95 * n * MAX_CALL_BYTES // part / call(n)[5])
    (*_, body), said, lost = packed([call(most)])
    assert (said, lost) == ([], 0) and len(body) < MAX_BODY_BYTES // part
    with pytest.raises(InvalidData, match="bytes in one call"):
        call(2 * most)


def test_a_record_that_turns_out_too_large_is_left_out_alone(packed, monkeypatch):
    monkeypatch.setattr(encoding, "_MAX_RECORD_BYTES", 2**20)
    intake = Intake()
    large = intake.rows(1, "k", {"x": np.zeros(2**20)})
    bodies, said, lost = packed([intake.rows(0, "k", {"x": 0.5}), large, intake.rows(2, "k", {"x": 0.5})])
    assert lost == 1 and "that can be sent together" in said[0]
    assert [step for step, _ in rows_in(bodies)] == [0, 2]
