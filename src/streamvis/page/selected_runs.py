"""Which runs the selection of a session chooses now: those to show, those to wait for, and what the page says of them."""

from __future__ import annotations

from collections.abc import Callable, Set

from streamvis.page.documents.link import Notice
from streamvis.page.feeds.feed import MOST_RUNS, ChoiceFeed, Lost, RunFeed
from streamvis.page.feeds.reader import EndpointReader, RunHead
from streamvis.page.feeds.table import Feeds
from streamvis.page.runs import PageRun
from streamvis.selection import Selection

__all__ = ["SelectedRuns"]


class SelectedRuns:
    """The runs that `selection` chooses, once `listen` was called."""

    def __init__(self, reader: EndpointReader, selection: Selection) -> None:
        self._reader, self._selection = reader, selection
        self._named: list[RunFeed] = []
        self._choice: ChoiceFeed | None = None

    def listen(self, feeds: Feeds, who: object, wake: Callable[[], None]) -> None:
        """Follow the feeds that know which runs there are, for `who`; `wake` is called when that may have changed."""
        found = feeds.chosen(self._reader, self._selection, who, wake)
        self._named = [feed for feed in found if isinstance(feed, RunFeed)]
        self._choice = next((feed for feed in found if isinstance(feed, ChoiceFeed)), None)

    def leave(self, who: object) -> None:
        """Stop listening."""
        for feed in self._feeds:
            feed.leave(who)

    @property
    def _feeds(self) -> list[RunFeed | ChoiceFeed]:
        return [*self._named, *([self._choice] if self._choice is not None else [])]

    @property
    def heads(self) -> list[RunHead]:
        """The runs to show, as far as they are known: none while some that are named have not been heard of."""
        if self._choice is not None:
            return list(self._choice.heads)
        heads = [feed.head for feed in self._named if not feed.gone]
        known = [head for head in heads if head is not None]
        return known if len(known) == len(heads) else []

    @property
    def newest(self) -> PageRun | None:
        """The newest run that may be chosen; None where the selection names its runs, or there is none."""
        return self._choice.heads[0].run if self._choice is not None and self._choice.heads else None

    @property
    def lost(self) -> Lost | None:
        """Since when the endpoint does not answer."""
        return next((feed.lost for feed in self._feeds if feed.lost), None)

    def are_others_than(self, shown: Set[str]) -> bool:
        """Whether other runs than those with these ids are chosen now. Those that a selection names never change."""
        choice = self._choice
        return choice is not None and choice.known.is_set() and {head.run.id for head in choice.heads} != shown

    @property
    def notices(self) -> list[Notice]:
        """What to say beside the runs that are shown."""
        found = []
        missing = [feed.gone for feed in self._named if feed.gone]
        if missing:
            found.append(Notice("vanished", "Some of the chosen runs are not shown", " ".join(missing)))
        chosen = self._choice.count if self._choice is not None and self._selection.is_many else len(self._selection.runs)
        if chosen > MOST_RUNS:
            found.append(Notice("reading", f"{MOST_RUNS} of {chosen:,} runs are shown", "Choose fewer to see others."))
        return found

    @property
    def waiting_notice(self) -> Notice:
        """What to say while there is no run to show."""
        trouble = self.lost.reason if self.lost else ""
        if self._named:
            gone = " ".join(feed.gone for feed in self._named if feed.gone)
            which = ", ".join(f"“{feed.run}”" for feed in self._named if feed.head is None)
            return Notice("waiting", f"Waiting for the run {which}", trouble or gone)
        app = self._selection.app
        if self._selection.where:
            return Notice("waiting", f"Waiting for a matching run of the app “{app}”", trouble or self._selection.where)
        client = f"Client({self._reader.url!r}, {app or 'my-app'!r})"
        hint = f"Start a producer: {client}. This page shows it as soon as it begins."
        return Notice("waiting", f"Waiting for a run of the app “{app}”" if app else "Waiting for a run", trouble or hint)
