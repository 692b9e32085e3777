"""One run on its way into one page: whatever comes while the past is being read, the page gets each row once, in order."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from functools import partial
from itertools import count
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamvis.client.encoding import encode, encode_begin
from streamvis.client.outbox import ROW, Begin
from streamvis.endpoint.in_process import InProcessEndpoint
from streamvis.page.feeds.feed import RunFeed
from streamvis.page.feeds.following import Following
from streamvis.page.feeds.reader import EndpointReader
from streamvis.page.feeds.table import Feeds
from streamvis.page.shared import Shared
from streamvis.transport import path
from streamvis.wire.arrow import ARROW

RUNS = count(1)
INBOX_BYTES = 2_000
"""So small that three calls of 40 rows are too much for it."""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[InProcessEndpoint]:
    endpoint = InProcessEndpoint()
    yield endpoint
    endpoint.close()


class Slow(Executor):
    """Does what it is asked for when it is told to."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Future, Callable[[], Any]]] = deque()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        self._waiting.append((Future(), partial(fn, *args, **kwargs)))
        return self._waiting[-1][0]

    def finish_one(self) -> None:
        if self._waiting:
            future, work = self._waiting.popleft()
            future.set_result(work())


class Stepped(Feeds):
    """Feeds that ask when they are told to."""

    def _begin(self, feed: RunFeed) -> None:
        self.feed = feed
        feed.step()


class Page:
    """A page on a run to which this sends numbered rows; `rows` is what the page was given."""

    def __init__(self, endpoint: InProcessEndpoint, *, rows_before: int, at: int | None = None) -> None:
        self._endpoint, self._run, self._batch, self.sent, self.rows = endpoint, f"run-{next(RUNS)}", 0, 0, []
        self._post(encode_begin(Begin(self._run, {}, "following", False), time.time()))
        if rows_before:
            self.send(rows_before)
        reader = EndpointReader(endpoint.url, transport=endpoint)
        self._feeds, self._executor = Stepped(), Slow()
        shared = Shared(feeds=self._feeds, executor=self._executor)
        head = reader.run(self._run)
        self._its = Following(head, reader, shared, wake=lambda: None, budget=None, at=at, inbox_bytes=INBOX_BYTES)

    def _post(self, body: bytes) -> None:
        self._batch += 1
        about, headers = {"app": "following", "producer": "p", "number": self._batch}, {"Content-Type": ARROW}
        response = self._endpoint.request("POST", path("runs", self._run, "batches"), params=about, body=body, headers=headers)
        assert response.status == 200

    def send(self, rows: int) -> None:
        numbers = range(self.sent, self.sent + rows)
        self.sent += rows
        self._post(encode([(ROW, n, time.time(), "k", {"n": n}, 0) for n in numbers]).body)

    def hear(self) -> None:
        self._feeds.feed.step()

    def finish_reading(self) -> None:
        self._executor.finish_one()

    def take(self) -> None:
        pieces = self._its.take(without=frozenset(), no_rows=False, joined=lambda: None)
        new_data = self._its.fold(pieces, without=frozenset())
        self.rows += list(map(int, new_data["k"]["n"])) if "k" in new_data else []

    def seek(self, at: int | None) -> None:
        self._its.seek(at)

    @property
    def has_news(self) -> bool:
        return self._its.has_news


async def a_turn() -> None:
    """Let the event loop do what is due now."""
    loop = asyncio.get_running_loop()
    turn = loop.create_future()
    loop.call_soon(turn.set_result, None)
    await turn


async def follow(endpoint: InProcessEndpoint, rows_before: int, actions: list[tuple[str, int]]) -> Page:
    page = Page(endpoint, rows_before=rows_before)
    for name, number in [*actions, *[("finish_reading", 0), ("hear", 0), ("take", 0)] * 8]:
        getattr(page, name)(*([number] if name == "send" else []))
        for _ in range(3):
            await a_turn()  # a reading that ended leads to something
    return page


ACTIONS = st.tuples(st.sampled_from(["send", "send", "hear", "take", "finish_reading"]), st.integers(1, 40))


@given(st.integers(0, 40), st.lists(ACTIONS, max_size=25))
@example(10, [("take", 0), ("send", 40), ("hear", 0), ("send", 40), ("hear", 0), ("send", 40), ("hear", 0), ("take", 0)])
def test_what_comes_while_the_past_is_read_is_given_once_and_in_order_also_where_it_is_too_much(endpoint, rows_before, actions):
    page = asyncio.run(follow(endpoint, rows_before, actions))
    assert page.rows == list(range(page.sent))
    assert not page.has_news


async def seek_and_overflow(endpoint: InProcessEndpoint) -> list[int]:
    page = Page(endpoint, rows_before=10, at=4)
    steps: list[tuple[str, int | None]] = [("take", None), ("finish_reading", None), ("take", None), ("seek", None)]
    steps += [("send", 40), ("hear", None)] * 4 + [("take", None), ("finish_reading", None)] * 4
    for name, number in steps:
        getattr(page, name)(*([number] if name in ("send", "seek") else []))
        for _ in range(3):
            await a_turn()
    return page.rows


def test_after_another_step_was_sought_what_overflowed_is_read_as_of_that_one(endpoint):
    assert asyncio.run(seek_and_overflow(endpoint)) == [*range(5), *range(10, 170)]


async def seek_while_reading(endpoint: InProcessEndpoint) -> list[int]:
    page = Page(endpoint, rows_before=10, at=4)
    for act in (page.take, lambda: page.seek(7), *[page.finish_reading, page.take] * 4):
        act()
        for _ in range(3):
            await a_turn()
    return page.rows


def test_what_was_read_as_of_the_step_before_is_read_again(endpoint):
    assert asyncio.run(seek_while_reading(endpoint)) == list(range(8))
