"""Showing another step in place: for pages that are made of panels and live sources alone.

Those ask the endpoint for less, or for more, and the page stays as it is. That holds where the runs have the same keys at both
steps: else other panels would be there, and the page is rebuilt, as every page of an author's own is (see `session`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future

from bokeh.document import Document
from tornado.ioloop import IOLoop

from streamvis.errors import StreamvisError
from streamvis.page.link import BrowserLink
from streamvis.page.reader import EndpointReader
from streamvis.records import KeyInfo

__all__ = ["Seeking"]

_log = logging.getLogger("streamvis.page")

_Keys = Sequence[set[tuple[str, str]]]


class Seeking:
    """Looks whether a step can be shown in place, and calls `show(reader, step)` with a reader as of it, under the document lock.

    The browser asks for one step after the other: for the next once it was told what became of the last.
    """

    def __init__(
        self,
        doc: Document,
        link: BrowserLink,
        reader: EndpointReader,
        runs: Sequence[str],
        at: int | None,
        *,
        executor: Executor,
        loop: IOLoop,
        show: Callable[[EndpointReader, int | None], None],
    ) -> None:
        self._doc, self._link, self._reader, self._runs, self._at = doc, link, reader, list(runs), at
        self._executor, self._loop, self._show = executor, loop, show
        self._number = 0
        # The past has the same keys for as long as the page shows it: no run has a new epoch meanwhile.
        self._keys: _Keys | None = None
        link.allow_seeking(self._seek)

    @property
    def is_under_way(self) -> bool:
        """Whether the browser waits for a step."""
        return self._number > 0

    def shown(self) -> None:
        """The page shows the step that was asked for."""
        number, self._number = self._number, 0
        if number:
            self._link.say_sought(number, is_shown=True)

    def _seek(self, number: int, at: int | None) -> None:
        found = self._executor.submit(self._look, at)
        self._loop.add_future(found, lambda done: self._doc.add_next_tick_callback(lambda: self._go(number, at, done)))

    def _look(self, at: int | None) -> tuple[_Keys, _Keys]:
        """Which keys the runs have as the page shows them, and which at that step."""
        return self._keys or self._keys_at(self._at), self._keys_at(at)

    def _keys_at(self, step: int | None) -> _Keys:
        reader = self._reader.as_of(step)
        return [_names(reader.keys(run)) for run in self._runs]

    def _go(self, number: int, at: int | None, looked: Future[tuple[_Keys, _Keys]]) -> None:
        try:
            before, then = looked.result()
        except StreamvisError as error:
            _log.debug("the keys at another step could not be read: %s", error)
            before, then = [], [set()]
        if before != then:
            self._link.say_sought(number, is_shown=False)
            return
        self._number, self._at, self._keys = number, at, None if at is None else then
        self._show(self._reader.as_of(at), at)


def _names(keys: dict[str, KeyInfo]) -> set[tuple[str, str]]:
    return {(key, info.kind) for key, info in keys.items()}
