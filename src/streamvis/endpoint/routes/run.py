"""The routes that find runs and describe them: names, tags, notes, colours, and which are archived."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import Query, Request, Response
from starlette.concurrency import run_in_threadpool

from streamvis import filters
from streamvis.endpoint import request_schemas, response_schemas
from streamvis.endpoint.openapi import OF_A_BODY, OF_A_RUN, READ, WRITE, router, told
from streamvis.endpoint.parameters import AnyApp, Left, Run
from streamvis.endpoint.request_bodies import read_object
from streamvis.endpoint.responses import JsonAnswer, answer_of, found_runs_answer, names_json, run_json, wants_arrow
from streamvis.endpoint.served import Served
from streamvis.errors import FilterError, InvalidData
from streamvis.records import Description
from streamvis.store import RunQuery
from streamvis.wire.arrow import checked_name
from streamvis.wire.limits import MAX_NOTE_CHARS, MAX_RUNS_AT_ONCE, MAX_TAG_CHARS, MAX_TAGS

__all__ = ["routes", "run_ids"]

_COLOR = re.compile(r"#[0-9a-fA-F]{6}")
_ARCHIVED = {"false": False, "true": True, "any": None}
_MOST_COLUMNS = 100


routes = router()


@routes.get("/api/v1/runs", tags=[READ], **told(response_schemas.Runs, 422, with_arrow=True))
async def runs(
    endpoint: Served,
    request: Request,
    app: AnyApp = None,
    where: Annotated[str, Query(max_length=10_000, description="A filter, such as config.lr < 0.1.")] = "",
    search: Annotated[str, Query(max_length=1000, description="Words, all in a run's name, tags, note or config.")] = "",
    order: Annotated[str, Query(max_length=3000, description="A name to order by; with - before it, falling.")] = "",
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
    after: Annotated[str, Query(max_length=20_000, description="Where the answer before this one ended.")] = "",
    offset: Annotated[int, Query(ge=0, lt=2**31, description="Without after: how many runs to pass over.")] = 0,
    archived: Literal["false", "true", "any"] = "false",
    config: bool = False,
    run: Annotated[list[str] | Left, Query(max_length=MAX_RUNS_AT_ONCE, description="Only these ids.")] = None,
    column: Annotated[list[str], Query(max_length=_MOST_COLUMNS, description="Names whose values to give.")] = [],  # noqa: B006
) -> Response:
    """The runs that fit, a piece at a time: by default the newest of the app first."""
    query = RunQuery(
        app=app,
        where=filters.Filter.parse(where) if where.strip() else None,
        words=search.lower().split(),
        runs=run,
        archived=_ARCHIVED[archived],
        order=_path(order.removeprefix("-"), "order") if order else None,
        is_falling=order.startswith("-"),
        limit=limit,
        after=after,
        offset=offset,
        columns=[_path(name, "column") for name in column],
        with_config=config,
        vanished=endpoint.presence.gone,
    )

    def read() -> bytes | dict[str, Any]:
        return found_runs_answer(endpoint.store.find(query), column, endpoint.presence, as_arrow=wants_arrow(request))

    return answer_of(await run_in_threadpool(read))


@routes.get("/api/v1/runs/names", tags=[READ], **told(response_schemas.RunNames, 422))
async def names(endpoint: Served, app: AnyApp = None) -> Response:
    """What filters, orders and columns can name: parts of configs, columns that have summaries, and tags."""
    return JsonAnswer(names_json(await run_in_threadpool(endpoint.store.names, app)))


@routes.patch(
    "/api/v1/runs/{run}",
    tags=[WRITE],
    **told(response_schemas.Run, *OF_A_RUN, *OF_A_BODY, 507, body=request_schemas.Description),
)
async def describe(endpoint: Served, run: Run, request: Request) -> Response:
    """Change a run's name, tags, note or color, or archive it."""
    description = _description(await read_object(request))
    (changed,) = await run_in_threadpool(endpoint.store.describe, [run], description)
    return JsonAnswer(run_json(changed, endpoint.presence))


@routes.patch(
    "/api/v1/runs",
    tags=[WRITE],
    **told(response_schemas.ChangedRuns, *OF_A_RUN, *OF_A_BODY, 507, body=request_schemas.ManyChanges),
)
async def describe_many(endpoint: Served, request: Request) -> Response:
    """Change several runs in one commit: all of them, or none where one is not there."""
    order = await read_object(request)
    ids, changes = run_ids(order), order.get("set", {})
    if not isinstance(changes, dict):
        raise InvalidData("set is an object of names and values", where="set")
    description = _description({**changes, **{name: order[name] for name in ("add_tags", "remove_tags") if name in order}})
    changed = await run_in_threadpool(endpoint.store.describe, ids, description)
    return JsonAnswer({"runs": [run_json(one, endpoint.presence) for one in changed]})


def run_ids(order: Mapping[str, Any]) -> list[str]:
    """The ids of the runs that a request is about. Raises InvalidData."""
    ids = order.get("runs")
    if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids) or len(ids) > MAX_RUNS_AT_ONCE:
        raise InvalidData("runs is a list of run ids", where="runs", allowed=f"at most {MAX_RUNS_AT_ONCE:,}")
    return ids


def _path(text: str, where: str) -> filters.Path:
    try:
        return filters.parse_path(text)
    except FilterError as error:
        allowed = "a name such as config.lr or train.loss.min"
        raise InvalidData(str(error).removesuffix("."), where=where, allowed=allowed) from error


def _description(order: Mapping[str, Any]) -> Description:
    name, note, color, archived = (order.get(part) for part in ("name", "note", "color", "archived"))
    if name not in (None, ""):
        checked_name(name, what="name", where="name")
    if note is not None and (not isinstance(note, str) or len(note) > MAX_NOTE_CHARS or not _is_unicode(note)):
        raise InvalidData("this is not a note", where="note", allowed=f"text of at most {MAX_NOTE_CHARS:,} characters")
    if color not in (None, "") and not (isinstance(color, str) and _COLOR.fullmatch(color)):
        raise InvalidData(f"the color {color!r:.50}", where="color", allowed='"#rrggbb", or "" for the color of the palette')
    if archived is not None and not isinstance(archived, bool):
        raise InvalidData(f"archived is {archived!r:.50}", where="archived", allowed="true or false")
    tags, add, remove = (_tags(order.get(part), part) for part in ("tags", "add_tags", "remove_tags"))
    return Description(name, tags, note, color.lower() if color else color, archived, add or (), remove or ())


def _tags(tags: Any, where: str) -> list[str] | None:
    if tags is None:
        return None
    fit = isinstance(tags, list) and len(tags) <= MAX_TAGS
    if not fit or not all(
        isinstance(tag, str) and 0 < len(tag) <= MAX_TAG_CHARS and _is_unicode(tag) and "\0" not in tag for tag in tags
    ):
        allowed = f"a list of at most {MAX_TAGS} texts of 1 to {MAX_TAG_CHARS} characters, without NUL"
        raise InvalidData("these are not tags", where=where, allowed=allowed)
    return tags


def _is_tag(tag: Any) -> bool:
    return isinstance(tag, str) and 0 < len(tag) <= MAX_TAG_CHARS and _is_unicode(tag) and "\0" not in tag


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
