"""`streamvis.run` and `streamvis.log`: a run without a client and without steps."""

import numpy as np
import pytest

import streamvis
from streamvis.errors import InvalidData, UsageError


@pytest.fixture
def reader(shared_endpoint, monkeypatch):
    monkeypatch.setenv("STREAMVIS_URL", shared_endpoint.url)
    with streamvis.open(shared_endpoint.url) as reader:
        yield reader


def test_log_counts_the_step_and_sorts_rows_from_values(reader):
    with streamvis.run("active", {"lr": 0.1}) as run:
        for i in range(3):
            streamvis.log({"loss": i / 2, "train/acc": i})
        streamvis.log({"loss": 9.0, "weights": np.eye(3)}, step=10)
        run.log({"loss": 8.0})
    stored = reader.run(run.id)
    assert (stored.config, stored.state) == ({"lr": 0.1}, "finished")
    assert stored.rows("metrics").select(["step", "loss"]).to_pydict() == {"step": [0, 1, 2, 10, 11], "loss": [0, 0.5, 1, 9, 8]}
    assert stored.rows("train")["acc"].to_pylist() == [0, 1, 2]
    assert [(one.step, one.data["data"].tolist()) for one in stored.values("weights")] == [(10, np.eye(3).tolist())]


def test_a_run_that_an_exception_left_has_failed_and_is_active_no_more(reader):
    with pytest.raises(ZeroDivisionError), streamvis.run("active") as run:
        streamvis.log({"loss": 1 / 0})
    assert reader.run(run.id).state == "failed"
    with pytest.raises(UsageError, match=r"Start one first: streamvis\.run"):
        streamvis.log({"loss": 1})


def test_another_run_finishes_the_one_before(reader):
    first = streamvis.run("active")
    second = streamvis.run("active", resume_at=5, run="continued")
    streamvis.log({"loss": 1})
    assert reader.run(first.id).state == "finished"
    second.close()
    assert reader.run("continued").rows("metrics")["step"].to_pylist() == [5]


def test_a_mistake_is_an_error_on_the_caller_s_line(reader):
    with streamvis.run("active") as run:
        with pytest.raises(InvalidData, match="is not a dict"):
            streamvis.log(0.5)
        with pytest.raises(InvalidData, match="step"):
            streamvis.log({"loss": 1}, step=-1)
        streamvis.log({"loss": 1})
    assert reader.run(run.id).rows("metrics")["step"].to_pylist() == [0]
