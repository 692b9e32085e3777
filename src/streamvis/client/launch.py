"""Which attempt of a run this process belongs to, by what the program that launched it left in the environment. Pure.

Ranks of one launch find the same, and a launch that follows finds something else: torchrun counts its restarts, Slurm those of a
job, and srun numbers what it starts inside a job.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from streamvis.errors import UsageError

__all__ = ["attempt_of"]

_TORCHRUN_WITHOUT_ID = "none"
"""What torchrun says for --rdzv-id where none was given: the same at every launch."""


def attempt_of(environment: Mapping[str, str], given: str | None, *, resumes: bool) -> str:
    """The attempt that was given, or that the environment tells, else a new one.

    Raises UsageError for a rank but the first that resumes, and whose attempt is not known: it would take back what others sent.
    """
    if given:
        return given
    parts = []
    if job := environment.get("SLURM_JOB_ID"):
        parts.append(f"slurm {job}.{environment.get('SLURM_STEP_ID', '')}.{environment.get('SLURM_RESTART_COUNT', '0')}")
    launch = environment.get("TORCHELASTIC_RUN_ID")
    if launch and (parts or launch != _TORCHRUN_WITHOUT_ID):
        parts.append(f"torchrun {launch}.{environment.get('TORCHELASTIC_RESTART_COUNT', '0')}")
    if parts:
        return ", ".join(parts)
    if resumes and environment.get("RANK", "0") != "0":
        raise UsageError(
            "init(resume_at=...) on one of several ranks, and nothing tells which launch they are of. Give all ranks of a "
            "launch the same name, and the next launch another: init(..., attempt=NAME), or torchrun --rdzv-id=NAME."
        )
    return os.urandom(8).hex()
