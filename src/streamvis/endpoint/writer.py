"""Group commit: batches that wait while one commit is under way share the next one.

What a batch costs hardly depends on how much is in it. So where many producers send often, each is asked to come less often, with
more: their batches are counted, and never become many more than can be stored.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace

from streamvis.errors import StoreUnavailable, StreamvisError
from streamvis.pace import Pace
from streamvis.records import Ack, Batch
from streamvis.store import Store

__all__ = ["Writer"]

_log = logging.getLogger("streamvis")

_BATCHES_PER_S = 100.0
"""How many may come before producers are asked to gather for longer."""
_TIDY_EVERY_S = 1.0
_TIDY_SHARE = 0.5
"""How much of the time tidying takes while there is much of it: the rest is for those who write and read."""


class Writer:
    """The one road of batches into the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: list[tuple[Batch, asyncio.Future[Ack]]] = []
        self._task: asyncio.Task[None] | None = None
        self._count = 0
        self._pace = Pace(lambda: self._count, _BATCHES_PER_S)

    async def append(self, batch: Batch) -> Ack:
        """Store the batch, and return once it is committed. Raises what the store says of it."""
        self._count += 1
        future: asyncio.Future[Ack] = asyncio.get_running_loop().create_future()
        self._waiting.append((batch, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._commit_all())
        return replace(await future, pace_s=self._pace.pause_s())

    async def _commit_all(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            answers = await self._stored([batch for batch, _ in group])
            for (_, future), answer in zip(group, answers, strict=True):
                if future.done():
                    continue
                if isinstance(answer, StreamvisError):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)

    async def _stored(self, batches: list[Batch]) -> list[Ack | StreamvisError]:
        try:
            return await asyncio.to_thread(self._store.append, batches)
        except StreamvisError as error:
            return [error] * len(batches)
        except Exception as error:  # noqa: BLE001  # the top of this task: nobody may wait for an answer that never comes
            _log.exception("a commit failed")
            if len(batches) == 1:
                return [StoreUnavailable(f"The store failed: {error}.")]
        # One of them does what none should be able to do: it alone is to fail.
        return [answer for batch in batches for answer in await self._stored([batch])]

    async def keep_tidy(self) -> None:
        """Clean up in the store, a little at a time, until cancelled."""
        while True:
            await asyncio.sleep(_TIDY_EVERY_S)
            try:
                began = time.monotonic()
                while await asyncio.to_thread(self._store.tidy):
                    await asyncio.sleep((time.monotonic() - began) * (1 / _TIDY_SHARE - 1))
                    began = time.monotonic()
            except StreamvisError:
                # The next append meets the same trouble, and answers for it.
                continue
            except Exception:  # noqa: BLE001  # the top of this task: what is stored can be read as it is
                _log.exception("tidying the store failed; data are not touched by that, but some stay in small pieces")
