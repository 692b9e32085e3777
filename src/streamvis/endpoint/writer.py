"""The one thread that writes to the store. It takes all the batches that wait into one commit, and answers after it.

While one commit goes to disk the next batches gather, so the disk is asked once for many of them however many producers there
are. When nothing waits, it lets the store tidy up, a short piece at a time.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from streamvis.endpoint.problems import Problem
from streamvis.errors import StoreUnavailable, StreamvisError
from streamvis.records import Ack, Batch
from streamvis.store import Store

__all__ = ["Writer"]

_log = logging.getLogger("streamvis.endpoint")

_MAX_GROUP = 1000
_MAX_GROUP_BYTES = 64 * 2**20
_TIDY_PAUSE_S = 5.0


@dataclass(slots=True)
class _Task:
    """A batch of `size` bytes, or something else to do with the store; `answer` is of the event loop `loop`."""

    work: Batch | Callable[[], Any]
    size: int
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Any]


class Writer:
    """Writes to `store`, from any number of requests."""

    def __init__(self, store: Store, *, max_waiting_bytes: int) -> None:
        self._store, self._max_waiting_bytes = store, max_waiting_bytes
        self._waiting: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._waiting_bytes = 0
        self._thread = threading.Thread(target=self._write, name="streamvis-writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    async def append(self, batch: Batch, *, size: int) -> Ack:
        """Store the batch, and return once it is on disk. Raises what the store answers."""
        if self._waiting_bytes and self._waiting_bytes + size > self._max_waiting_bytes:
            message = "More waits to be stored than the endpoint can hold. Try again."
            raise Problem(503, "overloaded", message, headers={"Retry-After": "1"})
        self._waiting_bytes += size
        try:
            answer = await self._put(batch, size)
        finally:
            self._waiting_bytes -= size
        if isinstance(answer, StreamvisError):
            raise answer
        return answer

    async def change(self, work: Callable[[], Any]) -> Any:
        """Do something else with the store, in turn with the batches."""
        return await self._put(work, 0)

    def stop(self) -> None:
        """Write what waits, then end. Blocks until it has."""
        self._waiting.put(None)
        self._thread.join()

    async def _put(self, work: Batch | Callable[[], Any], size: int) -> Any:
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        self._waiting.put(_Task(work, size, loop, answer))
        # Shielded: a request that is cancelled does not take its batch back.
        return await asyncio.shield(answer)

    # --- the thread

    def _write(self) -> None:
        untidy = True
        while True:
            try:
                task = self._waiting.get(timeout=0 if untidy else _TIDY_PAUSE_S)
            except queue.Empty:
                untidy = self._tidy()
                continue
            after: _Task | None = task
            while after is not None and isinstance(after.work, Batch):
                group, after = self._group(after)
                self._append(group)
                if after is _NOTHING:
                    break
            if after is None:
                return
            if after is not _NOTHING:
                self._do(after)

    def _group(self, first: _Task) -> tuple[list[_Task], _Task | None]:
        """All batches that wait, as far as they fit into one commit, and the task after them (`_NOTHING` when none waits)."""
        group, size = [first], first.size
        while True:
            try:
                task = self._waiting.get_nowait()
            except queue.Empty:
                return group, _NOTHING
            if task is None or not isinstance(task.work, Batch) or len(group) >= _MAX_GROUP or size + task.size > _MAX_GROUP_BYTES:
                return group, task
            group.append(task)
            size += task.size

    def _append(self, group: list[_Task]) -> None:
        try:
            answers = self._store.append([task.work for task in group])
        except StreamvisError as error:
            answers = [error] * len(group)
        except Exception as error:  # the thread has to outlive it, and the requests need an answer
            _log.exception("A batch could not be stored.")
            answers = [StoreUnavailable(f"The store failed ({type(error).__name__}).")] * len(group)
        for task, answer in zip(group, answers, strict=True):
            _tell(task, answer, None)

    def _do(self, task: _Task) -> None:
        try:
            result = task.work()
        except StreamvisError as error:
            _tell(task, None, error)
        except Exception as error:  # the thread has to outlive it, and the request needs an answer
            _log.exception("A change could not be stored.")
            _tell(task, None, StoreUnavailable(f"The store failed ({type(error).__name__})."))
        else:
            _tell(task, result, None)

    def _tidy(self) -> bool:
        try:
            return self._store.tidy()
        except StoreUnavailable:
            return False  # whoever writes next is told
        except Exception:  # the thread has to outlive it
            _log.exception("The store could not be tidied up.")
            return False


_NOTHING: Any = object()


def _tell(task: _Task, answer: Any, error: StreamvisError | None) -> None:
    def settle() -> None:
        if task.answer.cancelled():
            return
        if error is not None:
            task.answer.set_exception(error)
        else:
            task.answer.set_result(answer)

    try:
        task.loop.call_soon_threadsafe(settle)
    except RuntimeError:
        pass  # the loop is closed: nobody waits any more
