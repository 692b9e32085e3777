"""`StreamvisCallback` for Optuna: `study.optimize(objective, callbacks=[StreamvisCallback()])`."""

from __future__ import annotations

from typing import Any

import optuna

from streamvis.integrations.sending import Sending

__all__ = ["StreamvisCallback"]

_STATES = {optuna.trial.TrialState.FAIL: "failed"}


class StreamvisCallback:
    """Makes a run of each trial when it has ended: its parameters are the config, and what it reported are rows.

    Trials may run in parallel, in threads and in processes. For rows while a trial runs, begin a run in the objective:
    `with streamvis.run("my app", trial.params): ...`.

    Args:
        app: the name that links runs and pages; by default the study's name
        options: of `streamvis.run`, such as `url`
    """

    def __init__(self, app: str | None = None, **options: Any) -> None:
        self._app, self._options = app, options

    def __call__(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        config = {**trial.params, "trial": trial.number, "trial_state": trial.state.name.lower(), **trial.user_attrs}
        name = f"trial {trial.number}"
        sending = Sending(self._app or study.study_name, default_app="optuna", name=name, **self._options)
        sending.begin(config)
        for step, value in sorted(trial.intermediate_values.items()):
            sending.log({"trial/intermediate": value}, step)
        if trial.values:
            names = study.metric_names or ["value", *(f"value {i}" for i in range(1, len(trial.values)))]
            last = max(trial.intermediate_values, default=0)
            sending.log({f"trial/{name}": value for name, value in zip(names, trial.values, strict=True)}, last)
        sending.end(_STATES.get(trial.state, "finished"), waits=False)
