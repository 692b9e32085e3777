"""The routes under /api/v1. What they do is a few lines each: check, ask the store in a thread, answer in JSON or Arrow.

What an answer costs does not depend on how long a run is. Nothing here blocks the event loop but decoding small bodies.
"""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, FastAPI, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline
from pydantic.json_schema import SkipJsonSchema
from starlette.concurrency import run_in_threadpool

from streamvis.access import Hosts, Tokens
from streamvis.endpoint import schemas
from streamvis.endpoint.authorization import Guard, may_read
from streamvis.endpoint.band_routes import band_routes
from streamvis.endpoint.deletion_routes import deleting_routes
from streamvis.endpoint.disconnects import GivenUp
from streamvis.endpoint.news import News
from streamvis.endpoint.openapi import FOLLOW, OF_A_BODY, OF_A_KEY, OF_A_RUN, READ, WRITE, AsOf, describe, told
from streamvis.endpoint.other_endpoints import watch_others
from streamvis.endpoint.presence import Presence
from streamvis.endpoint.request_bodies import UnsupportedMedia, read_body, read_object
from streamvis.endpoint.responses import (
    JsonAnswer,
    ProtocolHeader,
    ack_json,
    add_error_answers,
    history_answer,
    rows_answer,
    run_json,
    tail_answer,
    wants_arrow,
    whole_run_answer,
)
from streamvis.endpoint.run_routes import listing_routes
from streamvis.endpoint.webhook import Webhook
from streamvis.endpoint.writer import Writer
from streamvis.errors import DamagedData, InvalidData, StoreError, StreamvisError, UnknownRun
from streamvis.records import FINISHED, PROTOCOL, STATES, Ack, Batch, Cursor, RunInfo, Start
from streamvis.store import SharedStore, Store
from streamvis.wire.arrow import ARROW, checked_attempt, checked_name, decode_batch_body
from streamvis.wire.jsonform import body_to_json, chunks_from_json, config_text, load_json
from streamvis.wire.limits import MAX_BODY_BYTES, MAX_JSON_BYTES, RUN_ID

__all__ = ["MAX_WAIT_S", "VANISH_AFTER_S", "create_app"]

MAX_WAIT_S = 25.0
MAX_WAITING = 500
"""How many requests wait for news at a time. A page server has two for each run that is looked at."""
VANISH_AFTER_S = 45.0
"""How long nothing must be heard of a run's producers until it is shown as vanished. They show that they live every 10 s."""
_RUN_ID = re.compile(RUN_ID)
_NOT_IDS = ("names", "newest")
_LOOK_AT_STORE_S = 1.0
_VALUES_BYTES = 64 * 2**20
"""How large the values of one answer may be together."""
_MOST_DAMAGED = 100
_TAIL_RUNS = 100
"""How many runs the tail of an app shows at most."""
_THREAD_FROM_BYTES = 64 * 2**10
"""Bodies from this size on are decoded in a thread."""

_Left = SkipJsonSchema[None]
"""A parameter that was left out. There is no way to send null as one, so the document does not speak of it."""
_App = Annotated[str, Query(min_length=1, max_length=1000, description="Name of the app.")]
_AnyApp = Annotated[str | _Left, Query(min_length=1, max_length=1000, description="Name of the app; by default, all apps.")]
_Run = Annotated[str, Path(description="Id of the run.", json_schema_extra={"pattern": f"^{RUN_ID}$"})]
_Key = Annotated[str, Query(min_length=1, max_length=1000, description="Name of the key.")]
_Step = Query(ge=0, lt=2**63)
_Wait = Annotated[float, Query(ge=0, le=MAX_WAIT_S, description="Seconds to wait for news.")]


def create_app(
    store: Store,
    *,
    version: str,
    tokens: Tokens = Tokens(),  # noqa: B008  # frozen
    hosts: Hosts = Hosts(),  # noqa: B008  # frozen
    max_waiting: int = MAX_WAITING,
    vanish_after_s: float = VANISH_AFTER_S,
    page_of: Callable[[str], str] = lambda run: "",
    make_webhook: Callable[[], Webhook] | None = None,
) -> FastAPI:
    """The endpoint as an ASGI application over `store`, for who has one of the tokens, under the names `hosts` and loopback's.

    At most `max_waiting` requests wait for news at a time. `page_of` gives the address of a run's page, "" where it is not known;
    of no run (""), that of the page for any run. `make_webhook` makes what posts alerts, on the event loop.
    """
    presence = Presence(store, lambda changes: app.state.news.announce(changes), vanish_after_s=vanish_after_s)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.news, app.state.writer = News(max_waiting), Writer(store)
        app.state.webhook = make_webhook() if make_webhook is not None else None
        store.listen(app.state.news.announce)
        tasks = [
            asyncio.create_task(app.state.writer.keep_tidy()),
            asyncio.create_task(presence.watch()),
            asyncio.create_task(_watch_for_another_store(store, app.state.news, presence)),
            *([asyncio.create_task(app.state.webhook.post_all(store))] if app.state.webhook is not None else []),
        ]
        if isinstance(store, SharedStore):
            tasks.append(asyncio.create_task(watch_others(store, app.state.news)))
        yield
        for task in tasks:
            task.cancel()

    # No /redoc: its page loads a picture from its maker's site.
    ids = {"generate_unique_id_function": lambda at: at.name}
    app = FastAPIOffline(title="Streamvis", version=version, lifespan=lifespan, redoc_url=None, **ids)
    app.add_middleware(GivenUp)
    app.add_middleware(Guard, tokens=tokens, hosts=hosts)
    app.add_middleware(ProtocolHeader)
    add_error_answers(app)
    app.include_router(listing_routes(store, presence))
    app.include_router(deleting_routes(store, presence))
    app.include_router(band_routes(store, presence))
    app.include_router(_reading(store, presence, version, page_of))
    app.include_router(_tails(store, presence))
    app.include_router(_writing(store, presence, page_of))
    describe(app, wants_token=tokens.write is not None)
    return app


async def _watch_for_another_store(store: Store, news: News, presence: Presence) -> None:
    """Wake those who wait when a backup was put back, which another process does and no commit of ours tells of."""
    known = await run_in_threadpool(lambda: store.id)
    while True:
        await asyncio.sleep(_LOOK_AT_STORE_S)
        try:
            found = await run_in_threadpool(lambda: store.id)
        except StoreError:
            continue
        if found != known:
            known = found
            await presence.begin_anew()
            news.wake_all()


def _reading(store: Store, presence: Presence, version: str, page_of: Callable[[str], str]) -> APIRouter:
    routes = APIRouter(tags=[READ])

    @routes.get("/healthz", **told(schemas.Health, is_open=True))
    async def healthz(request: Request) -> Response:
        """Whether the endpoint runs, which it is, and which keys were found to be damaged."""
        try:
            its_id = await run_in_threadpool(lambda: store.id)
        except DamagedData:
            its_id = ""
        found = store.damages()
        damaged = [asdict(one) for one in found[:_MOST_DAMAGED]] if may_read(request) else []
        about = {"status": "damaged" if found else "ok", "protocol": PROTOCOL, "version": version, "store": its_id}
        about["pages"] = await run_in_threadpool(page_of, "") if may_read(request) else ""
        return JsonAnswer({**about, "damages": len(found), "damaged": damaged, "unmerged": store.unmerged})

    @routes.get("/api/v1/apps", **told(schemas.Apps))
    async def apps() -> Response:
        """The apps that have runs."""
        found = await run_in_threadpool(store.apps)
        return JsonAnswer({"apps": [asdict(one) for one in found]})

    @routes.get("/api/v1/runs/newest", **told(schemas.WholeRun, 404, 422, with_arrow=True))
    async def newest(app: _App, request: Request) -> Response:
        """The newest run of an app."""
        found = await run_in_threadpool(store.newest, app)
        if found is None:
            raise UnknownRun(f"newest of {app}")
        return await _whole_run(store, presence, found, request)

    @routes.get("/api/v1/runs/{run}", **told(schemas.WholeRun, *OF_A_RUN, with_arrow=True))
    async def one_run(run: _Run, request: Request, at: AsOf = None) -> Response:
        """One run, with its config, keys and columns."""
        return await _whole_run(store, presence, await run_in_threadpool(store.run, run), request, at=at)

    @routes.get("/api/v1/runs/{run}/rows", **told(schemas.Rows, *OF_A_KEY, with_arrow=True))
    async def rows(
        run: _Run,
        key: _Key,
        request: Request,
        from_step: Annotated[int, _Step] = 0,
        to_step: Annotated[int | _Left, _Step] = None,
        columns: Annotated[list[str] | _Left, Query()] = None,
        limit: Annotated[int, Query(ge=1, le=1_000_000)] = 100_000,
    ) -> Response:
        """One key's rows from one step to another, both included, in log order."""

        def read() -> bytes | dict[str, Any]:
            piece = store.rows(run, key, from_step=from_step, to_step=to_step, limit=limit)
            return rows_answer(key, piece, from_step, to_step, columns, limit, as_arrow=wants_arrow(request))

        return _answer(await run_in_threadpool(read))

    @routes.get("/api/v1/runs/{run}/history", **told(schemas.History, *OF_A_KEY, with_arrow=True))
    async def history(
        run: _Run,
        key: _Key,
        request: Request,
        x: Annotated[str, Query(min_length=1, max_length=1000, description="A column, step, time or row.")] = "step",
        columns: Annotated[list[str] | _Left, Query()] = None,
        start: Annotated[float | _Left, Query(alias="from", allow_inf_nan=False)] = None,
        stop: Annotated[float | _Left, Query(alias="to", allow_inf_nan=False)] = None,
        window: Annotated[
            float | _Left, Query(gt=0, allow_inf_nan=False, description="Only the rows stored last that span no more in x.")
        ] = None,
        buckets: Annotated[int, Query(ge=1, le=100_000)] = 1000,
        scale: Annotated[Literal["linear", "log"], Query()] = "linear",
        having: Annotated[list[str] | _Left, Query(description="Only rows that have something in one of these columns.")] = None,
        smooth: Annotated[float, Query(ge=0, lt=1, description="Weight of the past in the smoothed columns; 0: none.")] = 0.0,
        at: AsOf = None,
    ) -> Response:
        """One key's rows for a screen: of every bucket of the axis the rows with the lowest and highest value of each column."""

        def read() -> bytes | dict[str, Any]:
            asked = {"start": start, "stop": stop, "window": window, "having": having or (), "smooth": smooth, "at": at}
            found = store.history(run, key, x=x, columns=columns, buckets=buckets, log=scale == "log", **asked)
            return history_answer(key, x, found, as_arrow=wants_arrow(request))

        return _answer(await run_in_threadpool(read))

    @routes.get("/api/v1/runs/{run}/histories", **told(schemas.Histories, *OF_A_KEY, with_arrow=True))
    async def histories(
        run: _Run,
        key: _Key,
        request: Request,
        columns: Annotated[list[str], Query(min_length=1, max_length=100)],
        x: Annotated[str, Query(min_length=1, max_length=1000, description="A column, step, time or row.")] = "step",
        start: Annotated[float | _Left, Query(alias="from", allow_inf_nan=False)] = None,
        stop: Annotated[float | _Left, Query(alias="to", allow_inf_nan=False)] = None,
        window: Annotated[
            float | _Left, Query(gt=0, allow_inf_nan=False, description="Only the rows stored last that span no more in x.")
        ] = None,
        buckets: Annotated[int, Query(ge=1, le=100_000)] = 1000,
        scale: Annotated[Literal["linear", "log"], Query()] = "linear",
        at: AsOf = None,
    ) -> Response:
        """As `history` of each of the columns by itself, with the rows that have something in it. Reads the rows once."""

        def read() -> bytes | dict[str, Any]:
            asked = {"start": start, "stop": stop, "window": window, "at": at}
            found = store.histories(run, key, x=x, columns=columns, buckets=buckets, log=scale == "log", **asked)
            as_arrow = wants_arrow(request)
            answers = [history_answer(key, x, one, as_arrow=as_arrow) for one in found]
            return b"".join(answers) if as_arrow else {"histories": answers}

        return _answer(await run_in_threadpool(read))

    @routes.get("/api/v1/runs/{run}/value", **told(schemas.Value, *OF_A_KEY, with_arrow=True))
    async def value(
        run: _Run, key: _Key, request: Request, step: Annotated[int | _Left, _Step] = None, at: AsOf = None
    ) -> Response:
        """A key's value at a step, or its newest."""
        body = await run_in_threadpool(lambda: store.value(run, key, step=step, at=at))
        if body is None:
            told = f"The key {key!r} has no value at step {at if step is None else step}."
            return JSONResponse({"error": {"code": "no_value", "message": told}}, 404)
        return _answer(body if wants_arrow(request) else body_to_json(body))

    @routes.get("/api/v1/runs/{run}/values", **told(schemas.Values, *OF_A_KEY, with_arrow=True))
    async def values(
        run: _Run,
        key: _Key,
        request: Request,
        from_step: Annotated[int, _Step] = 0,
        to_step: Annotated[int | _Left, _Step] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Response:
        """A key's values from one step to another, evenly spread over the steps; fewer where they would be too large together."""

        def read() -> bytes | dict[str, Any]:
            bodies = store.values(run, key, from_step=from_step, to_step=to_step, limit=limit, max_bytes=_VALUES_BYTES)
            return b"".join(bodies) if wants_arrow(request) else {"values": [body_to_json(body) for body in bodies]}

        return _answer(await run_in_threadpool(read))

    return routes


def _tails(store: Store, presence: Presence) -> APIRouter:
    routes = APIRouter(tags=[FOLLOW])

    @routes.get("/api/v1/apps/tail", **told(schemas.AppTail, 422))
    async def app_tail(
        request: Request,
        app: _AnyApp = None,
        after: str | _Left = None,
        wait: _Wait = 0,
        limit: Annotated[int, Query(ge=0, le=_TAIL_RUNS, description="How many runs to list.")] = _TAIL_RUNS,
    ) -> Response:
        """The runs of an app, once the list is newer than `after`, or a run of it vanished or came back.

        Without an app, of all apps, whose runs are not listed.
        """
        news: News = request.app.state.news
        deadline, changes = time.monotonic() + wait, presence.changes_in(app)
        while True:
            with news.listen(*(("all apps", "") if app is None else ("app", app))) as future:
                head = await run_in_threadpool(store.app_head, app)
                cursor, left_s = str(head.cursor), deadline - time.monotonic()
                if cursor != after or presence.changes_in(app) != changes or left_s <= 0 or news.is_closing:
                    is_listed = limit and app is not None
                    found = await run_in_threadpool(lambda: store.runs(app, limit=limit)) if is_listed else []
                    shown = [run_json(one, presence) for one in found]
                    return JsonAnswer({"cursor": cursor, "newest": head.newest, "runs": shown})
                await news.wait(future, left_s)

    @routes.get("/api/v1/runs/{run}/tail", **told(schemas.RunTail, *OF_A_RUN, with_arrow=True))
    async def run_tail(
        request: Request,
        run: _Run,
        after: str | _Left = None,
        until: str | _Left = None,
        wait: _Wait = 0,
        max_bytes: Annotated[int, Query(ge=1, le=2**28)] = 4 * 2**20,
        exclude: Annotated[list[str], Query(description="Keys to leave out.")] = [],  # noqa: B006  # FastAPI copies it
        only: Annotated[list[str], Query(description="Keys to give; all, where none are named.")] = [],  # noqa: B006
        kind: Annotated[Literal["rows", "value"] | _Left, Query(description="What the keys to give hold.")] = None,
        at: AsOf = None,
    ) -> Response:
        """What came to a run's log after the cursor `after`: the rows in log order, and the newest values.

        Answered at once when the run vanishes or comes back, too.
        """
        news: News = request.app.state.news
        start, end = _cursor(after, "after"), _cursor(until, "until")
        deadline, was_gone = time.monotonic() + wait, presence.is_gone(run)
        while True:
            with news.listen("run", run) as future:
                which = {"max_bytes": max_bytes, "exclude": exclude, "only": only, "kind": kind, "at": at}
                tail = await run_in_threadpool(lambda which=which: store.tail(run, start, until=end, **which))
                left_s = deadline - time.monotonic()
                is_news = tail.cursor != start or tail.restart or presence.is_gone(run) != was_gone
                if is_news or left_s <= 0 or news.is_closing:
                    return _answer(await run_in_threadpool(tail_answer, tail, presence, as_arrow=wants_arrow(request)))
                await news.wait(future, left_s)

    return routes


def _writing(store: Store, presence: Presence, page_of: Callable[[str], str]) -> APIRouter:
    routes = APIRouter(tags=[WRITE])

    @routes.post(
        "/api/v1/runs/{run}/batches",
        **told(schemas.Ack, *OF_A_RUN, *OF_A_BODY, 409, 507, body=schemas.JsonBatch, takes_arrow=True),
    )
    async def append(
        request: Request,
        run: _Run,
        app: Annotated[str, Query(max_length=1000)] = "",
        producer: Annotated[str, Query(max_length=200)] = "",
        number: Annotated[int, Query(ge=0, lt=2**63)] = 0,
        live: bool = True,
        dropped: Annotated[int, Query(ge=0, lt=2**53, description="Records that the producer dropped so far.")] = 0,
        imported: Annotated[bool, Query(description="Whether it is of an import: its alerts are not posted.")] = False,
    ) -> Response:
        """Append a batch. Answered after the commit; a batch that was stored before is not stored again."""
        is_arrow = _is_arrow(request)
        body = await read_body(request, MAX_BODY_BYTES if is_arrow else MAX_JSON_BYTES)

        def decode() -> Batch:
            if is_arrow:
                return Batch(_run_id(run), app, producer, number, decode_batch_body(body), live, dropped, imported)
            data = load_json(body)
            chunks = chunks_from_json(data, now=time.time())
            its_app, its_producer = (_text(data.get(name, given), name) for name, given in (("app", app), ("producer", producer)))
            its_number = data.get("number", number)
            if type(its_number) is not int or not 0 <= its_number < 2**63:
                raise InvalidData(f"the number {its_number!r}", where="number", allowed="a whole number from 0")
            return Batch(_run_id(run), its_app, its_producer, its_number, chunks, live, dropped, imported)

        batch = await run_in_threadpool(decode) if len(body) > _THREAD_FROM_BYTES else decode()
        await presence.coming(batch)
        ack = await _appended(request, batch)
        presence.stored(batch)
        if any(isinstance(chunk, Start) for chunk in batch.chunks):
            ack = replace(ack, page=page_of(batch.run))
        return JsonAnswer(ack_json(ack))

    @routes.post("/api/v1/runs/{run}/alive", **told(None, *OF_A_RUN, status=204))
    async def alive(run: _Run, producer: Annotated[str, Query(min_length=1, max_length=200)]) -> Response:
        """Say that a producer lives, where it has nothing to send. Nothing is stored."""
        await presence.show(run)
        return Response(status_code=204)

    @routes.post("/api/v1/runs", **told(schemas.StartedRun, *OF_A_BODY, 409, 410, 507, status=201, body=schemas.Order))
    async def start(request: Request) -> Response:
        """Start a run of `app`, with a `config`; with `run`, join it or make it under that id.

        With `resume_at`, what the run has of that step and later is taken back, once for every `attempt` that is named.
        """
        order = await read_object(request)
        app, run, name = order.get("app"), order.get("run"), order.get("name")
        checked_name(app, what="app", where="app")
        if name is not None:
            checked_name(name, what="name", where="name")
        attempt, resume_at = checked_attempt(order.get("attempt"), order.get("resume_at"), where="attempt, resume_at")
        if resume_at is not None and run is None:
            raise InvalidData("resume_at needs the run that is resumed", where="run", allowed="the id of a run")
        chunk = Start(config_text(order.get("config", {})), time.time(), name, run is not None, attempt, resume_at)
        run = _run_id(run) if run is not None else f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:6]}"
        batch = Batch(run, app, "", 0, [chunk])
        ack = await request.app.state.writer.append(batch)
        presence.stored(batch)
        started = run_json(await run_in_threadpool(store.run, run), presence)
        return JsonAnswer({**started, "warnings": list(ack.warnings)}, 201)

    @routes.post(
        "/api/v1/runs/{run}/finish", **told(schemas.Run, *OF_A_RUN, *OF_A_BODY, 507, body=schemas.Ending, needs_body=False)
    )
    async def finish(run: _Run, request: Request) -> Response:
        """End a run, as finished, interrupted or failed."""
        state = (await read_object(request, default=b"{}")).get("state", FINISHED)
        if state not in STATES[1:]:
            raise InvalidData(f"the state {state!r}", where="state", allowed=", ".join(STATES[1:]))
        return JsonAnswer(run_json(await run_in_threadpool(store.finish, run, state), presence))

    @routes.post("/api/v1/runs/{run}/clear", **told(schemas.Run, *OF_A_RUN, 507))
    async def clear(run: _Run) -> Response:
        """Take back a run's rows and values. Pages that show it reload."""
        return JsonAnswer(run_json(await run_in_threadpool(store.clear, run), presence))

    return routes


async def _appended(request: Request, batch: Batch) -> Ack:
    webhook: Webhook | None = request.app.state.webhook
    alerts = await webhook.expect(batch) if webhook is not None else ()
    try:
        ack = await request.app.state.writer.append(batch)
    except StreamvisError:
        if alerts:
            await webhook.settle(alerts, is_stored=False)
        raise
    if alerts:
        await webhook.settle(alerts, is_stored=True)
    return ack


async def _whole_run(store: Store, presence: Presence, run: RunInfo, request: Request, *, at: int | None = None) -> Response:
    as_arrow = wants_arrow(request)

    def read() -> bytes | dict[str, Any]:
        about = None if as_arrow else (store.keys(run.id, at=at), store.attempts(run.id))
        return whole_run_answer(run, store.config(run.id), presence, about)

    return _answer(await run_in_threadpool(read))


def _answer(content: bytes | dict[str, Any]) -> Response:
    return Response(content, media_type=ARROW) if isinstance(content, bytes) else JsonAnswer(content)


def _cursor(text: str | None, where: str) -> Cursor | None:
    if not text:
        return None
    try:
        return Cursor.parse(text)
    except ValueError as error:
        raise InvalidData(f"{text!r} is not a cursor", where=where, allowed="a cursor that this endpoint gave") from error


def _text(text: Any, where: str) -> str:
    """A name, or nothing."""
    return text if text == "" else checked_name(text, what=where, where=where)


def _run_id(run: Any) -> str:
    if not isinstance(run, str) or not _RUN_ID.fullmatch(run) or run in _NOT_IDS:
        raise InvalidData(f"the run id {run!r}", where="run", allowed="1 to 64 of A-Z a-z 0-9 . _ -, first a letter or digit")
    return run


def _is_arrow(request: Request) -> bool:
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind not in (ARROW, "application/json"):
        raise UnsupportedMedia(f"The content type is {kind or 'missing'}. Send application/json or {ARROW}.")
    return kind == ARROW
