"""Alerts: what `Client.alert` sends, what pages and webhooks read, and what a journal of those to be posted does. Pure.

An alert is a row of the key `alerts` with the columns title, text and level. Rows that other programs send there by REST count
too; a level that is unknown is read as "info".
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from streamvis.errors import InvalidData

__all__ = ["ALERTS", "LEVELS", "MOST_WAITING", "Alert", "AlertJournal", "alert_row", "alerts_in"]

ALERTS = "alerts"
"""The key."""
LEVELS = ("info", "warning", "error")
MOST_WAITING = 1000
"""How many alerts a journal keeps until they are posted."""
_MOST_TITLE, _MOST_TEXT = 200, 10_000
"""Characters."""


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert of a run. `time` is in seconds since 1970 UTC; `id` is the same wherever and whenever it is read."""

    run: str
    step: int
    time: float
    title: str
    text: str
    level: str

    @property
    def id(self) -> str:
        parts = [self.run, self.step, self.time, self.title, self.text, self.level]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


class AlertJournal(Protocol):
    """Which alerts are to be posted, and which were; outlives its endpoint. Trouble with what keeps it is logged, not raised."""

    @property
    def look_again_s(self) -> float | None:
        """After how long to ask again for what another endpoint left; None where no other uses the journal."""
        ...

    @property
    def waiting(self) -> int:
        """How many alerts are to be posted."""
        ...

    def expect(self, alerts: Sequence[Alert]) -> Sequence[Alert]:
        """Note alerts whose batch is about to be stored, and return those that are to be released or forgotten.

        One that is neither, because the endpoint was killed, is due later."""
        ...

    def release(self, alerts: Sequence[Alert]) -> None:
        """Their batch is stored: they are due."""
        ...

    def forget(self, alerts: Sequence[Alert]) -> None:
        """Their batch is not stored: those that another request of the same batch released stay."""
        ...

    def take(self) -> tuple[Alert, float] | None:
        """The alert to be posted next, and since when it is known. No other endpoint takes it meanwhile."""
        ...

    def keep(self, alert: Alert) -> bool:
        """Take the alert for longer; whether it is still this endpoint's to post."""
        ...

    def settle(self, alert: Alert, *, is_posted: bool) -> None:
        """It was posted, or is dropped."""
        ...


def alert_row(title: Any, text: Any, level: Any) -> dict[str, str]:
    """The row that tells of it; a text that is too long is cut. Raises InvalidData."""
    if not isinstance(title, str) or not 1 <= len(title) <= _MOST_TITLE:
        allowed = f"a string of 1 to {_MOST_TITLE:,} characters"
        raise InvalidData(f"the title of the alert is {title!r:.100}", where="title", allowed=allowed)
    if not isinstance(text, str):
        raise InvalidData(f"the text of the alert is {text!r:.100}", where="text", allowed="a string")
    if len(text) > _MOST_TEXT:
        text = f"{text[: _MOST_TEXT - 1]}…"
    if level not in LEVELS:
        raise InvalidData(f"{level!r:.100} is not a level", where="level", allowed=" or ".join(map(repr, LEVELS)))
    return {"title": title, "text": text, "level": level}


def alerts_in(run: str, rows: Mapping[str, Any]) -> list[Alert]:
    """The alerts among the rows of the key, given in JSON form: those that have a title. What is not a text becomes one."""
    columns = {name: its["data"] for name, its in rows["columns"].items()}
    missing = [None] * len(rows["steps"])
    titles, texts, levels = (columns.get(name, missing) for name in ("title", "text", "level"))
    return [
        Alert(run, step, time, words[:_MOST_TITLE], _words(text)[:_MOST_TEXT], level if level in LEVELS else LEVELS[0])
        for step, time, title, text, level in zip(rows["steps"], rows["times"], titles, texts, levels, strict=True)
        if (words := _words(title))
    ]


def _words(cell: Any) -> str:
    """A cell as text; "" for a gap, which in a column of numbers is NaN."""
    return "" if cell is None or (isinstance(cell, float) and math.isnan(cell)) else str(cell)
