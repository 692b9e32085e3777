"""The way into the page server: the names it answers to, whose pages may ask it, and the token that becomes a cookie.

Everything passes here first, WebSockets and scripts included: a request continues to Bokeh's application, or is answered here.
The token leaves the address at once, so that it stands in no history and no bookmark. The cookie is signed with a key of the
token and does not hold it: it is valid for as long as the token is, and for thirty days. The door knows keys, never tokens. The
cookie of who came with the token that may write holds that one sealed: this server can then write for them, and for no one
else.

Browsers send a cookie to a frame of another site only if it was made for that. It is, where `--allow-frame` names such sites:
then it needs https (or loopback, which browsers trust too), and each site that shows the frame has a cookie of its own.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from urllib.parse import urlsplit

from tornado.httputil import HTTPServerRequest, parse_cookie, url_concat
from tornado.routing import AnyMatches, Matcher, Router, Rule, RuleRouter
from tornado.template import Template
from tornado.web import Application, RequestHandler, create_signed_value, decode_signed_value

from streamvis.addresses.access import Hosts, door_key, is_loopback
from streamvis.errors import UsageError
from streamvis.log_lines import one_line
from streamvis.page.web.paths import Mount

__all__ = ["Door", "checked_origin", "cookie_name", "frame_policy", "guarded"]

_DAYS = 30
_IN = b"in"
_NONCE_BYTES = 16
_SHOWN = 200
"""How much of a header is repeated in an answer."""


@dataclass(frozen=True, slots=True)
class Door:
    """Who comes in: whoever has a token of one of the `keys` (without any: everybody), under the names `hosts`, in frames of the
    origins `frames` too. Who came with the token of the key `writer` may change runs; where there are no tokens, everybody may.
    For the keys see `access.door_key`."""

    keys: Sequence[bytes]
    cookie: str
    hosts: Hosts
    mount: Mount
    frames: tuple[str, ...] = ()
    writer: bytes | None = None

    def knows(self, request: HTTPServerRequest) -> bool:
        """Whether the request brings the cookie."""
        return any(self._signed(request, key) is not None for key in self.keys)

    @property
    def has_tokens(self) -> bool:
        """Whether a token is asked for, here or where runs are changed."""
        return bool(self.keys) or self.writer is not None

    def write_token(self, request: HTTPServerRequest) -> str | None:
        """The token with which whoever asks came in, where that may write."""
        if self.writer is None:
            return None
        sealed = self._signed(request, self.writer)
        return _opened(sealed, self.writer) if sealed and sealed != _IN else None

    def _signed(self, request: HTTPServerRequest, key: bytes) -> bytes | None:
        value = parse_cookie(request.headers.get("Cookie", "")).get(self.cookie)
        return decode_signed_value(key, self.cookie, value, max_age_days=_DAYS)

    def key_of(self, token: str) -> bytes | None:
        """The key of a token that opens it; None for any other."""
        return next((key for key in self.keys if hmac.compare_digest(key, door_key(token))), None)

    def cookie_for(self, request: HTTPServerRequest, key: bytes, token: str) -> str:
        """The Set-Cookie header that lets the browser in, for this server's own part of the host."""
        value = create_signed_value(key, self.cookie, _sealed(token, key) if key == self.writer else _IN).decode()
        parts = [f"{self.cookie}={value}", f"Max-Age={_DAYS * 86400}", f"Path={self.mount.outer(request) or '/'}", "HttpOnly"]
        return "; ".join(parts + self._for_frames() if self.frames else [*parts, *self._for_itself(request)])

    def _for_frames(self) -> list[str]:
        # Partitioned: the site that shows the frame has a cookie of its own, which browsers keep where they refuse others.
        return ["Secure", "SameSite=None", "Partitioned"]

    def _for_itself(self, request: HTTPServerRequest) -> list[str]:
        return ["SameSite=Lax", *(["Secure"] if self.mount.is_secure(request) else [])]


def guarded(application: Router, door: Door) -> Router:
    """What answers in place of the application: whoever may not come in is refused, or asked for the token."""
    rules = [
        Rule(_Requests(lambda request: not door.hosts.know(request.headers.get("Host"))), _told(_Refused, status=421)),
        Rule(_Requests(lambda request: door.hosts.is_foreign(request.method, request.headers.get)), _told(_Refused, status=403)),
    ]
    if door.keys:
        is_stranger = _Requests(lambda request: "token" in request.query_arguments or not door.knows(request))
        rules.append(Rule(is_stranger, _told(_AtTheDoor, door=door)))
    is_asking = _Requests(lambda request: request.method == "POST" and request.path.endswith("/ws"))
    return RuleRouter([*rules, Rule(is_asking, _told(_Seen)), Rule(AnyMatches(), application)])


def cookie_name(port: int) -> str:
    """The name of the cookie that lets in. Browsers give cookies to all ports of a host: each server has its own."""
    return f"streamvis-{port}"


def checked_origin(text: str) -> str:
    """An origin, such as https://wiki.example.org. Raises UsageError."""
    try:
        parts = urlsplit(text.rstrip("/"))
        is_one = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
        is_alone = not parts._replace(scheme="", netloc="").geturl()
    except ValueError:
        is_one = is_alone = False
    # It becomes part of a header, in which these mean something.
    if not (is_one and is_alone and text.isascii() and text.isprintable()) or set(text) & set(" ;,'\"@*"):
        raise UsageError(f"--allow-frame {text!r} is not an origin. Give one such as https://wiki.example.org.")
    return f"{parts.scheme}://{parts.netloc.lower()}"


def frame_policy(frames: tuple[str, ...]) -> str:
    """The Content-Security-Policy by which browsers show pages in frames of these origins, and of no others."""
    return " ".join(["frame-ancestors", "'self'", *frames])


def _sealed(token: str, key: bytes) -> bytes:
    """The token, readable only with the key, which is as long as a hash and as hard to guess as the token itself."""
    nonce, text = secrets.token_bytes(_NONCE_BYTES), token.encode()
    mask = hashlib.shake_256(key + nonce).digest(len(text))
    return base64.b64encode(nonce + bytes(a ^ b for a, b in zip(text, mask, strict=True)))


def _opened(sealed: bytes, key: bytes) -> str:
    whole = base64.b64decode(sealed)
    nonce, text = whole[:_NONCE_BYTES], whole[_NONCE_BYTES:]
    mask = hashlib.shake_256(key + nonce).digest(len(text))
    return bytes(a ^ b for a, b in zip(text, mask, strict=True)).decode()


class _Requests(Matcher):
    """Requests of which `are` is true."""

    def __init__(self, are: Callable[[HTTPServerRequest], bool]) -> None:
        self._are = are

    def match(self, request: HTTPServerRequest) -> dict[str, object] | None:
        return {} if self._are(request) else None


class _Answer(RequestHandler):
    def text(self, status: int, text: str) -> None:
        """Answer with plain text."""
        self.set_status(status)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Cache-Control", "no-store")
        self.finish(f"{text}\n")

    def said(self, header: str) -> str:
        """What the request says in a header, fit to be shown."""
        return one_line(self.request.headers.get(header, "")[:_SHOWN])


class _Refused(_Answer):
    """Says what the server saw, and what to do about it."""

    def initialize(self, status: int) -> None:
        self._status = status

    def prepare(self) -> None:
        self.text(self._status, self._unknown() if self._status == 421 else self._foreign())

    def _unknown(self) -> str:
        host = self.said("Host") or "(no Host header)"
        name = host.rpartition(":")[0].strip("[]") or host
        return f"This page server is not known as {host}. If it should be, start it with: --allow-host {name}"

    def _foreign(self) -> str:
        host, origin = self.said("Host"), self.said("Origin")
        seen = f"This page server saw a request for the host {host} from a page of {origin or 'another site'}"
        if origin == "null":
            return f"{seen}, a page without an origin. A frame with the attribute sandbox needs allow-same-origin in it."
        allow = origin.partition("://")[2] or "NAME:PORT"
        return (
            f"{seen}, and refuses pages of other sites. If that is its own page behind a proxy, the proxy must pass on the Host "
            f"header that it got (nginx: proxy_set_header Host $http_host;). Or start the page server with: --allow-host {allow}"
        )


class _Seen(_Answer):
    """Tells a page that waits for its WebSocket what the server sees of it. Asked at the address of the WebSocket."""

    def prepare(self) -> None:
        origin = self.said("Origin") or "no origin"
        self.text(200, f"The page server saw a request for the host {self.said('Host')} from a page of {origin}, and allows it")


class _AtTheDoor(RequestHandler):
    """Takes the token, gives the cookie, and sends the browser on to the same address without it."""

    def initialize(self, door: Door) -> None:
        self._door = door

    def prepare(self) -> None:
        request, door = self.request, self._door
        given = request.query_arguments.get("token", [b""])[0].decode(errors="replace").strip()
        self.set_header("Cache-Control", "no-store")
        if door.frames:
            self.set_header("Content-Security-Policy", frame_policy(door.frames))
        key = door.key_of(given)
        if request.method in ("GET", "HEAD") and key is not None:
            self.set_header("Set-Cookie", door.cookie_for(request, key, given))
            rest = [(name, value) for name, values in request.query_arguments.items() if name != "token" for value in values]
            # Relative to the address that was asked for, so that it leads to this server below any path, and to no other server.
            here = f"./{request.path.rpartition('/')[2]}"
            self.redirect(url_concat(here, [(name, value.decode(errors="replace")) for name, value in rest]))
            return
        self.set_status(401)
        # The address of this page may hold a token. The one before is let through: it says which site shows a frame.
        self.set_header("Referrer-Policy", "no-referrer")
        template = Template(files("streamvis.page.web").joinpath("login.html").read_text(encoding="utf-8"))
        self.finish(template.generate(is_wrong=bool(given), frame=self._frame(), needs_tls=self._needs_tls()))

    def _frame(self) -> str:
        """The origin of another site that shows this page in a frame, and was not named; "" where it is not so."""
        header = self.request.headers.get
        if header("Sec-Fetch-Dest") not in ("iframe", "frame", "embed", "object") or header("Sec-Fetch-Site") != "cross-site":
            return ""
        try:
            parts = urlsplit(header("Referer", ""))
        except ValueError:
            parts = urlsplit("")
        origin = f"{parts.scheme}://{parts.netloc}" if parts.netloc else "ORIGIN"
        return "" if self._door.frames and (origin in self._door.frames or origin == "ORIGIN") else origin[:_SHOWN]

    def _needs_tls(self) -> bool:
        """Whether browsers refuse the cookie for frames, because the connection is not one that they trust."""
        name = self.request.host_name
        is_trusted = is_loopback(name.strip("[]")) or name.endswith(".localhost")
        return bool(self._door.frames) and not is_trusted and not self._door.mount.is_secure(self.request)


def _told(handler: type[RequestHandler], **settings: object) -> Application:
    return Application([(".*", handler, settings)], log_function=_log_nothing)


def _log_nothing(handler: RequestHandler) -> None:
    """Addresses that come here may hold a token."""
