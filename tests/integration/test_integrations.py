"""Integrations that need nothing large: what programs give them is what the store has."""

import logging
import sys
import threading

import numpy as np
import pytest

import streamvis
from streamvis import Client
from streamvis.integrations.logging import StreamvisHandler
from streamvis.integrations.sending import Sending, is_main_process
from streamvis.integrations.system import SystemMonitor
from streamvis.integrations.tensorboard import SummaryWriter
from support.conditions import wait_until


@pytest.fixture
def reader(shared_endpoint, monkeypatch):
    monkeypatch.setenv("STREAMVIS_URL", shared_endpoint.url)
    with streamvis.open(shared_endpoint.url) as reader:
        yield reader


@pytest.fixture
def folder(tmp_path, request):
    """A folder of logs whose app is the test's own."""
    return tmp_path / request.node.name / "first"


def only_run(reader, app):
    (run,) = reader.runs(app)
    return run


def test_a_summary_writer_s_scalars_texts_and_hyperparameters_are_rows_and_config(reader, folder):
    with SummaryWriter(folder) as writer:
        writer.add_hparams({"lr": 0.1, "name": "x"}, {"hparam/acc": 0.9})
        for step in range(5):
            writer.add_scalar("loss", np.float32(step), step)
            writer.add_scalars("accuracy", {"train": step, "val": step / 2}, step, walltime=100.0 + step)
        writer.add_scalar("loss", 7.0, 2)
        writer.add_scalar("uncounted", np.array([1.5]))
        writer.add_scalar("uncounted", 2.5)
        writer.add_text("notes/first", "some *text*", 3)
        writer.flush()
    run = only_run(reader, folder.parent.name)
    assert (run.name, run.state, run.config) == ("first", "finished", {"lr": 0.1, "name": "x"})
    metrics = run.rows("metrics")
    of = {name: metrics.filter(metrics[name].is_valid()).select(["step", name]).to_pydict() for name in ("loss", "uncounted")}
    assert of["loss"] == {"step": [0, 1, 2, 3, 4, 2], "loss": [0, 1, 2, 3, 4, 7]}
    assert of["uncounted"] == {"step": [0, 1], "uncounted": [1.5, 2.5]}
    accuracy = run.rows("accuracy").select(["step", "train", "val", ".time"]).to_pydict()
    assert accuracy == {
        "step": list(range(5)),
        "train": list(range(5)),
        "val": [0, 0.5, 1, 1.5, 2],
        ".time": [100.0, 101, 102, 103, 104],
    }
    assert run.rows("notes").select(["step", "first"]).to_pylist() == [{"step": 3, "first": "some *text*"}]
    assert run.rows("hparam")["acc"].to_pylist() == [0.9]


def test_a_summary_writer_s_pictures_and_arrays_are_values(reader, folder):
    import matplotlib.pyplot as plt

    random = np.random.default_rng(1)
    image, images = random.random((3, 8, 6)), random.integers(0, 255, (2, 1, 8, 6)).astype(np.uint8)
    with SummaryWriter(folder) as writer:
        writer.add_histogram("weights", np.array([0.0, 1.0, np.nan, 2.0]), 1)
        writer.add_histogram("weights", np.arange(10), 2, bins=5)
        writer.add_histogram_raw("raw", 0, 3, 2, 3, 5, [1, 2, 3], [1, 0, 1], 1)
        writer.add_image("image", image, 1)
        writer.add_images("images", images, 1)
        writer.add_image_with_boxes("boxes", image, np.array([[1, 1, 4, 4]]), 1, labels="a")
        writer.add_figure("figure", plt.figure(), 1)
        writer.add_video("video", random.random((1, 3, 3, 8, 6)), 1)
        writer.add_audio("sound", np.linspace(-1, 1, 100)[None], 1, sample_rate=8000)
        writer.add_embedding(np.eye(4), ["a", "b", "c", "d"], random.random((4, 3, 8, 8)), 1)
        writer.add_pr_curve("curve", np.array([0, 1, 1, 0]), np.array([0.1, 0.9, 0.8, 0.3]), 1, num_thresholds=11)
        writer.add_mesh("mesh", np.zeros((1, 4, 3)), global_step=1)
        writer.add_tensor("tensor", np.arange(3), 1)
        writer.add_graph("a model")
        writer.add_custom_scalars_multilinechart(["loss/train", "loss/val"], "mine", "Losses")
    run = only_run(reader, folder.parent.name)
    value = run.value
    assert value("weights", step=1)["counts"].sum() == 3 and len(value("weights", step=1)["edges"]) == 65
    assert value("weights", step=2)["counts"].tolist() == [2] * 5
    assert value("raw")["edges"].tolist() == [0, 1, 2, 3] and value("raw")["sum_squares"] == 5
    np.testing.assert_array_equal(value("image")["image"], image.transpose(1, 2, 0))
    np.testing.assert_array_equal(value("images")["image"], images[:, 0])
    assert value("boxes")["image"].shape == (8, 6, 3) and (value("boxes")["image"][1, 1] == [255, 0, 0]).all()
    assert value("figure")["image"][1:4].tobytes() == b"PNG"
    assert value("video")["image"][0][:4].tobytes() == b"GIF8"
    assert value("sound")["samples"].shape == (100,) and value("sound")["rate"] == 8000
    assert value("embedding/default")["label"] == ["a", "b", "c", "d"]
    np.testing.assert_array_equal(value("embedding/default vectors")["vectors"], np.eye(4))
    assert value("embedding/default images")["image"].shape == (4, 8, 8, 3)
    assert value("curve")["tp"].tolist() == [2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 0]
    assert value("mesh")["vertices"].shape == (1, 4, 3) and value("tensor")["data"].tolist() == [0, 1, 2]
    assert value("graph") == {"model": "a model"}
    assert not plt.get_fignums()


def test_writers_of_one_folder_continue_one_run_and_purge_step_takes_back_what_follows(reader, folder):
    for purge_step, steps in ((None, range(5)), (None, range(5, 7)), (3, range(3, 5))):
        with SummaryWriter(folder, purge_step=purge_step) as writer:
            for step in steps:
                writer.add_scalar("loss", step + (purge_step or 0), step)
    assert only_run(reader, folder.parent.name).rows("metrics")["loss"].to_pylist() == [0, 1, 2, 6, 7]


def test_a_writer_for_a_folder_whose_run_was_deleted_starts_another(reader, folder):
    for _ in range(2):
        with SummaryWriter(folder) as writer:
            writer.add_scalar("loss", 1.0, 0)
        run = only_run(reader, folder.parent.name)
        reader.connection.change("POST", "runs", "delete", body={"runs": [run.id]})


def test_an_exception_in_a_writer_s_block_ends_the_run_as_failed(reader, folder):
    with pytest.raises(ZeroDivisionError), SummaryWriter(folder) as writer:
        writer.add_scalar("loss", 1 / 0, 0)
    assert only_run(reader, folder.parent.name).state == "failed"


def test_what_cannot_be_sent_is_a_warning_and_the_rest_is_sent(reader, request, caplog):
    sending = Sending(request.node.name, default_app="")
    for step in (-1, 2.5):
        sending.log({"good": 1.0, "bad": 1j, "worse": np.array(1j), "x" * 1100: 1}, step)
    sending.end()
    rows = only_run(reader, request.node.name).rows("metrics")
    assert rows.select(["step", "good"]).to_pylist() == [{"step": 0, "good": 1.0}, {"step": 2, "good": 1.0}]
    assert "complex" in caplog.text
    assert caplog.text.count("1100 characters") == 1


def test_an_integration_without_an_app_sends_to_the_active_run_and_leaves_it_open(reader, request):
    with streamvis.run(request.node.name, {"a": 1}) as run:
        sending = Sending(None, default_app="other")
        sending.begin({"b": 2})
        assert run.client.flush()
        before = reader.run(run.id).about["cursor"]
        sending.begin({"b": 2})
        assert run.client.flush() and reader.run(run.id).about["cursor"] == before
        sending.log({"train/loss": 1.0}, 0, epoch=3)
        sending.end("failed")
        assert run.client.flush()
        assert reader.run(run.id).state == "running"
    stored = only_run(reader, request.node.name)
    assert stored.config == {"a": 1} and stored.value("hyperparameters") == {"config": {"b": 2}}
    assert stored.rows("train").select(["loss", "epoch"]).to_pylist() == [{"loss": 1.0, "epoch": 3}]


def test_what_is_logged_after_the_end_joins_the_run_again(reader, request):
    sending = Sending(request.node.name, default_app="")
    reserved = sending.run
    for step in range(2):
        sending.log({"loss": step}, step)
        sending.end()
    run = only_run(reader, request.node.name)
    assert (run.id, run.rows("metrics")["loss"].to_pylist()) == (reserved, [0, 1])


def test_an_end_that_nobody_waits_for_comes_also_when_the_program_ends_at_once(reader, request, start_program):
    program = f"""
from streamvis.integrations.sending import Sending
sending = Sending({request.node.name!r}, default_app="")
sending.log({{"loss": 1.0}}, 0)
sending.end("failed", waits=False)
"""
    assert start_program([sys.executable, "-c", program]).wait() == 0
    run = only_run(reader, request.node.name)
    assert (run.state, run.rows("metrics")["loss"].to_pylist()) == ("failed", [1.0])


def test_only_the_first_of_several_ranks_sends(monkeypatch):
    assert is_main_process()
    monkeypatch.setenv("RANK", "0")
    assert is_main_process()
    monkeypatch.setenv("SLURM_PROCID", "2")
    assert not is_main_process()


def test_log_lines_are_rows_and_those_of_streamvis_are_not(reader, request):
    logger = logging.getLogger(request.node.name)
    logger.setLevel(logging.DEBUG)
    with Client(reader.url, request.node.name) as client:
        client.init()
        handler = StreamvisHandler(client=client, level=logging.INFO)
        for its in (logger, logging.getLogger("streamvis.hints")):
            its.addHandler(handler)
        try:
            logger.info("first %s", "line")
            logger.debug("too detailed")
            logging.getLogger("streamvis.hints").warning("ours")
            thread = threading.Thread(target=logger.error, args=("from a thread",))
            thread.start()
            thread.join()
            ours = threading.Thread(target=logger.error, args=("from ours",), name="streamvis-sender")
            ours.start()
            ours.join()
        finally:
            for its in (logger, logging.getLogger("streamvis.hints")):
                its.removeHandler(handler)
    rows = only_run(reader, request.node.name).rows("log").select(["step", "text"]).to_pydict()
    name = request.node.name
    assert rows == {"step": [0, 1], "text": [f"INFO {name}: first line", f"ERROR {name}: from a thread"]}


def test_the_system_is_sent_while_the_monitor_runs(reader, request):
    with SystemMonitor(request.node.name, every_s=0.02):
        rows = wait_until(
            lambda: reader.runs(request.node.name) and "system" in reader.runs(request.node.name)[0].keys, what="a row"
        )
    run = only_run(reader, request.node.name)
    rows = run.rows("system")
    assert run.state == "finished" and rows["step"].to_pylist() == list(range(rows.num_rows))
    assert all(0 < percent <= 100 for percent in rows["memory_percent"].to_pylist())
    assert {"processor_percent", "process_memory_bytes", "disk_percent", "network_receive_bytes_per_s"} <= {*rows.column_names}


def test_a_watched_model_sends_norms_and_histograms(reader, request):
    torch = pytest.importorskip("torch")
    from streamvis.integrations.torch import histogram_of, watch

    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watched = watch(model, every=2, histograms=1, bins=4, app=request.node.name)
    norms = []
    for step in range(4):
        model(torch.ones(1, 3)).sum().backward()
        if step % 2 == 0:
            norms.append([one.norm().item() for part in model.parameters() for one in (part, part.grad)])
        optimizer.step()
        optimizer.zero_grad()
    watched.remove()
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    run = only_run(reader, request.node.name)
    weights, gradients = (run.rows(key).select(["step", "weight", "bias"]) for key in ("weights", "gradients"))
    assert weights["step"].to_pylist() == gradients["step"].to_pylist() == [0, 2]
    found = np.array([its[name].to_pylist() for name in ("weight", "bias") for its in (weights, gradients)]).T
    np.testing.assert_allclose(found, norms, rtol=1e-6)
    assert run.value("weights/weight")["counts"].sum() == 6 and "weights/bias" not in run.keys
    counts, edges = histogram_of(torch.tensor([0.0, 1.0, torch.nan, torch.inf, 4.0]), bins=4)
    assert counts.tolist() == [1, 1, 0, 1] and edges.tolist() == [0, 1, 2, 3, 4]
    counts, edges = histogram_of(torch.full((5,), torch.nan), bins=2)
    assert counts.tolist() == [0, 0] and edges.isfinite().all()
    counts, _ = histogram_of(torch.tensor([-3e38, 3e38]), bins=2)
    assert counts.tolist() == [1, 1]
