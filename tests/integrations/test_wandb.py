"""A folder that the real wandb wrote offline: what is imported is what was logged."""

import math

import numpy as np
import pytest
import wandb
from click.testing import CliRunner
from PIL import Image

from streamvis.cli import cli
from streamvis.errors import StreamvisError
from streamvis.reading.other_programs import sources_in

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with one run of everything."""
    tmp_path = tmp_path_factory.mktemp("wandb")
    settings = wandb.Settings(mode="offline", silent=True, root_dir=str(tmp_path))
    config = {"lr": 0.1, "net": {"layers": [8, 4], "act": "relu"}}
    run = wandb.init(project="digits", name="the run", settings=settings, config=config)
    run.config.update({"late": "yes"})
    for i in range(2000):
        run.log({"train/loss": 1 / (i + 1), "accuracy": math.nan if i == 3 else i / 2000})
    run.log({"nested": {"a": 1, "b": {"c": 2.5}}, "text": "hello"})
    run.log({"weights": wandb.Histogram(np.arange(100.0), num_bins=4)})
    run.log({"noise": wandb.Image(np.full((8, 9, 3), 7, np.uint8), caption="grey")})
    run.log({"two": [wandb.Image(np.zeros((4, 4), np.uint8)), wandb.Image(np.ones((4, 4), np.uint8))]})
    run.log({"long": "x" * 100_000})
    run.alert("loss rises", "since step 3", level=wandb.AlertLevel.WARN)
    run.log({"train/loss": -1.0}, step=5000)
    run.finish()
    return tmp_path / "wandb"


def test_a_folder_is_imported_as_it_was_logged_and_once(folder, reader):
    for told in ("stored", "was there already"):
        result = CliRunner().invoke(cli, ["import", str(folder), "--url", reader.url])
        assert result.exit_code == 0 and told in result.output, result.output
    (run,) = reader.runs("digits")
    assert run.name == "the run" and run.config == {"lr": 0.1, "net": {"layers": [8, 4], "act": "relu"}, "late": "yes"}
    train = run.rows("train")
    assert train["step"].to_pylist() == [*range(2000), 5000]
    assert train["loss"].to_pylist() == [*(1 / (i + 1) for i in range(2000)), -1.0]
    metrics = run.rows("metrics").to_pylist()
    assert [row["accuracy"] for row in metrics[:3]] == [0, 1 / 2000, 2 / 2000] and math.isnan(metrics[3]["accuracy"])
    assert [row["text"] for row in metrics if row["text"]] == ["hello"]
    assert [row["long"] for row in metrics if row["long"]] == ["x" * 100_000]
    assert run.rows("nested").drop(["step", "time"]).to_pylist() == [{"a": 1, "b/c": 2.5}]
    weights = run.value("weights")
    assert weights["counts"].tolist() == [25, 25, 25, 25] and weights["edges"].tolist() == [0, 24.75, 49.5, 74.25, 99]
    noise = run.value("noise")
    (file,) = (path for path in folder.rglob("*.png") if path.name.startswith("noise"))
    assert noise["image"].tobytes() == file.read_bytes() and Image.open(file).size == (9, 8) and noise["caption"] == "grey"
    assert len(run.value("two")["image"]) == 2
    assert run.rows("alerts").drop(["time"]).to_pylist() == [
        {"step": 2004, "title": "loss rises", "text": "since step 3", "level": "warning"}
    ]
    assert abs(train["time"][0].as_py() - run.about["created"]) < 60


def test_a_file_that_is_damaged_is_read_up_to_there(folder, tmp_path):
    (whole,) = folder.rglob("*.wandb")
    content = bytearray(whole.read_bytes())
    content[len(content) // 2] ^= 1
    file = tmp_path / whole.name
    file.write_bytes(content)
    (source,) = sources_in(file)
    pieces = source.read()
    rows = []
    with pytest.raises(StreamvisError, match="is damaged from byte"):
        for piece in pieces:
            rows += [piece] if piece.key == "train" else []
    assert 0 < sum(len(piece.steps) for piece in rows) < 2000
