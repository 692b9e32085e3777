"""Which values a page of the past cannot show, since they are not kept any more: what the page says of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future

from tornado.ioloop import IOLoop

from streamvis.errors import StreamvisError
from streamvis.page.documents.link import Notice
from streamvis.page.feeds.reader import EndpointReader
from streamvis.page.thread_results import when_done
from streamvis.records import KeyInfo

__all__ = ["Missing"]

_MOST_NAMED = 5


class Missing:
    """Looks, for each step that a page shows, which values of its runs are gone. `wake` is called when that is known."""

    def __init__(
        self, reader: EndpointReader, runs: Sequence[str], *, executor: Executor, loop: IOLoop, wake: Callable[[], None]
    ) -> None:
        self._reader, self._runs, self._executor, self._loop, self._wake = reader, list(runs), executor, loop, wake
        self._at: int | None = None
        self._has_failed = False
        self._notices: list[Notice] = []

    @property
    def notices(self) -> list[Notice]:
        """What to say. Looks again where the last look failed."""
        if self._has_failed:
            self.look(self._at)
        return self._notices

    def look(self, at: int | None) -> None:
        """The page shows this step, or is live: find out."""
        self.expect(at)
        if at is not None:
            found = self._executor.submit(self._keys_at, at)
            when_done(self._loop, found, lambda done: self._take(at, done))

    def expect(self, at: int | None) -> None:
        """The page shows this step from now on, or is live, and whoever knows its keys will tell them."""
        self._at, self._notices, self._has_failed = at, [], False

    def _keys_at(self, at: int) -> list[Mapping[str, KeyInfo]]:
        reader = self._reader.as_of(at)
        return [reader.keys(run) for run in self._runs]

    def _take(self, at: int, found: Future[list[Mapping[str, KeyInfo]]]) -> None:
        try:
            self.learn(at, found.result())
        except StreamvisError:
            # The run's feed meets the same trouble, and it is the feed that says so.
            self._has_failed = at == self._at

    def learn(self, at: int | None, found: Sequence[Mapping[str, KeyInfo]]) -> None:
        """The keys of each run at a step."""
        if at is None or at != self._at:
            return
        keys = sorted({key for its in found for key, info in its.items() if not info.is_kept})
        if keys:
            more = f" and {len(keys) - _MOST_NAMED} more" if len(keys) > _MOST_NAMED else ""
            title = "Some values are no longer kept"
            self._notices = [Notice("reading", title, f"Of this step: {', '.join(keys[:_MOST_NAMED])}{more}.")]
            self._wake()
