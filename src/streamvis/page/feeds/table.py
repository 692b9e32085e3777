"""The feeds of a page process: one per reader (an endpoint, and a token for it) and run or choice, shared by its sessions."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from streamvis.page.feeds.feed import MOST_RUNS, ChoiceFeed, Feed, RunFeed
from streamvis.page.feeds.reader import EndpointReader
from streamvis.selection import NEWEST, PINNED, STATS, Selection

__all__ = ["Feeds"]

_Place = tuple[str, EndpointReader, str | Selection]
"""What a feed follows, a choice or a run: the reader stands for the endpoint and the token, and so for who may read what."""
_AnyFeed = TypeVar("_AnyFeed", bound=Feed)


class Feeds:
    """The table of feeds. A feed is made when it is first asked for, and leaves the table when it ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._feeds: dict[_Place, Feed] = {}

    def choice(self, reader: EndpointReader, selection: Selection, who: object, wake: Callable[[], None]) -> ChoiceFeed:
        """The feed of what a selection that names no runs chooses, with `who` listening."""
        follow = NEWEST if selection.follow == PINNED else selection.follow
        choice = replace(selection, runs=(), stat=STATS[0], follow=follow)
        return self._listen(("choice", reader, choice), lambda ended: ChoiceFeed(reader, choice, ended=ended), who, wake)

    def run(self, reader: EndpointReader, run: str, who: object, wake: Callable[[], None]) -> RunFeed:
        """The feed of a run, with `who` listening."""
        return self._listen(("run", reader, run), lambda ended: RunFeed(reader, run, ended=ended), who, wake)

    def chosen(
        self, reader: EndpointReader, selection: Selection, who: object, wake: Callable[[], None]
    ) -> list[RunFeed] | list[ChoiceFeed]:
        """The feeds that know which runs a selection chooses: of each run that it names, or of its choice."""
        if selection.runs:
            return [self.run(reader, run, who, wake) for run in selection.runs[:MOST_RUNS]]
        return [self.choice(reader, selection, who, wake)]

    def _listen(
        self, at: _Place, make: Callable[[Callable[[], None]], _AnyFeed], who: object, wake: Callable[[], None]
    ) -> _AnyFeed:
        with self._lock:
            known = self._feeds.get(at)
            if known is not None and known.listen(who, wake):
                return known  # pyright: ignore[reportReturnType]  # what is at a place is what `make` of that place makes
            feed = self._feeds[at] = make(lambda: self._forget(at, feed))
            feed.listen(who, wake)
            self._begin(feed)
            return feed

    def _begin(self, feed: Feed) -> None:
        feed.start()

    def _forget(self, at: _Place, feed: Feed) -> None:
        with self._lock:
            if self._feeds.get(at) is feed:
                del self._feeds[at]
