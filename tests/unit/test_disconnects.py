"""What a client asked and then gave up is not worked on: neither begun, nor waited for."""

from __future__ import annotations

import asyncio
import threading

import anyio.to_thread
import pytest
from starlette.responses import StreamingResponse

from streamvis.endpoint.app import create_app
from streamvis.records import Batch, Start
from streamvis.store import SqliteStore
from support.conditions import wait_until


class Slow(SqliteStore):
    """A store whose lists wait until they may go on, and are counted."""

    def __init__(self, folder):
        super().__init__(folder)
        self.begun, self.may_go_on = 0, threading.Event()

    def find(self, query):
        self.begun += 1
        assert self.may_go_on.wait(20)
        return super().find(query)


class Asked:
    """One request to an application, whose client can go away."""

    def __init__(self, app, target, method="GET"):
        path, _, query = target.partition("?")
        scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(), "http_version": "1.1"}
        scope |= {"headers": [(b"host", b"localhost")], "scheme": "http", "server": ("localhost", 80), "raw_path": path.encode()}
        self.status, self._ended, self._is_asked = None, asyncio.Event(), False
        self.task = asyncio.create_task(app(scope, self._receive, self._send))

    async def _receive(self):
        if not self._is_asked:
            self._is_asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._ended.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message):
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif not message.get("more_body"):
            self._ended.set()  # as uvicorn says it

    async def give_up(self):
        self._ended.set()
        await asyncio.wait_for(self.task, 20)


@pytest.fixture
def store(tmp_path):
    made = Slow(tmp_path)
    made.append([Batch("run", "app", "p", 0, [Start("{}", 1.0)])])
    yield made
    made.close()


def run_with(store, scenario):
    async def main():
        app = create_app(store, version="0")
        async with app.router.lifespan_context(app):
            try:
                await scenario(app)
            finally:
                store.may_go_on.set()

    asyncio.run(main())


async def until(condition):
    await asyncio.to_thread(wait_until, condition)


def test_what_waits_for_a_thread_is_left_out_when_its_client_goes(store):
    async def scenario(app):
        threads = anyio.to_thread.current_default_thread_limiter()
        threads.total_tokens = 2
        first = [Asked(app, "/api/v1/runs?app=app") for _ in range(2)]
        await until(lambda: store.begun == 2)
        others = [Asked(app, "/api/v1/runs?app=app") for _ in range(5)]
        await until(lambda: threads.statistics().tasks_waiting == 5)
        for one in others[:4]:
            await one.give_up()
        store.may_go_on.set()
        await asyncio.wait_for(asyncio.gather(*(one.task for one in [*first, others[4]])), 20)
        assert store.begun == 3
        assert [one.status for one in [*first, *others]] == [200, 200, None, None, None, None, 200]

    run_with(store, scenario)


def test_a_long_poll_ends_when_its_client_goes(store):
    async def scenario(app):
        head = await asyncio.to_thread(store.app_head, "app")
        run = await asyncio.to_thread(store.run, "run")
        polls = [
            Asked(app, f"/api/v1/apps/tail?app=app&after={head.cursor}&wait=25&limit=0"),
            Asked(app, f"/api/v1/runs/run/tail?after={run.cursor}&wait=25"),
        ]
        await until(lambda: app.state.endpoint.news.waiting == 2)
        for poll in polls:
            await poll.give_up()
        assert app.state.endpoint.news.waiting == 0 and [poll.status for poll in polls] == [None, None]

    run_with(store, scenario)


def test_answers_in_pieces_come_whole(store):
    async def scenario(app):
        @app.get("/pieces")
        async def pieces():
            return StreamingResponse(iter([b"a", b"b"]))

        asked = [Asked(app, target) for target in ("/pieces", "/docs", "/static-offline-docs/swagger-ui.css")]
        await asyncio.wait_for(asyncio.gather(*(one.task for one in asked)), 20)
        assert [one.status for one in asked] == [200, 200, 200]

    run_with(store, scenario)


def test_what_is_written_is_written_whoever_goes(store):
    async def scenario(app):
        order = Asked(app, "/api/v1/runs/run/clear", method="POST")
        await order.give_up()
        assert store.run("run").cursor.epoch == 1

    run_with(store, scenario)
