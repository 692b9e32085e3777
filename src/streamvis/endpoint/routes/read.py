"""The routes that read runs, their rows and their values, and tell how the endpoint is.

What an answer costs does not depend on how long a run is. The store is asked in threads.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Annotated, Any, Literal

from fastapi import Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from streamvis.endpoint import response_schemas
from streamvis.endpoint.authorization import may_read
from streamvis.endpoint.openapi import OF_A_KEY, OF_A_RUN, READ, router, told
from streamvis.endpoint.parameters import STEP, App, AsOf, Key, Left, Run
from streamvis.endpoint.responses import JsonAnswer, answer_of, history_answer, rows_answer, wants_arrow, whole_run_answer
from streamvis.endpoint.served import Endpoint, Served
from streamvis.errors import DamagedData, InvalidData, UnknownRun
from streamvis.records import PROTOCOL, HistoryQuery, RunInfo
from streamvis.wire.jsonform import body_to_json

__all__ = ["routes"]

_VALUES_BYTES = 64 * 2**20
"""How large the values of one answer may be together."""
_MOST_DAMAGED = 100
_MOST_HISTORIES = 20
"""What a request holds in memory grows with its columns."""


routes = router(READ)


@routes.get("/healthz", **told(response_schemas.Health, is_open=True))
async def healthz(endpoint: Served, request: Request) -> Response:
    """Whether the endpoint runs, which it is, and which keys were found to be damaged."""
    try:
        its_id = await run_in_threadpool(lambda: endpoint.store.id)
    except DamagedData:
        its_id = ""
    found = endpoint.store.damages()
    damaged = [asdict(one) for one in found[:_MOST_DAMAGED]] if may_read(request) else []
    about = {"status": "damaged" if found else "ok", "protocol": PROTOCOL, "version": endpoint.version, "store": its_id}
    about["pages"] = await run_in_threadpool(endpoint.page_of, "") if may_read(request) else ""
    return JsonAnswer({**about, "damages": len(found), "damaged": damaged, "unmerged": endpoint.store.unmerged})


@routes.get("/api/v1/apps", **told(response_schemas.Apps))
async def apps(endpoint: Served) -> Response:
    """The apps that have runs."""
    found = await run_in_threadpool(endpoint.store.apps)
    return JsonAnswer({"apps": [asdict(one) for one in found]})


@routes.get("/api/v1/runs/newest", **told(response_schemas.WholeRun, 404, 422, with_arrow=True))
async def newest(endpoint: Served, app: App, request: Request) -> Response:
    """The newest run of an app."""
    found = await run_in_threadpool(endpoint.store.newest, app)
    if found is None:
        raise UnknownRun(f"newest of {app}")
    return await _whole_run(endpoint, found, request)


@routes.get("/api/v1/runs/{run}", **told(response_schemas.WholeRun, *OF_A_RUN, with_arrow=True))
async def one_run(endpoint: Served, run: Run, request: Request, at: AsOf = None) -> Response:
    """One run, with its config, keys and columns."""
    return await _whole_run(endpoint, await run_in_threadpool(endpoint.store.run, run), request, at=at)


@routes.get("/api/v1/runs/{run}/rows", **told(response_schemas.Rows, *OF_A_KEY, with_arrow=True))
async def rows(
    endpoint: Served,
    run: Run,
    key: Key,
    request: Request,
    from_step: Annotated[int, STEP] = 0,
    to_step: Annotated[int | Left, STEP] = None,
    columns: Annotated[list[str] | Left, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=1_000_000)] = 100_000,
) -> Response:
    """One key's rows from one step to another, both included, in log order."""

    def read() -> bytes | dict[str, Any]:
        piece = endpoint.store.rows(run, key, from_step=from_step, to_step=to_step, limit=limit)
        return rows_answer(key, piece, from_step, to_step, columns, limit, as_arrow=wants_arrow(request))

    return answer_of(await run_in_threadpool(read))


async def _history_query(
    x: Annotated[str, Query(min_length=1, max_length=1000, description="A column, step, time or row.")] = "step",
    start: Annotated[float | Left, Query(alias="from", allow_inf_nan=False)] = None,
    stop: Annotated[float | Left, Query(alias="to", allow_inf_nan=False)] = None,
    window: Annotated[
        float | Left, Query(gt=0, allow_inf_nan=False, description="Only the rows stored last that span no more in x.")
    ] = None,
    buckets: Annotated[int, Query(ge=1, le=100_000)] = 1000,
    scale: Annotated[Literal["linear", "log"], Query()] = "linear",
    at: AsOf = None,
) -> HistoryQuery:
    return HistoryQuery(x=x, start=start, stop=stop, window=window, buckets=buckets, log=scale == "log", at=at)


_Asked = Annotated[HistoryQuery, Depends(_history_query)]


@routes.get("/api/v1/runs/{run}/history", **told(response_schemas.History, *OF_A_KEY, with_arrow=True))
async def history(
    endpoint: Served,
    run: Run,
    key: Key,
    asked: _Asked,
    request: Request,
    columns: Annotated[list[str] | Left, Query()] = None,
    having: Annotated[list[str] | Left, Query(description="Only rows that have something in one of these columns.")] = None,
    smooth: Annotated[float, Query(ge=0, lt=1, description="Weight of the past in the smoothed columns; 0: none.")] = 0.0,
) -> Response:
    """One key's rows for a screen: of every bucket of the axis the rows with the lowest and highest value of each column."""
    query = replace(asked, columns=columns, having=having or (), smooth=smooth)

    def read() -> bytes | dict[str, Any]:
        return history_answer(key, query.x, endpoint.store.history(run, key, query), as_arrow=wants_arrow(request))

    return answer_of(await run_in_threadpool(read))


@routes.get("/api/v1/runs/{run}/histories", **told(response_schemas.Histories, *OF_A_KEY, with_arrow=True))
async def histories(
    endpoint: Served,
    run: Run,
    key: Key,
    asked: _Asked,
    request: Request,
    columns: Annotated[list[str], Query(min_length=1, max_length=_MOST_HISTORIES, json_schema_extra={"uniqueItems": True})],
) -> Response:
    """As `history` of each of the columns by itself, with the rows that have something in it. Reads the rows once."""
    if len(set(columns)) < len(columns):
        raise InvalidData("a column is named twice", where="columns", allowed="each column once")
    query = replace(asked, columns=columns)

    def read() -> bytes | dict[str, Any]:
        found = endpoint.store.histories(run, key, query)
        if wants_arrow(request):
            return b"".join(history_answer(key, query.x, one, as_arrow=True) for one in found)
        return {"histories": [history_answer(key, query.x, one, as_arrow=False) for one in found]}

    return answer_of(await run_in_threadpool(read))


@routes.get("/api/v1/runs/{run}/value", **told(response_schemas.Value, *OF_A_KEY, with_arrow=True))
async def value(
    endpoint: Served, run: Run, key: Key, request: Request, step: Annotated[int | Left, STEP] = None, at: AsOf = None
) -> Response:
    """A key's value at a step, or its newest."""
    body = await run_in_threadpool(lambda: endpoint.store.value(run, key, step=step, at=at))
    if body is None:
        told = f"The key {key!r} has no value at step {at if step is None else step}."
        return JSONResponse({"error": {"code": "no_value", "message": told}}, 404)
    return answer_of(body if wants_arrow(request) else body_to_json(body))


@routes.get("/api/v1/runs/{run}/values", **told(response_schemas.Values, *OF_A_KEY, with_arrow=True))
async def values(
    endpoint: Served,
    run: Run,
    key: Key,
    request: Request,
    from_step: Annotated[int, STEP] = 0,
    to_step: Annotated[int | Left, STEP] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """A key's values from one step to another, evenly spread over the steps; fewer where they would be too large together."""

    def read() -> bytes | dict[str, Any]:
        bodies = endpoint.store.values(run, key, from_step=from_step, to_step=to_step, limit=limit, max_bytes=_VALUES_BYTES)
        return b"".join(bodies) if wants_arrow(request) else {"values": [body_to_json(body) for body in bodies]}

    return answer_of(await run_in_threadpool(read))


async def _whole_run(endpoint: Endpoint, run: RunInfo, request: Request, *, at: int | None = None) -> Response:
    as_arrow = wants_arrow(request)

    def read() -> bytes | dict[str, Any]:
        about = None if as_arrow else (endpoint.store.keys(run.id, at=at), endpoint.store.attempts(run.id))
        return whole_run_answer(run, endpoint.store.config(run.id), endpoint.presence, about)

    return answer_of(await run_in_threadpool(read))
