"""One browser tab on a page: from the empty document to the last update.

A session is a small machine on Bokeh's event loop. `_advance` runs under the document lock whenever something may have changed
(the browser echoed, a feed woke it, a read ended, a pause is over) and does the next thing, if it is time for one:

1. There is no run yet: say so, and reload the page once there is one. `init_page` runs only while a document is made, so that
   templates, themes and titles work, and nothing of an old session can leak into a new one.
2. A run has a new epoch, or the page's selection chooses other runs now, or a run of a page that can show several has another
   name or color: reload the page. Of a newer run than the one that is shown the shell is only told, where it is around the page:
   it decides.
3. Hand over what each run has next (see `shown_data`), merged.

Never is more than one update under way to the browser: the next waits for the echo of the last. Nothing here waits for a network.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from bokeh.document import Document
from tornado.ioloop import IOLoop

from streamvis.page import run_notices
from streamvis.page.author.code import Failures
from streamvis.page.author.requests import Asking
from streamvis.page.diagnosis import Counts, Diagnosis
from streamvis.page.documents import look
from streamvis.page.documents.callbacks import call_later, call_next, current
from streamvis.page.documents.document import on_unsendable
from streamvis.page.documents.link import BrowserLink, Notice, Shown, ShownRun
from streamvis.page.feeds.following import Following
from streamvis.page.feeds.reader import EndpointReader, RunHead
from streamvis.page.live.figures import computed_once
from streamvis.page.new_data import Names, NewData
from streamvis.page.runs import PageRun, Showing, grouped, labelled, show_in
from streamvis.page.seeking import Seeking
from streamvis.page.selected_runs import SelectedRuns
from streamvis.page.shared import Shared
from streamvis.page.shown_data import AT_ONCE_BYTES, News, ShownData
from streamvis.page.time_text import moment
from streamvis.page.update_pace import UpdatePace
from streamvis.selection import PINNED, Selection

__all__ = ["InitPage", "Session", "UpdatePage", "takes_runs"]

InitPage = Callable[..., object]
UpdatePage = Callable[[Document, NewData], object]

_LEAST_SHOWN_S = 5.0
"""How long the runs of a choice are shown before the page reloads for others: a sweep may start one every second."""
_BEAT_S = 10
_FILL_FIRST_S = 0.4
"""For how long a browser that asks for the page waits for data that are on their way: with them, it draws the page once."""
_MANY_ROWS = 300_000
"""So many rows of the past and a browser begins to be slow."""


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
        shared: Shared,
        *,
        selection: Selection,
        init_page: InitPage,
        update_page: UpdatePage | None,
        budget: int | None = None,
    ) -> None:
        self._doc, self._reader, self._shared, self._budget = doc, reader, shared, budget
        self._selection = selection
        self._init_page, self._update_page = init_page, update_page
        self._takes_runs = takes_runs(init_page)
        self._loop = IOLoop.current()
        self._is_woken = self._is_over = False
        self._woken: asyncio.Event | None = None
        self._selected = SelectedRuns(reader, selection)
        self._asking = Asking(doc, reader, shared.executor, at=selection.at)
        self._followings: list[Following] = []
        self._data: ShownData | None = None
        self._seeking: Seeking | None = None
        self._counts = Counts()
        self._began = self._init_began = time.monotonic()
        self._pace = UpdatePace(doc, shared)
        self._ahead_bytes = 0
        self._failures = Failures.of(doc, f"the page for app {selection.app!r}")
        self._failures.on_new = self.wake
        self._link = BrowserLink(doc, self.wake)
        self._next_beat: object | None = None

    def start(self) -> Awaitable[None] | None:
        """Begin. Called while the document is made, on the event loop; `init_page` runs here when the runs are known.

        Returns what is left to await, under the document lock, where `init_page` is `async`.
        """
        self._doc.on_session_destroyed(self._end)
        on_unsendable(self._doc, self._show_only)
        self._selected.listen(self._shared.feeds, self, self.wake)
        heads = self._selected.heads
        title = self._selection.app or "Streamvis"
        if heads:
            rest = self._init(heads, title)
            if inspect.isawaitable(rest):
                return self._begin_after(rest)
        else:
            self._doc.title = title
        self._begin()
        return None

    def _init(self, heads: Sequence[RunHead], title: str) -> object:
        """Let the author make the page of these runs. Returns what `init_page` returns."""
        budget, at = self._budget and max(1, self._budget // len(heads)), self._selection.at
        self._followings = [Following(head, self._reader, self._shared, wake=self.wake, budget=budget, at=at) for head in heads]
        runs = grouped(labelled([its.run for its in self._followings]), self._selection.group)
        runs = [replace(run, asking=self._asking) for run in runs]
        for its, run in zip(self._followings, runs, strict=True):
            its.run = run
        look.prepare(self._doc, title=title)
        show_in(self._doc, Showing(self._selection, runs, self._reader, self._asking))
        arguments: list[object] = [self._doc, Names(runs[0].config, what="config")]
        arguments += [runs] if self._takes_runs else []
        self._takes_runs |= len(runs) > 1
        self._init_began = time.monotonic()
        return self._failures.run("init_page", self._init_page, *arguments, ends_page=True)

    async def _begin_after(self, rest: Awaitable[object]) -> None:
        await rest
        with current(self._doc):
            self._begin()

    def _begin(self) -> None:
        if self._followings:
            self._counts.init_s = time.monotonic() - self._init_began
        if self._followings and not self._failures.has_ended:
            # What the author's figures are made of can be wrong too.
            with self._failures.ours():
                self._failures.run("init_page", self._show_data, ends_page=True)
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

    def _show_data(self) -> None:
        """Find what the author's page shows, and what the browser may ask of it."""
        at = self._selection.at
        with computed_once(self._doc):
            look.dress(self._doc)
            self._link.attach()
        data = ShownData(self._doc, self._reader, self._shared, self._followings, self._failures, at=at, wake=self.wake)
        self._data = data
        self._link.keep(data.control)
        ids = [its.run.id for its in self._followings]
        reader, executor, loop = self._reader.as_of(at), self._shared.executor, self._loop
        counts, log = self._counts, self._failures.log
        asked = lambda: (data.reads, data.takes_all_keys)  # noqa: E731
        Diagnosis(self._doc, self._link, reader, ids, counts, log, asked=asked, executor=executor, loop=loop)
        if self._update_page is None:
            how = {"executor": executor, "loop": loop, "show": self._show_step, "learn": data.learn_keys}
            self._seeking = Seeking(self._doc, self._link, self._reader, ids, at, **how)
        data.sync()

    def _show_step(self, reader: EndpointReader, at: int | None) -> None:
        """Show the runs as of another step, in place (see `seeking`)."""
        self._selection = replace(self._selection, at=at)
        self._asking.at = at
        self._pace.hurry()
        if self._data is not None:
            self._data.seek(reader, at)
        self.wake()

    def wake(self) -> None:
        """There may be something to do. From any thread."""
        if not self._is_woken:
            self._is_woken = True
            self._loop.add_callback(self._plan)

    def _plan(self, delay_s: float = 0.0) -> None:
        if self._is_over:
            return
        if self._woken is not None:
            self._woken.set()
        elif delay_s:
            call_later(self._doc, self._advance, after_ms=max(1, round(delay_s * 1000)))
        else:
            call_next(self._doc, self._advance)

    def _end(self, session_context: object) -> None:
        self._is_over = True
        if self._next_beat is not None:
            self._loop.remove_timeout(self._next_beat)
        self._selected.leave(self)
        for its in self._followings:
            its.end()
        self._shared.heap.trim_later(self._loop)

    def _advance(self) -> Awaitable[None] | None:
        rest = self._step()
        return self._fill_first(rest) if self._is_filling_first else rest

    @property
    def _is_filling_first(self) -> bool:
        """Whether the browser has not got the page yet, and the page will soon have its first data."""
        return not self._is_over and self._is_ahead and self._data is not None and self._data.is_awaited

    async def _fill_first(self, rest: Awaitable[None] | None) -> None:
        """Fill the page, for a moment at most, before the browser gets it: under the document lock, for which it waits."""
        until = time.monotonic() + _FILL_FIRST_S
        if rest is not None:
            await rest
        while self._is_filling_first and (left_s := until - time.monotonic()) > 0:
            woken = self._woken = asyncio.Event()
            with suppress(TimeoutError):
                await asyncio.wait_for(woken.wait(), left_s)
            self._woken = None
            # It may have been set just as the time was up: no other callback continues then.
            if not woken.is_set():
                return
            # No callback of Bokeh's is under way here, which would say so.
            with current(self._doc):
                rest = self._step()
            if rest is not None:
                await rest

    def _step(self) -> Awaitable[None] | None:
        self._is_woken = False
        if self._is_over:
            return None
        if self._data is not None and self._link.is_seen and not self._failures.has_ended:
            self._data.go_on()
        self._sync()
        self._tell()
        if self._is_outdated():
            self._reload()
        elif self._failures.has_ended:
            self._give_up()
        elif self._data is not None and (self._link.is_echoed or self._is_ahead) and not self._is_seeking(self._data):
            return self._update(self._data)
        return None

    def _sync(self) -> None:
        if self._data is not None and not self._failures.has_ended:
            self._data.sync()

    def _update(self, data: ShownData) -> Awaitable[None] | None:
        """Hand over what there is, if it is time for that."""
        early_s = self._pace.early_s()
        if early_s > 0.001:
            if data.has_news:
                self._is_woken = True
                self._plan(early_s)
            else:
                self._settle(data)
            return None
        news = data.take()
        if not self._link.is_seen:
            self._ahead_bytes += sum(piece.size_bytes for _, pieces in news for piece in pieces)
        self._say_of_past()
        if news or data.has_answers:
            return self._hand_over(data, news)
        self._settle(data)
        return None

    @property
    def is_idle(self) -> bool:
        """Whether all that has come was handed over, and the browser has painted it."""
        if self._is_over or self._failures.has_ended or (self._seeking is not None and self._seeking.is_refused):
            return True
        if self._is_woken or not self._link.is_echoed:
            return False
        return self._data is None or not (self._data.has_news or self._data.is_reading)

    @property
    def reads(self) -> frozenset[str]:
        """The keys that the page asked for so far, by live sources and in `update_page`."""
        return self._data.reads if self._data is not None else frozenset()

    @property
    def takes_all_keys(self) -> bool:
        """Whether panels look at whatever keys there are."""
        return self._data is not None and self._data.takes_all_keys

    def _settle(self, data: ShownData) -> None:
        """All that had come was handed over: unless something is read for the first time, the page shows the past up to now."""
        if data.is_filled:
            self._link.settle()
            if self._seeking is not None:
                self._seeking.shown()

    @property
    def _is_ahead(self) -> bool:
        """Whether the browser is still loading, so that what it shows first can be made meanwhile, unless that is a lot."""
        is_loading = not self._link.is_seen and not self._link.is_settled
        return is_loading and self._ahead_bytes < AT_ONCE_BYTES

    def _is_seeking(self, data: ShownData) -> bool:
        """Whether what another step needs is still to come: all of it is shown at once."""
        if self._seeking is None or not self._seeking.is_under_way:
            return False
        return data.is_awaited or self._seeking.is_awaited

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
        if not shown:
            return bool(self._selected.heads)
        if not self._selection.is_many and (self._link.is_framed or self._selection.follow == PINNED):
            return False
        if not self._selected.are_others_than(shown):
            return False
        early_s = self._began + _LEAST_SHOWN_S - time.monotonic() if len(shown) > 1 else 0.0
        if early_s > 0:
            self._loop.call_later(early_s, self.wake)
        return early_s <= 0

    def _reload(self) -> None:
        self._link.reload()
        self._end(None)

    def _say_of_past(self) -> None:
        """Say, once for each app, that there are better ways where a browser gets all of a long past."""
        if self._budget is None and sum(its.past_rows for its in self._followings) > _MANY_ROWS:
            self._shared.say_once(
                f"The page for app {self._selection.app!r} gets more than {_MANY_ROWS:,} rows of the past, which makes browsers "
                "slow. Draw them from a streamvis.live_source, or give the page a budget of rows "
                "(see 'Writing a page' in the docs)."
            )

    def _hand_over(self, data: ShownData, news: News) -> Awaitable[None] | None:
        if any(its.has_changed_form(pieces) for its, pieces in news):
            self._reload()
            return None
        began = time.monotonic()
        told, is_new = data.hand_over(news, self._counts, is_ahead=self._is_ahead)
        self._sync()
        if not is_new:
            self.wake()
            return None
        waiting: list[Awaitable[object]] = []
        update_page = self._update_page
        if update_page is not None:
            for new_data in told:
                with self._counts.updating():
                    rest = self._failures.run("update_page", update_page, self._doc, new_data, ends_page=True)
                waiting += [rest] if inspect.isawaitable(rest) else []
                if self._failures.has_ended:
                    break
        if waiting:
            return self._send_after(waiting, began)
        self._send(began)
        return None

    async def _send_after(self, rests: Sequence[Awaitable[object]], began: float) -> None:
        for rest in rests:
            await rest
        self._send(began)

    def _send(self, began: float) -> None:
        """Let the browser have what was changed since `began`, and echo it."""
        self._sync()
        self._pace.updated(began, is_ahead=self._is_ahead)
        self._link.attach()
        self._link.send()
        # First why it failed, where it did: the shell shows no failed page in place of one that works.
        self._tell()
        if self._data is not None:
            self._settle(self._data)

    def _tell(self) -> None:
        """Say what there is to say, to who looks at the page and to the shell around it."""
        self._link.show(self._notices())
        runs = tuple(_shown(its.run, its.heard) for its in self._followings)
        newest = self._selected.newest
        is_newer = newest is not None and runs and not self._selection.is_many and newest.id != runs[0].id
        app = self._selection.app or (runs[0].app if runs else None)
        self._link.tell(Shown(app, runs, _shown(newest) if newest is not None and is_newer else None))

    def _notices(self) -> list[Notice]:
        notices = self._failures.notices
        lost = next((its.lost for its in (*self._followings, self._selected) if its.lost), None)
        if not self._followings:
            notices.append(self._selected.waiting_notice)
        elif lost is not None:
            notices.append(Notice("stale", f"Out of date since {moment(lost.since)}", f"{lost.reason} Trying again."))
        else:
            notices += run_notices.of_vanished_producers(self._followings) + self._selected.notices
        notices += self._pace.notices("update_page takes" if self._update_page is not None else "An update of this page takes")
        notices += run_notices.of_dropped_records(self._followings) + run_notices.of_reading(self._followings)
        return notices + (self._data.notices if self._data is not None else [])


def _shown(run: PageRun, heard: float = 0.0) -> ShownRun:
    return ShownRun(run.id, run.label or run.name, run.state, heard, run.app, run.color)
