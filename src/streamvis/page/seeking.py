"""Showing another step in place: for pages that are made of panels and live sources alone.

Those ask the endpoint for less, or for more, and the page stays as it is. That holds where the runs have the same keys at both
steps: else other panels would be there, and the page is rebuilt, as every page of an author's own is (see `session`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future

from bokeh.document import Document
from tornado.ioloop import IOLoop

from streamvis.errors import StreamvisError
from streamvis.page.documents.callbacks import call_next
from streamvis.page.documents.link import BrowserLink
from streamvis.page.feeds.reader import EndpointReader
from streamvis.page.thread_results import when_done
from streamvis.records import KeyInfo

__all__ = ["Seeking"]

_log = logging.getLogger("streamvis.page")

_Keys = Sequence[Mapping[str, KeyInfo]]
_Names = Sequence[set[tuple[str, str]]]


class Seeking:
    """Calls `show(reader, step)` with a reader as of the step that the browser asked for, under the document lock.

    Meanwhile it looks which keys the runs have at that step. What `show` has read is shown once that is known, and
    `learn(step, keys)` then gets the keys of each run. Where they are not those of before, nothing is shown (`is_refused`), and
    the browser is told to load the page again.
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
        learn: Callable[[int | None, Sequence[Mapping[str, KeyInfo]]], None],
    ) -> None:
        self._doc, self._link, self._reader, self._runs, self._at = doc, link, reader, list(runs), at
        self._executor, self._loop, self._show, self._learn = executor, loop, show, learn
        self._number = 0
        self._is_known, self.is_refused = True, False
        # The past has the same keys for as long as the page shows it: no run has a new epoch meanwhile.
        self._names: _Names | None = None
        link.allow_seeking(self._seek)

    @property
    def is_under_way(self) -> bool:
        """Whether the browser waits for a step."""
        return self._number > 0

    @property
    def is_awaited(self) -> bool:
        """Whether it is not known yet that the step can be shown in place."""
        return not self._is_known

    def shown(self) -> None:
        """The page shows the step that was asked for."""
        number, self._number = self._number, 0
        if number:
            self._link.say_sought(number, is_shown=True)

    def _seek(self, number: int, at: int | None) -> None:
        before = self._at
        self._number, self._at, self._is_known, self.is_refused = number, at, False, False
        looked = self._executor.submit(self._look, before, at)
        when_done(self._loop, looked, lambda done: call_next(self._doc, lambda: self._know(number, at, done)))
        self._show(self._reader.as_of(at), at)

    def _look(self, before: int | None, at: int | None) -> tuple[_Names, _Keys]:
        """Which keys the runs had as the page showed them, and which at that step."""
        names = self._names or [_names(keys) for keys in self._keys_at(before)]
        return names, self._keys_at(at)

    def _keys_at(self, step: int | None) -> _Keys:
        reader = self._reader.as_of(step)
        return [reader.keys(run) for run in self._runs]

    def _know(self, number: int, at: int | None, looked: Future[tuple[_Names, _Keys]]) -> None:
        if number != self._number:
            return
        try:
            before, keys = looked.result()
        except StreamvisError as error:
            _log.debug("the keys at another step could not be read: %s", error)
            return self._refuse()
        names = [_names(its) for its in keys]
        if before != names:
            return self._refuse()
        self._is_known, self._names = True, None if at is None else names
        self._learn(at, keys)

    def _refuse(self) -> None:
        self.is_refused = True
        self._link.say_sought(self._number, is_shown=False)


def _names(keys: Mapping[str, KeyInfo]) -> set[tuple[str, str]]:
    return {(key, info.kind) for key, info in keys.items()}
