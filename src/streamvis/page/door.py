"""The way into the page server: the names it answers to, whose pages may ask it, and the token that becomes a cookie.

Everything passes here first, WebSockets and scripts included: a request goes on to Bokeh's application, or is answered here. The
token leaves the address at once, so that it stands in no history and no bookmark. The cookie is no token: it is signed with one,
so that it ends with it, and after thirty days.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib.resources import files

from tornado.httputil import HTTPServerRequest, parse_cookie, url_concat
from tornado.routing import AnyMatches, Matcher, Router, Rule, RuleRouter
from tornado.template import Template
from tornado.web import Application, RequestHandler, create_signed_value, decode_signed_value

from streamvis.access import Hosts, matches

__all__ = ["cookie_name", "guarded"]

_DAYS = 30


def guarded(application: Router, *, token: str | None, hosts: Hosts, port: int, secure: bool) -> Router:
    """What answers on `port` in place of the application; with `token`, only who knows it comes in. `secure`: it speaks TLS."""
    door = {"token": token, "cookie": cookie_name(port), "secure": secure}
    unknown = "This page server is not known by that name. If it should be, start it with --allow-host NAME."
    foreign = "Pages of other sites may not ask this page server. To let this one, start it with --allow-host NAME:PORT."
    rules = [
        Rule(_Requests(lambda request: not hosts.know(request.headers.get("Host"))), _refusing(421, unknown)),
        Rule(_Requests(lambda request: hosts.is_foreign(request.method, request.headers.get)), _refusing(403, foreign)),
    ]
    if token:
        rules.append(Rule(_Stranger(token, door["cookie"]), Application([(".*", _Door, door)], log_function=_log_nothing)))
    return RuleRouter([*rules, Rule(AnyMatches(), application)])


def cookie_name(port: int) -> str:
    """The name of the cookie that lets in. Browsers give cookies to all ports of a host: each server has its own."""
    return f"streamvis-{port}"


class _Requests(Matcher):
    """Requests of which `are` is true."""

    def __init__(self, are: Callable[[HTTPServerRequest], bool]) -> None:
        self._are = are

    def match(self, request: HTTPServerRequest) -> dict[str, object] | None:
        return {} if self._are(request) else None


class _Stranger(Matcher):
    """Requests without the cookie, and those that bring a token to exchange."""

    def __init__(self, token: str, cookie: str) -> None:
        self._secret, self._cookie = _secret(token), cookie

    def match(self, request: HTTPServerRequest) -> dict[str, object] | None:
        value = parse_cookie(request.headers.get("Cookie", "")).get(self._cookie)
        is_known = decode_signed_value(self._secret, self._cookie, value, max_age_days=_DAYS) is not None
        return None if is_known and "token" not in request.query_arguments else {}


class _Refused(RequestHandler):
    def initialize(self, status: int, reason: str) -> None:
        self._status, self._told = status, reason

    def prepare(self) -> None:
        self.set_status(self._status)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{self._told}\n")


class _Door(RequestHandler):
    """Takes the token, gives the cookie, and sends the browser on to the same address without it."""

    def initialize(self, token: str, cookie: str, secure: bool) -> None:
        self._token, self._cookie, self._secure = token, cookie, secure

    def prepare(self) -> None:
        request = self.request
        given = request.query_arguments.get("token", [b""])[0].decode(errors="replace")
        self.set_header("Cache-Control", "no-store")
        self.set_header("Referrer-Policy", "no-referrer")
        if request.method in ("GET", "HEAD") and matches(given, self._token):
            value = create_signed_value(_secret(self._token), self._cookie, "in").decode()
            self.set_cookie(
                self._cookie, value, expires_days=_DAYS, path="/", httponly=True, secure=self._secure, samesite="Lax"
            )
            rest = [(name, value) for name, values in request.query_arguments.items() if name != "token" for value in values]
            # One slash alone: two would lead to another server, and browsers take a backslash for one.
            self.redirect(url_concat("/" + request.path.lstrip("/\\"), [(name, value.decode()) for name, value in rest]))
            return
        self.set_status(401)
        template = Template(files(__package__).joinpath("door.html").read_text(encoding="utf-8"))
        self.finish(template.generate(is_wrong=bool(given)))


def _refusing(status: int, reason: str) -> Application:
    return Application([(".*", _Refused, {"status": status, "reason": reason})], log_function=_log_nothing)


def _log_nothing(handler: RequestHandler) -> None:
    """Addresses that come here may hold a token."""


def _secret(token: str) -> bytes:
    return hashlib.sha256(b"streamvis cookie " + token.encode()).digest()
