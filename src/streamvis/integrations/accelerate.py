"""`StreamvisTracker` for `accelerate`: `Accelerator(log_with=StreamvisTracker("my app"))`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accelerate.tracking import GeneralTracker, on_main_process

from streamvis.client.active import ActiveRun
from streamvis.client.client import Client
from streamvis.integrations.sending import Sending

__all__ = ["StreamvisTracker"]


class StreamvisTracker(GeneralTracker):
    """Sends what `accelerator.log` is given, from the main process; `tracker` is its client.

    Args:
        app: the name that links runs and pages; by default "accelerate"
        client: a client, or an active run, to send to
        options: of `streamvis.run`, such as `url`, `name`, `run` and `resume_at`
    """

    name = "streamvis"
    requires_logging_directory = False

    def __init__(self, app: str | None = None, *, client: Client | ActiveRun | None = None, **options: Any) -> None:
        super().__init__()
        self._sending = Sending(app, default_app="accelerate", client=client, **options)

    @property
    def tracker(self) -> Client:
        return self._sending.client

    @on_main_process
    def store_init_configuration(self, values: Mapping[str, Any]) -> None:
        self._sending.begin(values)

    @on_main_process
    def log(self, values: Mapping[str, Any], step: int | None = None, **kwargs: Any) -> None:
        self._sending.log(values, self._sending.count("") if step is None else step)

    @on_main_process
    def log_images(self, values: Mapping[str, Any], step: int | None = None, **kwargs: Any) -> None:
        step = self._sending.count("") if step is None else step
        for name, images in values.items():
            self._sending.send_value(step, name, {"image": images})

    @on_main_process
    def finish(self) -> None:
        self._sending.end()
