"""The routes that delete runs, and restore them."""

from __future__ import annotations

from fastapi import Request, Response
from starlette.concurrency import run_in_threadpool

from streamvis.endpoint import request_schemas, response_schemas
from streamvis.endpoint.openapi import OF_A_BODY, OF_A_RUN, WRITE, router, told
from streamvis.endpoint.parameters import Run
from streamvis.endpoint.request_bodies import read_object
from streamvis.endpoint.responses import JsonAnswer, run_json
from streamvis.endpoint.routes.run import run_ids
from streamvis.endpoint.served import Served

__all__ = ["routes"]


routes = router(WRITE)


@routes.delete("/api/v1/runs/{run}", **told(response_schemas.DeletedRun, *OF_A_RUN, 507))
async def delete(endpoint: Served, run: Run) -> Response:
    """Delete a run. It can be restored for a minute; then its space is freed."""
    until = await run_in_threadpool(endpoint.store.delete, run)
    endpoint.presence.forget(run)
    return JsonAnswer({"run": run, "restorable_until": until})


@routes.post("/api/v1/runs/delete", **told(response_schemas.DeletedRuns, *OF_A_RUN, *OF_A_BODY, 507, body=request_schemas.RunIds))
async def delete_many(endpoint: Served, request: Request) -> Response:
    """Delete several runs in one commit: all of them, or none where one is not there."""
    ids = list(dict.fromkeys(run_ids(await read_object(request))))
    until = await run_in_threadpool(endpoint.store.delete, *ids)
    for run in ids:
        endpoint.presence.forget(run)
    return JsonAnswer({"runs": ids, "restorable_until": until})


@routes.post("/api/v1/runs/{run}/restore", **told(response_schemas.Run, *OF_A_RUN, 507))
async def restore(endpoint: Served, run: Run) -> Response:
    """Take the deletion of a run back, within a minute: all that it had is there again."""
    restored = await run_in_threadpool(endpoint.store.restore, run)
    await endpoint.presence.expect(run)
    return JsonAnswer(run_json(restored, endpoint.presence))
