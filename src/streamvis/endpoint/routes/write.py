"""The routes that producers use: to start a run, append batches, show that they live, and finish; and that which clears a run."""

from __future__ import annotations

import re
import time
import uuid
from dataclasses import replace
from typing import Annotated, Any

from fastapi import Query, Request, Response
from starlette.concurrency import run_in_threadpool

from streamvis.endpoint import request_schemas, response_schemas
from streamvis.endpoint.openapi import OF_A_BODY, OF_A_RUN, WRITE, router, told
from streamvis.endpoint.parameters import Run
from streamvis.endpoint.request_bodies import UnsupportedMedia, read_body, read_object
from streamvis.endpoint.responses import JsonAnswer, ack_json, run_json
from streamvis.endpoint.served import Endpoint, Served
from streamvis.errors import InvalidData, StreamvisError
from streamvis.records import FINISHED, STATES, Ack, Batch, Start
from streamvis.wire.arrow import ARROW, checked_attempt, checked_name, decode_batch_body
from streamvis.wire.jsonform import chunks_from_json, config_text, load_json
from streamvis.wire.limits import MAX_BODY_BYTES, MAX_JSON_BYTES, RUN_ID

__all__ = ["routes"]

_RUN_ID = re.compile(RUN_ID)
_NOT_IDS = ("names", "newest")
_THREAD_FROM_BYTES = 64 * 2**10
"""Bodies from this size on are decoded in a thread, smaller ones on the event loop."""


routes = router(WRITE)


@routes.post(
    "/api/v1/runs/{run}/batches",
    **told(response_schemas.Ack, *OF_A_RUN, *OF_A_BODY, 409, 507, body=request_schemas.JsonBatch, takes_arrow=True),
)
async def append(
    endpoint: Served,
    request: Request,
    run: Run,
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
            its_app, its_producer = _text(app, "app"), _text(producer, "producer")
            return Batch(_run_id(run), its_app, its_producer, number, decode_batch_body(body), live, dropped, imported)
        data = load_json(body)
        chunks = chunks_from_json(data, now=time.time())
        its_app, its_producer = (_text(data.get(name, given), name) for name, given in (("app", app), ("producer", producer)))
        its_number = data.get("number", number)
        if type(its_number) is not int or not 0 <= its_number < 2**63:
            raise InvalidData(f"the number {its_number!r}", where="number", allowed="a whole number from 0")
        return Batch(_run_id(run), its_app, its_producer, its_number, chunks, live, dropped, imported)

    batch = await run_in_threadpool(decode) if len(body) > _THREAD_FROM_BYTES else decode()
    await endpoint.presence.coming(batch)
    ack = await _appended(endpoint, batch)
    endpoint.presence.stored(batch)
    if any(isinstance(chunk, Start) for chunk in batch.chunks):
        ack = replace(ack, page=endpoint.page_of(batch.run))
    return JsonAnswer(ack_json(ack))


@routes.post("/api/v1/runs/{run}/alive", **told(None, *OF_A_RUN, status=204))
async def alive(endpoint: Served, run: Run, producer: Annotated[str, Query(min_length=1, max_length=200)]) -> Response:
    """Say that a producer lives, where it has nothing to send. Nothing is stored."""
    await endpoint.presence.show(run)
    return Response(status_code=204)


@routes.post(
    "/api/v1/runs", **told(response_schemas.StartedRun, *OF_A_BODY, 409, 410, 507, status=201, body=request_schemas.Order)
)
async def start(endpoint: Served, request: Request) -> Response:
    """Start a run of `app`, with a `config`; with `run`, join it or make it under that id.

    With `resume_at`, what the run has of that step and later is taken back, once for every `attempt` that is named.
    """
    order = await read_object(request)
    app, run, name = checked_name(order.get("app"), what="app", where="app"), order.get("run"), order.get("name")
    if name is not None:
        checked_name(name, what="name", where="name")
    attempt, resume_at = checked_attempt(order.get("attempt"), order.get("resume_at"), where="attempt, resume_at")
    if resume_at is not None and run is None:
        raise InvalidData("resume_at needs the run that is resumed", where="run", allowed="the id of a run")
    chunk = Start(config_text(order.get("config", {})), time.time(), name, run is not None, attempt, resume_at)
    run = _run_id(run) if run is not None else f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:6]}"
    batch = Batch(run, app, "", 0, [chunk])
    ack = await endpoint.writer.append(batch)
    endpoint.presence.stored(batch)
    started = run_json(await run_in_threadpool(endpoint.store.run, run), endpoint.presence)
    return JsonAnswer({**started, "warnings": list(ack.warnings)}, 201)


@routes.post(
    "/api/v1/runs/{run}/finish",
    **told(response_schemas.Run, *OF_A_RUN, *OF_A_BODY, 507, body=request_schemas.Ending, needs_body=False),
)
async def finish(endpoint: Served, run: Run, request: Request) -> Response:
    """End a run, as finished, interrupted or failed."""
    state = (await read_object(request, default=b"{}")).get("state", FINISHED)
    if state not in STATES[1:]:
        raise InvalidData(f"the state {state!r}", where="state", allowed=", ".join(STATES[1:]))
    return JsonAnswer(run_json(await run_in_threadpool(endpoint.store.finish, run, state), endpoint.presence))


@routes.post("/api/v1/runs/{run}/clear", **told(response_schemas.Run, *OF_A_RUN, 507))
async def clear(endpoint: Served, run: Run) -> Response:
    """Take back a run's rows and values. Pages that show it reload."""
    return JsonAnswer(run_json(await run_in_threadpool(endpoint.store.clear, run), endpoint.presence))


async def _appended(endpoint: Endpoint, batch: Batch) -> Ack:
    webhook = endpoint.webhook
    alerts = await webhook.expect(batch) if webhook is not None else ()
    try:
        ack = await endpoint.writer.append(batch)
    except StreamvisError:
        if webhook is not None and alerts:
            await webhook.settle(alerts, is_stored=False)
        raise
    if webhook is not None and alerts:
        await webhook.settle(alerts, is_stored=True)
    return ack


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
