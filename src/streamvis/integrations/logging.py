"""Log lines as rows of the key `log`: `StreamvisHandler` for Python's `logging`, `StreamvisSink` for loguru.

logging.getLogger().addHandler(StreamvisHandler())
loguru.logger.add(StreamvisSink())
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from streamvis.integrations.sending import Sending

__all__ = ["StreamvisHandler", "StreamvisSink"]

_FORM = "%(levelname)s %(name)s: %(message)s"
_OURS = "streamvis"


class _Lines:
    """Sends lines, each with the step that `step` gives, else with its number."""

    def __init__(self, key: str, step: Callable[[], int] | None, sending: Sending) -> None:
        self._key, self._step, self._sending = key, step, sending
        self._lock = threading.Lock()

    def send(self, text: str) -> None:
        with self._lock, self._sending.harmless():
            self._sending.begin()
            step = self._sending.count(self._key) if self._step is None else self._step()
            self._sending.send_rows(step, self._key, {"text": text})

    def close(self) -> None:
        self._sending.end()


class StreamvisHandler(logging.Handler):
    """Sends records of `logging`, formatted, without those of Streamvis itself and of its threads.

    Args:
        app: of a run of its own, where no run is active; by default "log"
        level: the lowest to send
        key: the key of the rows
        step: gives the step to send with; by default lines are counted
        options: of `streamvis.run`, and `client`
    """

    def __init__(
        self,
        app: str | None = None,
        *,
        level: int | str = logging.NOTSET,
        key: str = "log",
        step: Callable[[], int] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(level)
        self.setFormatter(logging.Formatter(_FORM))
        self._lines = _Lines(key, step, Sending(app, default_app="log", **options))

    def emit(self, record: logging.LogRecord) -> None:
        if _is_ours(record.name, record.threadName):
            return
        try:
            self._lines.send(self.format(record))
        except Exception:  # noqa: BLE001 - around an author's code: arguments and filters of a record may raise anything
            self.handleError(record)

    def close(self) -> None:
        self._lines.close()
        super().close()


class StreamvisSink:
    """Sends messages of loguru, as loguru formats them. Arguments are those of `StreamvisHandler`."""

    def __init__(
        self, app: str | None = None, *, key: str = "log", step: Callable[[], int] | None = None, **options: Any
    ) -> None:
        self._lines = _Lines(key, step, Sending(app, default_app="log", **options))

    def __call__(self, message: Any) -> None:
        record = message.record
        if not _is_ours(record["name"] or "", record["thread"].name):
            self._lines.send(str(message).rstrip("\n"))

    def stop(self) -> None:
        """Loguru calls this where a sink is an object with `write`; call it to end a run of its own."""
        self._lines.close()


def _is_ours(name: str, thread: str | None) -> bool:
    return name.partition(".")[0] == _OURS or (thread or "").startswith(_OURS)
