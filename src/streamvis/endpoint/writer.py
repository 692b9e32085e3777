"""Group commit: batches that wait while one commit is under way share the next one. Where the store is a server of its own, two
commits may be under way, so that it has something to do while this process has.

What a batch costs depends on how many keys are in it, and hardly on how many rows: the rows of each key become a chunk, which is
stored, and merged with others later. So where many producers send often, or many keys, they are asked to come less often, with
more: their batches and chunks are counted, and never become many more than can be stored and merged.

Where merging falls behind still, batches wait for it: otherwise readers would have more and more small chunks to read.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from streamvis.errors import StoreUnavailable, StreamvisError
from streamvis.pace import Pace
from streamvis.records import Ack, Batch, RowsChunk
from streamvis.store import Store

__all__ = ["MOST_UNMERGED", "Writer"]

_log = logging.getLogger("streamvis")

_BATCHES_PER_S = 100.0
"""How many may come before producers are asked to gather for longer."""
_CHUNKS_PER_BATCH = 20
"""So many chunks cost as much as a batch."""
MOST_UNMERGED = 50_000
"""How many chunks may wait to be merged before batches wait for that: a reader of all of them needs a few seconds more."""
_WORTH_PARTING = 8
"""So many batches are worth two commits, each of which costs as much as some batches."""
_TIDY_EVERY_S = 1.0
_TIDY_SHARE = 0.5
"""How much of the time tidying takes while there is much of it: the rest is for those who write and read."""


class Writer:
    """The one road of batches into the store."""

    def __init__(self, store: Store, *, most_unmerged: int = MOST_UNMERGED, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._most_unmerged = store, most_unmerged
        self._waiting: list[tuple[Batch, asyncio.Future[Ack]]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._committers = 0
        self._free = store.commits_at_once
        self._count = 0.0
        self._pace = Pace(lambda: self._count, _BATCHES_PER_S, clock=clock)

    async def append(self, batch: Batch) -> Ack:
        """Store the batch, and return once it is committed. Raises what the store says of it."""
        self._count += 1 + sum(isinstance(chunk, RowsChunk) for chunk in batch.chunks) / _CHUNKS_PER_BATCH
        future: asyncio.Future[Ack] = asyncio.get_running_loop().create_future()
        self._waiting.append((batch, future))
        if self._committers < self._store.commits_at_once:
            self._committers += 1
            self._start(self._commit_all())
        return replace(await future, pace_s=self._pace.pause_s())

    async def _commit_all(self) -> None:
        try:
            while self._waiting:
                await self._catch_up()
                group = self._taken()
                for one in group:
                    if one[0].resumes:
                        # This may take a while, in which others can be stored.
                        self._start(self._commit([one]))
                self._free -= 1
                try:
                    await self._commit([one for one in group if not one[0].resumes])
                finally:
                    self._free += 1
        finally:
            self._committers -= 1

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _taken(self) -> list[tuple[Batch, asyncio.Future[Ack]]]:
        """What the next commit stores. Of many a part, where another commit may begin beside it."""
        count = len(self._waiting)
        count = -(-count // self._free) if count >= _WORTH_PARTING else count
        group, self._waiting = self._waiting[:count], self._waiting[count:]
        return group

    async def _commit(self, group: list[tuple[Batch, asyncio.Future[Ack]]]) -> None:
        answers = await self._stored([batch for batch, _ in group]) if group else []
        for (_, future), answer in zip(group, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, StreamvisError):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    async def _catch_up(self) -> None:
        """Merge, while too much waits for it."""
        while self._store.unmerged > self._most_unmerged and await self._tidied(only_merge=True):
            pass

    async def _stored(self, batches: list[Batch]) -> list[Ack | StreamvisError]:
        try:
            return await asyncio.to_thread(self._store.append, batches)
        except StreamvisError as error:
            return [error] * len(batches)
        except Exception as error:  # noqa: BLE001  # the top of this task: no one may wait for an answer that never comes
            _log.exception("a commit failed")
            if len(batches) == 1:
                return [StoreUnavailable(f"The store failed: {error}.")]
        # One of them does what none should be able to do: it alone is to fail.
        return [answer for batch in batches for answer in await self._stored([batch])]

    async def keep_tidy(self) -> None:
        """Clean up in the store, a little at a time, until cancelled."""
        while True:
            await asyncio.sleep(_TIDY_EVERY_S)
            began = time.monotonic()
            while await self._tidied():
                await asyncio.sleep((time.monotonic() - began) * (1 / _TIDY_SHARE - 1))
                began = time.monotonic()

    async def _tidied(self, *, only_merge: bool = False) -> bool:
        """Do a piece of housekeeping; False when there is nothing to do, or nothing can be done now."""
        try:
            return await asyncio.to_thread(self._store.tidy, only_merge=only_merge)
        except StreamvisError:
            # The next append meets the same trouble, and answers for it.
            return False
        except Exception:  # noqa: BLE001  # the top of this task: what is stored can be read as it is
            _log.exception("merging in the store failed; no data is lost, but some of it stays in small chunks")
            return False
