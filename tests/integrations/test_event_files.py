"""A folder of event files with every kind of PyTorch's writer: what is imported is what TensorBoard's own reader gives."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from tensorboard.util.tensor_util import make_ndarray
from torch.utils.tensorboard import SummaryWriter

from streamvis.cli import cli

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def imported(reader, app):
    """`imported(path, *words)`: what `streamvis import PATH --app APP WORDS` prints, and the runs of the app by name."""

    def run(path, *words, status=0):
        result = CliRunner().invoke(cli, ["import", str(path), "--app", app, "--url", reader.url, *words])
        assert result.exit_code == status, f"{result.output} {result.exception}"
        return result, {run.name: run for run in reader.runs(app)}

    return run


def events_of(folder):
    """Each summary of the folder, by tag: (step, time, value)."""
    found = {}
    for file in sorted(folder.glob("*tfevents*")):
        for event in LegacyEventFileLoader(str(file)).Load():
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, event.wall_time, value))
    return found


def rows_of(run, key, column):
    table = run.rows(key, columns=[column])
    return [row for row in zip(*(table[name].to_pylist() for name in table.column_names), strict=True) if row[2] is not None]


def test_every_kind_is_imported_as_it_was(imported, tmp_path):
    folder = tmp_path / "logs" / "first"
    random = np.random.default_rng(1)
    writer = SummaryWriter(folder)
    for step in range(300):
        writer.add_scalar("loss/train", random.random(), step)
        writer.add_scalar("exact", step / 3, step, double_precision=True, new_style=True)
    writer.add_scalar("loss/train", float("nan"), 3)
    writer.add_histogram("weights", torch.randn(500), 1)
    writer.add_histogram("weights", torch.randn(500), 2)
    writer.add_image("image", torch.rand(3, 8, 8), 4)
    writer.add_audio("sound", torch.rand(1, 800) - 0.5, 5, sample_rate=8000)
    writer.add_text("notes/first", "some text", 6)
    writer.add_pr_curve("curve", torch.randint(2, (50,)), torch.rand(50), 7)
    writer.add_mesh("mesh", torch.rand(1, 4, 3), global_step=8)
    writer.add_tensor("tensor", torch.arange(6.0).reshape(2, 3), 9)
    writer.add_hparams({"lr": 0.1, "name": "x", "on": True}, {"hparam/acc": 0.5}, run_name="tuned")
    writer.close()
    told, runs = imported(tmp_path / "logs")
    assert set(runs) == {"first", "first/tuned"} and told.output.count("stored") == 2
    run, events = runs["first"], events_of(folder)
    assert runs["first/tuned"].config == {"lr": 0.1, "name": "x", "on": True}
    wanted = [(step, time, value.simple_value) for step, time, value in events["loss/train"]]
    np.testing.assert_array_equal(rows_of(run, "loss", "train"), wanted)
    wanted = [(step, time, float(make_ndarray(value.tensor))) for step, time, value in events["exact"]]
    assert rows_of(run, "metrics", "exact") == wanted and wanted[1][2] == 1 / 3
    for (step, time, value), stored in zip(events["weights"], run.values("weights"), strict=True):
        assert (stored.step, stored.time) == (step, time)
        assert stored.data["counts"].tolist() == list(value.histo.bucket)
        assert stored.data["edges"][1:].tolist() == list(value.histo.bucket_limit)
        assert stored.data["sum_squares"] == value.histo.sum_squares
    ((step, time, value),) = events["image"]
    (stored,) = run.values("image")
    assert (stored.step, stored.time, stored.data["image"].tobytes()) == (step, time, value.image.encoded_image_string)
    ((step, time, value),) = events["sound"]
    (stored,) = run.values("sound")
    assert (stored.step, stored.data["samples"].tobytes()) == (step, value.audio.encoded_audio_string)
    assert stored.data["rate"] == 8000
    ((step, time, _),) = events["notes/first/text_summary"]
    assert rows_of(run, "notes", "first") == [(step, time, "some text")]
    ((step, _, value),) = events["curve"]
    np.testing.assert_array_equal(run.value("curve", step)["y"], make_ndarray(value.tensor)[4])
    np.testing.assert_array_equal(run.value("tensor")["data"], np.arange(6.0).reshape(2, 3))
    assert run.value("mesh_VERTEX")["data"].shape == (1, 4, 3)
    assert run.about["created"] == min(time for its in events.values() for _, time, _ in its) or run.about["created"] > 0
    assert run.state == "finished"


def test_imported_twice_nothing_changes_and_what_files_got_since_is_added(imported, tmp_path):
    writer = SummaryWriter(tmp_path / "logs")
    for step in range(100):
        writer.add_scalar("loss", step, step)
    writer.add_histogram("weights", torch.randn(10), 1)
    writer.add_scalar("weights/norm", 1.0, 1)
    writer.flush()
    _, runs = imported(tmp_path / "logs")
    cursor = runs["logs"].about["cursor"]
    told, runs = imported(tmp_path / "logs")
    assert "was there already" in told.output and runs["logs"].about["cursor"] == cursor
    writer.add_scalar("other", 1.0, 1)
    for step in range(100, 150):
        writer.add_scalar("loss", step, step)
    writer.add_histogram("weights", torch.randn(10), 2)
    writer.close()
    told, runs = imported(tmp_path / "logs")
    assert "stored" in told.output
    assert [row[0] for row in rows_of(runs["logs"], "metrics", "loss")] == list(range(150))
    assert [value.step for value in runs["logs"].values("weights")] == [1, 2]
    assert rows_of(runs["logs"], "weights rows", "norm")[0][2] == 1.0


def test_a_damaged_file_is_named_and_the_rest_is_imported(imported, tmp_path):
    for name in ("a", "b", "c"):
        with SummaryWriter(tmp_path / "logs" / name) as writer:
            for step in range(50):
                writer.add_scalar("loss", step, step)
    (damaged,) = (tmp_path / "logs" / "a").iterdir()
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 255
    damaged.write_bytes(content)
    (cut_off,) = (tmp_path / "logs" / "b").iterdir()
    cut_off.write_bytes(cut_off.read_bytes()[:-5])
    told, runs = imported(tmp_path / "logs", status=1)
    assert str(damaged) in told.output and "damaged from byte" in told.output
    counts = {name: len(rows_of(run, "metrics", "loss")) for name, run in runs.items()}
    assert 10 < counts["a"] < 40 and counts["b"] == 49 and counts["c"] == 50


def test_files_that_are_being_written_are_followed(reader, app, tmp_path):
    from streamvis.reading.other_programs import follow_events

    steps = iter(range(6))

    def write(seconds):
        step = next(steps)
        if step == 5:
            raise KeyboardInterrupt
        with SummaryWriter(tmp_path / "logs" / f"run {step // 3}") as writer:
            writer.add_scalar("loss", step, step)

    write(0)
    told = []
    follow_events(reader.connection, tmp_path / "logs", app=app, tell=told.append, wait=write)
    runs = {run.name: run for run in reader.runs(app)}
    assert {name: [row[0] for row in rows_of(run, "metrics", "loss")] for name, run in runs.items()} == {
        "run 0": [0, 1, 2],
        "run 1": [3, 4],
    }
    assert {run.state for run in runs.values()} == {"finished"} and len(told) == 2
