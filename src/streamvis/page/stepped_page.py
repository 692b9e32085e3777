"""A page in this process, moved on by hand: the script, document, session, feeds and reader of a page server, without the server.

What differs from one: feeds ask the endpoint when they are stepped and not in threads of their own, what a session reads is read
at once, and no time passes between its updates. There is no browser: whoever steps echoes what a browser would have painted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor, Future
from typing import Any, cast
from urllib.parse import urlencode

from bokeh.core.types import ID
from bokeh.document import Document
from bokeh.events import DocumentReady, Event
from bokeh.io.doc import patch_curdoc
from bokeh.server.contexts import ApplicationContext
from bokeh.server.session import ServerSession
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine
from tornado.ioloop import IOLoop

from streamvis.errors import StreamvisError
from streamvis.page.documents.link import StreamvisLink, link_of
from streamvis.page.feeds.feed import Feed
from streamvis.page.feeds.reader import EndpointReader
from streamvis.page.feeds.table import Feeds
from streamvis.page.memory import Heap
from streamvis.page.scripts.application import page_application
from streamvis.page.scripts.script import PageScript
from streamvis.page.session import Session
from streamvis.page.shared import Shared

__all__ = ["SteppedPage"]

_TURNS = 6
"""So many turns of the loop, and what one callback leads to has been done too."""
_STEADY = 2


class _AtOnce(Executor):
    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        future: Future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001  # whoever asked for the result gets it
            future.set_exception(error)
        return future


class _OthersHeap(Heap):
    """The heap of a process that others manage, such as one of tests: it is left alone."""

    def __init__(self) -> None:
        pass

    def trim_later(self, loop: IOLoop) -> None:
        pass


class _SteppedFeeds(Feeds):
    """The feeds of one page; `session` is its session, once there is one."""

    def __init__(self) -> None:
        super().__init__()
        self.session: Session | None = None
        self._stepped: list[Feed] = []

    def step(self) -> None:
        """Let each feed ask for all that is new."""
        for feed in self._stepped:
            while feed.step():
                pass

    def _listen(self, at: Any, make: Callable[..., Any], who: object, wake: Callable[[], None]) -> Any:
        self.session = who if isinstance(who, Session) else self.session
        return super()._listen(at, make, who, wake)

    def _begin(self, feed: Feed) -> None:
        self._stepped.append(feed)
        feed.step()


class _SteppedShared(Shared):
    rests = False

    def __init__(self, reader: EndpointReader, feeds: Feeds) -> None:
        super().__init__(feeds=feeds, executor=_AtOnce(), heap=_OthersHeap())
        self._only = reader

    def reader(self, url: str, token: str | None) -> EndpointReader:
        return self._only

    def pause_s(self, took_s: float) -> float:
        return 0.0


class SteppedPage:
    """One load of the page of `script` on the runs with these ids, as of the step `at` or live.

    `query` is what else its address says. Everything is done in the calling thread, on `loop`. `raised` has what the author's
    code raised and no one has taken. A page that still changes by itself after `give_up_s` seconds raises StreamvisError.
    """

    def __init__(
        self,
        script: PageScript,
        reader: EndpointReader,
        *,
        runs: Sequence[str],
        loop: asyncio.AbstractEventLoop,
        at: int | None = None,
        query: Sequence[tuple[str, str]] = (),
        give_up_s: float = 30.0,
    ) -> None:
        self._loop, self._give_up_s = loop, give_up_s
        chosen = [*(("run", run) for run in runs), *([("at", at)] if at is not None else [])]
        self._query = urlencode([*chosen, *((name, text) for name, text in query if name not in ("run", "at"))])
        self._feeds = _SteppedFeeds()
        self.raised: list[BaseException] = []
        self._session: ServerSession = loop.run_until_complete(self._open(script, reader))
        self.settle()
        self.do(lambda: self.doc.callbacks.trigger_event(DocumentReady()))

    async def _open(self, script: PageScript, reader: EndpointReader) -> ServerSession:
        heard = self.raised.append
        shared = _SteppedShared(reader, self._feeds)
        application = page_application(script, url=reader.url, app=None, token=None, shared=shared, heard=heard)
        self._context = ApplicationContext(application, io_loop=IOLoop.current(), url=f"/{script.name}")
        self._context.run_load_hook()
        line = RequestStartLine("GET", f"/page?{self._query}", "HTTP/1.1")
        request = HTTPServerRequest(start_line=line, headers=HTTPHeaders({"Host": "localhost"}))
        application.process_request(request)
        return await self._context.create_session_if_needed(ID("page"), request)

    @property
    def doc(self) -> Document:
        """The page's document."""
        return self._session.document

    @property
    def reads(self) -> frozenset[str]:
        """The keys that the page asked for so far; all there are, where panels look at whatever there is."""
        return self._feeds.session.reads if self._feeds.session is not None else frozenset()

    @property
    def takes_all_keys(self) -> bool:
        """Whether panels look at whatever keys there are."""
        return self._feeds.session is not None and self._feeds.session.takes_all_keys

    @property
    def reloads(self) -> bool:
        """Whether the page has asked to be loaded again, as after a clear."""
        link = self._link
        return link is not None and link.reload

    @property
    def notices(self) -> str:
        """What the page says to its viewer, as JSON."""
        return self._link.notices if self._link is not None else "[]"

    def do(self, action: Callable[[], Any]) -> None:
        """Do something to the document, as a person does in a browser, and hand over what comes of it."""

        def act() -> None:
            with patch_curdoc(self.doc):
                action()

        self._loop.run_until_complete(self._locked(act))
        self.settle()

    def _locked(self, action: Callable[[], object]) -> Awaitable[object]:
        # Bokeh's types say that this is what the action returns.
        return cast(Awaitable[object], self._session.with_document_locked(action))

    def send_event(self, event: Event) -> None:
        """What a browser sends when something happens there, such as a click."""
        self.do(lambda: self.doc.callbacks.trigger_event(event))

    def settle(self) -> None:
        """Hand over all that has been stored."""
        self._loop.run_until_complete(self._settle())

    async def _settle(self) -> None:
        until, steady = time.monotonic() + self._give_up_s, 0
        self._feeds.step()
        while steady < _STEADY:
            await self._locked(self._echo)
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            session = self._feeds.session
            steady = steady + 1 if session is None or session.is_idle else 0
            if time.monotonic() > until:
                raise StreamvisError(f"The page still changes after {self._give_up_s:.0f} s.")

    @property
    def _link(self) -> StreamvisLink | None:
        return link_of(self.doc)

    def _echo(self) -> None:
        link = self._link
        if link is not None and link.seen != link.sent:
            link.seen = link.sent

    def close(self) -> None:
        """End the session, with what its author wants to be called then."""
        self._loop.run_until_complete(self._close())

    async def _close(self) -> None:
        # Bokeh's own way to end a session collects garbage each time, which takes longer than all the rest.
        context = self.doc.session_context
        assert context is not None  # it is a session's document
        for callback in self.doc.session_destroyed_callbacks:
            callback(context)
        await self._context.application.on_session_destroyed(context)
        self._context.run_unload_hook()
