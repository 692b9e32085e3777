"""One run on its way into one page: its past, piece by piece, then what its feed delivers.

A session asks `take` for what is next, under the document lock, and hands it over. What lies before the cursor at which the run's
feed delivers into the inbox is read here, in a thread; an inbox that overflowed leads back to reading. As of a step, the past up
to that is all there is: what comes later tells only how the run is now.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence, Set
from concurrent.futures import Future
from dataclasses import replace
from functools import partial

from tornado.ioloop import IOLoop

from streamvis.errors import StreamvisError
from streamvis.page.feeds.feed import Lost
from streamvis.page.feeds.first_history import Past
from streamvis.page.feeds.inbox import INBOX_BYTES, Inbox
from streamvis.page.feeds.reader import EndpointReader, Piece, RunHead
from streamvis.page.new_data import NewData, column_form, own_copy
from streamvis.page.runs import PageRun
from streamvis.page.shared import Shared
from streamvis.page.thread_results import when_done
from streamvis.records import Rows

__all__ = ["Following"]

_log = logging.getLogger("streamvis.page")

_RETRY_S, _FAILED_RETRY_S = 0.5, 5.0


class Following:
    """The run of `head`, for one session, which `wake` wakes. `run` is the run as the page knows it.

    `is_redressed` tells that it got another name or color meanwhile. `heard` is when its producers were last heard of (seconds
    since 1970), `past_rows` counts the rows of the past that were handed over, `read_rows` those since reading began, at
    `reading_since`.
    """

    def __init__(
        self,
        head: RunHead,
        reader: EndpointReader,
        shared: Shared,
        *,
        wake: Callable[[], None],
        budget: int | None,
        at: int | None,
        inbox_bytes: int = INBOX_BYTES,
    ) -> None:
        # Other sessions share the feed's head; this config goes to this page's author.
        self.run: PageRun = replace(head.run, config=own_copy(head.run.config), at=at)
        self._executor, self._wake, self._loop = shared.executor, wake, IOLoop.current()
        self._feed = shared.feeds.run(reader, head.run.id, self, wake)
        self._restarts = self._feed.restarts
        self._inbox = Inbox(wake, limit_bytes=inbox_bytes)
        self._reader, self._budget = reader, budget
        self._past = Past(reader.as_of(at), head.run.id, budget=budget)
        self._cursor: str | None = None
        self._target: str | None = None
        self._piece: Piece | None = None
        self._reading: Future | None = None
        self._forms: dict[tuple[str, str], str] = {}
        self._look = (head.run.name, head.run.color)
        self._is_outdated = self.is_redressed = False
        self.heard = 0.0
        self.past_rows, self.read_rows, self.reading_since = 0, 0, time.monotonic()

    @property
    def is_over(self) -> bool:
        """Whether the run has a new epoch, so that what the page shows is not its past any more."""
        return self._is_outdated or self._feed.restarts != self._restarts

    @property
    def lost(self) -> Lost | None:
        """Since when the endpoint does not answer."""
        return self._feed.lost

    @property
    def has_news(self) -> bool:
        """Whether there is something to take, or to read."""
        return self._inbox.has_news or self._piece is not None or self._cursor != self._target

    @property
    def reads_past(self) -> bool:
        """Whether the past is still being read."""
        return self._target is not None and self._cursor != self._target

    @property
    def is_reading(self) -> bool:
        """Whether something of the past has not been taken yet."""
        return self._target is None or self._cursor != self._target

    def take(self, *, without: Set[str], no_rows: bool, joined: Callable[[], None]) -> list[Piece]:
        """What to hand over next: a piece of the past, or what the inbox has. Empty while neither is there.

        Rows of the keys `without` are not read, nor any with `no_rows`; `joined` is called when reading starts again.
        """
        if self._target is None or self._inbox.overflowed:
            self._feed.part(self)
            self._target = self._feed.join(self, self._inbox)
            joined()
            self.reading_since, self.read_rows = time.monotonic(), 0
            if self._target is None:
                return []
        if self._piece is not None:
            piece, self._piece = self._piece, None
            self._cursor = piece.cursor
            self.past_rows += sum(len(item.steps) for item in piece.items if isinstance(item, Rows))
            if self._cursor != self._target:
                self._read_on(without, no_rows)
            return [piece]
        if self._cursor != self._target:
            self._read_on(without, no_rows)
            return []
        pieces = [self._past.fresh(piece) for piece in self._inbox.take()]
        if self.run.at is not None:
            pieces = [replace(piece, items=[], dtypes={}, first_rows={}) for piece in pieces]
        if pieces:
            self._cursor = self._target = pieces[-1].cursor
        return pieces

    def learn(self, pieces: Sequence[Piece]) -> bool:
        """Know the run as the pieces say that it is now; whether anything changed."""
        if not pieces:
            return False
        newest, before = pieces[-1], self.run
        self.is_redressed |= (newest.name, newest.color) != self._look
        self.run = replace(self.run, name=newest.name, state=newest.state, dropped=newest.dropped)
        self.heard = newest.heard
        return self.run != before

    def fold(self, pieces: Sequence[Piece], *, without: Set[str]) -> NewData:
        """The pieces as what `update_page` is given."""
        new_data = self._feed.folds.fold(self.run, pieces, without=without)
        self.read_rows += new_data.row_count
        return new_data

    def has_changed_form(self, pieces: Sequence[Piece]) -> bool:
        """Whether a column now reaches pages in another form than this page began with (see `new_data`)."""
        for piece in pieces:
            for key, dtypes in piece.dtypes.items():
                for column, dtype in dtypes.items():
                    form = column_form(dtype)
                    if self._forms.setdefault((key, column), form) != form:
                        return True
        return False

    def seek(self, at: int | None) -> None:
        """The page shows another step now. What it shows is read by who shows it."""
        self.run = replace(self.run, at=at)
        # A piece that was read as of the step before is read again.
        self._past, self._piece = Past(self._reader.as_of(at), self.run.id, budget=self._budget), None

    def give_up(self) -> None:
        """What else comes is for no one."""
        self._feed.part(self)
        self._inbox.reset()

    def end(self) -> None:
        """The session has ended."""
        self._feed.leave(self)
        self._inbox.reset()

    def _read_on(self, without: Set[str], no_rows: bool) -> None:
        """Read the next piece of the past in a thread, one at a time."""
        target = self._target
        assert target is not None  # reading on follows joining
        if self._reading is None:
            ask = {"after": self._cursor, "until": target, "exclude": without, "no_rows": no_rows}
            self._reading = self._executor.submit(self._past.read, **ask)
            when_done(self._loop, self._reading, partial(self._take_reading, self._past, target))

    def _take_reading(self, past: Past, until: str, reading: Future) -> None:
        self._reading = None
        if past is not self._past:
            return self._wake()
        try:
            piece = reading.result()
        except StreamvisError as error:
            # The run's feed meets the same trouble, and it is the feed that says so.
            _log.debug("reading the past failed, and is tried again: %s", error)
            self._loop.call_later(_RETRY_S, self._wake)
            return
        except Exception:  # noqa: BLE001  # the end of a thread's work: no one else hears of it
            _log.exception("reading the past of the run %r failed, and is tried again", self.run.id)
            self._loop.call_later(_FAILED_RETRY_S, self._wake)
            return
        self._is_outdated = piece.restart
        # Where the inbox overflowed meanwhile, the target of now is a later one, and what lies between is still to be read.
        self._piece = piece if piece.more else replace(piece, cursor=until)
        self._wake()
