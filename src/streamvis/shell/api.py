"""The JSON API of the shell: what its program asks of the page server, and never of the endpoint, whose token it does not have.

What the endpoint answers is passed on as it came. Changes are made for viewers who may write, and only on requests that a page of
another site cannot make: the door has looked at the origin, and a JSON content type needs its consent.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import asdict, replace
from typing import Any

from tornado.web import RequestHandler

from streamvis.alerts import ALERTS, alerts_in
from streamvis.errors import PageScriptError, StreamvisError
from streamvis.page.feeds.feed import ChoiceFeed
from streamvis.page.feeds.reader import EndpointReader
from streamvis.page.scripts.script import PageScript, read_script
from streamvis.page.shared import SHARED
from streamvis.page.web.paths import page_path
from streamvis.page.web.process import Site
from streamvis.selection import Selection
from streamvis.shell.past import past_of, scale_of, time_of
from streamvis.transport import Response, path

__all__ = ["api_routes"]

_WAIT_S = 20.0
_MOST_RUNS = 10_000
_ASKED = {
    "runs": {"app", "where", "order", "limit", "after", "offset", "archived", "column", "config", "run", "search"},
    "names": {"app"},
}


def api_routes(site: Site, executor: Executor) -> list[tuple[Any, ...]]:
    """The routes of the API; the endpoint is asked in threads of the executor."""
    own = {"site": site, "executor": executor}
    return [
        ("/shell/pages", _Pages, own),
        ("/shell/may", _May, own),
        ("/shell/apps", _PassedOn, {**own, "where": path("apps"), "asked": set()}),
        ("/shell/names", _PassedOn, {**own, "where": path("runs", "names"), "asked": _ASKED["names"]}),
        ("/shell/tail", _Tail, own),
        ("/shell/past", _Past, own),
        ("/shell/alerts", _Alerts, own),
        ("/shell/runs", _Runs, {**own, "where": path("runs"), "asked": _ASKED["runs"]}),
        ("/shell/delete", _Delete, own),
        ("/shell/restore", _ForEach, {**own, "verb": "restore"}),
        ("/shell/finish", _ForEach, {**own, "verb": "finish"}),
    ]


class _Handler(RequestHandler):
    def initialize(self, site: Site, executor: Executor) -> None:
        self._site, self._executor = site, executor

    @property
    def writer(self) -> EndpointReader | None:
        """What changes runs for this viewer; None where they may only read."""
        return self._site.writer(self.request)

    def set_default_headers(self) -> None:
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")

    def refuse(self, status: int, code: str, message: str) -> None:
        """Answer with an error in the endpoint's form."""
        self.set_status(status)
        self.finish({"error": {"code": code, "message": message}})

    async def pass_on(self, ask: Callable[[], Response]) -> None:
        """Answer as the endpoint does."""
        try:
            response = await self.in_thread(ask)
        except StreamvisError as error:
            return self.refuse(502, "no_endpoint", str(error))
        self.set_status(response.status)
        if response.status == 204:
            self.clear_header("Content-Type")
        self.finish(response.body)

    async def in_thread(self, ask: Callable[[], Any]) -> Any:
        """What a blocking function gives."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, ask)

    def body(self) -> dict[str, Any] | None:
        """The JSON object that came with a change; None, and refused, where it may not be made or is not one."""
        if self.writer is None:
            self.refuse(403, "may_only_read", "Changing runs needs the token that may write. Open this page with it once.")
            return None
        kind = self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            self.refuse(415, "unsupported_media_type", "Send application/json.")
            return None
        try:
            sent = json.loads(self.request.body)
        except ValueError:
            sent = None
        runs = sent.get("runs") if isinstance(sent, dict) else None
        if not (isinstance(runs, list) and 0 < len(runs) <= _MOST_RUNS and all(isinstance(run, str) and run for run in runs)):
            self.refuse(422, "invalid", f"Send an object with runs, a list of 1 to {_MOST_RUNS} ids.")
            return None
        return sent


class _Pages(_Handler):
    async def get(self) -> None:
        """The pages, and the endpoint's address for producers."""
        scripts = await self.in_thread(lambda: [_as_it_is(script) for script in self._site.scripts])
        pages = [
            {
                "name": _shown(one.name),
                "path": page_path(one.name),
                "app": self._app_of(one),
                "many": one.many,
                "follow": one.follow,
            }
            for one in scripts
        ]
        self.finish({"pages": pages, "endpoint": self._site.reader.url})

    def _app_of(self, script: PageScript) -> str | None:
        """The app that a page shows where its address names none; None for the newest run of all."""
        return script.app or self._site.app or (None if script.any_app else _shown(script.name))


class _May(_Handler):
    def get(self) -> None:
        """What this viewer may do."""
        self.finish({"write": self.writer is not None})


class _PassedOn(_Handler):
    def initialize(self, site: Site, executor: Executor, where: str, asked: set[str]) -> None:
        super().initialize(site, executor)
        self._where, self._asked = where, asked

    async def get(self) -> None:
        """What the endpoint says to the same question."""
        params = {name: self.get_query_arguments(name, strip=False) for name in self._asked & self.request.query_arguments.keys()}
        await self.pass_on(lambda: self._site.reader.ask("GET", self._where, params=params))


class _Alerts(_Handler):
    async def get(self) -> None:
        """The alerts of a run that came after the cursor `after`."""
        run, after = self.get_query_argument("run"), self.get_query_argument("after", None)
        await self.pass_on(lambda: _alerts_of(self._site.reader, run, after))


def _alerts_of(reader: EndpointReader, run: str, after: str | None) -> Response:
    response = reader.ask("GET", path("runs", run, "tail"), params={"after": after, "only": [ALERTS], "kind": "rows"})
    if response.status >= 300:
        return response
    tail = json.loads(response.body)
    found = [one for rows in tail["records"] for one in alerts_in(run, rows)]
    told = {"cursor": tail["cursor"], "more": tail["more"], "restart": tail["restart"]}
    told["alerts"] = [{**asdict(one), "id": one.id} for one in found]
    return Response(200, {}, json.dumps(told).encode())


class _Runs(_PassedOn):
    async def patch(self) -> None:
        """Change runs, all in one commit."""
        writer = self.writer
        if (sent := self.body()) is not None and writer is not None:
            body = json.dumps(sent).encode()
            await self.pass_on(lambda: writer.ask("PATCH", path("runs"), body=body))


class _Delete(_Handler):
    async def post(self) -> None:
        """Delete runs; the answer says until when that can be undone."""
        writer = self.writer
        if (sent := self.body()) is not None and writer is not None:
            body = json.dumps({"runs": sent["runs"]}).encode()
            await self.pass_on(lambda: writer.ask("POST", path("runs", "delete"), body=body))


class _ForEach(_Handler):
    def initialize(self, site: Site, executor: Executor, verb: str) -> None:
        super().initialize(site, executor)
        self._verb = verb

    async def post(self) -> None:
        """Ask the same of each run; answers with those that it was done for, or the first refusal where there is none."""
        writer = self.writer
        if (sent := self.body()) is None or writer is None:
            return
        body = json.dumps({name: value for name, value in sent.items() if name != "runs"}).encode()
        await self.pass_on(lambda: _for_each(writer, sent["runs"], self._verb, body))


def _for_each(writer: EndpointReader, runs: list[str], verb: str, body: bytes) -> Response:
    done, refused = [], None
    for run in runs:
        response = writer.ask("POST", path("runs", run, verb), body=body)
        if response.status < 300:
            done.append(run)
        else:
            refused = refused or response
    if refused is not None and not done:
        return refused
    return Response(200, {}, json.dumps({"runs": done}).encode())


class _Past(_Handler):
    async def get(self) -> None:
        """What the time bar has to know of a run; with a key and a column of it, or with `time`, of that scale."""
        run, key, column = (self.get_query_argument(name, "", strip=False) for name in ("run", "key", "column"))
        reader, is_time = self._site.reader, bool(self.get_query_argument("time", ""))

        def look() -> dict[str, Any]:
            if is_time:
                return time_of(reader, run)
            return scale_of(reader, run, key, column) if key else past_of(reader, run)

        try:
            told = await self.in_thread(look)
        except StreamvisError as error:
            return self.refuse(502, "no_past", str(error))
        self.finish(told)


class _Tail(_Handler):
    async def get(self) -> None:
        """The head of an app's list of runs, or of all apps, once it is another one than `after`, or after some time."""
        app, after = (self.get_query_argument(name, None) for name in ("app", "after"))
        loop, changed = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            loop.call_soon_threadsafe(changed.set)

        feed = SHARED.feeds.choice(self._site.reader, Selection(app=app), self, wake)
        self._feed = feed
        try:
            deadline = loop.time() + _WAIT_S
            while (left_s := deadline - loop.time()) > 0:
                changed.clear()
                if feed.lost is not None or (feed.known.is_set() and _head(feed) != after):
                    break
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), left_s)
        finally:
            feed.leave(self)
        if feed.lost is not None:
            return self.refuse(502, "no_endpoint", feed.lost.reason)
        newest = feed.heads[0].run.id if feed.heads else None
        self.finish({"cursor": _head(feed), "newest": newest})

    def on_connection_close(self) -> None:
        """The browser has given up: no one listens."""
        self._feed.leave(self)


def _head(feed: ChoiceFeed) -> str:
    return f"{feed.cursor}-{feed.answers}"


def _as_it_is(script: PageScript) -> PageScript:
    """What its file says now of a script, which may have been edited; what it said last where it is broken."""
    if script.any_app:
        return script
    try:
        now = read_script(script.path.parent if script.is_folder else script.path)
    except PageScriptError:
        return script
    return replace(script, app=now.app, many=now.many, follow=now.follow)


def _shown(name: str) -> str:
    """A page's name as text. A file's name may hold bytes that are not."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
