"""Which launch this process belongs to, by what the program that launched it left in the environment.

Ranks of one launch find the same name, and the next launch has another: torchrun's id, Slurm's job and step, what MPI tells its
ranks. Where ranks of one machine were told no name, the process that started them all is one. A launch may be restarted: torchrun
and Slurm count that. Each restart is another attempt of the same launch.

Of these processes one says where the run can be watched: the process that began it, not one that `multiprocessing` started, and
of those that join a run the first rank alone.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from streamvis.client.notices import tell
from streamvis.client.outbox import Begin
from streamvis.client.process.imports import undisturbed
from streamvis.client.spool.folders import boot
from streamvis.errors import UsageError
from streamvis.log_lines import one_line
from streamvis.naming import readable_name

__all__ = ["LAUNCH", "attempt_of", "launch_of", "run_of", "tell_page"]

log = logging.getLogger("streamvis")

LAUNCH = "launch"
"""What `init(run=...)` takes in place of an id: the run of this launch."""
_TORCHRUN_WITHOUT_ID = "none"
"""What torchrun says for --rdzv-id where none was given: the same at every launch."""
_RANKS = (
    ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"),  # torchrun
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE"),  # Open MPI
    ("PMI_RANK", "PMI_SIZE", "MPI_LOCALNRANKS"),  # MPICH, Intel MPI
)
"""Variables with a process's rank, how many ranks there are, and how many of them on its machine."""


def attempt_of(environment: Mapping[str, str], given: str | None, *, resumes: bool) -> str:
    """The attempt that was given, or that the environment tells, else a new one.

    Raises UsageError for a rank but the first that resumes, and whose attempt is not known: it would take back what others sent.
    """
    if given:
        return given
    if launch := launch_of(environment):
        restarts = (environment.get(f"{name}_RESTART_COUNT", "0") for name in ("SLURM", "TORCHELASTIC"))
        return f"{launch}, restarts {'.'.join(restarts)}"
    if resumes and any(environment.get(rank, "0") != "0" for rank, _, _ in _RANKS):
        raise UsageError(
            "init(resume_at=...) on one of several ranks, and nothing tells which launch they are of. Give all ranks of a "
            "launch the same name, and the next launch another: init(..., attempt=NAME), or torchrun --rdzv-id=NAME."
        )
    return os.urandom(8).hex()


def run_of(environment: Mapping[str, str], app: str) -> str | None:
    """The id of the run that all processes of this launch share under an app; None for a process that was launched by itself.

    Raises UsageError for one of several ranks whose launch is not known.
    """
    if launch := launch_of(environment):
        return f"launch-{hashlib.sha256(json.dumps([app, launch]).encode()).hexdigest()[:20]}"
    if any(environment.get(size, "1") != "1" for _, size, _ in _RANKS):
        raise UsageError(
            'init(run="launch") on one of several ranks, and nothing tells which launch they are of. Give all ranks of a launch '
            "the same id, and the next launch another: init(run=ID), or torchrun --rdzv-id=NAME."
        )
    return None


def launch_of(environment: Mapping[str, str]) -> str | None:
    """The name of the launch, whatever it was restarted since; None where nothing tells it."""
    parts = []
    if job := environment.get("SLURM_JOB_ID"):
        parts.append(f"slurm {environment.get('SLURM_CLUSTER_NAME', '')} {job}.{environment.get('SLURM_STEP_ID', '')}")
    if (launch := environment.get("TORCHELASTIC_RUN_ID") or _TORCHRUN_WITHOUT_ID) != _TORCHRUN_WITHOUT_ID:
        parts.append(f"torchrun {launch}")
    if launch := environment.get("I_MPI_HYDRA_UUID"):
        parts.append(f"mpi {launch}")
    if not parts:
        for rank, size, local_size in _RANKS:
            if rank in environment and environment.get(size) == environment.get(local_size, ""):
                return _starter(rank)
        if launch := environment.get("PMIX_NAMESPACE"):
            parts.append(f"mpi {launch}")
    return ", ".join(parts) or None


def _starter(rank: str) -> str:
    """The nearest ancestor without the variable: between it and the ranks there may be shells and other wrappers."""
    with undisturbed():
        import psutil

    started = psutil.Process()
    for ancestor in started.parents():
        try:
            if rank not in ancestor.environ():
                break
        except psutil.Error:
            break  # another user's, so not one of the ranks
    else:
        ancestor = started
    return f"{boot() or platform.node()} {ancestor.pid} {_start_of(ancestor)}"


def _start_of(process: Any) -> str:
    """When it started, the same for all who ask: psutil computes a time of day, which follows the clock."""
    try:
        return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return f"{process.create_time():.0f}"


def tell_page(begin: Begin, page: str) -> None:
    """Say where the run is; where its page is not known, the name alone goes to the log, at the level INFO."""
    if begin.joins and not any(os.environ.get(rank) == "0" for rank, _, _ in _RANKS):
        return
    processes = sys.modules.get("multiprocessing.process")
    if processes is not None and processes.parent_process() is not None:
        return
    name = one_line(begin.name or readable_name(begin.run))
    if page:
        tell("the run %s is at %s", name, one_line(page))
    else:
        log.info("Streamvis: the run is %s", name)
