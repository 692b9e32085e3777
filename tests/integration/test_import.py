"""Tables of other programs become runs: every cell is kept, and an import that is repeated changes nothing."""

import csv
import json
import math
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from click.testing import CliRunner

import streamvis
from streamvis.cli import cli
from streamvis.errors import UsageError


@pytest.fixture
def imported(shared_endpoint, request):
    """`imported(path, *words)`: what the command prints, and the runs of the test's app by name."""

    def run(path, *words, status=0):
        words = ["import", str(path), "--app", request.node.name, "--url", shared_endpoint.url, *words]
        result = CliRunner().invoke(cli, words)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == status, result.output
        with streamvis.open(shared_endpoint.url) as reader:
            return result.output, {run.name: run for run in reader.runs(request.node.name)}

    return run


def test_a_csv_file_s_columns_are_sorted_by_their_names_and_its_gaps_left_out(imported, tmp_path):
    (tmp_path / "metrics.csv").write_text("step,time,train/loss,val/loss,note\n0,10.5,1.5,,a\n1,11.5,nan,,\n1,12.5,,0.5,b\n")
    _, runs = imported(tmp_path / "metrics.csv")
    run = runs["metrics"]
    train = run.rows("train").to_pydict()
    assert (train["step"], train["time"], train["loss"][0]) == ([0, 1], [10.5, 11.5], 1.5) and math.isnan(train["loss"][1])
    assert run.rows("val").to_pylist() == [{"step": 1, "time": 12.5, "loss": 0.5}]
    assert run.rows("metrics").select(["time", "note"]).to_pydict() == {"time": [10.5, 12.5], "note": ["a", "b"]}
    assert run.state == "finished"


def test_a_parquet_file_keeps_its_types(imported, tmp_path):
    table = pa.table(
        {
            "count": pa.array([2**60, None, 3]),
            "small": pa.array([1.5, 2.5, None], pa.float32()),
            "kind": pa.array(["a", "b", "a"]).dictionary_encode(),
            "price": pa.array([Decimal("1.25"), None, Decimal(3)]),
            "many": pa.array([[1, 2], [], [3]]),
            "at": pa.array([1_000_000, 2_000_000, 3_000_000], pa.timestamp("us", "UTC")),
            "k": [7, 8, 9],
        }
    )
    pa.parquet.write_table(table, tmp_path / "table.parquet")
    _, runs = imported(tmp_path, "--step", "k", "--time", "at")
    rows = runs["table"].rows("metrics")
    assert rows["step"].to_pylist() == [7, 8, 9] and rows["time"].to_pylist() == [1.0, 2.0, 3.0]
    assert rows["count"].to_pylist() == [2**60, None, 3] and rows["small"].type == pa.float32()
    assert rows["kind"].to_pylist() == ["a", "b", "a"] and rows["price"].to_pylist() == [1.25, None, 3.0]
    told, _ = imported(tmp_path, "--step", "nothing", status=1)
    assert "has no column 'nothing'. It has count, small" in told


def test_lines_of_json_become_rows_and_values_and_what_is_appended_is_added(imported, tmp_path):
    file = tmp_path / "log.jsonl"
    lines = [
        {"step": i, "time": float(i), "train": {"loss": i / 2, "bad": "NaN"}, "mixed": i if i % 2 else "x"} for i in range(5)
    ]
    lines[3]["embedding"] = [[1, 2], [3, 4]]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    _, runs = imported(file)
    assert runs["log"].rows("train")["loss"].to_pylist() == [0, 0.5, 1, 1.5, 2]
    assert all(map(math.isnan, runs["log"].rows("train")["bad"].to_pylist()))
    assert [(one.step, one.time) for one in runs["log"].values("embedding")] == [(3, 3.0)]
    cursor = runs["log"].about["cursor"]
    told, runs = imported(file)
    assert "was there already" in told and runs["log"].about["cursor"] == cursor
    with file.open("a") as opened:
        opened.write(json.dumps({"step": 5, "time": 5.0, "train": {"loss": 9.0}}) + '\n{"step": 6, "tr')
    _, runs = imported(file)
    assert runs["log"].rows("train")["loss"].to_pylist() == [0, 0.5, 1, 1.5, 2, 9]


def test_a_folder_s_files_are_a_run_each_and_a_broken_one_is_named(imported, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.csv").write_text("loss\n1.0\n2.0\n")
    (tmp_path / "broken.jsonl").write_text('{"loss": 1.0}\nnot json\n{"loss": 2.0}\n')
    (tmp_path / "other.txt").write_text("not read")
    (tmp_path / "empty.csv").write_text("")
    told, runs = imported(tmp_path, status=1)
    assert {name: run.rows("metrics")["step"].to_pylist() for name, run in runs.items() if "metrics" in name} == {
        "a/metrics": [0, 1],
        "b/metrics": [0, 1],
    }
    assert "broken.jsonl, line 2 is not JSON" in told and "empty.csv is empty" in told
    with pytest.raises(UsageError, match="nothing to import"):
        imported(tmp_path / "other.txt")


def test_an_import_that_was_cut_off_goes_on_where_it_was(imported, tmp_path, shared_endpoint, request, monkeypatch):
    from streamvis.reading import arriving

    monkeypatch.setattr(arriving, "_BATCH_PIECES", 1)
    with (tmp_path / "long.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "loss"])
        writer.writerows(enumerate(np.arange(200_000) / 7))
    send, sent = arriving.Arrival._send, []

    def cut_off(self, body, **others):
        if len(sent) == 3:
            raise UsageError("cut off")
        sent.append(body)
        send(self, body, **others)

    monkeypatch.setattr(arriving.Arrival, "_send", cut_off)
    imported(tmp_path / "long.csv", status=1)
    monkeypatch.setattr(arriving.Arrival, "_send", send)
    _, runs = imported(tmp_path / "long.csv")
    assert runs["long"].rows("metrics")["loss"].to_pylist() == (np.arange(200_000) / 7).tolist()
    assert runs["long"].state == "finished"
