"""The route of bands: the middle and the spread of what several runs sent."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Query, Request, Response
from starlette.concurrency import run_in_threadpool

from streamvis import filters
from streamvis.endpoint import response_schemas
from streamvis.endpoint.openapi import READ, router, told
from streamvis.endpoint.parameters import AsOf, Left
from streamvis.endpoint.responses import answer_of, band_answer, wants_arrow
from streamvis.endpoint.served import Served
from streamvis.errors import InvalidData
from streamvis.store import RunQuery, StatisticOfRuns, Store

__all__ = ["routes"]

_MOST_RUNS = 1000
_MOST_COLUMNS = 20
_Name = Query(min_length=1, max_length=1000)


routes = router(READ)


@routes.get("/api/v1/band", **told(response_schemas.Band, 404, 422, with_arrow=True))
async def band(
    endpoint: Served,
    request: Request,
    key: Annotated[str, _Name],
    column: Annotated[list[str], Query(min_length=1, max_length=_MOST_COLUMNS, description="Columns of numbers.")],
    run: Annotated[list[str] | Left, Query(max_length=_MOST_RUNS, description="Ids of the runs.")] = None,
    app: Annotated[str | Left, _Name] = None,
    where: Annotated[str, Query(max_length=10_000, description="All runs of the app that fit, instead of ids.")] = "",
    x: Annotated[str, Query(min_length=1, max_length=1000, description="A column, step, time or row.")] = "step",
    stat: StatisticOfRuns = "std",
    start: Annotated[float | Left, Query(alias="from", allow_inf_nan=False)] = None,
    stop: Annotated[float | Left, Query(alias="to", allow_inf_nan=False)] = None,
    buckets: Annotated[int, Query(ge=1, le=100_000)] = 1000,
    scale: Literal["linear", "log"] = "linear",
    at: AsOf = None,
    smooth: Annotated[float, Query(ge=0, lt=1, description="Weight of the past in each run's smoothed columns.")] = 0.0,
) -> Response:
    """The middle and the spread over runs of a key's columns, at each x that any of them has."""
    if run is None and app is None:
        allowed = "run=ID, several times, or app=APP with where=FILTER"
        raise InvalidData("neither runs nor an app", where="run", allowed=allowed)
    found = filters.Filter.parse(where) if where.strip() else None
    query = RunQuery(app=app, where=found, archived=False, limit=_MOST_RUNS, vanished=endpoint.presence.gone)
    columns = list(dict.fromkeys(column))

    def read() -> bytes | dict[str, Any]:
        asked = {"x": x, "columns": columns, "stat": stat, "start": start, "stop": stop, "buckets": buckets}
        asked |= {"at": at, "smooth": smooth}
        made = endpoint.store.band(_ids(endpoint.store, query) if run is None else run, key, **asked, log=scale == "log")
        return band_answer(key, x, stat, made, buckets, as_arrow=wants_arrow(request))

    return answer_of(await run_in_threadpool(read))


def _ids(store: Store, query: RunQuery) -> list[str]:
    found = store.find(query)
    if found.more:
        allowed = f"at most {_MOST_RUNS:,}; choose fewer by a filter"
        raise InvalidData(f"{found.matching:,} runs fit", where="where", allowed=allowed)
    return [one.info.id for one in found.runs]
