"""HTTP to an endpoint: a single method, `request`, and what it means when that fails.

`Transport` owns connections and may be used from many threads; after a fork, make another. Given the addresses of several
endpoints on one database, it stays with one until that is away, then switches to the next. Proxies of the
environment are used for other machines, and ignored for loopback. What a status means is the caller's business, except what
`check` finds out about who answered. Whoever asks takes any `Carrier`: an endpoint in this process, or a fake one for tests.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import urllib.request
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlencode, urlsplit

import urllib3

from streamvis.addresses.access import WRITE_TOKEN, is_loopback, to_copy, user_folder
from streamvis.addresses.endpoint import addresses_in, checked_token, checked_url
from streamvis.errors import EndpointUnreachable, NotAnEndpoint, TokenRefused, VersionMismatch
from streamvis.protocol import PROTOCOL

__all__ = ["PROTOCOL_HEADER", "Carrier", "Response", "Transport", "check", "checked_url", "path"]

log = logging.getLogger("streamvis")

PROTOCOL_HEADER = "Streamvis-Protocol"
_NOT_CONNECTED = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError, urllib3.exceptions.ProxyError)
"""Nothing was sent."""
_AWAY = (502, 503, 504)


@dataclass(frozen=True, slots=True)
class Response:
    """What was answered; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Carrier(Protocol):
    """What carries requests to the endpoint at `url`, and its answers back."""

    @property
    def url(self) -> str:
        """The address."""
        ...

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 10.0,
    ) -> Response:
        """One exchange; see `Transport.request`."""
        ...

    def close(self) -> None:
        """End it."""
        ...


class Transport:
    """Connections to the endpoint at `url`, or to one of several (`url` has commas between them), with the bearer `token`.

    `most_kept` is how many connections stay open for later requests: at least as many as are used at once, or each request
    beyond them opens one of its own.
    Certificates are checked against those of the system, or of the file that the environment variable STREAMVIS_CA_FILE names.
    Raises EndpointUnreachable for a proxy that cannot be used.
    """

    def __init__(self, url: str, *, token: str | None = None, connect_timeout_s: float = 2.0, most_kept: int = 16) -> None:
        self.url = checked_url(url)
        self._connect_timeout_s = connect_timeout_s
        self._headers = {PROTOCOL_HEADER: str(PROTOCOL)}
        if token := checked_token(token):
            self._headers["Authorization"] = f"Bearer {token}"
        self._endpoints = [(one, self._pool_for(one, most_kept)) for one in addresses_in(self.url)]
        self._at = 0

    @staticmethod
    def _pool_for(url: str, most_kept: int) -> urllib3.PoolManager:
        proxy = _proxy_for(url)
        if proxy and urlsplit(proxy).scheme not in ("http", "https"):
            kind, host = urlsplit(proxy).scheme, urlsplit(proxy).hostname
            told = f"the environment asks for a proxy of the kind {kind}, at {host}; only http and https proxies are supported"
            raise EndpointUnreachable(f"Cannot connect to {url}: {told}.", url=url)
        options: dict[str, Any] = {"maxsize": most_kept, "retries": False}
        if authority := os.environ.get("STREAMVIS_CA_FILE"):
            options["ca_certs"] = authority
            if _is_local(urlsplit(url).hostname or ""):
                options["assert_hostname"] = False  # the certificate is for the name by which others know this machine
        pool = urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)
        pool.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}
        return pool

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 10.0,
    ) -> Response:
        """One exchange. `params` that are None are left out. Raises EndpointUnreachable when there is no whole answer."""
        query = urlencode({name: value for name, value in (params or {}).items() if value is not None}, doseq=True)
        asked = {
            "method": method,
            "place": f"{path}{'?' + query if query else ''}",
            "body": body,
            "headers": {**self._headers, **(headers or {})},
            "timeout": urllib3.Timeout(connect=min(self._connect_timeout_s, timeout_s), read=timeout_s),
        }
        for left in range(len(self._endpoints) - 1, -1, -1):
            at = self._at
            try:
                response = self._asked_of(*self._endpoints[at], timeout_s=timeout_s, **asked)
            except EndpointUnreachable as error:
                self._leave(at)
                # What may have been taken is for the caller to ask for again, at the next one then.
                if not left or not isinstance(error.__cause__, _NOT_CONNECTED):
                    raise
                continue
            if response.status in _AWAY:
                self._leave(at)
            return response
        raise AssertionError("unreachable")

    def _leave(self, at: int) -> None:
        """Ask the next endpoint from now on, unless another thread has chosen one already."""
        if self._at == at:
            self._at = (at + 1) % len(self._endpoints)

    @staticmethod
    def _asked_of(url: str, pool: urllib3.PoolManager, *, place: str, timeout_s: float, method: str, **options: Any) -> Response:
        try:
            answer = pool.request(method, f"{url}{place}", redirect=False, **options)
        except (urllib3.exceptions.HTTPError, OSError, ImportError, LookupError) as error:
            log.debug("Streamvis: no answer from %s", url, exc_info=True)
            raise EndpointUnreachable(f"No answer from {url} ({_reason(error, timeout_s)}).", url=url) from error
        told = {name.lower(): value for name, value in answer.headers.items()}
        if answer.version == 11 and _is_cut_off(answer.status, told):
            raise EndpointUnreachable(f"No answer from {url} (the connection closed in the middle of the headers).", url=url)
        return Response(answer.status, told, answer.data)

    def close(self) -> None:
        """Close the connections."""
        for _, pool in self._endpoints:
            pool.clear()


class _Idle:
    """The connections that wait for a request: what urllib3 needs of a queue, without a lock.

    urllib3 empties the queue of each pool when the process exits. A child that is forked while a thread of its parent has the
    lock of a `queue.LifoQueue` would wait there forever.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._connections: deque[Any] = deque()

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        try:
            return self._connections.pop()
        except IndexError:
            raise queue.Empty from None

    def put(self, connection: Any, block: bool = True, timeout: float | None = None) -> None:
        if len(self._connections) >= self._most:
            raise queue.Full
        self._connections.append(connection)

    def qsize(self) -> int:
        return len(self._connections)


class _HTTPPool(urllib3.HTTPConnectionPool):
    QueueCls = _Idle


class _HTTPSPool(urllib3.HTTPSConnectionPool):
    QueueCls = _Idle


def check(response: Response, *, url: str, token_file: str = WRITE_TOKEN) -> Response:
    """The response, if it came from an endpoint that speaks our protocol and knows our token.

    `token_file` is the file of the data folder that holds the token for what was asked.

    Raises NotAnEndpoint, VersionMismatch or TokenRefused. A 5xx from a proxy in front is none of these.
    """
    theirs = response.headers.get(PROTOCOL_HEADER.lower())
    if theirs is None and response.status < 500:
        raise NotAnEndpoint(url=url)
    if theirs is not None and theirs != str(PROTOCOL):
        raise VersionMismatch(ours=PROTOCOL, theirs=theirs, url=url)
    if response.status in (401, 403):
        raise TokenRefused(url=url, why=_why_refused(response), hint=_where_token_is(url, token_file))
    return response


def _why_refused(response: Response) -> str:
    try:
        code = json.loads(response.body)["error"]["code"]
    except (ValueError, TypeError, KeyError):
        code = ""
    return {"token_needed": "missing", "may_only_read": "read-only"}.get(code, "wrong")


def _where_token_is(url: str, name: str) -> str:
    """Where the right token is: with its path where the endpoint's folder is this user's own, on this machine."""
    file = user_folder() / name
    if _is_local(urlsplit(addresses_in(url)[0]).hostname or "") and file.is_file():
        return f"The right one is probably in {file}. To pass it, run: {to_copy(file)}"
    return (
        f"The right one is in the file {name} of the endpoint's data folder, unless the endpoint was started with another. "
        f"To pass it, run this with that folder in place of FOLDER: {to_copy(Path('FOLDER') / name)}"
    )


def path(*parts: str) -> str:
    """The path `/api/v1/...` of these parts, each quoted."""
    return "/api/v1/" + "/".join(quote(part, safe="") for part in parts)


def _reason(error: BaseException | None, timeout_s: float) -> str:
    """Why there was no whole answer, in words of ours: those of the library name its objects."""
    match error:
        case urllib3.exceptions.ProxyError():
            return f"the proxy: {_reason(error.original_error, timeout_s)}"
        case urllib3.exceptions.NameResolutionError():
            return "the name of its host is not known"
        case urllib3.exceptions.NewConnectionError():
            return _reason(error.__cause__, timeout_s)
        case urllib3.exceptions.ConnectTimeoutError():
            return "no connection in time"
        case urllib3.exceptions.ReadTimeoutError():
            return f"none within {timeout_s:g} s"
        case urllib3.exceptions.SSLError():
            cause = error.args[0] if error.args else None
            return f"TLS: {getattr(cause, 'verify_message', None) or getattr(cause, 'reason', None) or 'the handshake failed'}"
        case urllib3.exceptions.ProtocolError():
            return "the connection was closed too early"
        case OSError(strerror=str(text)):
            return text[:1].lower() + text[1:]
    return "the request failed"


def _is_cut_off(status: int, headers: Mapping[str, str]) -> bool:
    """Whether the head of an HTTP/1.1 answer ended before it said where the body ends: Python takes the end of a connection in
    the middle of a head for the end of the head."""
    tells = headers.get("content-length", "").isdecimal() or "transfer-encoding" in headers
    return not (tells or headers.get("connection", "").lower() == "close" or status in (204, 304))


def _proxy_for(url: str) -> str | None:
    parts = urlsplit(url)
    if _is_local(parts.hostname or "") or urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    return urllib.request.getproxies().get(parts.scheme)


def _is_local(host: str) -> bool:
    return host.endswith(".localhost") or is_loopback(host)
