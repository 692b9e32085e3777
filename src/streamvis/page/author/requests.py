"""What an author's code asks the endpoint for while the page continues: an answer that can be awaited, or be told to a function.

Reading is done in a thread, so neither this page nor any other waits for the network in the meantime.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Mapping
from concurrent.futures import Executor
from typing import Any, Generic, TypeVar

from bokeh.document import Document
from tornado.ioloop import IOLoop

from streamvis.page.documents.callbacks import call_next
from streamvis.page.thread_results import when_done

__all__ = ["Answer", "Asking", "PastValue"]

T = TypeVar("T")


class PastValue(dict[str, Any]):
    """A value of a key as it was sent, with its `step` and the `time` of the call, in seconds since 1970 UTC."""

    def __init__(self, data: Mapping[str, Any], *, step: int, time: float) -> None:
        super().__init__(data)
        self.step, self.time = step, time


class Answer(Awaitable[T], Generic[T]):
    """What is being read. `await` it where the code is `async`, or give a function to `then`."""

    def __init__(self, doc: Document, read: Callable[[], T], executor: Executor) -> None:
        self._doc, self._loop = doc, IOLoop.current()
        self._future = executor.submit(read)

    def __await__(self) -> Generator[Any, None, T]:
        return asyncio.wrap_future(self._future).__await__()

    def then(self, function: Callable[[T], object]) -> None:
        """Call the function with what was read, as a callback of the page, which shows what that or reading raises.

        The function may be `async`.
        """

        def tell() -> object:
            return function(self._future.result())

        when_done(self._loop, self._future, lambda _: call_next(self._doc, tell))


class Asking:
    """Asks `reader` for the page in `doc`, which shows its runs as of the step `at`, or live."""

    def __init__(self, doc: Document, reader: Any, executor: Executor, *, at: int | None) -> None:
        self._doc, self._reader, self._executor, self.at = doc, reader, executor, at

    def value(self, run: str, key: str, step: int | None) -> Answer[PastValue | None]:
        """The key's latest value up to a step, or the latest of all that the page shows."""
        reader = self._reader.as_of(min((one for one in (self.at, step) if one is not None), default=None))

        def read() -> PastValue | None:
            found = reader.value(run, key)
            return None if found is None else PastValue(found.data, step=found.step, time=found.time)

        return Answer(self._doc, read, self._executor)

    def values(self, run: str, key: str, limit: int) -> Answer[list[PastValue]]:
        """Values of a key, evenly spread."""
        reader = self._reader.as_of(self.at)

        def read() -> list[PastValue]:
            return [PastValue(one.data, step=one.step, time=one.time) for one in reader.values(run, key, limit=limit)]

        return Answer(self._doc, read, self._executor)
