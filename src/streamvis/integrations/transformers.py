"""`StreamvisCallback` for `transformers.Trainer`: `Trainer(..., callbacks=[StreamvisCallback("my app")])`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from streamvis.client.active import ActiveRun
from streamvis.client.client import Client
from streamvis.integrations.sending import Sending

__all__ = ["StreamvisCallback"]

_BEGINS = {"eval_": "eval/", "test_": "test/"}


class StreamvisCallback(TrainerCallback):
    """Sends what the trainer logs, under the keys train, eval and test. The first process sends.

    The config is that of the model and the training arguments. The run of its own ends with the training; an evaluation after
    that joins it again.

    Args:
        app: the name that links runs and pages; by default "transformers"
        client: a client, or an active run, to send to
        options: of `streamvis.run`, such as `url`, `name`, `run` and `resume_at`
    """

    def __init__(self, app: str | None = None, *, client: Client | ActiveRun | None = None, **options: Any) -> None:
        self._sending = Sending(app, default_app="transformers", client=client, **options)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        if state.is_world_process_zero:
            config = {}
            for name in ("config", "peft_config"):
                if (part := getattr(model, name, None)) is not None:
                    config |= {"model" if name == "config" else name: part}
            self._sending.begin({**args.to_sanitized_dict(), **config})

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if state.is_world_process_zero and logs:
            metrics = dict(logs)
            epoch = metrics.pop("epoch", state.epoch)
            self._sending.log({_name(name): cell for name, cell in metrics.items()}, state.global_step, epoch=epoch)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            self._sending.end()


def _name(name: str) -> str:
    for begin, key in _BEGINS.items():
        if name.startswith(begin) and len(name) > len(begin):
            return key + name.removeprefix(begin)
    return f"train/{name}"
