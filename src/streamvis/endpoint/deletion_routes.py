"""The routes that delete runs, and restore them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from starlette.concurrency import run_in_threadpool

from streamvis.endpoint import schemas
from streamvis.endpoint.openapi import OF_A_BODY, OF_A_RUN, WRITE, told
from streamvis.endpoint.presence import Presence
from streamvis.endpoint.request_bodies import read_object
from streamvis.endpoint.responses import JsonAnswer, run_json
from streamvis.endpoint.run_routes import run_ids
from streamvis.store import Store
from streamvis.wire.limits import RUN_ID

__all__ = ["deleting_routes"]

_Run = Annotated[str, Path(description="Id of the run.", json_schema_extra={"pattern": f"^{RUN_ID}$"})]


def deleting_routes(store: Store, presence: Presence) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=[WRITE])

    @routes.delete("/api/v1/runs/{run}", **told(schemas.DeletedRun, *OF_A_RUN, 507))
    async def delete(run: _Run) -> Response:
        """Delete a run. It can be restored for a minute; then its space is freed."""
        until = await run_in_threadpool(store.delete, run)
        presence.forget(run)
        return JsonAnswer({"run": run, "restorable_until": until})

    @routes.post("/api/v1/runs/delete", **told(schemas.DeletedRuns, *OF_A_RUN, *OF_A_BODY, 507, body=schemas.RunIds))
    async def delete_many(request: Request) -> Response:
        """Delete several runs in one commit: all of them, or none where one is not there."""
        ids = list(dict.fromkeys(run_ids(await read_object(request))))
        until = await run_in_threadpool(store.delete, *ids)
        for run in ids:
            presence.forget(run)
        return JsonAnswer({"runs": ids, "restorable_until": until})

    @routes.post("/api/v1/runs/{run}/restore", **told(schemas.Run, *OF_A_RUN, 507))
    async def restore(run: _Run) -> Response:
        """Take the deletion of a run back, within a minute: all that it had is there again."""
        restored = await run_in_threadpool(store.restore, run)
        await presence.expect(run)
        return JsonAnswer(run_json(restored, presence))

    return routes
