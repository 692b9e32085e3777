"""What goes wrong in a request, as an answer: a status, and a body that says what, where, and what is allowed."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from streamvis.errors import DeletedRun, InvalidData, RunConflict, StoreUnavailable, StreamvisError, UnknownKey, UnknownRun
from streamvis.records import PROTOCOL
from streamvis.transport import PROTOCOL_HEADER
from streamvis.wire.jsonform import JSON, dump

__all__ = ["Problem", "handle_problems", "problem_of"]

_CODES = {404: "not_found", 405: "method_not_allowed"}


class Problem(StreamvisError):
    """A request that is refused with `status`."""

    def __init__(
        self, status: int, code: str, message: str, *, where: str = "", allowed: str = "", headers: dict[str, str] | None = None
    ) -> None:
        self.status, self.code, self.message, self.where, self.allowed = status, code, message, where, allowed
        self.headers = headers or {}
        super().__init__(message)


def problem_of(error: StreamvisError) -> Problem:
    """The answer to an error of the wire or the store."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, InvalidData):
        return Problem(422, "invalid_data", error.problem, where=error.where, allowed=error.allowed)
    if isinstance(error, UnknownRun):
        return Problem(404, "unknown_run", str(error))
    if isinstance(error, UnknownKey):
        return Problem(404, "unknown_key", str(error))
    if isinstance(error, DeletedRun):
        return Problem(410, "deleted_run", str(error))
    if isinstance(error, RunConflict):
        return Problem(409, error.code, str(error))
    if isinstance(error, StoreUnavailable):
        status, code = (507, "store_full") if error.full else (503, "store_unavailable")
        return Problem(status, code, str(error), headers={"Retry-After": "1"})
    return Problem(500, "internal_error", "The endpoint met an error of its own; its log says more.")


def handle_problems(app: FastAPI) -> None:
    """Answer every error of the app in one form."""

    @app.exception_handler(StreamvisError)
    async def _known(request: Request, error: StreamvisError) -> Response:
        return _answer(problem_of(error))

    @app.exception_handler(RequestValidationError)
    async def _parameter(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return _answer(Problem(422, "invalid_parameter", str(first["msg"]), where=".".join(map(str, first["loc"]))))

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        code = _CODES.get(error.status_code, "refused")
        headers = dict(error.headers or {})
        return _answer(Problem(error.status_code, code, str(error.detail), where=request.url.path, headers=headers))

    @app.exception_handler(Exception)
    async def _unknown(request: Request, error: Exception) -> Response:
        # Starlette raises it again after this answer, and the server logs it. This answer passes by the app's middleware.
        problem = problem_of(StreamvisError())
        problem.headers[PROTOCOL_HEADER] = str(PROTOCOL)
        return _answer(problem)


def _answer(problem: Problem) -> Response:
    told: dict[str, Any] = {"code": problem.code, "message": problem.message, "where": problem.where, "allowed": problem.allowed}
    return Response(dump({"error": told}), problem.status, problem.headers, JSON)
