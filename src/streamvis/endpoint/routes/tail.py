"""The routes that follow apps and runs: long polls, answered as soon as there is news."""

from __future__ import annotations

import time
from typing import Annotated, Literal

from fastapi import Query, Request, Response
from starlette.concurrency import run_in_threadpool

from streamvis.endpoint import response_schemas
from streamvis.endpoint.openapi import FOLLOW, OF_A_RUN, router, told
from streamvis.endpoint.parameters import AnyApp, AsOf, Left, Run
from streamvis.endpoint.responses import JsonAnswer, answer_of, run_json, tail_answer, wants_arrow
from streamvis.endpoint.served import Served
from streamvis.errors import InvalidData
from streamvis.records import Cursor

__all__ = ["MAX_WAIT_S", "routes"]

MAX_WAIT_S = 25.0
_TAIL_RUNS = 100
"""How many runs the tail of an app shows at most."""
_Wait = Annotated[float, Query(ge=0, le=MAX_WAIT_S, description="Seconds to wait for news.")]


routes = router(FOLLOW)


@routes.get("/api/v1/apps/tail", **told(response_schemas.AppTail, 422))
async def app_tail(
    endpoint: Served,
    request: Request,
    app: AnyApp = None,
    after: str | Left = None,
    wait: _Wait = 0,
    limit: Annotated[int, Query(ge=0, le=_TAIL_RUNS, description="How many runs to list.")] = _TAIL_RUNS,
) -> Response:
    """The runs of an app, once the list is newer than `after`, or a run of it vanished or came back.

    Without an app, of all apps, whose runs are not listed.
    """
    news = endpoint.news
    deadline, changes = time.monotonic() + wait, endpoint.presence.changes_in(app)
    while True:
        with news.listen(*(("all apps", "") if app is None else ("app", app))) as future:
            head = await run_in_threadpool(endpoint.store.app_head, app)
            cursor, left_s = str(head.cursor), deadline - time.monotonic()
            if cursor != after or endpoint.presence.changes_in(app) != changes or left_s <= 0 or news.is_closing:
                found = await run_in_threadpool(endpoint.store.runs, app, limit=limit) if limit and app is not None else []
                shown = [run_json(one, endpoint.presence) for one in found]
                return JsonAnswer({"cursor": cursor, "newest": head.newest, "runs": shown})
            await news.wait(future, left_s)


@routes.get("/api/v1/runs/{run}/tail", **told(response_schemas.RunTail, *OF_A_RUN, with_arrow=True))
async def run_tail(
    endpoint: Served,
    request: Request,
    run: Run,
    after: str | Left = None,
    until: str | Left = None,
    wait: _Wait = 0,
    max_bytes: Annotated[int, Query(ge=1, le=2**28)] = 4 * 2**20,
    exclude: Annotated[list[str], Query(description="Keys to leave out.")] = [],  # noqa: B006  # FastAPI copies it
    only: Annotated[list[str], Query(description="Keys to give; all, where none are named.")] = [],  # noqa: B006
    kind: Annotated[Literal["rows", "value"] | Left, Query(description="What the keys to give hold.")] = None,
    at: AsOf = None,
) -> Response:
    """What came to a run's log after the cursor `after`: the rows in log order, and the newest values.

    Answered at once when the run vanishes or comes back, too.
    """
    news = endpoint.news
    start, end = _cursor(after, "after"), _cursor(until, "until")
    deadline, was_gone = time.monotonic() + wait, endpoint.presence.is_gone(run)
    while True:
        with news.listen("run", run) as future:
            which = {"max_bytes": max_bytes, "exclude": exclude, "only": only, "kind": kind, "at": at}
            tail = await run_in_threadpool(lambda which=which: endpoint.store.tail(run, start, until=end, **which))
            left_s = deadline - time.monotonic()
            is_news = tail.cursor != start or tail.restart or endpoint.presence.is_gone(run) != was_gone
            if is_news or left_s <= 0 or news.is_closing:
                return answer_of(await run_in_threadpool(tail_answer, tail, endpoint.presence, as_arrow=wants_arrow(request)))
            await news.wait(future, left_s)


def _cursor(text: str | None, where: str) -> Cursor | None:
    if not text:
        return None
    try:
        return Cursor.parse(text)
    except ValueError as error:
        raise InvalidData(f"{text!r} is not a cursor", where=where, allowed="a cursor that this endpoint gave") from error
