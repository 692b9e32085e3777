"""A logger for Lightning, whichever of its two names it was imported by."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from lightning_utilities.core.rank_zero import rank_zero_only

from streamvis.client.active import ActiveRun
from streamvis.client.client import Client
from streamvis.client.process.ending import state_of
from streamvis.integrations.sending import Sending

__all__ = ["LoggerMethods"]


class LoggerMethods:
    """What Lightning asks of a logger. Rank 0 sends; `experiment` is its client.

    The folder of checkpoints is named after the app and the run's id.

    Args:
        app: the name that links runs and pages; by default "lightning"
        save_dir: where Lightning keeps its checkpoints; by default the trainer's `default_root_dir`
        client: a client, or an active run, to send to
        options: of `streamvis.run`, such as `url`, `name`, `run` and `resume_at`
    """

    def __init__(
        self,
        app: str | None = None,
        *,
        save_dir: str | None = None,
        client: Client | ActiveRun | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self._sending = Sending(app, default_app="lightning", client=client, **options)
        self._save_dir = save_dir

    @property
    def name(self) -> str:
        return self._sending.app

    @property
    def version(self) -> str:
        """The id of the run."""
        return self._sending.run

    @property
    def save_dir(self) -> str | None:
        return self._save_dir

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        if rank_zero_only.rank == 0:
            metrics = dict(metrics)
            epoch = metrics.pop("epoch", None)
            step = self._sending.count("") if step is None else step
            self._sending.log(metrics, step, epoch=epoch)

    def log_hyperparams(self, params: Mapping[str, Any] | Namespace, *args: Any, **options: Any) -> None:
        if rank_zero_only.rank == 0:
            self._sending.begin(params)

    def finalize(self, status: str) -> None:
        if rank_zero_only.rank == 0:
            # Lightning says "failed" after Ctrl-C too; it calls this while it handles the exception.
            error = sys.exc_info()[1]
            state = state_of(error) if error is not None else "finished" if status in ("success", "finished") else "failed"
            self._sending.end(state)

    def experiment_of_rank_zero(self) -> Client:
        return self._sending.client
