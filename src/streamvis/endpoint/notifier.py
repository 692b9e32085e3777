"""Wakes the requests that wait for news, when a commit brought some.

Belongs to one event loop. A waiter registers first and reads then, so nothing falls between; a wake-up that is lost costs a
delay and never data, since readers go on from their cursor.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterator

from streamvis.store import Changes

__all__ = ["Notifier", "Waiter"]


class Waiter:
    """One request that waits for news of one run, or of one app's list of runs."""

    def __init__(self) -> None:
        self._woken = asyncio.Event()
        self.closing = False

    def wake(self) -> None:
        self._woken.set()

    async def wait(self, timeout_s: float) -> bool:
        """Wait for news; False when there was none, or when the endpoint is about to end."""
        if timeout_s > 0 and not self.closing:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._woken.wait()
        news = self._woken.is_set() and not self.closing
        if not self.closing:
            self._woken.clear()
        return news


class Notifier:
    """Who waits for what."""

    def __init__(self) -> None:
        self._waiters: dict[tuple[str, str], set[Waiter]] = defaultdict(set)
        self._closing = False

    @contextlib.contextmanager
    def waiting(self, *, run: str | None = None, app: str | None = None) -> Iterator[Waiter]:
        """A waiter for the run, or the app, while the block lasts."""
        topic = ("run", run) if run is not None else ("app", app or "")
        waiter = Waiter()
        waiter.closing = self._closing
        self._waiters[topic].add(waiter)
        try:
            yield waiter
        finally:
            self._waiters[topic].discard(waiter)
            if not self._waiters[topic]:
                del self._waiters[topic]

    def announce(self, changes: Changes) -> None:
        """Wake all who wait for what changed."""
        for kind, names in (("run", changes.runs), ("app", changes.apps)):
            for name in names:
                for waiter in self._waiters.get((kind, name), ()):
                    waiter.wake()

    def close(self) -> None:
        """Let everybody go, now and from now on: the endpoint is about to end."""
        self._closing = True
        for waiters in self._waiters.values():
            for waiter in waiters:
                waiter.closing = True
                waiter.wake()
