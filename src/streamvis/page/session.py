"""One browser tab on a page: from the empty document to the last update.

A session is a small machine on Bokeh's event loop. `_advance` runs under the document lock whenever something may have changed
(the browser echoed, a feed woke it, a read ended, a pause is over) and does the next thing, if it is time for one:

1. There is no run yet: say so, and reload the page once there is one. `init_page` runs only while a document is made, so that
   templates, themes and titles work, and nothing of an old session can leak into a new one.
2. A run has a new epoch, or the page's selection chooses other runs now, or a run of a page that can show several has another
   name or color: reload the page. Of a newer run than the one that is shown the shell is only told, where it is around the page:
   it decides.
3. Hand over what each run has next (see `following`), merged.

Never is more than one update under way to the browser: the next waits for the echo of the last. Nothing here waits for a network.
"""

from __future__ import annotations

import inspect
import math
import statistics
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from bokeh.document import Document
from tornado.ioloop import IOLoop

from streamvis.page import look
from streamvis.page.author import Failures
from streamvis.page.author_requests import Asking
from streamvis.page.diagnosis import Counts, Diagnosis, reasons
from streamvis.page.document import on_unsendable
from streamvis.page.feed import MOST_RUNS, ChoiceFeed, Feeds, RunFeed
from streamvis.page.fillers import Fillers
from streamvis.page.following import Following
from streamvis.page.link import BrowserLink, Notice, Shown, ShownRun
from streamvis.page.live.figures import computed_once
from streamvis.page.live.session_sources import LiveSources
from streamvis.page.missing_values import Missing
from streamvis.page.new_data import Names, NewData
from streamvis.page.reader import EndpointReader, Piece, RunHead
from streamvis.page.runs import PageRun, Showing, grouped, labelled, show_in
from streamvis.page.seeking import Seeking
from streamvis.page.time_text import moment
from streamvis.records import VANISHED, KeyInfo
from streamvis.selection import PINNED, Selection

__all__ = ["InitPage", "Session", "UpdatePage", "takes_runs"]

InitPage = Callable[..., object]
UpdatePage = Callable[[Document, NewData], object]

_LEAST_SHOWN_S = 5.0
"""How long the runs of a choice are shown before the page reloads for others: a sweep may start one every second."""
_BEAT_S = 10
_SLOW_S, _TYPICAL = 0.2, 3
"""Updates that take so long are slow; the first one or two of a page, which fill it, say nothing of the others."""
_REASON_EVERY_S = 10.0
_READING_NOTICE_AFTER_S = 1.0
_MANY_ROWS = 300_000
"""So many rows of the past and a browser begins to be slow."""
_AT_ONCE_BYTES = 8 * 2**20
"""Of several runs, no more than about this is handed over in one update, and of any before the browser is there."""


def takes_runs(init_page: InitPage) -> bool:
    """Whether `init_page` is called with the runs too."""
    try:
        inspect.signature(init_page).bind(None, None, None)
    except (TypeError, ValueError):
        return False
    return True


class Session:
    """Shows what `selection` chooses, in the document `doc`."""

    def __init__(
        self,
        doc: Document,
        reader: EndpointReader,
        feeds: Feeds,
        *,
        selection: Selection,
        init_page: InitPage,
        update_page: UpdatePage | None,
        budget: int | None = None,
    ) -> None:
        self._doc, self._reader, self._feeds, self._budget = doc, reader, feeds, budget
        self._selection = selection
        self._init_page, self._update_page = init_page, update_page
        self._takes_runs = takes_runs(init_page)
        self._loop = IOLoop.current()
        self._is_woken = self._is_over = self._is_begun = False
        self._choice: ChoiceFeed | None = None
        self._named: list[RunFeed] = []
        self._followings: list[Following] = []
        self._began = time.monotonic()
        self._durations: deque[float] = deque(maxlen=5)
        self._next_at = 0.0
        self._turn = 0
        self._asked: set[str] = set()
        self._are_panels_filled = False
        self._ahead_bytes = 0
        self._failures = Failures.of(doc, f"the page for app {selection.app!r}")
        self._failures.on_new = self.wake
        self._live: LiveSources | None = None
        self._seeking: Seeking | None = None
        self._asking: Asking | None = None
        self._missing: Missing | None = None
        self._counts = Counts()
        self._why_slow: tuple[float, str] = (-math.inf, "")
        self._fillers: Fillers | None = None
        self._link = BrowserLink(doc, self.wake)
        self._next_beat: object | None = None

    def start(self) -> Awaitable[None] | None:
        """Begin. Called while the document is made, on the event loop; `init_page` runs here when the runs are known.

        Returns what is left to await, under the document lock, where `init_page` is `async`.
        """
        self._doc.on_session_destroyed(self._end)
        on_unsendable(self._doc, self._show_only)
        feeds = self._feeds.chosen(self._reader, self._selection, self, self.wake)
        self._named = [feed for feed in feeds if isinstance(feed, RunFeed)]
        self._choice = next((feed for feed in feeds if isinstance(feed, ChoiceFeed)), None)
        heads = self._heads()
        title = self._selection.app or "Streamvis"
        if heads:
            follow = {"wake": self.wake, "budget": self._budget and max(1, self._budget // len(heads)), "at": self._selection.at}
            self._followings = [Following(head, self._reader, self._feeds, **follow) for head in heads]
            self._asking = Asking(self._doc, self._reader, self._feeds.executor, at=self._selection.at)
            runs = grouped(labelled([its.run for its in self._followings]), self._selection.group)
            runs = [replace(run, asking=self._asking) for run in runs]
            for its, run in zip(self._followings, runs, strict=True):
                its.run = run
            look.prepare(self._doc, title=title)
            show_in(self._doc, Showing(self._selection, runs, self._reader, self._asking))
            arguments = [self._doc, Names(runs[0].config, what="config")]
            arguments += [runs] if self._takes_runs else []
            self._takes_runs |= len(runs) > 1
            self._init_began = time.monotonic()
            rest = self._failures.run("init_page", self._init_page, *arguments, ends_page=True)
            if inspect.isawaitable(rest):
                return self._begin_after(rest)
        else:
            self._doc.title = title
        self._begin()
        return None

    def _heads(self) -> list[RunHead]:
        """The runs to show, as far as they are known: none while some that are named have not been heard of."""
        if self._choice is not None:
            return list(self._choice.heads)
        there = [feed for feed in self._named if not feed.gone]
        return [feed.head for feed in there] if all(feed.head is not None for feed in there) else []

    async def _begin_after(self, rest: Awaitable[object]) -> None:
        await rest
        self._begin()

    def _begin(self) -> None:
        if self._followings:
            self._counts.init_s = time.monotonic() - self._init_began
        if self._followings and not self._failures.has_ended:
            # What the author's figures are made of can be wrong too.
            with self._failures.ours():
                self._failures.run("init_page", self._find_live_sources, ends_page=True)
        self._is_begun = True
        self._link.attach()
        self._tell()
        if not self._is_over:
            self._beat_later()

    def _beat_later(self) -> None:
        # Not a periodic callback of the document: Bokeh releases one, and the document with it, only one period after its end.
        self._next_beat = self._loop.call_later(_BEAT_S, self._beat)

    def _beat(self) -> None:
        self._doc.add_next_tick_callback(self._link.beat)
        self._beat_later()

    def _find_live_sources(self) -> None:
        runs, shared = self._runs, {"executor": self._feeds.executor, "loop": self._loop, "wake": self.wake}
        with computed_once(self._doc):
            look.dress(self._doc)
            self._link.attach()
        reader = self._reader.as_of(self._selection.at)
        self._fillers = Fillers(self._doc, reader, runs, **shared)
        self._live = LiveSources(self._doc, reader, runs, **shared)
        self._link.keep(self._live.control)
        self._missing = Missing(self._reader, [run.id for run in runs], **shared)
        self._missing.look(self._selection.at)
        about = {"asked": lambda: (self.reads, self.takes_all_keys), "executor": self._feeds.executor, "loop": self._loop}
        ids = [run.id for run in runs]
        Diagnosis(self._doc, self._link, reader, ids, self._counts, self._failures.log, **about)
        if self._update_page is None:
            about = {"executor": self._feeds.executor, "loop": self._loop, "show": self._show_step, "learn": self._learn_keys}
            self._seeking = Seeking(self._doc, self._link, self._reader, ids, self._selection.at, **about)
        self._live.sync()

    def _show_step(self, reader: EndpointReader, at: int | None) -> None:
        """Show the runs as of another step, in place (see `seeking`)."""
        self._selection = replace(self._selection, at=at)
        self._asking.at = at
        self._missing.expect(at)
        self._are_panels_filled = False
        self._next_at = 0.0  # a viewer waits for it
        for its in self._followings:
            its.seek(at)
        with self._failures.ours():
            self._live.seek(reader, at)
            self._fillers.seek(reader)
        self.wake()

    def _learn_keys(self, at: int | None, keys: Sequence[Mapping[str, KeyInfo]]) -> None:
        """The runs have these keys at the step that is shown now: those that the page showed before."""
        self._missing.learn(at, keys)
        self.wake()

    @property
    def _runs(self) -> list[PageRun]:
        return [its.run for its in self._followings]

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
        for feed in (self._choice, *self._named):
            if feed is not None:
                feed.leave(self)
        for its in self._followings:
            its.end()
        self._feeds.heap.trim_later(self._loop)

    def _advance(self) -> Awaitable[None] | None:
        self._is_woken = False
        if self._is_over:
            return None
        self._sync_live_sources()
        self._tell()
        if self._is_outdated():
            self._reload()
        elif self._failures.has_ended:
            self._give_up()
        elif (self._link.is_echoed or self._is_ahead) and self._followings and self._is_begun:
            early_s = self._next_at - time.monotonic()
            if self._is_seeking:
                return None
            if early_s > 0.001:
                if self._has_news():
                    self._is_woken = True
                    self._plan(early_s)
                else:
                    self._settle()
                return None
            news = self._take()
            if news or self._live.has_news or self._fillers.has_news:
                return self._hand_over(news)
            self._settle()
        return None

    @property
    def is_idle(self) -> bool:
        """Whether all that has come was handed over, and the browser has painted it."""
        if self._is_over or self._failures.has_ended or (self._seeking is not None and self._seeking.is_refused):
            return True
        if self._is_woken or not self._link.is_echoed:
            return False
        return not self._followings or not (self._has_news() or self._is_reading)

    @property
    def _is_reading(self) -> bool:
        return any(its.is_reading for its in (self._live, self._fillers, *self._followings))

    @property
    def reads(self) -> frozenset[str]:
        """The keys that the page asked for so far, by live sources and in `update_page`."""
        live = [self._live.keys(run.id) for run in self._runs] if self._live is not None else []
        return frozenset(self._asked).union(*live)

    @property
    def takes_all_keys(self) -> bool:
        """Whether panels look at whatever keys there are."""
        return self._fillers is not None and self._fillers.takes_rows

    def _settle(self) -> None:
        """All that had come was handed over: unless something is read for the first time, the page shows the past up to now."""
        if any(its.is_reading for its in self._followings):
            return
        # Where data come all the time, something is always being read again.
        self._are_panels_filled |= not self._fillers.is_reading
        if self._are_panels_filled and self._live.is_filled:
            self._link.settle()
            if self._seeking is not None:
                self._seeking.shown()

    @property
    def _is_ahead(self) -> bool:
        """Whether the browser is still loading, so that what it shows first can be made meanwhile, unless that is a lot."""
        is_loading = not self._link.is_seen and not self._link.is_settled
        return is_loading and self._fillers is not None and self._ahead_bytes < _AT_ONCE_BYTES

    @property
    def _is_seeking(self) -> bool:
        """Whether what another step needs is still to come: all of it is shown at once."""
        if self._seeking is None or not self._seeking.is_under_way:
            return False
        return self._live.is_awaited or self._fillers.is_awaited or self._seeking.is_awaited

    def _give_up(self) -> None:
        """The author's code failed: what else comes is for no one."""
        for its in self._followings:
            its.give_up()
        self._link.attach()

    def _show_only(self, error: BaseException) -> None:
        """The browser cannot be sent the author's document: send it one that says so."""
        self._failures.tell("Sending the document to the browser", error, ends_page=True)
        with self._failures.muted():
            self._doc.clear()
            self._give_up()
            self._link.show(self._notices())

    def _is_outdated(self) -> bool:
        """Whether a new session would show something else than this one: other runs, a new epoch, or a run at last."""
        if any(its.is_over for its in self._followings):
            return True
        if self._takes_runs and any(its.is_redressed for its in self._followings):
            return True
        shown = {its.run.id for its in self._followings}
        if self._choice is None:
            return not shown and bool(self._heads())
        if shown and not self._selection.is_many and (self._link.is_framed or self._selection.follow == PINNED):
            return False
        if not self._choice.known.is_set() or {head.run.id for head in self._choice.heads} == shown:
            return False
        early_s = self._began + _LEAST_SHOWN_S - time.monotonic() if len(shown) > 1 else 0.0
        if early_s > 0:
            self._loop.call_later(early_s, self.wake)
        return early_s <= 0

    def _reload(self) -> None:
        self._link.reload()
        self._end(None)

    def _has_news(self) -> bool:
        return self._live.has_news or self._fillers.has_news or any(its.has_news for its in self._followings)

    def _take(self) -> list[tuple[Following, list[Piece]]]:
        """What each run has next, those first that had to wait the last time."""
        found, size_bytes = [], 0
        count = len(self._followings)
        for i in range(count):
            if size_bytes > _AT_ONCE_BYTES:
                self._turn = (self._turn + i) % count
                self.wake()
                break
            its = self._followings[(self._turn + i) % count]
            run = its.run.id
            ask = {"without": self._live.keys(run), "no_rows": self._fillers.takes_rows}
            pieces = its.take(**ask, joined=lambda run=run: self._live.refetch(run))
            if pieces:
                found.append((its, pieces))
                size_bytes += sum(piece.size_bytes for piece in pieces)
        if not self._link.is_seen:
            self._ahead_bytes += size_bytes
        self._say_of_past()
        return found

    def _say_of_past(self) -> None:
        """Say, once for each app, that there are better ways where a browser gets all of a long past."""
        if self._budget is None and sum(its.past_rows for its in self._followings) > _MANY_ROWS:
            self._feeds.say_once(
                f"The page for app {self._selection.app!r} gets more than {_MANY_ROWS:,} rows of the past, which makes browsers "
                "slow. Draw them from a streamvis.live_source, or give the page a budget of rows "
                "(see 'Writing a page' in the docs)."
            )

    def _hand_over(self, news: Sequence[tuple[Following, list[Piece]]]) -> Awaitable[None] | None:
        if any(its.has_changed_form(pieces) for its, pieces in news):
            self._reload()
            return None
        began = time.monotonic()
        changed = [its.learn(pieces) for its, pieces in news]
        for _, pieces in news:
            self._counts.hand_over(pieces)
        told: list[NewData] = []
        with self._failures.ours():
            is_live_changed = self._live.update({its.run.id: pieces for its, pieces in news}, is_ahead=self._is_ahead)
            is_answered = self._fillers.has_news
            for its, pieces in news:
                told.append(its.fold(pieces, without=self._without(its, pieces)).noting(self._asked))
            self._fillers.update([(new_data, pieces) for new_data, (_, pieces) in zip(told, news, strict=True)])
        self._sync_live_sources()
        told = [new_data for new_data, is_new in zip(told, changed, strict=True) if new_data or is_new]
        if not told and not is_live_changed and not is_answered:
            self.wake()
            return None
        waiting = []
        for new_data in told if self._update_page is not None else ():
            with self._counts.updating():
                rest = self._failures.run("update_page", self._update_page, self._doc, new_data, ends_page=True)
            waiting += [rest] if inspect.isawaitable(rest) else []
            if self._failures.has_ended:
                break
        if waiting:
            return self._send_after(waiting, began)
        self._send(began)
        return None

    def _without(self, its: Following, pieces: Sequence[Piece]) -> frozenset[str]:
        """The keys whose rows are for no one but live sources."""
        without = self._live.keys(its.run.id)
        return without.union(*(piece.dtypes for piece in pieces)) if self._fillers.takes_rows else without

    async def _send_after(self, rests: Sequence[Awaitable[object]], began: float) -> None:
        for rest in rests:
            await rest
        self._send(began)

    def _send(self, began: float) -> None:
        """Let the browser have what was changed since `began`, and echo it."""
        self._sync_live_sources()
        took_s = time.monotonic() - began
        if not self._is_ahead:
            self._durations.append(took_s)
        self._next_at = began + (0 if self._is_ahead else self._feeds.pause_s(took_s))
        self._link.attach()
        self._link.send()
        # First why it failed, where it did: the shell shows no failed page in place of one that works.
        self._tell()
        self._settle()

    def _tell(self) -> None:
        """Say what there is to say, to who looks at the page and to the shell around it."""
        self._link.show(self._notices())
        runs = tuple(_shown(its.run, its.heard) for its in self._followings)
        newest = self._choice.heads[0].run if self._choice is not None and self._choice.heads else None
        is_newer = newest is not None and runs and not self._selection.is_many and newest.id != runs[0].id
        self._link.tell(Shown(self._selection.app or (runs[0].app if runs else None), runs, _shown(newest) if is_newer else None))

    def _notices(self) -> list[Notice]:
        notices = self._failures.notices
        feeds = [*self._followings, *self._named, *([self._choice] if self._choice is not None else [])]
        lost = next((feed.lost for feed in feeds if feed.lost), None)
        if not self._followings:
            notices.append(self._waiting_notice(lost.reason if lost else ""))
        elif lost is not None:
            notices.append(Notice("stale", f"Out of date since {moment(lost.since)}", f"{lost.reason} Trying again."))
        else:
            notices += self._notices_of_runs()
        if len(self._durations) >= _TYPICAL and (typical_s := statistics.median(self._durations)) > _SLOW_S:
            what = "update_page takes" if self._update_page is not None else "An update of this page takes"
            pace = f"Updates are slowed to that pace. {self._reason()}".strip()
            notices.append(Notice("slow", f"{what} {typical_s:.1f} s", pace))
        dropped = sum(its.run.dropped for its in self._followings)
        if dropped:
            why = "Its producers could not keep them: the endpoint was away or too slow, and their spools were full."
            what = "this run" if len(self._followings) == 1 else "these runs"
            notices.append(Notice("slow", f"{dropped:,} records of {what} were dropped", why))
        late = [its for its in self._followings if time.monotonic() - its.reading_since > _READING_NOTICE_AFTER_S]
        if any(its.reads_past for its in late):
            notices.append(Notice("reading", f"Loading earlier data: {sum(its.read_rows for its in late):,} rows so far"))
        return notices + (self._live.notices + self._fillers.notices + self._missing.notices if self._live else [])

    def _reason(self) -> str:
        """Why the page is slow, where that can be told. Looked for now and then: that takes time too."""
        now = time.monotonic()
        if now - self._why_slow[0] > _REASON_EVERY_S:
            self._why_slow = now, " ".join(reasons(self._doc)[:1])
        return self._why_slow[1]

    def _notices_of_runs(self) -> list[Notice]:
        found = []
        gone = [its for its in self._followings if its.run.state == VANISHED]
        if gone:
            its = min(gone, key=lambda its: its.heard)
            which = "The producer" if len(self._followings) == 1 else f"The producer of {its.run.label}"
            title = f"{which} was last heard of at {moment(its.heard)}"
            found.append(Notice("vanished", title, "It was killed, or cannot reach the endpoint."))
        missing = [feed.gone for feed in self._named if feed.gone]
        if missing:
            found.append(Notice("vanished", "Some of the chosen runs are not shown", " ".join(missing)))
        chosen = self._choice.count if self._choice is not None and self._selection.is_many else len(self._selection.runs)
        if chosen > MOST_RUNS:
            found.append(Notice("reading", f"{MOST_RUNS} of {chosen:,} runs are shown", "Choose fewer to see others."))
        return found

    def _waiting_notice(self, trouble: str) -> Notice:
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


def _shown(run: PageRun, heard: float = 0.0) -> ShownRun:
    return ShownRun(run.id, run.label or run.name, run.state, heard, run.app, run.color)
