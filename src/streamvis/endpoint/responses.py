"""How the endpoint answers: the form of errors, the header that names the protocol, JSON or Arrow."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal, overload

import pyarrow as pa
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from streamvis.endpoint import response_schemas
from streamvis.endpoint.news import TooManyWait
from streamvis.endpoint.presence import Presence
from streamvis.endpoint.request_bodies import BodyTooLarge, BodyTooSlow, UnsupportedMedia
from streamvis.errors import (
    DamagedData,
    DeletedRun,
    FilterError,
    InvalidData,
    RunConflict,
    StoreUnavailable,
    StreamvisError,
    UnknownKey,
    UnknownRun,
)
from streamvis.records import PROTOCOL, Ack, AttemptInfo, Band, History, KeyInfo, RunInfo, Tail
from streamvis.store import FoundRuns, RowsPiece, RunNames
from streamvis.transport import PROTOCOL_HEADER
from streamvis.wire.arrow import ARROW, body_of, encode_head, encode_history, table_of
from streamvis.wire.columns import arrow_column, column_dtype, json_column
from streamvis.wire.joining import join_rows
from streamvis.wire.jsonform import body_to_json, rows_to_json
from streamvis.wire.tree import to_plain, unpack

__all__ = [
    "JsonAnswer",
    "ProtocolHeader",
    "ack_json",
    "add_error_answers",
    "answer_of",
    "band_answer",
    "error_answer",
    "found_runs_answer",
    "history_answer",
    "names_json",
    "rows_answer",
    "run_json",
    "tail_answer",
    "wants_arrow",
    "whole_run_answer",
]


_MAX_GAPS = 2**24
"""So many missing cells an answer may have in addition to those that were sent: rows with few columns, of a key that has many."""


class JsonAnswer(JSONResponse):
    """JSON in UTF-8; texts with halves of surrogate pairs, which UTF-8 cannot say, are escaped, as they came."""

    def render(self, content: Any) -> bytes:
        try:
            return super().render(content)
        except UnicodeEncodeError:
            return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


def answer_of(content: bytes | dict[str, Any]) -> Response:
    """Arrow, or JSON."""
    return Response(content, media_type=ARROW) if isinstance(content, bytes) else JsonAnswer(content)


_KINDS: dict[type[StreamvisError], tuple[int, str]] = {
    DamagedData: (500, "damaged"),
    InvalidData: (422, "invalid_data"),
    UnknownRun: (404, "unknown_run"),
    UnknownKey: (404, "unknown_key"),
    DeletedRun: (410, "deleted_run"),
    RunConflict: (409, "conflict"),
    BodyTooLarge: (413, "too_large"),
    BodyTooSlow: (408, "too_slow"),
    TooManyWait: (503, "too_many_wait"),
    UnsupportedMedia: (415, "unsupported_media_type"),
}


def error_answer(status: int, code: str, message: str, **more: str) -> JSONResponse:
    """An error in the one form that all of them have."""
    return JsonAnswer({"error": {"code": code, "message": message, **{k: v for k, v in more.items() if v}}}, status)


def add_error_answers(app: FastAPI) -> None:
    """Answer our errors, and the framework's, in our form."""

    @app.exception_handler(StreamvisError)
    async def ours(request: Request, error: StreamvisError) -> JSONResponse:
        if isinstance(error, StoreUnavailable):
            return error_answer(507 if error.full else 503, "store_full" if error.full else "store_unavailable", str(error))
        if isinstance(error, FilterError):
            told = {"code": "invalid", "message": str(error), "where": "where"}
            return JsonAnswer({"error": {**told, "position": error.position, "length": error.length}}, 422)
        status, code = _KINDS.get(type(error), (400, "bad_request"))
        return error_answer(status, code, str(error), where=getattr(error, "where", ""), allowed=getattr(error, "allowed", ""))

    @app.exception_handler(RequestValidationError)
    async def arguments(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return error_answer(422, "invalid_arguments", f"{where}: {first['msg']}", where=where)

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> JSONResponse:
        # No one hears this; without it the server would log a connection that was cut as an error of ours.
        return error_answer(400, "disconnected", "The connection was closed before the body was whole. Nothing was stored.")

    @app.exception_handler(HTTPException)
    async def routing(request: Request, error: HTTPException) -> JSONResponse:
        text = {404: "There is nothing at this address. GET /docs describes the API.", 405: "This address has no such method."}
        answer = error_answer(error.status_code, "no_such_route", text.get(error.status_code, str(error.detail)))
        answer.headers.update(error.headers or {})
        return answer


class ProtocolHeader:
    """Puts the protocol's version on every answer, by which clients know that a Streamvis endpoint answered."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._header = (PROTOCOL_HEADER.lower().encode(), str(PROTOCOL).encode())

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_with_header(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), self._header]
            await send(message)

        await self._app(scope, receive, send_with_header if scope["type"] == "http" else send)


def wants_arrow(request: Request) -> bool:
    """Whether the client asks for Arrow."""
    return ARROW in request.headers.get("accept", "")


@overload
def history_answer(key: str, x: str, history: History, *, as_arrow: Literal[True]) -> bytes: ...
@overload
def history_answer(key: str, x: str, history: History, *, as_arrow: bool) -> bytes | dict[str, Any]: ...
def history_answer(key: str, x: str, history: History, *, as_arrow: bool) -> bytes | dict[str, Any]:
    """Rows for a screen, as Arrow or as JSON. The columns of the key get their own names back."""
    names = ["row", "step", "time", *(name.removeprefix(".") for name in history.table.column_names[3:])]
    table = history.table.rename_columns(names)
    meta = {
        "key": key,
        "x": x,
        "rising": history.rising,
        "complete": history.complete,
        "count": history.count,
        "first_x": history.first_x,
        "last_x": history.last_x,
        "from": history.start,
        "to": history.stop,
        "buckets": history.buckets,
        "means": {name: list(its) for name, its in history.means.items()},
    }
    if as_arrow:
        return encode_history(meta, table)
    return {**meta, "rows": table.column(0).to_pylist(), **rows_to_json(table.remove_column(0))}


def band_answer(key: str, x: str, stat: str, band: Band, buckets: int, *, as_arrow: bool) -> bytes | dict[str, Any]:
    """The middle and the spread over runs, as Arrow or as JSON."""
    meta = {
        "key": key,
        "x": x,
        "stat": stat,
        "runs": band.runs,
        "ends": [{"run": run, "x": x, "running": is_running} for run, x, is_running in band.ends],
        "complete": band.complete,
        "first_x": band.first_x,
        "last_x": band.last_x,
        "from": band.start,
        "to": band.stop,
        "buckets": buckets,
    }
    if as_arrow:
        return body_of({"kind": "band", **meta}, band.table)
    fields, columns = band.table.schema, band.table.columns
    made = {
        field.name: {"dtype": column_dtype(field), "data": to_plain(column.to_pylist())}
        for field, column in zip(fields, columns, strict=True)
    }
    return {**meta, "columns": made}


def run_json(run: RunInfo, presence: Presence) -> dict[str, Any]:
    """A run without its config and keys, as it is shown: see `presence`."""
    run = presence.shown(run)
    return {
        "run": run.id,
        "app": run.app,
        "name": run.name,
        "state": run.state,
        "created": run.created,
        "updated": run.updated,
        "heard": presence.heard_at(run),
        "first_step": run.first_step,
        "last_step": run.last_step,
        "newest": run.newest,
        "dropped": run.dropped,
        "late": run.late,
        "cursor": str(run.cursor),
        "color": run.color,
        "tags": list(run.tags),
        "note": run.note,
        "archived": run.archived,
        "ended": run.ended,
        "named": run.named,
    }


def found_runs_answer(found: FoundRuns, columns: Sequence[str], presence: Presence, *, as_arrow: bool) -> bytes | dict[str, Any]:
    """Runs with the columns that were asked for, as Arrow or as JSON."""
    meta = {"more": found.more, "after": found.after, "matching": found.matching}
    shown = [run_json(one.info, presence) for one in found.runs]
    if not as_arrow:
        for run, one in zip(shown, found.runs, strict=True):
            run |= {"columns": dict(zip(columns, one.columns, strict=True))} if columns else {}
            run |= {"config": _config(one.config)} if one.config is not None else {}
        return {"runs": shown, **meta}
    made = [json_column("tags", [run["tags"] for run in shown])]
    made += [arrow_column(name, [run[name] for run in shown]) for name in response_schemas.Run.model_fields if name != "tags"]
    made += [arrow_column(f"columns.{name}", [one.columns[i] for one in found.runs]) for i, name in enumerate(columns)]
    if any(one.config is not None for one in found.runs):
        made.append((pa.field("config", pa.string()), pa.array([one.config for one in found.runs], pa.string())))
    fields, arrays = zip(*made, strict=True)
    return body_of({"kind": "runs", **meta}, pa.table(list(arrays), schema=pa.schema(fields)))


def names_json(names: RunNames) -> dict[str, Any]:
    """What can be asked of runs."""
    return {"config": [asdict(one) for one in names.config], "summaries": list(names.summaries), "tags": list(names.tags)}


def _config(text: str) -> Any:
    return to_plain(unpack(json.loads(text), ()))


def whole_run_answer(
    run: RunInfo,
    config_text: str,
    presence: Presence,
    about: tuple[Mapping[str, KeyInfo], Sequence[AttemptInfo]] | None,
) -> bytes | dict[str, Any]:
    """A run with its config, as Arrow, or in JSON with its keys and attempts, where those are given."""
    if about is None:
        return encode_head({**run_json(run, presence), "config": config_text})
    keys, attempts = about
    described = {
        key: {"kind": info.kind, "columns": dict(info.columns), **({} if info.is_kept else {"kept": False})}
        for key, info in keys.items()
    }
    resumed = [asdict(attempt) for attempt in attempts]
    return {**run_json(run, presence), "config": _config(config_text), "keys": described, "attempts": resumed}


def tail_answer(tail: Tail, presence: Presence, *, as_arrow: bool) -> bytes | dict[str, Any]:
    """A piece of a run's log, after a head that describes it."""
    run = presence.shown(tail.run)
    about = {"id": run.id, "name": run.name, "state": run.state, "newest": run.newest, "epoch": run.cursor.epoch}
    head = {
        "cursor": str(tail.cursor),
        "more": tail.more,
        "restart": tail.restart,
        "run": {
            **about,
            "dropped": run.dropped,
            "heard": presence.heard_at(run),
            "color": run.color,
            "tags": list(run.tags),
            "archived": run.archived,
        },
        "keys": {
            key: {"kind": info.kind, "columns": dict(info.columns), "first_row": info.first_row}
            for key, info in tail.keys.items()
        },
        "damaged": dict(tail.damaged),
    }
    if as_arrow:
        return b"".join([encode_head(head), *tail.bodies])
    return {**head, "records": [body_to_json(body) for body in tail.bodies]}


def rows_answer(
    key: str,
    piece: RowsPiece,
    from_step: int,
    to_step: int | None,
    columns: Sequence[str] | None,
    limit: int,
    *,
    as_arrow: bool,
) -> bytes | dict[str, Any]:
    """The rows of a piece that lie inside the range of steps, `limit` of them at most, with the columns asked for."""
    wanted = {name: dtype for name, dtype in piece.info.columns.items() if columns is None or name in columns}
    tables: list[pa.Table] = []
    there: set[str] = set()
    rows = cells = 0
    is_cut = False
    for body in piece.bodies:
        _, table = table_of(body)
        steps = table.column(0).to_numpy()
        table = table.filter(pa.array((steps >= from_step) & (steps <= (math.inf if to_step is None else to_step))))
        its = wanted.keys() & table.column_names[2:]
        rows, cells = rows + table.num_rows, cells + table.num_rows * len(its)
        if tables and rows * len(there | its) > cells + _MAX_GAPS:
            is_cut = True
            break
        there |= its
        tables.append(table)
    whole = join_rows(tables, {name: dtype for name, dtype in wanted.items() if name in there})
    found, more = whole.slice(0, limit), piece.more or is_cut or whole.num_rows > limit
    if not as_arrow:
        return {"key": key, "more": more, **rows_to_json(found)}
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, found.schema) as writer:
        writer.write_table(found)
    return sink.getvalue().to_pybytes()


def ack_json(ack: Ack) -> dict[str, Any]:
    """An acknowledgement."""
    refused = [{"key": refusal.key, "reason": refusal.reason} for refusal in ack.refused]
    warnings, pace_s = list(ack.warnings), round(ack.pace_s, 3)
    answer = {"seq": ack.seq, "duplicate": ack.duplicate, "refused": refused, "warnings": warnings, "pace_s": pace_s}
    return answer | ({"page": ack.page} if ack.page else {})
