"""How often one session updates its page, and what the page says where that is seldom."""

from __future__ import annotations

import math
import statistics
import time
from collections import deque

from bokeh.document import Document

from streamvis.page.diagnosis import reasons
from streamvis.page.documents.link import Notice
from streamvis.page.shared import Shared

__all__ = ["UpdatePace"]

_SLOW_S, _TYPICAL = 0.2, 3
"""Updates that take so long are slow; the first one or two of a page, which fill it, say nothing of the others."""
_REASON_EVERY_S = 10.0


class UpdatePace:
    """The pauses after updates of the page in `doc`."""

    def __init__(self, doc: Document, shared: Shared) -> None:
        self._doc, self._shared = doc, shared
        self._took_s: deque[float] = deque(maxlen=5)
        self._next_at = 0.0
        self._reason: tuple[float, str] = (-math.inf, "")

    def early_s(self) -> float:
        """How long until the next update may begin; 0 or less, where it may begin now."""
        return self._next_at - time.monotonic()

    def hurry(self) -> None:
        """A viewer waits: the next update may begin now."""
        self._next_at = 0.0

    def updated(self, began: float, *, is_ahead: bool) -> None:
        """An update that began then has been made; `is_ahead`: the browser is still loading, and nothing pauses."""
        took_s = time.monotonic() - began
        if not is_ahead:
            self._took_s.append(took_s)
        self._next_at = began + (0 if is_ahead else self._shared.pause_s(took_s))

    def notices(self, what: str) -> list[Notice]:
        """Where updates are slow, how slow, and why if known; `what` takes that long."""
        if len(self._took_s) < _TYPICAL or (typical_s := statistics.median(self._took_s)) <= _SLOW_S:
            return []
        now = time.monotonic()
        if now - self._reason[0] > _REASON_EVERY_S:  # looking takes time too
            self._reason = now, " ".join(reasons(self._doc)[:1])
        return [Notice("slow", f"{what} {typical_s:.1f} s", f"Updates are slowed to that pace. {self._reason[1]}".strip())]
