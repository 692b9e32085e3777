"""`StreamvisCallback` for LightGBM: `lightgbm.train(..., callbacks=[StreamvisCallback("my app")])`."""

from __future__ import annotations

from typing import Any

from lightgbm.callback import CallbackEnv

from streamvis.integrations.sending import Sending, is_main_process

__all__ = ["StreamvisCallback"]


class StreamvisCallback:
    """Sends the results of each iteration, one key for each data set; the parameters are the config.

    LightGBM does not tell callbacks when early stopping ends the training: the run of its own ends then with the program, or by
    `close`.

    Args:
        app: the name that links runs and pages; by default "lightgbm"
        options: of `streamvis.run`, and `client`
    """

    order = 25
    before_iteration = False

    def __init__(self, app: str | None = None, **options: Any) -> None:
        self._sending, self._sends = Sending(app, default_app="lightgbm", **options), is_main_process()

    def __call__(self, env: CallbackEnv) -> None:
        if not self._sends:
            return
        if env.iteration == env.begin_iteration:
            self._sending.begin(env.params)
        found = {}
        for data, name, value, _, *deviation in env.evaluation_result_list or ():
            found |= {f"{data}/{name}": value, **({f"{data}/{name} std": deviation[0]} if deviation and deviation[0] else {})}
        self._sending.log(found, env.iteration)
        if env.iteration == env.end_iteration - 1:
            self._sending.end()

    def close(self) -> None:
        """End the run, as after early stopping."""
        self._sending.end()
