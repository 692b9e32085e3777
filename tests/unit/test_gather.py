"""Gathering by key: what is decoded is what was sent, in the order of the calls."""

import datetime as dt
import subprocess
import sys

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from streamvis import records
from streamvis.client.encoding import GatheredRows, encode, gather
from streamvis.client.intake import Intake
from streamvis.client.outbox import CONTROL, Begin, Clear, End
from streamvis.wire.arrow import decode_batch_body, decode_tail_body, streams_of
from support.cells import cells_of, plain

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


KINDS = {
    "whole": st.integers(-(2**63), 2**63 - 1),
    "large": st.integers(2**63, 2**64 - 1),
    "fractions": st.floats(allow_nan=False),
    "moments": st.datetimes(),
    "lengths": st.timedeltas(dt.timedelta(days=-(10**8)), dt.timedelta(days=10**8)),
    "days": st.integers(-(10**6), 10**6).map(lambda n: np.datetime64(n, "D")),
    "fine": st.integers(-(2**62), 2**62).map(lambda n: np.datetime64(n, "ns")),
    "fine lengths": st.integers(-(2**62), 2**62).map(lambda n: np.timedelta64(n, "ns")),
    "arrays": st.lists(st.integers(2**53, 2**53 + 2), min_size=2, max_size=2).map(np.array),
    "half arrays": st.lists(st.floats(width=16, allow_nan=False), min_size=2, max_size=2).map(np.float16),
    "truths": st.booleans(),
}


@st.composite
def columns_of_many_kinds(draw):
    """What one column is given, call after call: a scalar, a list, an array, or nothing at all."""
    made = []
    for _ in range(draw(st.integers(1, 8))):
        cells = draw(st.lists(KINDS[draw(st.sampled_from(sorted(KINDS)))], min_size=1, max_size=3))
        form = draw(st.sampled_from(["scalar", "list", "array", "missing"]))
        can_be_scalar = not isinstance(cells[0], np.ndarray)
        if form == "array" and (can_be_scalar or len({cell.dtype for cell in cells}) == 1):
            made.append(np.array(cells))
        else:
            made.append(cells[0] if form == "scalar" and can_be_scalar else cells if form != "missing" else None)
    return made


def cells_by_step(body):
    """Each cell of the column x, by step, in order."""
    found = {}
    for _, table, _ in streams_of(body):
        at = table.schema.get_field_index("x")
        cells = cells_of(table.schema[at], table.column(at)) if at >= 0 else [None] * table.num_rows
        for step, cell in zip(table.column(0).to_pylist(), cells, strict=True):
            found.setdefault(step, []).append(plain(of_mixed(cell)))
    return found


def of_mixed(cell):
    """A cell as it stands in a mixed column: an array as a list, and times of NumPy for Python's own."""
    if isinstance(cell, tuple) and isinstance(cell[1], list):
        return cell[1]
    if isinstance(cell, dt.datetime):
        return np.datetime64(cell, "us")
    return np.timedelta64(cell, "us") if isinstance(cell, dt.timedelta) else cell


@given(columns_of_many_kinds())
@example([dt.datetime(2400, 1, 1), np.array(["2024-01-02"], "M8[ns]")])
@example([np.array(["2024-01-02T00:00:00.000000001"], "M8[ns]"), None])
@example([np.array([2**53 + 1]), np.array([0.5])])
@example([2**63, -1, 0.5])
@example([np.array([[2**53 + 1]]), np.array([[0.5]])])
def test_a_cell_is_stored_to_its_last_digit_whatever_it_is_gathered_with(cells):
    intake = Intake()
    entries = []
    for step, cell in enumerate(cells):
        entries.append(intake.rows(step, "k", {"n": [0] * (len(cell) if isinstance(cell, (list, np.ndarray)) else 1)}))
        if cell is not None:
            entries[-1] = intake.rows(step, "k", {"x": cell})
    together, apart = encode(entries), [encode([entry]) for entry in entries]
    assert together.left_out == [] == [text for one in apart for text in one.left_out]
    expected = {step: cells for one in apart for step, cells in cells_by_step(one.body).items()}
    assert cells_by_step(together.body) == expected


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
