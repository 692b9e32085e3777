"""Export and import: a run that is taken out of one endpoint and into another is equal to what it was."""

import csv
import datetime as dt
import json
import math
import tempfile
import uuid
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import streamvis
from streamvis import Client
from streamvis.errors import UsageError
from streamvis.reading.export import export_run
from streamvis.reading.importing import import_run
from streamvis.transport import Transport

NAMES = st.sampled_from(["loss", "step", "time", "run", "a/b", "A", "a", "über", "x y", "..", 'with "quotes"'])
TIMES = st.datetimes(dt.datetime(1980, 1, 1), dt.datetime(2100, 1, 1))
CELLS = [
    st.integers(-(2**63), 2**63 - 1) | st.none(),
    st.floats(width=64) | st.none(),
    st.text(st.characters(codec="utf-8"), max_size=5) | st.none(),
    st.booleans() | st.none(),
    TIMES | st.none(),
    st.timedeltas(dt.timedelta(-100), dt.timedelta(100)),
    st.integers(0, 3).map(lambda n: np.arange(n, dtype=np.float32)),
    st.none(),
    st.integers(-5, 5) | st.text(max_size=2) | st.lists(st.integers(-5, 5), max_size=2),
]


@st.composite
def sends(draw):
    """Calls of `sendl` and `send`, in which a column may have other types at another time."""
    made = []
    for _ in range(draw(st.integers(1, 5))):
        rows = draw(st.integers(1, 4))
        columns = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
        data = {name: draw(st.lists(draw(st.sampled_from(CELLS)), min_size=rows, max_size=rows)) for name in columns}
        made.append(("rows", draw(st.integers(0, 20)), f"rows {draw(NAMES)}", data))
    for _ in range(draw(st.integers(0, 3))):
        parts = [{"a": [1, None, "x"]}, np.eye(2, dtype=np.float16), math.nan, list(range(40))]
        data = {draw(NAMES): draw(st.sampled_from(parts))}
        made.append(("value", draw(st.integers(0, 3000)), f"value {draw(NAMES)}", data))
    return draw(st.permutations(made))


def contents(run):
    """All that a run has, as texts that compare to the last digit."""
    keys = {key: info.kind for key, info in run.keys.items()}
    tables = {}
    for key, kind in keys.items():
        if kind == "rows":
            table = run.rows(key)
            types = [(field.name, str(field.type), field.metadata) for field in table.schema]
            tables[key] = (types, repr(table.to_pydict()))
        else:
            tables[key] = [(value.step, value.time, repr(value.data)) for value in run.values(key)]
    told = ("app", "state", "created", "tags", "note", "color", "archived", "first_step", "last_step")
    return {name: run.about[name] for name in told}, run.config_text, tables


def send(url, app, records, *, run, config):
    with Client(url, app) as client:
        client.init(config, run=run)
        for kind, step, key, data in records:
            (client.sendl if kind == "rows" else client.send)(step, key, data)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sends(), st.sampled_from(["parquet", "arrow"]))
def test_an_exported_and_imported_run_is_equal(shared_endpoint, records, format):
    id = f"r-{uuid.uuid4().hex[:12]}"
    config = {"lr": math.nan, "when": dt.datetime(2024, 1, 1), "~odd": [1, None]}
    send(shared_endpoint.url, "property", records, run=id, config=config)
    with streamvis.open(shared_endpoint.url) as reader, tempfile.TemporaryDirectory() as folder:
        reader.connection.change("PATCH", "runs", id, run=id, body={"tags": ["one"], "note": "kept", "name": "a name"})
        before = reader.run(id)
        folder = export_run(before, Path(folder), format=format)
        copy, stored = import_run(reader.connection, folder, new_id=True)
        assert stored and copy != id
        assert contents(reader.run(copy)) == contents(before)
        assert reader.run(copy).name == "a name"


def test_an_import_keeps_the_id_and_done_twice_changes_nothing(shared_endpoint, start_endpoint, tmp_path):
    records = [("rows", step, "train", {"loss": [step / 2, math.nan]}) for step in range(50)]
    records += [("value", step, "image", {"a": np.full((3, 3), step)}) for step in (1, 2, 5000)]
    send(shared_endpoint.url, "twice", records, run="twice-1", config={"a": 1})
    with streamvis.open(shared_endpoint.url) as one, streamvis.open(start_endpoint().url) as other:
        folder = export_run(one.run("twice-1"), tmp_path)
        assert import_run(other.connection, folder) == ("twice-1", True)
        assert contents(other.run("twice-1")) == contents(one.run("twice-1"))
        cursor = other.run("twice-1").about["cursor"]
        assert import_run(other.connection, folder) == ("twice-1", False)
        assert other.run("twice-1").about["cursor"] == cursor
        assert import_run(one.connection, folder) == ("twice-1", False), "where it came from, it is there already"


def test_an_import_that_was_cut_off_goes_on_when_it_is_repeated(shared_endpoint, start_endpoint, tmp_path, monkeypatch):
    records = [("rows", step, f"key {step}", {"loss": [step]}) for step in range(5)]
    send(shared_endpoint.url, "cut off", records, run="cut-1", config={})
    with streamvis.open(shared_endpoint.url) as one, streamvis.open(start_endpoint().url) as other:
        folder = export_run(one.run("cut-1"), tmp_path)
        hidden = (folder / "key_3.parquet").rename(folder / "hidden")
        with pytest.raises(streamvis.StreamvisError, match="'key 3'"):
            import_run(other.connection, folder)
        assert 0 < len(other.run("cut-1").keys) < 5
        hidden.rename(folder / "key_3.parquet")
        assert import_run(other.connection, folder) == ("cut-1", True)
        assert contents(other.run("cut-1")) == contents(one.run("cut-1"))


def test_an_import_never_mixes_with_another_run_of_that_id(shared_endpoint, start_endpoint, tmp_path):
    send(shared_endpoint.url, "mixed", [("rows", 0, "train", {"loss": [1.0]})], run="mixed-1", config={})
    there = start_endpoint()
    send(there.url, "mixed", [("rows", 0, "train", {"loss": [2.0, 3.0]})], run="mixed-1", config={})
    with streamvis.open(shared_endpoint.url) as one, streamvis.open(there.url) as other:
        folder = export_run(one.run("mixed-1"), tmp_path)
        with pytest.raises(UsageError, match="--new-id"):
            import_run(other.connection, folder)
        assert other.run("mixed-1").rows("train")["loss"].to_pylist() == [2.0, 3.0]
        Transport(there.url).request("DELETE", "/api/v1/runs/mixed-1")
        with pytest.raises(UsageError, match="was deleted .* --new-id"):
            import_run(other.connection, folder)


def test_csv_and_json_lines_have_every_row(shared_endpoint, tmp_path):
    rows = {"x": [1, None], "y": [math.nan, 0.5], "t": [dt.datetime(2024, 1, 2), None]}
    rows |= {"l": [np.ones(2), np.ones(3)], "s": ['a "b",\n', ""]}
    records = [("rows", 7, "main plot", rows), ("value", 7, "v", {"a": [1, math.inf]})]
    send(shared_endpoint.url, "texts", records, run="texts-1", config={"lr": 0.1})
    with streamvis.open(shared_endpoint.url) as reader:
        run = reader.run("texts-1")
        folder = export_run(run, tmp_path / "csv", format="csv")
        with (folder / "main_plot.csv").open(newline="") as file:
            first, second = csv.DictReader(file)
        assert (first["step"], first["x"], first["y"], first["l"], first["s"]) == ("7", "1", "nan", "[1.0, 1.0]", 'a "b",\n')
        assert first["t"].startswith("2024-01-02") and (second["x"], second["t"]) == ("", "")
        assert json.loads((folder / "config.json").read_text()) == {"lr": 0.1}
        with pytest.raises(UsageError, match="does not keep all types"):
            import_run(reader.connection, folder)
        folder = export_run(run, tmp_path / "jsonl", format="jsonl")
        lines = [json.loads(line) for line in (folder / "main_plot.jsonl").read_text().splitlines()]
        assert [line["y"] for line in lines] == ["NaN", 0.5] and lines[1]["x"] is None
        assert json.loads((folder / "v.values.jsonl").read_text())["data"] == {"a": [1, "Infinity"]}
        with pytest.raises(UsageError, match="exists already"):
            export_run(run, tmp_path / "csv", format="csv")
