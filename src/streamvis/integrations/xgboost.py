"""`StreamvisCallback` for XGBoost: `xgboost.train(..., callbacks=[StreamvisCallback("my app")])`."""

from __future__ import annotations

from typing import Any

from xgboost.callback import TrainingCallback

from streamvis.integrations.sending import Sending, is_main_process

__all__ = ["StreamvisCallback"]


class StreamvisCallback(TrainingCallback):
    """Sends the newest result of each metric, one key for each data set.

    Args:
        app: the name that links runs and pages; by default "xgboost"
        config: describes the run, such as the parameters
        options: of `streamvis.run`, and `client`
    """

    def __init__(self, app: str | None = None, config: Any = None, **options: Any) -> None:
        super().__init__()
        self._sending, self._config = Sending(app, default_app="xgboost", **options), config
        self._sends = is_main_process()

    def before_training(self, model: Any) -> Any:
        if self._sends:
            self._sending.begin(self._config)
        return model

    def after_iteration(self, model: Any, epoch: int, evals_log: TrainingCallback.EvalsLog) -> bool:
        if self._sends:
            newest = {f"{data}/{name}": values[-1] for data, logged in evals_log.items() for name, values in logged.items()}
            # Cross-validation gives pairs of mean and standard deviation.
            pairs = {name: pair for name, pair in newest.items() if isinstance(pair, tuple)}
            for name, (mean, deviation) in pairs.items():
                newest |= {name: mean, f"{name} std": deviation}
            self._sending.log(newest, epoch)
        return False

    def after_training(self, model: Any) -> Any:
        if self._sends:
            self._sending.end()
        return model
