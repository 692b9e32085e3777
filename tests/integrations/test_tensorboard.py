"""The writer beside PyTorch's: it takes the same calls, and has what event files have."""

import inspect

import numpy as np
import pytest
import torch
from torch.utils import tensorboard as theirs

from streamvis.integrations.tensorboard import SummaryWriter

pytestmark = pytest.mark.timeout(300)


def test_the_writer_has_the_whole_interface_of_pytorch_s():
    for name, method in inspect.getmembers(theirs.SummaryWriter, inspect.isfunction):
        if name.startswith("_") and name not in ("__init__", "__enter__", "__exit__"):
            continue
        ours = list(inspect.signature(getattr(SummaryWriter, name)).parameters.values())
        for place, parameter in enumerate(inspect.signature(method).parameters.values()):
            if name == "__exit__":
                continue
            assert ours[place].name == parameter.name, f"{name}: {parameter.name}"
            assert (ours[place].default is inspect.Parameter.empty) == (parameter.default is inspect.Parameter.empty)


@pytest.mark.parametrize("shape", [(3, 8, 6), (1, 8, 6)])
def test_tensors_are_taken_as_arrays_are(shape, reader, tmp_path, app):
    image = torch.rand(shape)
    with SummaryWriter(tmp_path / app / "run") as writer:
        writer.add_scalar("loss", torch.tensor(1.5, requires_grad=True), 1)
        writer.add_image("image", image, 1)
        writer.add_histogram("weights", torch.randn(1000, dtype=torch.bfloat16), 1)
        writer.add_pr_curve("curve", torch.randint(2, (50,)), torch.rand(50), 1)
        writer.add_video("video", torch.rand(2, 3, 3, 8, 6), 1)
        writer.add_embedding(torch.randn(5, 3), label_img=torch.rand(5, 3, 8, 8), global_step=1)
        writer.add_graph(torch.nn.Linear(2, 2), torch.zeros(1, 2))
    (run,) = reader.runs(app)
    assert run.rows("metrics")["loss"].to_pylist() == [1.5]
    wanted = image.permute(1, 2, 0).numpy() if shape[0] == 3 else image[0].numpy()
    np.testing.assert_array_equal(run.value("image")["image"], wanted)
    assert run.value("weights")["counts"].sum() == 1000
    assert len(run.value("video")["image"]) == 2
    assert "Linear" in run.value("graph")["model"]


def test_precision_and_recall_are_those_of_pytorch_s_writer(reader, tmp_path, app):
    from torch.utils.tensorboard.summary import compute_curve

    labels, predictions = np.random.default_rng(1).integers(0, 2, 200), np.random.default_rng(2).random(200)
    with SummaryWriter(tmp_path / app / "run") as writer:
        writer.add_pr_curve("curve", labels, predictions, 0)
    (run,) = reader.runs(app)
    found = run.value("curve")
    theirs = dict(zip(("tp", "fp", "tn", "fn", "y", "x"), compute_curve(labels, predictions, 127), strict=True))
    for name, cells in theirs.items():
        np.testing.assert_allclose(found[name], cells)
