"""Runs of several processes that something launched together, with the real torchrun where PyTorch is installed."""

import os
import sys
from functools import partial
from pathlib import Path

import pytest

from support.scripts import run_of
from support.stored import Stored


@pytest.fixture
def endpoint(shared_endpoint):
    return shared_endpoint


@pytest.fixture
def start_script(start_script):
    return partial(start_script, head=False)


RANK = """
rank = int(os.environ["RANK"])
with Client(url, app) as client:
    client.init({"lr": float("nan"), "ranks": {0, 1}} if rank == 0 else None, run="launch")
    print("run", client.run, "", flush=True)
    for step in range(20):
        client.sendl(step, f"rank {rank}", {"x": step})
"""


def test_the_ranks_of_torchrun_share_a_run_to_which_one_of_them_gives_a_config(start_script, endpoint):
    pytest.importorskip("torch")
    stored = Stored(endpoint.url)
    torchrun = [Path(sys.executable).parent / "torchrun", "--nproc-per-node", "2"]
    program = start_script(RANK, launcher=torchrun)
    assert program.wait(60) == 0, program.output()
    assert program.output().count(f"run {run_of(program)} ") == 2
    assert "another config" not in program.output()
    run = stored.run(run_of(program))
    assert run["config"] == {"lr": "NaN", "ranks": [0, 1]} and run["state"] == "finished"
    assert [stored.rows(run["run"], f"rank {rank}", "x") for rank in range(2)] == [list(range(20))] * 2


def test_a_job_that_slurm_starts_again_resumes_its_run(start_script, endpoint):
    source = """
    client = Client(url, app)
    print("run", client.init(run="launch", resume_at=int(os.environ["AT"])), flush=True)
    for step in range(int(os.environ["AT"]), 10):
        client.sendl(step, "k", {"x": int(os.environ["SLURM_RESTART_COUNT"])})
    client.close()
    """
    job = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_STEP_ID": "0", "SLURM_CLUSTER_NAME": "here"}
    runs = []
    for restart, at in enumerate((0, 6)):
        program = start_script(source, env={**job, "SLURM_RESTART_COUNT": str(restart), "AT": str(at)})
        assert program.wait() == 0, program.output()
        runs.append(run_of(program))
    assert runs[0] == runs[1]
    assert Stored(endpoint.url).rows(runs[0], "k", "x") == [0] * 6 + [1] * 4


def test_workers_that_join_without_a_config_are_not_warned(start_script, endpoint):
    source = """
    with Client(url, app) as client:
        client.init({"of": "the first"}, run="shared")
        with Client(url, app) as worker:
            worker.init(run="shared")
            worker.sendl(0, "k", {"x": 0})
            assert worker.flush()
    """
    program = start_script(source)
    assert program.wait() == 0 and program.output() == ""
    assert Stored(endpoint.url).run("shared")["config"] == {"of": "the first"}
