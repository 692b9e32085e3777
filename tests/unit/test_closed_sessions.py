"""Sessions that are due together end a few at a time, and the garbage collector walks the heap once for all of them."""

from __future__ import annotations

import asyncio
import gc
import types
import uuid
from collections import Counter

import pytest
from bokeh.application import Application
from bokeh.application.handlers.handler import Handler
from bokeh.plotting import figure
from bokeh.server.server import BaseServer
from bokeh.server.tornado import BokehTornado
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.netutil import bind_sockets

from streamvis.page.web.closed_sessions import EndingLimits, Endings, end_gradually
from streamvis.page.web.memory import Heap
from support.conditions import wait_until

SESSIONS, MODELS = 40, 36
OF_PYTHON = 10
"""So many full collections Python may begin by itself."""
WITHIN_S = 60.0


class Page(Handler):
    """Makes a page with a figure and a module of its own, as a script does; counts at which check each session ended."""

    def __init__(self) -> None:
        super().__init__()
        self.check = 0
        self.ended: list[int] = []

    def modify_document(self, doc) -> None:
        doc.modules.add(types.ModuleType(f"page_{uuid.uuid4().hex}"))
        plot = figure()
        plot.line([1, 2], [3, 4])
        doc.add_root(plot)
        doc.on_session_destroyed(lambda context: None)

    async def on_session_destroyed(self, session_context) -> None:
        self.ended.append(self.check)


class Collections:
    """How many objects each full collection had to look at, while this is entered."""

    def __enter__(self) -> list[int]:
        self.sizes: list[int] = []
        gc.callbacks.append(self._note)
        return self.sizes

    def __exit__(self, *args) -> None:
        gc.callbacks.remove(self._note)

    def _note(self, phase, info) -> None:
        if phase == "start" and info["generation"] == 2:
            self.sizes.append(len(gc.get_objects()))


async def serve_and_leave(page: Page, limits: EndingLimits, *, until, tabs: int = SESSIONS) -> BokehTornado:
    """Ask for the page so many times without ever connecting, and wait."""
    application = BokehTornado(
        {"/page": Application(page)},
        check_unused_sessions_milliseconds=50,
        unused_session_lifetime_milliseconds=round(1000 * limits.lifetime_s),
    )
    server = HTTPServer(application)
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    bokeh = BaseServer(IOLoop.current(), application, server)
    checks = end_gradually(application, Heap(pause_s=0.5), limits=limits)
    bokeh.start()
    try:
        address = f"http://127.0.0.1:{sockets[0].getsockname()[1]}/page"
        await asyncio.gather(*(AsyncHTTPClient(max_clients=100).fetch(address, request_timeout=60) for _ in range(tabs)))
        await asyncio.to_thread(wait_until, lambda: until(application), WITHIN_S)
    finally:
        checks.stop()
        bokeh.stop()
        server.stop()
    return application


def count_checks(monkeypatch, page: Page) -> None:
    check = Endings.check

    def counted(endings) -> None:
        page.check += 1
        check(endings)

    monkeypatch.setattr(Endings, "check", counted)


def test_sessions_that_are_due_together_end_a_few_at_a_time_and_leave_the_collector_little_to_do(monkeypatch):
    page = Page()
    count_checks(monkeypatch, page)
    limits = EndingLimits(lifetime_s=3.0, check_s=0.05, sessions_per_check=4, models_per_collection=20 * MODELS)
    gc.collect()
    alive = len(gc.get_objects())
    with Collections() as sizes:

        def is_over(application) -> bool:
            return len(page.ended) == SESSIONS and max(sizes[-1:]) > alive / 2

        asyncio.run(serve_and_leave(page, limits, until=is_over))
    assert max(Counter(page.ended).values()) <= 4
    small = [size for size in sizes if size < alive / 2]
    assert len(small) >= 2 * SESSIONS, "these are Bokeh's, two for each session"
    assert max(small) < alive / 10
    assert len(sizes) - len(small) <= SESSIONS / 20 + OF_PYTHON, "these are ours, one for more than twenty sessions"
    assert gc.get_freeze_count() == 0


def test_sessions_of_large_pages_end_one_at_a_time(monkeypatch):
    page = Page()
    count_checks(monkeypatch, page)
    limits = EndingLimits(lifetime_s=3.0, check_s=0.05, models_per_check=1)
    asyncio.run(serve_and_leave(page, limits, until=lambda its: len(page.ended) == 5, tabs=5))
    assert max(Counter(page.ended).values()) == 1


@pytest.mark.parametrize("most", [0, 7])
def test_sessions_beyond_the_limit_end_before_their_time(most):
    page = Page()
    limits = EndingLimits(lifetime_s=1000.0, check_s=0.05, most_unconnected=most)
    application = asyncio.run(serve_and_leave(page, limits, until=lambda its: len(its.get_sessions("/page")) == most, tabs=20))
    assert len(page.ended) == 20 - most
    assert len(application.get_sessions("/page")) == most
