"""What the feed of a run has for one session, until the session takes it.

An inbox is bounded: one that overflows is emptied, and its session reads from the store again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from streamvis.page.feeds.reader import Piece

__all__ = ["INBOX_BYTES", "Inbox"]

INBOX_BYTES = 32 * 2**20


class Inbox:
    """What one session has not taken yet: whole pieces, in log order. They are merged when they are taken."""

    def __init__(self, wake: Callable[[], None], *, limit_bytes: int = INBOX_BYTES) -> None:
        self.wake = wake
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._clear()

    def _clear(self) -> None:
        self._pieces: list[Piece] = []
        self._size_bytes = 0
        self.overflowed = False

    def put(self, piece: Piece) -> None:
        """Add a piece, in log order."""
        with self._lock:
            if self.overflowed:
                return
            self._pieces.append(piece)
            self._size_bytes += piece.size_bytes
            if self._size_bytes > self._limit_bytes:
                self._clear()
                self.overflowed = True
        self.wake()

    @property
    def has_news(self) -> bool:
        """Whether anything waits, or was dropped and must be read again."""
        return bool(self._pieces) or self.overflowed

    def take(self) -> list[Piece]:
        """All that waits, which may be nothing."""
        with self._lock:
            pieces, self._pieces, self._size_bytes = self._pieces, [], 0
        return pieces

    def reset(self) -> None:
        """Empty the inbox, and let it take pieces again."""
        with self._lock:
            self._clear()
