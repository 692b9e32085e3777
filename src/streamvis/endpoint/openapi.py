"""What the OpenAPI document says of each route: bodies, answers, errors, and the token. Knows nothing of what routes do.

A route names its form and the errors that are its own by `told`; those that every route has are added here. A program holds real
answers against the document (benchmarks/schema.py).
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from streamvis.endpoint import request_schemas, response_schemas
from streamvis.endpoint.response_schemas import Error
from streamvis.wire.arrow import ARROW

__all__ = ["FOLLOW", "OF_A_BODY", "OF_A_KEY", "OF_A_RUN", "READ", "WRITE", "describe", "router", "told"]

_ABOUT = """\
Runs, and the data that producers sent. Everything is JSON, or Arrow with `Accept: application/vnd.apache.arrow.stream`.

In JSON, `"NaN"`, `"Infinity"` and `"-Infinity"` stand for the numbers that it lacks, and `null` for what is missing. Every
error has the form `Error`, and a request that is refused has changed nothing.
"""

_ERRORS = {
    401: "A token is needed, or another one.",
    403: "The token may only read, or a page of another site asks.",
    404: "There is no such run, or no such key or value in it.",
    408: "The body came too slowly. Nothing was stored.",
    409: "This does not fit the run: its app is another, or the key holds the other kind.",
    410: "The run was deleted.",
    413: "The body is too large.",
    415: "The body is neither JSON nor Arrow, or compressed.",
    421: "The endpoint is not known under this name.",
    422: "Something in the request is not as it must be; `where` names it.",
    500: "What is stored under this key is damaged.",
    503: "The store cannot be used now, or too many requests wait for news. Ask again later.",
    507: "The disk is full. Nothing was stored.",
}
_TAGS = READ, FOLLOW, WRITE = "read", "follow", "write"
"""Under which the routes stand, in this order."""
_OF_ALL = (401, 403, 421, 500, 503)
_OF_OPEN = (403, 421, 500, 503)
OF_A_RUN = (404, 410, 422)
OF_A_KEY = (*OF_A_RUN, 409)
OF_A_BODY = (408, 413, 415, 422)
_ARROW = "Arrow IPC streams one after another, one for each record, with metadata in JSON as `streamvis` in the schema."
_TOKEN = {"type": "http", "scheme": "bearer", "description": "The token that the endpoint printed when it started."}


def router(*tags: str) -> APIRouter:
    """A group of routes under these tags. A route's id in the document is its function's name."""
    return APIRouter(tags=[*tags], generate_unique_id_function=lambda at: at.name)


def told(
    answer: type[BaseModel] | None,
    *errors: int,
    status: int = 200,
    body: type[BaseModel] | None = None,
    needs_body: bool = True,
    with_arrow: bool = False,
    takes_arrow: bool = False,
    is_open: bool = False,
) -> dict[str, Any]:
    """What the document says of a route, as arguments of its decorator.

    `answer` and `body` are schemas; None for an answer without a body. An open route asks for no token.
    """
    responses: dict[int | str, dict[str, Any]] = {status: {"description": "It is done."}}
    if answer is not None:
        responses[status] = {"description": answer.__doc__, "content": _content(answer, with_arrow)}
    for code in sorted({*errors, *(_OF_OPEN if is_open else _OF_ALL)}):
        responses[code] = {"description": _ERRORS[code], "content": _content(Error, False)}
    extra = {}
    if body is not None:
        extra["requestBody"] = {"required": needs_body, "content": _content(body, takes_arrow)}
    return {"status_code": status, "responses": responses, "openapi_extra": extra}


def describe(app: FastAPI, *, wants_token: bool) -> None:
    """Complete the document of `app` by the schemas, and by the token where one is wanted."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema:
            return app.openapi_schema
        document = made()
        components = document.setdefault("components", {})
        components["schemas"] = _schemas()
        components["securitySchemes"] = {"token": _TOKEN}
        document["tags"] = [{"name": name} for name in _TAGS]
        for methods in document["paths"].values():
            for operation in methods.values():
                operation["summary"] = operation["description"].partition(".")[0]
        if wants_token:
            document["security"] = [{"token": []}]
            document["paths"]["/healthz"]["get"]["security"] = []
        return document

    app.description = _ABOUT
    app.openapi = openapi  # type: ignore[method-assign]  # the way that FastAPI's documentation shows


def _content(form: type[BaseModel], with_arrow: bool) -> dict[str, Any]:
    content: dict[str, Any] = {"application/json": {"schema": {"$ref": f"#/components/schemas/{form.__name__}"}}}
    if with_arrow:
        content[ARROW] = {"schema": {"type": "string", "format": "binary", "description": _ARROW}}
    return content


def _schemas() -> dict[str, Any]:
    named = [getattr(module, name) for module in (request_schemas, response_schemas) for name in module.__all__]
    models: list[Any] = [(form, "validation") for form in named if isinstance(form, type)]
    _, found = models_json_schema(models, ref_template="#/components/schemas/{model}")
    return found["$defs"]
