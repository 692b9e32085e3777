"""Gathering by key: what is decoded is what was sent, in the order of the calls."""

import subprocess
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streamvis import records
from streamvis.client.encoding import encode
from streamvis.client.entries import CONTROL, Begin, Clear, End
from streamvis.client.gather import GatheredRows, gather
from streamvis.client.intake import Intake
from streamvis.wire.arrow import decode_batch_body, decode_tail_body

CELLS = {
    "float": st.floats(width=32),
    "int": st.integers(-(2**31), 2**31 - 1),
    "mixed": st.one_of(st.integers(-(2**31), 2**31 - 1), st.floats(width=32)),
    "text": st.text(max_size=5),
    "bool": st.booleans(),
    "array": st.lists(st.floats(width=32), min_size=2, max_size=2),
    "anything": st.one_of(st.none(), st.integers(0, 9), st.text(max_size=3), st.dictionaries(st.text(max_size=2), st.booleans())),
}


@st.composite
def calls(draw):
    """`sendl` calls on two keys: some columns each, as scalars, lists, or arrays."""
    made = []
    for step in range(draw(st.integers(1, 8))):
        names = draw(st.lists(st.sampled_from(sorted(CELLS)), min_size=1, max_size=4, unique=True))
        count = draw(st.integers(0, 3))
        columns = {name: draw(st.lists(CELLS[name], min_size=count, max_size=count)) for name in names}
        form = draw(st.sampled_from(["list", "array", "scalar"]))
        if form == "scalar" and count == 1 and "array" not in columns:
            data = {name: cells[0] for name, cells in columns.items()}
        elif form == "array":
            numbers = {"float": "f4", "int": "i4", "bool": "?", "array": "f8"}
            data = {
                name: np.array(cells, dtype=numbers[name]).reshape((count, 2) if name == "array" else (count,))
                if name in numbers
                else cells
                for name, cells in columns.items()
            }
        else:
            data = columns
        made.append((step, draw(st.sampled_from(["k", "other"])), data, columns, count))
    return made


def same(got, sent):
    if sent is None:
        return got is None or got != got
    if isinstance(sent, list):
        return np.array_equal(np.asarray(got, dtype=float), np.array(sent, dtype=float), equal_nan=True)
    return got == sent or (got != got and sent != sent)


@given(calls())
def test_gathered_columns_decode_to_what_was_sent(made):
    intake = Intake()
    encoded = encode([intake.rows(step, key, data) for step, key, data, _, _ in made])
    assert encoded.left_out == []
    decoded = {rows.key: rows for rows in decode_tail_body(encoded.body)}
    assert len(decode_batch_body(encoded.body)) == len(decoded)
    for key in ("k", "other"):
        sent = [(step, columns, i) for step, its, _, columns, count in made for i in range(count) if its == key]
        if not sent:
            assert key not in decoded
            continue
        rows = decoded[key]
        assert rows.steps.tolist() == [step for step, _, _ in sent]
        for name, cells in rows.columns.items():
            for got, (_, columns, i) in zip(cells, sent, strict=True):
                wanted = columns[name][i] if name in columns else None
                assert same(got, wanted), (name, got, wanted)
        assert set(rows.columns) == {name for _, its, _, columns, count in made if its == key and count for name in columns}


def test_int_and_float_mix_to_float_and_what_lacks_is_missing():
    intake = Intake()
    (rows,) = gather([intake.rows(0, "k", {"x": 1}), intake.rows(1, "k", {"x": 0.5, "late": 1.0})])
    assert rows == GatheredRows("k", [0, 1], rows.times, {"x": [1, 0.5], "late": [None, 1.0]})


def test_arrays_of_one_kind_stay_one_array():
    intake = Intake()
    (rows,) = gather([intake.rows(step, "k", {"x": np.full(3, step, dtype=np.float32)}) for step in range(4)])
    assert rows.columns["x"].dtype == np.float32 and rows.columns["x"].tolist() == rows.steps == sorted([0, 1, 2, 3] * 3)


def test_numbers_are_encoded_without_pandas():
    program = """
import sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "pandas":
            print("pandas")
sys.meta_path.insert(0, Watch())
import numpy as np
from streamvis.client.encoding import encode
from streamvis.client.intake import Intake
intake = Intake()
encode([intake.rows(0, "k", {"x": 1, "y": 2.0}), intake.rows(1, "k", {"x": 2})])
encode([intake.rows(0, "a", {"x": np.ones((2, 3)), "y": np.array([True, False])}), intake.value(0, "v", {"x": np.eye(3)})])
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert said.stdout == ""


def test_of_values_for_one_step_the_last_stays():
    intake = Intake()
    entries = [intake.value(step, "k", {"v": [n]}) for n, step in enumerate([0, 1, 0])]
    assert [(one.step, one.data) for one in gather(entries)] == [(1, {"v": [1]}), (0, {"v": [2]})]


def test_nothing_passes_a_control_record():
    intake = Intake()

    def control(record):
        return (CONTROL, None, 1.0, None, record, 0)

    entries = [
        control(Begin("r", {"a": float("nan")}, "n", False)),
        intake.rows(0, "k", {"x": 1}),
        intake.rows(1, "other", {"x": 1}),
        control(Clear()),
        intake.rows(2, "k", {"x": 1}),
        control(End("failed")),
    ]
    start, k, other, clear, later, finish = decode_batch_body(encode(entries).body)
    assert start == records.Start(config='{"a": NaN}', time=1.0, name="n", joins=False)
    assert [k.key, other.key, later.key, later.first_step] == ["k", "other", "k", 2]
    assert clear == records.Clear(time=1.0) and finish == records.Finish(state="failed", time=1.0)


def test_a_row_without_an_arrow_form_spoils_no_other():
    intake = Intake()
    entries = [intake.rows(step, "k", {"x": step}) for step in range(3)]
    entries[1][4]["x"] = object()
    encoded = encode(entries)
    (rows,) = {one.key: one for one in decode_tail_body(encoded.body) if one.steps[0] == 0}.values()
    assert len(encoded.left_out) == 1 and "object" in encoded.left_out[0]
    assert [step for one in decode_tail_body(encoded.body) for step in one.steps] == [0, 2] and rows.columns["x"].tolist() == [0]
