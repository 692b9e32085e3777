"""`streamvis.run` and `streamvis.log`: a run for those who want neither a client nor a step.

A process has one active run at a time. It counts its steps, and sorts what it is given by the rules of `streamvis.metrics`.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from streamvis.addresses.endpoint import default_url
from streamvis.client.client import Client
from streamvis.client.intake import checked_step
from streamvis.client.process.ending import state_of
from streamvis.errors import InvalidData, UsageError
from streamvis.metrics import Keys, sorted_metrics

__all__ = ["ActiveRun", "active_run", "log", "run"]


class ActiveRun:
    """A run that `streamvis.run` started. As a context manager, the run ends with the block; after an exception, as failed."""

    def __init__(self, client: Client, *, first_step: int = 0) -> None:
        self.client = client
        self._keys = Keys()
        self._lock = threading.Lock()
        self._next_step = first_step

    @property
    def id(self) -> str | None:
        return self.client.run

    def log(self, data: Mapping[str, Any], step: int | None = None) -> None:
        """Send scalars as rows, and arrays, images and figures as values. Returns at once.

        The key of a scalar is the text before the first `/` of its name, else "metrics". Without `step`, each call is the
        step after the previous one. Raises the errors of `Client.sendl` and `Client.send`.
        """
        if not isinstance(data, Mapping):
            raise InvalidData(f"{type(data).__name__} is not a dict", where="data", allowed='a dict, such as {"loss": 0.5}')
        with self._lock:
            step = self._next_step if step is None else checked_step(step)
            rows, values = sorted_metrics(data)
            for key, row in rows.items():
                self.client.sendl(step, self._keys.of_rows(key), row)
            for key, value in values.items():
                self.client.send(step, self._keys.of_value(key), value)
            self._next_step = step + 1

    def alert(self, title: str, text: str = "", level: str = "info") -> None:
        """Raise an alert, see `Client.alert`."""
        self.client.alert(title, text, level)

    def show(self, height: int = 500) -> None:
        """Show the run's page below a notebook's cell, in a frame `height` pixels high; in other programs, print its address.

        Starts an endpoint and a page server where none answers; they end with this process. Raises StreamvisError where that
        is not possible.
        """
        from streamvis.notebook import show

        show(self._endpoint(), f"run={self.id}", height)

    def _repr_html_(self) -> str:
        """The frame, where the run is the last line of a notebook's cell."""
        from streamvis.notebook import frame_or_reason

        return frame_or_reason(self._endpoint(), f"run={self.id}")

    def _endpoint(self) -> str:
        if self.client.url is None:
            raise UsageError("This run is written to files, and no endpoint has it yet: `streamvis sync` delivers it.")
        return self.client.url

    def close(self, timeout_s: float | None = None, *, state: str = "finished") -> bool:
        """End the run, as `Client.close` does."""
        _active.discard(self)
        return self.client.close(timeout_s, state=state)

    def __enter__(self) -> ActiveRun:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close(state=state_of(error))

    def __repr__(self) -> str:
        return f"ActiveRun(app={self.client.app!r}, id={self.id!r})"


class _Active:
    """The process's active run, if there is one."""

    def __init__(self) -> None:
        self.run: ActiveRun | None = None

    def discard(self, run: ActiveRun) -> None:
        if self.run is run:
            self.run = None


_active = _Active()


def run(
    app: str,
    config: Any = None,
    *,
    url: str | None = None,
    run: str | None = None,
    name: str | None = None,
    resume_at: int | None = None,
    **options: Any,
) -> ActiveRun:
    """Start a run of `app`, or join one. `streamvis.log` then sends to this run. Finishes a run that was active before.

    Args:
        app: the name that links runs and pages
        config: describes the run, see `Client.init`
        url: address of the endpoint; by default the environment variable STREAMVIS_URL, else http://localhost:8080
        run: the id of a run to join, or "launch", see `Client.init`
        name: name of the run
        resume_at: continue the run from this step on, see `Client.init`
        options: of `Client`, such as `token`, `durable` and `spool`

    Raises what `Client` and `Client.init` raise.
    """
    client = Client(url or default_url(), app, **options)
    before = _active.run
    if before is not None:
        before.close()
    client.init(config, run=run, name=name, resume_at=resume_at)
    _active.run = ActiveRun(client, first_step=resume_at or 0)
    return _active.run


def log(data: Mapping[str, Any], step: int | None = None) -> None:
    """Send to the active run, see `ActiveRun.log`. Raises UsageError if there is none."""
    if _active.run is None:
        raise UsageError('streamvis.log() without a run. Start one first: streamvis.run("my app", config).')
    _active.run.log(data, step)


def active_run() -> ActiveRun | None:
    """The run that `streamvis.run` started, if it has not ended."""
    return _active.run
