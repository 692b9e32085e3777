"""Tables of other programs become runs: every cell is kept, and an import that is repeated changes nothing."""

import csv
import json
import math
import sqlite3
import struct
import zlib
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from click.testing import CliRunner

import streamvis
from streamvis.cli import cli
from streamvis.errors import UsageError
from streamvis.reading.export import export_run


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


def test_times_and_durations_of_parquet_keep_their_nanoseconds_in_whatever_zone_and_list_they_are(imported, tmp_path):
    counts = [1_700_000_000_123_456_789, None, -1]
    table = pa.table(
        {
            "tokyo": pa.array(counts, pa.timestamp("ns", "Asia/Tokyo")),
            "offset": pa.array(counts, pa.timestamp("ms", "+02:00")),
            "plain": pa.array(counts, pa.timestamp("ns")),
            "took": pa.array(counts, pa.duration("ns")),
            "waited": pa.array([1, None, -5], pa.duration("s")),
            "marks": pa.array([[1_001, None], None, [-1_000]], pa.list_(pa.timestamp("ns", "America/Lima"))),
            "laps": pa.array([{"of": [5, 2_001]}, {"of": []}, None], pa.struct([("of", pa.large_list(pa.duration("ns")))])),
        }
    )
    pa.parquet.write_table(table, tmp_path / "zones.parquet")
    _, runs = imported(tmp_path)
    rows = runs["zones"].rows("metrics")
    for name, kind in {
        "tokyo": pa.timestamp("ns", "UTC"),
        "offset": pa.timestamp("ms", "UTC"),
        "plain": pa.timestamp("ns"),
        "took": pa.duration("ns"),
        "waited": pa.duration("s"),
    }.items():
        assert rows[name].type == kind and rows[name].cast(pa.int64()).equals(table[name].cast(pa.int64())), name
    assert [json.loads(text or "null") for text in rows["marks"].to_pylist()] == [
        [{"~t": "1970-01-01T00:00:00.000001001"}, None],
        None,
        [{"~t": "1969-12-31T23:59:59.999999"}],
    ]
    assert [json.loads(text or "null") for text in rows["laps"].to_pylist()] == [
        {"of": [{"~d": [5, "ns"]}, {"~d": [2_001, "ns"]}]},
        {"of": []},
        None,
    ]


def test_a_file_with_cells_that_nothing_stores_is_named_and_the_others_are_stored(imported, tmp_path):
    for name, cells in (("clock", pa.array([3_000_000_001], pa.time64("ns"))), ("bytes", pa.array([b"\xff"]))):
        pa.parquet.write_table(pa.table({name: cells}), tmp_path / f"{name}.parquet")
    (tmp_path / "name.jsonl").write_text('{"a\\udc00": 1}\n')
    (tmp_path / "whole.csv").write_text("loss\n1.0\n")
    told, runs = imported(tmp_path, status=1)
    for name in ("clock.parquet", "bytes.parquet", "name.jsonl"):
        assert f"{name} " in told, told
    assert runs["whole"].rows("metrics")["loss"].to_pylist() == [1.0]


@pytest.mark.parametrize("times", [[1e12, 5], [5, 1_577_836_801_000], [-1_577_836_801_000_000, 0], [1.0, "inf"], ["nan", 2.0]])
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_table_whose_times_are_not_in_seconds_is_named_with_its_column_and_not_stored(imported, tmp_path, times, suffix):
    file = tmp_path / f"wrong.{suffix}"
    numbers = list(map(float, times))
    if suffix == "csv":
        file.write_text("timestamp,loss\n" + "".join(f"{time},0.5\n" for time in times))
    elif suffix == "jsonl":
        file.write_text("".join(json.dumps({"timestamp": time, "loss": 0.5}) + "\n" for time in numbers))
    else:
        pa.parquet.write_table(pa.table({"timestamp": numbers, "loss": [0.5, 0.5]}), file)
    for _ in range(2):
        told, runs = imported(file, status=1)
        assert f"{file}: the column 'timestamp' has the time " in told and "milliseconds" in told, told
    assert suffix == "jsonl" or not runs


def test_the_half_of_a_surrogate_pair_in_a_line_of_json_is_kept_and_exported(imported, tmp_path):
    (tmp_path / "half.jsonl").write_text('{"what": "a\\udbff"}\n{"what": "whole"}\n{"what": {"in": ["\\udc00"]}}\n')
    _, runs = imported(tmp_path / "half.jsonl")
    cells = [json.loads(text) for text in runs["half"].rows("metrics")["what"].to_pylist()]
    assert cells == ["a\udbff", "whole"], cells
    for format in ("jsonl", "csv"):
        text = (export_run(runs["half"], tmp_path / format, format=format) / f"metrics.{format}").read_text()
        assert r"a\udbff" in text


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
    (tmp_path / "nothing.parquet").write_text("not a table")
    told, runs = imported(tmp_path, status=1)
    assert {name: run.rows("metrics")["step"].to_pylist() for name, run in runs.items() if "metrics" in name} == {
        "a/metrics": [0, 1],
        "b/metrics": [0, 1],
    }
    assert "broken.jsonl, line 2 is not JSON" in told and "empty.csv is empty" in told
    assert "nothing.parquet cannot be read" in told and "nothing" not in runs
    assert runs["broken"].rows("metrics")["loss"].to_pylist() == [1.0]
    with pytest.raises(UsageError, match="nothing to import"):
        imported(tmp_path / "other.txt")


def test_an_import_that_was_cut_off_goes_on_where_it_was(imported, tmp_path, shared_endpoint, request, monkeypatch):
    from streamvis.reading import incremental_import

    monkeypatch.setattr(incremental_import, "_BATCH_PIECES", 1)
    with (tmp_path / "long.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "loss"])
        writer.writerows(enumerate(np.arange(200_000) / 7))
    send, sent = incremental_import.Arrival._send, []

    def cut_off(self, body, **others):
        if len(sent) == 3:
            raise UsageError("cut off")
        sent.append(body)
        send(self, body, **others)

    monkeypatch.setattr(incremental_import.Arrival, "_send", cut_off)
    imported(tmp_path / "long.csv", status=1)
    monkeypatch.setattr(incremental_import.Arrival, "_send", send)
    _, runs = imported(tmp_path / "long.csv")
    assert runs["long"].rows("metrics")["loss"].to_pylist() == (np.arange(200_000) / 7).tolist()
    assert runs["long"].state == "finished"


def test_the_runs_of_a_trackio_database_are_imported_with_their_files(imported, tmp_path):
    db = sqlite3.connect(tmp_path / "project.db")
    columns = "id INTEGER PRIMARY KEY, run_id TEXT, timestamp TEXT, run_name TEXT"
    db.execute(f"CREATE TABLE metrics ({columns}, step INTEGER, metrics TEXT)")
    db.execute(f"CREATE TABLE system_metrics ({columns}, metrics TEXT)")
    db.execute("CREATE TABLE configs (id INTEGER PRIMARY KEY, run_id TEXT, run_name TEXT, config TEXT, created_at TEXT)")
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    image = {"_type": "trackio.image", "file_path": "a.png", "caption": None}
    counted = {"_type": "trackio.histogram", "bins": [0, 1, 2], "values": [3, 4]}
    logged = [
        ("r1", 0, {"loss": 0.5, "train/acc": "NaN"}),
        ("r2", 0, {"loss": 7}),
        ("r1", 1, {"loss": 0.25, "seen": image, "weights": counted}),
    ]
    for second, (run, step, metrics) in enumerate(logged):
        at = f"2026-01-01T00:00:0{second}+00:00"
        db.execute("INSERT INTO metrics VALUES (NULL, ?, ?, ?, ?, ?)", (run, at, f"run {run}", step, json.dumps(metrics)))
    db.execute("INSERT INTO system_metrics VALUES (NULL, 'r1', '2026-01-01T00:00:01', 'run r1', '{\"cpu\": 12.5}')")
    db.execute("INSERT INTO configs VALUES (NULL, 'r1', 'run r1', '{\"lr\": 0.1}', '')")
    db.commit()
    _, runs = imported(tmp_path / "project.db")
    assert runs["run r1"].config == {"lr": 0.1}
    rows = runs["run r1"].rows("metrics").to_pydict()
    assert rows == {"step": [0, 1], "time": [1767225600.0, 1767225602.0], "loss": [0.5, 0.25]}
    assert math.isnan(runs["run r1"].rows("train")["acc"][0].as_py())
    assert runs["run r1"].rows("system")["cpu"].to_pylist() == [12.5]
    assert runs["run r1"].value("seen")["image"].tobytes() == b"\x89PNG\r\n\x1a\n"
    assert runs["run r1"].value("weights")["counts"].tolist() == [3, 4]
    assert runs["run r2"].rows("metrics")["loss"].to_pylist() == [7]
    told, _ = imported(tmp_path / "project.db")
    assert told.count("was there already") == 2
    db.execute("INSERT INTO metrics VALUES (NULL, 'r2', '2026-01-01T00:00:09', 'run r2', 5, '{\"loss\": 8}')")
    db.commit()
    _, runs = imported(tmp_path / "project.db")
    assert runs["run r2"].rows("metrics")["step"].to_pylist() == [0, 5]
    db.close()


def test_the_runs_of_an_mlflow_database_are_imported(imported, tmp_path):
    db = sqlite3.connect(tmp_path / "mlflow.db")
    db.execute("CREATE TABLE experiments (experiment_id INTEGER, name TEXT)")
    db.execute("CREATE TABLE runs (run_uuid TEXT, name TEXT, experiment_id INTEGER, start_time INTEGER)")
    db.execute("CREATE TABLE params (key TEXT, value TEXT, run_uuid TEXT)")
    db.execute("CREATE TABLE metrics (key TEXT, value REAL, timestamp INTEGER, run_uuid TEXT, step INTEGER, is_nan BOOLEAN)")
    db.execute("INSERT INTO experiments VALUES (1, 'mine')")
    db.execute("INSERT INTO runs VALUES ('u1', 'first', 1, 1000)")
    db.execute("INSERT INTO params VALUES ('lr', '0.1', 'u1')")
    for step, (number, is_nan) in enumerate([(0.5, 0), (0.0, 1), (1.7976931348623157e308, 0)]):
        db.execute("INSERT INTO metrics VALUES ('train/loss', ?, ?, 'u1', ?, ?)", (number, 2000 + step, step, is_nan))
    db.commit()
    db.close()
    _, runs = imported(tmp_path / "mlflow.db")
    rows = runs["first"].rows("train").to_pydict()
    assert (rows["step"], rows["time"]) == ([0, 1, 2], [2.0, 2.001, 2.002])
    assert rows["loss"][0] == 0.5 and math.isnan(rows["loss"][1]) and rows["loss"][2] == math.inf
    assert runs["first"].config == {"lr": "0.1"} and runs["first"].about["created"] == 1.0
    assert "was there already" in imported(tmp_path / "mlflow.db")[0]
    (tmp_path / "broken.db").write_bytes(b"not a database" * 100)
    told, _ = imported(tmp_path, status=1)
    assert "broken.db cannot be read" in told and "was there already" in told


def varint(number):
    made = b""
    while number > 0x7F:
        made, number = made + bytes([number & 0x7F | 0x80]), number >> 7
    return made + bytes([number])


def field(number, content):
    """A field of a protobuf message: a whole number, a text, or a message."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    content = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(content)) + content


def wandb_log(*records):
    """A file of wandb's: LevelDB's log, in which records are split at the ends of blocks."""
    made = bytearray(b":W&B\xe1\xbe\x00")
    for record in records:
        kind, at = 0, 0
        while kind not in (1, 4):
            left = 2**15 - len(made) % 2**15
            if left < 7:
                made += bytes(left)
                left = 2**15
            part = record[at : at + left - 7]
            is_first, at = at == 0, at + len(part)
            is_last = at == len(record)
            kind = 1 if is_first and is_last else 2 if is_first else 4 if is_last else 3
            made += struct.pack("<IHB", zlib.crc32(part, zlib.crc32(bytes([kind]))), len(part), kind) + part
    return bytes(made)


def wandb_item(name, cell):
    return field(1, field(1, name) + field(16, json.dumps(cell)))


def test_a_folder_of_wandb_is_imported_and_a_broken_file_up_to_its_damage(imported, tmp_path):
    config = field(4, wandb_item("lr", 0.1) + wandb_item("_wandb", {"cli": "1"}))
    run = field(17, field(1, "abc") + field(3, "digits") + config + field(8, "the run") + field(17, field(1, 1_700_000_000)))
    logged = [
        field(2, b"".join(wandb_item(*cell) for cell in {"train/loss": i / 2, "note": "x" * 5000, **at}.items()))
        for i in range(40)
        for at in [{"_step": i, "_timestamp": 1.7e9 + i}]
    ]
    picture = wandb_item("sample", {"_type": "image-file", "path": "media/a.png"}) + wandb_item("_step", 40)
    outside = wandb_item("outside", {"_type": "image-file", "path": "../../secret"}) + wandb_item("_step", 41)
    alert = field(10, field(1, "slow") + field(2, "since noon") + field(3, "WARN"))
    change = field(5, field(1, field(2, "net") + field(2, "depth") + field(16, "3")))
    content = wandb_log(run, *logged, change, field(2, picture), field(2, outside), alert)
    file = tmp_path / "wandb" / "offline-run-1" / "run-abc.wandb"
    (file.parent / "files" / "media").mkdir(parents=True)
    (file.parent / "files" / "media" / "a.png").write_bytes(b"a picture")
    (file.parent / "files" / "wandb-summary.json").write_text("{}")
    (tmp_path / "secret").write_bytes(b"not to be read")
    file.write_bytes(content + content[7:90])  # the last record is still being written
    _, runs = imported(tmp_path / "wandb")
    run = runs["the run"]
    assert run.config == {"lr": 0.1, "net": {"depth": 3}} and run.about["created"] == 1.7e9
    train = run.rows("train")
    assert train["loss"].to_pylist() == [i / 2 for i in range(40)] and train["time"].to_pylist() == [1.7e9 + i for i in range(40)]
    assert run.rows("metrics")["note"].to_pylist() == ["x" * 5000] * 40
    assert run.value("sample")["image"].tobytes() == b"a picture" and run.value("outside")["image"].size == 0
    (alert,) = run.rows("alerts").to_pylist()
    assert (alert["step"], alert["title"], alert["level"]) == (41, "slow", "warning")
    broken = bytearray(content)
    broken[len(content) // 2] ^= 1
    file.write_bytes(broken)
    told, _ = imported(file, status=1)
    assert f"{file} is damaged from byte" in told
