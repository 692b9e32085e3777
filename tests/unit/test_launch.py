"""Which attempt the environment names: the same for ranks of one launch, another for the next."""

from __future__ import annotations

import itertools

import pytest

from streamvis.client.launch import attempt_of
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
