"""The journal of alerts of an endpoint with a data folder: a file beside the store, of lines of JSON.

Each line is on disk before the call returns: an alert to be posted, or the id of one that was posted or dropped. What is settled
for long is left out when the file is opened.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from streamvis.alerts import MOST_WAITING, Alert

__all__ = ["JOURNAL", "AlertFile"]

_log = logging.getLogger("streamvis")

JOURNAL = "alerts.jsonl"
_KEEP_NOTES_S = 7 * 24 * 3600.0
"""How long it is known that an alert was posted: a batch that is sent again brings its alerts along."""


class AlertFile:
    """See `streamvis.alerts.AlertJournal`. From any thread; one endpoint uses it at a time."""

    look_again_s = None

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._waiting: dict[str, tuple[Alert, float]] = {}
        self._settled: dict[str, float] = {}
        self._held: set[str] = set()
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            self._read(line)
        self._begin_anew()

    @property
    def waiting(self) -> int:
        """How many alerts are to be posted."""
        return len(self._waiting)

    def expect(self, alerts: Sequence[Alert]) -> list[Alert]:
        """Note alerts whose batch is about to be stored, and return those that are to be released or forgotten."""
        with self._lock:
            known, given = self._settled.keys() | self._waiting.keys(), {one.id: one for one in alerts}
            new = [one for id, one in given.items() if id not in known]
            if len(self._waiting) + len(new) > MOST_WAITING:
                _log.warning("%d alerts are dropped: %d wait for the webhook", len(new), len(self._waiting))
                return []
            self._wait_for(new)
            self._held.update(one.id for one in new)
            # Also what a request brought that was given up: its batch comes again.
            return [one for id, one in given.items() if id in self._held]

    def release(self, alerts: Sequence[Alert]) -> None:
        """Their batch is stored: they are due."""
        with self._lock:
            self._held.difference_update(one.id for one in alerts)
            # The same batch may have come twice, and the other request failed and forgot them.
            known = self._settled.keys() | self._waiting.keys()
            self._wait_for([one for one in alerts if one.id not in known])

    def forget(self, alerts: Sequence[Alert]) -> None:
        """Their batch is not stored: those that another request of the same batch released stay."""
        with self._lock:
            self._remove([one for one in alerts if one.id in self._held], "dropped")

    def take(self) -> tuple[Alert, float] | None:
        """The alert to be posted next, and since when."""
        with self._lock:
            return next((its for id, its in self._waiting.items() if id not in self._held), None)

    def keep(self, alert: Alert) -> bool:
        """No other endpoint takes it."""
        return True

    def settle(self, alert: Alert, *, is_posted: bool) -> None:
        """It was posted, or is dropped."""
        with self._lock:
            self._settled[alert.id] = time.time()
            self._remove([alert], "posted" if is_posted else "dropped")

    def _wait_for(self, alerts: Sequence[Alert]) -> None:
        now = time.time()
        self._append([{"alert": asdict(one), "at": now} for one in alerts])
        self._waiting.update({one.id: (one, now) for one in alerts})

    def _remove(self, alerts: Sequence[Alert], word: str) -> None:
        for one in alerts:
            self._waiting.pop(one.id, None)
            self._held.discard(one.id)
        self._append([{word: one.id, "at": time.time()} for one in alerts])

    def _append(self, lines: Sequence[dict[str, Any]]) -> None:
        if not lines:
            return
        try:
            with self._path.open("ab") as file:
                file.write(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            _log.warning("alerts cannot be noted in %s (%s): after a restart some may be lost or posted again", self._path, error)

    def _read(self, line: str) -> None:
        try:
            said = json.loads(line)
            if "alert" in said:
                alert = Alert(**said["alert"])
                self._waiting[alert.id] = (alert, said["at"])
                return
            id = said.get("posted") or said["dropped"]
            self._waiting.pop(id, None)
            if "posted" in said and said["at"] > time.time() - _KEEP_NOTES_S:
                self._settled[id] = said["at"]
        except (ValueError, KeyError, TypeError):
            pass  # the last line, which a kill cut off

    def _begin_anew(self) -> None:
        """Leave out what is settled for long."""
        lines = [{"posted": id, "at": at} for id, at in self._settled.items()]
        lines += [{"alert": asdict(alert), "at": at} for alert, at in self._waiting.values()]
        part = self._path.with_suffix(".part")
        part.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        part.replace(self._path)
