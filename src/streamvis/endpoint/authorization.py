"""Who may ask the endpoint for what: looked at before anything else is, and before any body is read."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from streamvis.addresses.access import READ_TOKEN, WRITE_TOKEN, Hosts, Tokens
from streamvis.endpoint.responses import error_answer

__all__ = ["Guard", "may_read"]

_READING = ("GET", "HEAD")
_FILE = "in the file {} of the endpoint's data folder, unless the endpoint was started with another"
_OPEN = ("/healthz",)
_MAY_READ = "streamvis.may_read"


def may_read(request: Request) -> bool:
    """Whether who asks an open route may read everything else as well."""
    return request.scope[_MAY_READ]


class Guard:
    """An ASGI application around `app`: lets in what names a known host, comes from no other site, and has the token it needs."""

    def __init__(self, app: Any, *, tokens: Tokens, hosts: Hosts) -> None:
        self._app, self._tokens, self._hosts = app, tokens, hosts

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, scope: Any) -> Response | None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host, writes = headers.get("host"), scope["method"] not in _READING
        # Two of them would let who stands before this server, or behind it, go by the other one.
        is_one = [name for name, _ in scope["headers"]].count(b"host") == 1
        if not (is_one and self._hosts.know(host)):
            return error_answer(
                421, "unknown_host", f"This endpoint is not known as {host!r}. If it should be, start it with --allow-host NAME."
            )
        if self._hosts.is_foreign(scope["method"], headers.get):
            return error_answer(403, "foreign_origin", "Pages of other sites may neither read nor write here.")
        kind, _, token = headers.get("authorization", "").partition(" ")
        token = token.strip() if kind.lower() == "bearer" else None
        if scope["path"] in _OPEN:
            scope[_MAY_READ] = self._tokens.may(token, write=False)
            return None
        if self._tokens.may(token, write=writes):
            return None
        if self._tokens.may(token, write=False):
            told = f"This token may only read. Use the one that may write: {_FILE.format(WRITE_TOKEN)}."
            return error_answer(403, "may_only_read", told)
        file = _FILE.format(WRITE_TOKEN if writes else READ_TOKEN)
        if token:
            answer = error_answer(401, "token_wrong", f"This token is not one of this endpoint's. The right one: {file}.")
        else:
            answer = error_answer(401, "token_needed", f"This endpoint needs a token: Authorization: Bearer TOKEN. It is {file}.")
        answer.headers["WWW-Authenticate"] = "Bearer"
        return answer
