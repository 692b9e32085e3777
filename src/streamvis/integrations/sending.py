"""What all integrations have in common: which run they send to, which process sends, and that no training ends because of them.

An integration sends to the client that it was given; else, when it names no app, to the run that `streamvis.run` began; else to
a run of its own, which it ends. What is logged after that joins the run again.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from streamvis.addresses.endpoint import default_url
from streamvis.client.active import ActiveRun, active_run
from streamvis.client.client import Client
from streamvis.client.notices import say
from streamvis.client.values.describing import described
from streamvis.errors import InvalidData, StreamvisError
from streamvis.metrics import Keys, sorted_metrics, whole_step

__all__ = ["Sending", "is_main_process"]

_RANKS = ("RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID")
_MAX_TOLD = 100
_HYPERPARAMETERS = "hyperparameters"


class Sending:
    """The run of one integration.

    Args:
        app: of a run of its own; where it is None, `default_app` unless there is an active run
        client: a `Client` whose run was begun, or what `streamvis.run` returned; it is not ended here
        default_app: the app where none is named
        url, run, name, resume_at and options: see `streamvis.run`
    """

    def __init__(
        self,
        app: str | None,
        *,
        default_app: str,
        client: Client | ActiveRun | None = None,
        url: str | None = None,
        run: str | None = None,
        name: str | None = None,
        resume_at: int | None = None,
        **options: Any,
    ) -> None:
        self.app = app or default_app
        self._may_use_active = app is None and client is None
        self._client = client.client if isinstance(client, ActiveRun) else client
        self._is_own = client is None
        self._has_begun, self._has_config = client is not None, False
        self._described: dict[str, Any] | None = None
        self._options = {"url": url, **options}
        self._init = {"run": run, "name": name, "resume_at": resume_at}
        self._keys = Keys()
        self._counts: dict[str, int] = {}
        self._told: set[str] = set()

    @property
    def client(self) -> Client:
        """The client, for what an integration does not do: its run has begun."""
        self.begin()
        return self._found()

    @property
    def run(self) -> str:
        """The id that the run has, or will have once it has begun."""
        client = self._found()
        return client.run or (self._init["run"] if self._init["run"] not in (None, "launch") else client.reserve())

    def begin(self, config: Any = None) -> None:
        """Begin the run, unless it has begun. A later config counts where the run has none; else one that differs is a value.

        Raises what `Client` and `Client.init` raise.
        """
        client = self._found()
        told = None if config is None else described(config)
        is_news = told is not None and told != self._described
        if not self._has_begun:
            client.init(None if self._has_config else told, **self._init)
            self._has_begun, self._has_config = True, self._has_config or told is not None
            self._init = {"run": client.run, "name": None, "resume_at": None}
        elif is_news and self._is_own and not self._has_config:
            client.init(told, run=client.run)
            self._has_config = True
        elif is_news:
            with self.harmless():
                client.send(0, self._keys.of_value(_HYPERPARAMETERS), {"config": told})
        self._described = told or self._described

    def log(self, metrics: Mapping[str, Any], step: Any, *, epoch: Any = None, time: float | None = None) -> None:
        """Send metrics of any kind at a step, with `epoch` and `time` as columns of each row where they are known.

        What cannot be sent is said in a warning, and the rest is sent.
        """
        with self.harmless():
            self.begin()
            step = whole_step(step)
            beside = {name: cell for name, cell in (("epoch", epoch), ("time", time)) if cell is not None}
            rows, values = sorted_metrics(metrics)
            for key, row in rows.items():
                self.send_rows(step, key, {**row, **beside} if beside else row)
            for key, value in values.items():
                self.send_value(step, key, value)

    def send_rows(self, step: int, key: str, row: Mapping[str, Any]) -> None:
        """Send one row. A cell that cannot be sent is left out, with a warning."""
        client, key = self._found(), self._keys.of_rows(key)
        try:
            client.sendl(step, key, row)
        except InvalidData as error:
            self.tell(error)
            for column, cell in row.items():
                with self.harmless():
                    client.sendl(step, key, {column: cell})

    def send_value(self, step: Any, key: str, value: Mapping[str, Any]) -> None:
        """Send a value. One that cannot be sent is left out, with a warning."""
        with self.harmless():
            self.begin()
            self._found().send(whole_step(step), self._keys.of_value(key), value)

    def count(self, name: str) -> int:
        """0, then 1, and so on, for each name: the step of what has none."""
        self._counts[name] = self._counts.get(name, -1) + 1
        return self._counts[name]

    def end(self, state: str = "finished", *, waits: bool = True) -> None:
        """End the run where it is the integration's own, and deliver what waits, as `Client.close` does; or in a thread."""
        if self._client is None or not self._has_begun or not self._is_own:
            return
        self._has_begun = False
        if waits:
            self._client.close(state=state)
        else:
            threading.Thread(target=self._client.close, kwargs={"state": state}, name="streamvis-end", daemon=True).start()

    @contextmanager
    def harmless(self) -> Iterator[None]:
        """Errors of ours become warnings: the program that trains continues."""
        try:
            yield
        except StreamvisError as error:
            self.tell(error)

    def tell(self, error: StreamvisError | str) -> None:
        """Warn, once for each text."""
        text = str(error)
        if text not in self._told and len(self._told) < _MAX_TOLD:
            self._told.add(text)
            say("%s", text)

    def _found(self) -> Client:
        if self._client is None:
            active = active_run() if self._may_use_active else None
            if active is not None:
                self._client, self._is_own, self._has_begun = active.client, False, True
            else:
                options = {**self._options, "url": self._options["url"] or default_url()}
                self._client = Client(options.pop("url"), self.app, **options)
        return self._client


def is_main_process() -> bool:
    """Whether this is the first of the processes that train together, or the only one."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank() == 0
    return all(os.environ.get(rank, "0") == "0" for rank in _RANKS)
