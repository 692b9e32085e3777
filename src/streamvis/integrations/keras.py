"""`StreamvisCallback` for Keras 3: `model.fit(..., callbacks=[StreamvisCallback("my app")])`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras.callbacks import Callback

from streamvis.client.active import ActiveRun
from streamvis.client.client import Client
from streamvis.integrations.sending import Sending, is_main_process

__all__ = ["StreamvisCallback"]


class StreamvisCallback(Callback):
    """Sends the metrics of each epoch, under the key metrics, and those of batches, under the key batch. The step counts batches.

    Metrics of batches are the means over the epoch so far, as Keras gives them.

    Args:
        app: the name that links runs and pages; by default "keras"
        every: send each so many batches; 0 for epochs alone
        config: describes the run; by default what `fit` was given and the optimizer's settings
        client: a client, or an active run, to send to
        options: of `streamvis.run`, such as `url`, `name`, `run` and `resume_at`
    """

    def __init__(
        self,
        app: str | None = None,
        *,
        every: int = 1,
        config: Any = None,
        client: Client | ActiveRun | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self._sending = Sending(app, default_app="keras", client=client, **options)
        self._every, self._config = every, config
        self._step, self._epoch = options.get("resume_at") or 0, 0
        self._sends = is_main_process()

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        if self._sends:
            optimizer = getattr(self.model, "optimizer", None)
            found = {"model": self.model.name, "optimizer": optimizer.get_config() if optimizer is not None else None}
            self._sending.begin(self._config if self._config is not None else {**(self.params or {}), **found})

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        if self._sends and self._every and self._step % self._every == 0 and logs:
            self._sending.log({f"batch/{name}": cell for name, cell in logs.items()}, self._step, epoch=self._epoch)
        self._step += 1

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        if self._sends and logs:
            self._sending.log(logs, max(0, self._step - 1), epoch=epoch)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        if self._sends:
            self._sending.end()
