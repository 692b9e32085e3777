"""Which runs' producers show that they live, and which run has vanished: it runs, and none of them was heard of for a while.

Producers send batches, and a heartbeat where they have none to send. What is heard is kept in memory, starts over with the
endpoint, and is forgotten when the run ends or is deleted. Endpoints of one store let each other know what they heard. A run that
no producer with an id began, as one made by hand through REST, never vanishes.

Lives on the event loop; `is_gone` and `gone` may be asked from any thread.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from streamvis.errors import DeletedRun, StreamvisError, UnknownRun
from streamvis.records import RUNNING, VANISHED, Batch, RunInfo, Start
from streamvis.store import Changes, SharedStore, Store

__all__ = ["Presence"]

_log = logging.getLogger("streamvis")

_LOOKS = 10
"""How often it is looked whether a run has vanished, in the time after which it has."""


@dataclass(slots=True)
class _Heard:
    """When a run's producers were last heard of: `since` on a clock that never jumps, `at` for people (None: not at all yet).

    `app` is the run's, "" while it was not looked up.
    """

    since: float
    at: float | None
    is_gone: bool = False
    app: str = ""


class Presence:
    """Knows who lives. `announce` gets the runs whose state looks different from now on."""

    def __init__(self, store: Store, announce: Callable[[Changes], None], *, vanish_after_s: float) -> None:
        self._store, self._announce, self._vanish_after_s = store, announce, vanish_after_s
        self._heard: dict[str, _Heard] = {}
        self._changes: Counter[str] = Counter()
        self._here: set[str] = set()

    @property
    def expected(self) -> frozenset[str]:
        """The runs of which something is kept: those whose producers are expected to be heard of, and those that vanished."""
        return frozenset(self._heard)

    @property
    def gone(self) -> frozenset[str]:
        """The runs that vanished."""
        return frozenset(run for run, heard in list(self._heard.items()) if heard.is_gone)

    def changes_in(self, app: str | None) -> int:
        """How often a run of an app, or of any, vanished or came back."""
        return self._changes.total() if app is None else self._changes[app]

    def is_gone(self, run: str) -> bool:
        """Whether nothing was heard of the run's producers for so long."""
        heard = self._heard.get(run)
        return heard is not None and heard.is_gone

    def shown(self, run: RunInfo) -> RunInfo:
        """The run as others see it."""
        return replace(run, state=VANISHED) if run.state == RUNNING and self.is_gone(run.id) else run

    def heard_at(self, run: RunInfo) -> float:
        """When the run's producers were last heard of, in seconds since 1970."""
        heard = self._heard.get(run.id)
        return heard.at if heard is not None and heard.at is not None else run.updated

    async def coming(self, batch: Batch) -> None:
        """A batch is about to be stored: whoever reads it finds its run alive, if it fits the run."""
        heard = self._heard.get(batch.run)
        if batch.live and batch.producer and heard is not None and await self._fits(batch, heard):
            await self.show(batch.run)

    async def _fits(self, batch: Batch, heard: _Heard) -> bool:
        if not batch.app:
            return True
        try:
            heard.app = heard.app or (await asyncio.to_thread(self._store.run, batch.run)).app
        except StreamvisError:
            # Whoever stores it says why it cannot be.
            return False
        return batch.app == heard.app

    def stored(self, batch: Batch) -> None:
        """A batch was stored: from its start on, a producer is expected to show that it lives."""
        if not any(isinstance(chunk, Start) for chunk in batch.chunks):
            return
        if not batch.producer:
            self._heard.pop(batch.run, None)
        elif batch.live:
            self._here.add(batch.run)
            self._heard[batch.run] = _Heard(time.monotonic(), time.time(), app=batch.app)
        else:
            self._heard.setdefault(batch.run, _Heard(time.monotonic(), None, is_gone=True, app=batch.app))

    async def show(self, run: str) -> None:
        """A producer of the run shows that it lives. Raises UnknownRun or DeletedRun."""
        known = self._heard.get(run)
        if known is None:
            await asyncio.to_thread(self._store.run, run)
        self._here.add(run)
        self._heard[run] = _Heard(time.monotonic(), time.time(), app=known.app if known is not None else "")
        if known is not None and known.is_gone:
            await self._tell(run)

    def forget(self, run: str) -> None:
        """The run was deleted: no heartbeat is expected or taken."""
        self._heard.pop(run, None)

    async def expect(self, run: str) -> None:
        """The run is there again: its producers are heard of from now on, if it has any that have not ended."""
        if run in await asyncio.to_thread(self._store.awaited):
            self._heard.setdefault(run, _Heard(time.monotonic(), None))

    async def begin_anew(self) -> None:
        """Expect to hear of all that run by what the store says, from now on."""
        self._heard.clear()
        try:
            runs = await asyncio.to_thread(self._store.awaited)
        except StreamvisError as error:
            _log.warning("Runs whose producers died before this endpoint started stay shown as running: %s", error)
            return
        for run in runs:
            self._heard.setdefault(run, _Heard(time.monotonic(), None))

    async def watch(self) -> None:
        """See runs vanish, until cancelled."""
        await self.begin_anew()
        pause_s = self._vanish_after_s / _LOOKS
        looked = time.monotonic()
        while True:
            await asyncio.sleep(pause_s)
            now = time.monotonic()
            stood_still_s, looked = now - looked - pause_s, now
            if stood_still_s > self._vanish_after_s / 2:
                # This process was stopped, and heard no one meanwhile.
                for heard in self._heard.values():
                    heard.since = now
            if isinstance(self._store, SharedStore):
                await self._share(self._store, now)
            for run, heard in list(self._heard.items()):
                if not heard.is_gone and now - heard.since > self._vanish_after_s:
                    heard.is_gone = True
                    await self._tell(run)

    async def _share(self, store: SharedStore, now: float) -> None:
        """Let other endpoints know of whom was heard here, and know of whom they heard."""
        here, self._here = self._here, set()
        try:
            found = await asyncio.to_thread(store.share_signs, sorted(here), within_s=self._vanish_after_s)
            awaited = await asyncio.to_thread(store.awaited)
        except StreamvisError as error:
            self._here |= here
            _log.debug("other endpoints' heartbeats are not known: %s", error)
            return
        for run in awaited:
            self._heard.setdefault(run, _Heard(now, None))
        for run, ago_s in found.items():
            heard = self._heard.setdefault(run, _Heard(now - ago_s, None))
            if heard.at is None or now - ago_s > heard.since:
                heard.since, heard.at = max(heard.since, now - ago_s), time.time() - ago_s
            if heard.is_gone:
                heard.is_gone = False
                await self._tell(run)

    async def _tell(self, run: str) -> None:
        try:
            found = await asyncio.to_thread(self._store.run, run)
        except (UnknownRun, DeletedRun):
            # It was deleted while a batch or a heartbeat was on its way, after `forget`.
            self.forget(run)
            return
        except StreamvisError as error:
            _log.debug("no one is told that the run %s vanished or came back: %s", run, error)
            return
        if found.state == RUNNING:
            self._changes[found.app] += 1
            self._announce(Changes(frozenset({run}), frozenset({found.app})))
        else:
            self._heard.pop(run, None)
