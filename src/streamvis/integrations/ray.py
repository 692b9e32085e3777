"""`StreamvisCallback` for Ray Tune: `RunConfig(callbacks=[StreamvisCallback("my app")])`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray.tune.logger import LoggerCallback

from streamvis.integrations.sending import Sending

__all__ = ["StreamvisCallback"]

_OURS = ("config", "done", "trial_id", "date", "hostname", "node_ip", "pid", "experiment_tag", "training_iteration", "timestamp")
"""What Ray adds to each result and is the same in all, or stands in the step and the time."""


class StreamvisCallback(LoggerCallback):
    """Makes a run of each trial, with its parameters as config and its results as rows. The process of the tuner sends.

    Args:
        app: the name that links runs and pages; by default "ray"
        options: of `streamvis.run`, such as `url`
    """

    def __init__(self, app: str | None = None, **options: Any) -> None:
        self._app, self._options = app or "ray", options
        self._trials: dict[str, Sending] = {}

    def log_trial_start(self, trial: Any) -> None:
        if trial.trial_id not in self._trials:  # one that continues after a pause is started again
            sending = Sending(self._app, default_app="ray", name=str(trial), **self._options)
            sending.begin({**trial.config, "trial_id": trial.trial_id})
            self._trials[trial.trial_id] = sending

    def log_trial_result(self, iteration: int, trial: Any, result: Mapping[str, Any]) -> None:
        self.log_trial_start(trial)
        metrics = {name: cell for name, cell in result.items() if name not in _OURS}
        self._trials[trial.trial_id].log(metrics, result.get("training_iteration", iteration))

    def log_trial_end(self, trial: Any, failed: bool = False) -> None:
        # One that failed may be started again: it continues its run.
        find = self._trials.get if failed else self._trials.pop
        if (sending := find(trial.trial_id, None)) is not None:
            sending.end("failed" if failed else "finished", waits=False)
