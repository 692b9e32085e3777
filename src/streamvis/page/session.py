"""One browser tab on a page: from the empty document to the last update.

A session is a small machine on Bokeh's event loop. `_advance` runs under the document lock whenever something may have changed
(the browser echoed, a feed woke it, a read ended, a pause is over) and does the next thing, if it is time for one:

1. There is no run yet: say so, and load the page again once there is one. `init_page` runs only while a document is made, so that
   templates, themes and titles work, and nothing of an old session can leak into a new one.
2. The run has a new epoch, or is not the newest any more: load the page again.
3. The past: read the next piece up to the cursor at which the run's feed delivers into the inbox, and hand it over.
4. Live: hand over what the inbox has, merged. An inbox that overflowed leads back to 3.

Never is more than one update under way to the browser: the next waits for the echo of the last. Nothing here waits for a network.
"""

from __future__ import annotations

import inspect
import logging
import statistics
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from bokeh.document import Document
from tornado.ioloop import IOLoop

from streamvis.errors import StreamvisError
from streamvis.page import look
from streamvis.page.author import Failures
from streamvis.page.document import on_unsendable
from streamvis.page.feed import AppFeed, Feeds, Inbox, RunFeed
from streamvis.page.fillers import Fillers
from streamvis.page.link import BrowserLink, Notice
from streamvis.page.moments import moment
from streamvis.page.new_data import Names, NewData, column_form, own_copy
from streamvis.page.past import Past
from streamvis.page.reader import EndpointReader, Piece, RunHead
from streamvis.page.view import LiveSources
from streamvis.records import VANISHED, Rows

__all__ = ["InitPage", "Session", "UpdatePage"]

_log = logging.getLogger("streamvis.page")

InitPage = Callable[[Document, Mapping[str, Any]], object]
UpdatePage = Callable[[Document, NewData], object]

_MIN_INTERVAL_S = 0.05
_RETRY_S, _FAILED_RETRY_S = 0.5, 5.0
_BEAT_S = 10
_SLOW_S = 0.2
_READING_NOTICE_AFTER_S = 1.0
_MANY_ROWS = 300_000
"""So many rows of the past and a browser begins to be slow."""


class Session:
    """Follows the newest run of `app`, or the run `run` where that is given, in the document `doc`."""

    def __init__(
        self,
        doc: Document,
        reader: EndpointReader,
        feeds: Feeds,
        *,
        app: str | None,
        run: str | None,
        init_page: InitPage,
        update_page: UpdatePage | None,
        budget: int | None = None,
    ) -> None:
        self._doc, self._reader, self._feeds, self._budget = doc, reader, feeds, budget
        self._app, self._pinned = app, run
        self._init_page, self._update_page = init_page, update_page
        self._loop = IOLoop.current()
        self._is_woken = self._is_over = self._is_begun = self._is_outdated = False
        self._app_feed: AppFeed | None = None
        self._run_feed: RunFeed | None = None
        self._inbox = Inbox(self.wake)
        self._head: RunHead | None = None
        self._restarts = 0
        self._cursor: str | None = None
        self._target: str | None = None
        self._piece: Piece | None = None
        self._reading: Future | None = None
        self._forms: dict[tuple[str, str], str] = {}
        self._durations: deque[float] = deque(maxlen=5)
        self._next_at = 0.0
        self._past_rows, self._read_rows, self._reading_since = 0, 0, time.monotonic()
        self._failures = Failures.of(doc, f"the page for app {app!r}")
        self._failures.on_new = self.wake
        self._heard = 0.0
        self._live: LiveSources | None = None
        self._fillers: Fillers | None = None
        self._past: Past | None = None
        self._link = BrowserLink(doc, self.wake)
        self._next_beat: object | None = None

    def start(self) -> Awaitable[None] | None:
        """Begin. Called while the document is made, on the event loop; `init_page` runs here when the run is known.

        Returns what is left to await, under the document lock, where `init_page` is `async`.
        """
        self._doc.on_session_destroyed(self._end)
        on_unsendable(self._doc, self._show_only)
        if self._pinned is None:
            self._app_feed = self._feeds.app(self._reader, self._app, self, self.wake)
            self._head = self._app_feed.head
        else:
            self._run_feed = self._feeds.run(self._reader, self._pinned, self, self.wake)
            self._head = self._run_feed.head
        if self._head is not None:
            if self._run_feed is None:
                self._run_feed = self._feeds.run(self._reader, self._head.run.id, self, self.wake)
            # Other sessions share the feed's head; this config goes to this page's author.
            self._head = replace(self._head, run=replace(self._head.run, config=own_copy(self._head.run.config)))
            self._restarts = self._run_feed.restarts
            look.prepare(self._doc, title=self._app or "Streamvis")
            config = Names(self._head.run.config, what="config")
            rest = self._failures.run("init_page", self._init_page, self._doc, config, ends_page=True)
            if inspect.isawaitable(rest):
                return self._begin_after(rest)
        else:
            self._doc.title = self._app or "Streamvis"
        self._begin()
        return None

    async def _begin_after(self, rest: Awaitable[object]) -> None:
        await rest
        self._begin()

    def _begin(self) -> None:
        if self._head is not None and not self._failures.has_ended:
            # What the author's figures are made of can be wrong too.
            with self._failures.ours():
                self._failures.run("init_page", self._find_live_sources, ends_page=True)
        self._is_begun = True
        self._link.attach()
        self._link.show(self._notices())
        if not self._is_over:
            self._beat_later()

    def _beat_later(self) -> None:
        # Not a periodic callback of the document: Bokeh lets go of one, and of the document with it, only a period after its end.
        self._next_beat = self._loop.call_later(_BEAT_S, self._beat)

    def _beat(self) -> None:
        self._doc.add_next_tick_callback(self._link.beat)
        self._beat_later()

    def _find_live_sources(self) -> None:
        run, shared = self._head.run, {"executor": self._feeds.executor, "loop": self._loop, "wake": self.wake}
        look.dress(self._doc)
        self._fillers = Fillers(self._doc, self._reader, run, **shared)
        self._live = LiveSources(self._doc, self._reader, run.id, started=run.started, **shared)
        self._past = Past(self._reader, run.id, budget=self._budget)
        self._link.keep(self._live.control)
        self._live.sync()

    def _sync_live_sources(self) -> None:
        """Take in the live sources and figures that the author's code made, changed or removed."""
        if self._live is not None and self._live.is_changed and not self._failures.has_ended:
            with self._failures.ours():
                self._fillers.look()
                self._failures.run("A live figure of the page", self._live.sync, ends_page=True)

    def wake(self) -> None:
        """There may be something to do. From any thread."""
        if not self._is_woken:
            self._is_woken = True
            self._loop.add_callback(self._plan)

    def _plan(self, delay_s: float = 0.0) -> None:
        if self._is_over:
            return
        if delay_s:
            self._doc.add_timeout_callback(self._advance, max(1, round(delay_s * 1000)))
        else:
            self._doc.add_next_tick_callback(self._advance)

    def _end(self, session_context: object) -> None:
        self._is_over = True
        if self._next_beat is not None:
            self._loop.remove_timeout(self._next_beat)
        for feed in (self._app_feed, self._run_feed):
            if feed is not None:
                feed.leave(self)
        self._inbox.reset()
        self._feeds.heap.trim_later(self._loop)

    def _advance(self) -> Awaitable[None] | None:
        self._is_woken = False
        if self._is_over:
            return None
        self._sync_live_sources()
        self._link.show(self._notices())
        if self._has_another_run():
            self._reload()
        elif self._failures.has_ended:
            self._give_up()
        elif (self._link.is_echoed or self._is_ahead) and self._head is not None and self._is_begun:
            early_s = self._next_at - time.monotonic()
            if early_s > 0.001:
                if self._has_news():
                    self._is_woken = True
                    self._plan(early_s)
                return None
            pieces = self._take_pieces()
            if pieces or self._live.has_news or self._fillers.has_news:
                return self._hand_over(pieces)
        return None

    @property
    def _is_ahead(self) -> bool:
        """Whether the browser is still loading, and what it shows first can be made meanwhile: it takes no rows of the past."""
        return not self._link.is_seen and self._fillers is not None and self._fillers.takes_rows

    def _give_up(self) -> None:
        """The author's code failed: what else comes is for nobody."""
        if self._run_feed is not None:
            self._run_feed.part(self)
        self._inbox.reset()
        self._link.attach()

    def _show_only(self, error: BaseException) -> None:
        """The browser cannot be sent the author's document: send it one that says so."""
        self._failures.tell("Sending the document to the browser", error, ends_page=True)
        with self._failures.muted():
            self._doc.clear()
            self._give_up()
            self._link.show(self._notices())

    def _has_another_run(self) -> bool:
        """Whether a new session would show something else than this one: another run, a new epoch, or a run at last."""
        if self._is_outdated or (self._head is not None and self._run_feed.restarts != self._restarts):
            return True
        if self._pinned is not None:
            return self._head is None and self._run_feed is not None and self._run_feed.head is not None
        if self._app_feed is None or not self._app_feed.known.is_set():
            return False
        newest = self._app_feed.head
        return (newest and newest.run.id) != (self._head and self._head.run.id)

    def _reload(self) -> None:
        self._link.reload()
        self._end(None)

    def _has_news(self) -> bool:
        waits = self._inbox.has_news or self._live.has_news or self._fillers.has_news
        return waits or self._piece is not None or self._cursor != self._target

    def _take_pieces(self) -> list[Piece]:
        """What to hand over next: a piece of the past, or what the inbox has. Empty while neither is there."""
        if self._target is None or self._inbox.overflowed:
            self._run_feed.part(self)
            self._target = self._run_feed.join(self, self._inbox)
            self._live.refetch()
            self._reading_since, self._read_rows = time.monotonic(), 0
            if self._target is None:
                return []
        if self._piece is not None:
            piece, self._piece = self._piece, None
            self._cursor = piece.cursor if piece.more else self._target
            self._count_past(piece)
            if piece.more:
                self._read_on()
            return [piece]
        if self._cursor != self._target:
            self._read_on()
            return []
        pieces = [self._past.fresh(piece) for piece in self._inbox.take()]
        if pieces:
            self._cursor = self._target = pieces[-1].cursor
        return pieces

    def _count_past(self, piece: Piece) -> None:
        """Say, once for each app, that there are better ways where a browser gets all of a long past."""
        self._past_rows += sum(len(item.steps) for item in piece.items if isinstance(item, Rows))
        if self._past_rows > _MANY_ROWS and self._budget is None:
            self._feeds.say_once(
                f"The page for app {self._app!r} gets more than {_MANY_ROWS:,} rows of the past, which makes browsers slow. "
                "Draw them from a streamvis.live_source, or give the page a budget of rows (see 'Writing a page' in the docs)."
            )

    def _read_on(self) -> None:
        """Read the next piece of the past in a thread, one at a time."""
        if self._reading is None:
            ask = {"after": self._cursor, "until": self._target, "exclude": self._live.keys, "no_rows": self._fillers.takes_rows}
            self._reading = self._feeds.executor.submit(self._past.read, **ask)
            self._loop.add_future(self._reading, self._take_reading)

    def _take_reading(self, reading: Future) -> None:
        self._reading = None
        try:
            piece = reading.result()
        except StreamvisError as error:
            # The run's feed meets the same trouble, and it is the feed that says so.
            _log.debug("reading the past failed, and is tried again: %s", error)
            self._loop.call_later(_RETRY_S, self.wake)
            return
        except Exception:  # noqa: BLE001  # the end of a thread's work: nobody else hears of it
            _log.exception("reading the past of the run %r failed, and is tried again", self._head.run.id)
            self._loop.call_later(_FAILED_RETRY_S, self.wake)
            return
        self._is_outdated = piece.restart
        self._piece = piece
        self.wake()

    def _hand_over(self, pieces: list[Piece]) -> Awaitable[None] | None:
        if self._has_changed_form(pieces):
            self._reload()
            return None
        run = self._head.run
        if pieces:
            run = replace(run, name=pieces[-1].name, state=pieces[-1].state, dropped=pieces[-1].dropped)
            self._heard = pieces[-1].heard
        changed = run != self._head.run
        self._head = replace(self._head, run=run)
        without = self._live.keys
        if self._fillers.takes_rows:
            without = without.union(*(piece.dtypes for piece in pieces))
        new_data = self._run_feed.folds.fold(run, pieces, without=without)
        self._read_rows += new_data.row_count
        began = time.monotonic()
        with self._failures.ours():
            is_live_changed = self._live.update(pieces)
            is_answered = self._fillers.has_news
            if pieces or changed or is_answered:
                self._fillers.update(new_data, pieces)
        self._sync_live_sources()
        if not new_data and not changed and not is_live_changed and not is_answered:
            self.wake()
            return None
        if self._update_page is not None and (new_data or changed):
            rest = self._failures.run("update_page", self._update_page, self._doc, new_data, ends_page=True)
            if inspect.isawaitable(rest):
                return self._send_after(rest, began)
        self._send(began)
        return None

    async def _send_after(self, rest: Awaitable[object], began: float) -> None:
        await rest
        self._send(began)

    def _send(self, began: float) -> None:
        """Let the browser have what was changed since `began`, and echo it."""
        self._sync_live_sources()
        took_s = time.monotonic() - began
        self._durations.append(took_s)
        # At most half of the time goes to one session's updates, and to those of all, which Bokeh sends out after this.
        self._next_at = began + (0 if self._is_ahead else max(_MIN_INTERVAL_S, 2 * took_s, self._feeds.pace.pause_s()))
        self._link.attach()
        self._link.send()
        self._link.show(self._notices())

    def _has_changed_form(self, pieces: list[Piece]) -> bool:
        """Whether a column now reaches pages in another form than this page began with (see `new_data`)."""
        for piece in pieces:
            for key, dtypes in piece.dtypes.items():
                for column, dtype in dtypes.items():
                    form = column_form(dtype)
                    if self._forms.setdefault((key, column), form) != form:
                        return True
        return False

    def _notices(self) -> list[Notice]:
        notices = self._failures.notices
        lost = next((feed.lost for feed in (self._run_feed, self._app_feed) if feed is not None and feed.lost), None)
        if self._head is None:
            notices.append(self._waiting_notice(lost.reason if lost else ""))
        elif lost is not None:
            notices.append(Notice("stale", f"Out of date since {moment(lost.since)}", f"{lost.reason} Trying again."))
        elif self._head.run.state == VANISHED:
            title = f"The producer was last heard of at {moment(self._heard)}"
            notices.append(Notice("vanished", title, "It was killed, or cannot reach the endpoint."))
        if self._durations and (typical_s := statistics.median(self._durations)) > _SLOW_S:
            what = "update_page takes" if self._update_page is not None else "An update of this page takes"
            notices.append(Notice("slow", f"{what} {typical_s:.1f} s", "Updates are slowed to that pace."))
        if self._head is not None and self._head.run.dropped:
            why = "Its producers could not keep them: the endpoint was away or too slow, and their spools were full."
            notices.append(Notice("slow", f"{self._head.run.dropped:,} records of this run were dropped", why))
        is_past = self._target is not None and self._cursor != self._target and self._head is not None
        if is_past and time.monotonic() - self._reading_since > _READING_NOTICE_AFTER_S:
            notices.append(Notice("reading", f"Reading the past: {self._read_rows:,} rows so far"))
        return notices + (self._live.notices + self._fillers.notices if self._live else [])

    def _waiting_notice(self, trouble: str) -> Notice:
        if self._pinned is not None:
            gone = self._run_feed.gone if self._run_feed else None
            return Notice("waiting", f"Waiting for the run “{self._pinned}”", trouble or gone or "")
        client = f"Client({self._reader.url!r}, {self._app or 'my-app'!r})"
        hint = f"Start a producer: {client}. This page shows it as soon as it begins."
        awaited = f"Waiting for a run of the app “{self._app}”" if self._app else "Waiting for a run"
        return Notice("waiting", awaited, trouble or hint)


