"""The data that one session shows: taken from each of its runs in turn, and given to live sources, panels and the author.

The session says when (see `session`); everything here runs under the document lock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bokeh.document import Document
from tornado.ioloop import IOLoop

from streamvis.page.author.code import Failures
from streamvis.page.diagnosis import Counts
from streamvis.page.documents.link import Notice
from streamvis.page.feeds.following import Following
from streamvis.page.feeds.reader import EndpointReader, Piece
from streamvis.page.fillers import Fillers
from streamvis.page.live.session_sources import LiveSources
from streamvis.page.missing_values import Missing
from streamvis.page.new_data import NewData
from streamvis.page.shared import Shared
from streamvis.records import KeyInfo

__all__ = ["AT_ONCE_BYTES", "News", "ShownData"]

AT_ONCE_BYTES = 8 * 2**20
"""Of several runs, no more than about this is handed over in one update, and of any before the browser is there."""

News = Sequence[tuple[Following, list[Piece]]]
"""What runs have that is new, in log order."""


class ShownData:
    """What the document shows of its runs as of the step `at`, or live. `wake` is called when there may be something to do."""

    def __init__(
        self,
        doc: Document,
        reader: EndpointReader,
        shared: Shared,
        followings: Sequence[Following],
        failures: Failures,
        *,
        at: int | None,
        wake: Callable[[], None],
    ) -> None:
        self._followings, self._failures, self._wake = followings, failures, wake
        runs, then = [its.run for its in followings], reader.as_of(at)
        executor, loop = shared.executor, IOLoop.current()
        self._fillers = Fillers(doc, then, runs, executor=executor, loop=loop, wake=wake)
        self._live = LiveSources(doc, then, runs, executor=executor, loop=loop, wake=wake, rests=shared.rests)
        self.control = self._live.control
        self._missing = Missing(reader, [run.id for run in runs], executor=executor, loop=loop, wake=wake)
        self._missing.look(at)
        self._asked: set[str] = set()
        self._turn = 0
        self._are_panels_filled = False

    def sync(self) -> None:
        """Take in the live sources, figures and panels that the author's code made, changed or removed."""
        if self._live.is_changed:
            with self._failures.ours():
                self._fillers.look()
                self._failures.run("A live figure of the page", self._live.sync, ends_page=True)

    def go_on(self) -> None:
        """Let panels do what they put off until others had their turn."""
        with self._failures.ours():
            self._fillers.go_on()

    def seek(self, reader: EndpointReader, at: int | None) -> None:
        """Show the runs as of another step, which `reader` reads."""
        self._missing.expect(at)
        self._are_panels_filled = False
        for its in self._followings:
            its.seek(at)
        with self._failures.ours():
            self._live.seek(reader, at)
            self._fillers.seek(reader)

    def learn_keys(self, at: int | None, keys: Sequence[Mapping[str, KeyInfo]]) -> None:
        """The runs have these keys at the step that is shown now: those that the page showed before."""
        self._missing.learn(at, keys)
        self._wake()

    @property
    def has_answers(self) -> bool:
        """Whether live sources or panels have got something that they asked for."""
        return self._live.has_news or self._fillers.has_news

    @property
    def has_news(self) -> bool:
        """Whether there is something to hand over, or to read."""
        return self.has_answers or any(its.has_news for its in self._followings)

    @property
    def is_reading(self) -> bool:
        """Whether something is under way from the endpoint."""
        return any(its.is_reading for its in (self._live, self._fillers, *self._followings))

    @property
    def is_awaited(self) -> bool:
        """Whether the endpoint has yet to answer a live source or a panel."""
        return self._live.is_awaited or self._fillers.is_awaited

    @property
    def is_filled(self) -> bool:
        """Whether the page shows the past up to now: nothing is being read for the first time, nor still to be made."""
        if self._fillers.has_put_off or any(its.is_reading for its in self._followings):
            return False
        # Where data come all the time, something is always being read again.
        self._are_panels_filled |= not self._fillers.is_reading
        return self._are_panels_filled and self._live.is_filled

    @property
    def reads(self) -> frozenset[str]:
        """The keys that the page asked for so far, by live sources and in `update_page`."""
        return frozenset(self._asked).union(*(self._live.keys(its.run.id) for its in self._followings))

    @property
    def takes_all_keys(self) -> bool:
        """Whether panels look at whatever keys there are."""
        return self._fillers.takes_rows

    @property
    def notices(self) -> list[Notice]:
        """What to say of live sources, panels, and values that are gone."""
        return self._live.notices + self._fillers.notices + self._missing.notices

    def take(self) -> News:
        """What each run has next, those first that had to wait the last time."""
        found, size_bytes = [], 0
        count = len(self._followings)
        for i in range(count):
            if size_bytes > AT_ONCE_BYTES:
                self._turn = (self._turn + i) % count
                self._wake()
                break
            its = self._followings[(self._turn + i) % count]
            run = its.run.id
            pieces = its.take(
                without=self._live.keys(run),
                no_rows=self._fillers.takes_rows,
                joined=lambda run=run: self._live.refetch(run),
            )
            if pieces:
                found.append((its, pieces))
                size_bytes += sum(piece.size_bytes for piece in pieces)
        return found

    def hand_over(self, news: News, counts: Counts, *, is_ahead: bool) -> tuple[list[NewData], bool]:
        """Give news to live sources and panels. Returns what is left for `update_page`, and whether the page changed."""
        changed = [its.learn(pieces) for its, pieces in news]
        for _, pieces in news:
            counts.hand_over(pieces)
        told: list[NewData] = []
        with self._failures.ours():
            is_live_changed = self._live.update({its.run.id: pieces for its, pieces in news}, is_ahead=is_ahead)
            self._fillers.fill(self._live.are_filled)
            is_answered = self._fillers.has_news
            for its, pieces in news:
                told.append(its.fold(pieces, without=self._without(its, pieces)).noting(self._asked))
            self._fillers.update([(new_data, pieces) for new_data, (_, pieces) in zip(told, news, strict=True)])
        told = [new_data for new_data, is_new in zip(told, changed, strict=True) if new_data or is_new]
        return told, bool(told or is_live_changed or is_answered)

    def _without(self, its: Following, pieces: Sequence[Piece]) -> frozenset[str]:
        """The keys whose rows are for no one but live sources."""
        without = self._live.keys(its.run.id)
        return without.union(*(piece.dtypes for piece in pieces)) if self._fillers.takes_rows else without
