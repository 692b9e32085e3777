"""Which attempt the environment names: the same for ranks of one launch, another for the next."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys

import pytest

from streamvis.client.process.launch import attempt_of, run_of
from streamvis.errors import UsageError

SLURM = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0"}
TORCHRUN = {"TORCHELASTIC_RUN_ID": "x1", "TORCHELASTIC_RESTART_COUNT": "0"}
LAUNCHES = [
    SLURM,
    {**SLURM, "SLURM_JOB_ID": "8"},
    {**SLURM, "SLURM_STEP_ID": "1"},
    {**SLURM, "SLURM_RESTART_COUNT": "1"},
    TORCHRUN,
    {**TORCHRUN, "TORCHELASTIC_RUN_ID": "x2"},
    {**TORCHRUN, "TORCHELASTIC_RESTART_COUNT": "1"},
    {**SLURM, **TORCHRUN},
    {**SLURM, **TORCHRUN, "TORCHELASTIC_RESTART_COUNT": "1"},
]


def test_ranks_of_a_launch_agree_and_launches_differ():
    for launch in LAUNCHES:
        ranks = [{**launch, "RANK": str(rank), "SLURM_PROCID": str(rank)} for rank in range(3)]
        assert len({attempt_of(rank, None, resumes=True) for rank in ranks}) == 1
    for one, other in itertools.combinations(LAUNCHES, 2):
        assert attempt_of(one, None, resumes=True) != attempt_of(other, None, resumes=True)


def test_what_is_given_wins_and_without_anything_each_is_its_own():
    assert attempt_of({**SLURM, **TORCHRUN}, "mine", resumes=True) == "mine"
    assert attempt_of({}, None, resumes=True) != attempt_of({}, None, resumes=True)


def test_a_rank_whose_launch_is_not_known_does_not_resume():
    unnamed = {**TORCHRUN, "TORCHELASTIC_RUN_ID": "none", "RANK": "1"}
    with pytest.raises(UsageError, match="attempt=NAME"):
        attempt_of(unnamed, None, resumes=True)
    assert attempt_of(unnamed, None, resumes=False) != attempt_of(unnamed, None, resumes=False)
    assert attempt_of({**unnamed, "RANK": "0"}, None, resumes=True)


def rank_of(launch, rank):
    return {**launch, "RANK": str(rank), "SLURM_PROCID": str(rank), "WORLD_SIZE": "3"}


MPI = {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_LOCAL_SIZE": "2", "PMIX_NAMESPACE": "prterun-host-13708@1"}
INTEL = {"PMI_SIZE": "4", "MPI_LOCALNRANKS": "2", "I_MPI_HYDRA_UUID": "93350000-b0e8-0ae4-1d61-06008a143c74"}
SEVERAL_MACHINES = [
    *LAUNCHES,
    {**SLURM, "SLURM_CLUSTER_NAME": "other"},
    MPI,
    {**MPI, "PMIX_NAMESPACE": "prterun-host-13709@1"},
    INTEL,
    {**INTEL, "I_MPI_HYDRA_UUID": "another"},
]


def test_ranks_of_a_launch_share_a_run_with_each_other_alone():
    runs = []
    for launch in SEVERAL_MACHINES:
        (run,) = {run_of(rank_of(launch, rank), "app") for rank in range(3)}
        assert re.fullmatch(r"[a-z0-9-]{1,64}", run)
        runs.append(run)
    restarted = [at for at, launch in enumerate(LAUNCHES) if any("RESTART" in name and launch[name] == "1" for name in launch)]
    assert len(set(runs)) == len(runs) - len(restarted)
    assert run_of(SLURM, "app") != run_of(SLURM, "other app")


def test_a_restart_is_another_attempt_of_the_same_run():
    for one, name in ((SLURM, "SLURM_RESTART_COUNT"), (TORCHRUN, "TORCHELASTIC_RESTART_COUNT")):
        again = {**one, name: "2"}
        assert run_of(one, "app") == run_of(again, "app")
        assert attempt_of(one, None, resumes=True) != attempt_of(again, None, resumes=True)


def test_a_process_that_nothing_launched_has_no_launch():
    assert run_of({}, "app") is None and run_of({"RANK": "0", "WORLD_SIZE": "1"}, "app") is None


@pytest.mark.parametrize(
    "unnamed",
    [
        {"TORCHELASTIC_RUN_ID": "none", "RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"},
        {"PMI_RANK": "0", "PMI_SIZE": "4", "MPI_LOCALNRANKS": "2"},
        {"RANK": "0", "WORLD_SIZE": "2"},
    ],
)
def test_a_rank_whose_launch_is_not_known_has_no_run_of_its_launch(unnamed):
    with pytest.raises(UsageError, match="same id"):
        run_of(unnamed, "app")


RANKS = """
import subprocess, sys
rank, size, local_size, through_a_shell = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4] == "shell"
tell = "import os; from streamvis.client.process.launch import run_of; print(run_of(os.environ, 'app'))"
for number in range(2):
    command = [sys.executable, "-c", tell]
    if through_a_shell and number:
        command = ["sh", "-c", f'"$0" -c "$1"; :', sys.executable, tell]
    env = {**__import__("os").environ, rank: str(number), size: "2", local_size: "2"}
    subprocess.run(command, env=env, check=True)
"""


@pytest.mark.parametrize("names", [("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"), ("PMI_RANK", "PMI_SIZE", "MPI_LOCALNRANKS")])
def test_ranks_of_one_machine_that_were_told_no_name_are_known_by_who_started_them(names):
    command = [sys.executable, "-c", RANKS, *names]
    told = [subprocess.run([*command, how], capture_output=True, text=True, check=True).stdout.split() for how in ("shell", "")]
    assert all(len(runs) == 2 and len(set(runs)) == 1 for runs in told)
    assert told[0] != told[1]
