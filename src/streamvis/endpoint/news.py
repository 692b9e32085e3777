"""Who waits for news of what. Lives on the event loop; commits tell it from their own thread.

A reader listens first and reads then, so that nothing that is stored in between goes by unheard.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from streamvis.errors import StreamvisError
from streamvis.store import Changes

__all__ = ["News", "TooManyWait"]


class TooManyWait(StreamvisError):
    """As many wait as may."""


class News:
    """Futures of those who wait, by run, by app or for all apps: `most` of them at a time."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.waiting = 0
        """How many wait now."""
        self._listening: dict[tuple[str, str], set[asyncio.Future[None]]] = {}
        self._loop = asyncio.get_running_loop()
        self.is_closing = False

    @contextmanager
    def listen(self, kind: str, name: str) -> Iterator[asyncio.Future[None]]:
        """A future that is done at the next news of the run or app, or when the endpoint ends."""
        future = self._loop.create_future()
        at = (kind, name)
        self._listening.setdefault(at, set()).add(future)
        try:
            yield future
        finally:
            self._listening[at].discard(future)
            if not self._listening[at]:
                del self._listening[at]

    async def wait(self, future: asyncio.Future[None], timeout_s: float) -> None:
        """Wait until it is done, so long at most. Raises TooManyWait."""
        if self.waiting >= self._most:
            raise TooManyWait(f"{self._most} requests wait for news already, the limit. Ask again later, or with wait=0.")
        self.waiting += 1
        try:
            await asyncio.wait([future], timeout=timeout_s)
        finally:
            self.waiting -= 1

    def awaited(self) -> list[tuple[str, str]]:
        """Of what news is waited for, as kinds and names."""
        return list(self._listening)

    def announce(self, changes: Changes) -> None:
        """Tell of a commit. From any thread."""
        self._loop.call_soon_threadsafe(self._wake, changes)

    def _wake(self, changes: Changes) -> None:
        all_apps = [("all apps", "")] if changes.apps else []
        for at in [("run", run) for run in changes.runs] + [("app", app) for app in changes.apps] + all_apps:
            for future in self._listening.get(at, ()):
                if not future.done():
                    future.set_result(None)

    def close(self) -> None:
        """Release all waiting readers, permanently."""
        self.is_closing = True
        self.wake_all()

    def wake_all(self) -> None:
        """Let everybody look again."""
        for futures in self._listening.values():
            for future in futures:
                if not future.done():
                    future.set_result(None)
