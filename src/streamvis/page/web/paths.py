"""Where the page server stands in the addresses that browsers use: the path in front of it, and one spelling for each path.

Addresses in pages are relative, so they hold below any path, also one that this server does not know. What has to name the path
in front (a cookie, a script for another site's page) takes it from `--prefix`, or from the X-Forwarded-Prefix of a trusted proxy.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from tornado.httputil import HTTPMessageDelegate, HTTPServerRequest
from tornado.routing import Router
from tornado.web import Application, RedirectHandler

from streamvis.errors import UsageError

__all__ = ["Mount", "Mounted", "page_path", "to_root", "view_path", "view_route"]

_PREFIX = re.compile(r"(/[\w.~!$&'()*+=:@%-]+)*", re.ASCII)
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def page_path(name: str) -> str:
    """The path of the page `name` below the server's root, as it stands in addresses."""
    return f"/{_spelled(name)}"


def view_path(name: str) -> str:
    """The path of the same page alone, without the shell around it."""
    return f"/view{page_path(name)}"


def view_route(name: str) -> str:
    """`view_path` as a regular expression, which is what Tornado takes for a route."""
    return re.escape(view_path(name))


def to_root(path: str) -> str:
    """The way from a path to the server's root, relative: "./" or "../../"."""
    return "../" * (path.count("/") - 1) or "./"


@dataclass(frozen=True, slots=True)
class Mount:
    """What stands in front of this server: a path, "" or such as "/lab/5006", and the proxies whose word is taken."""

    prefix: str = ""
    proxies: tuple[_Network, ...] = ()

    @classmethod
    def of(cls, prefix: str, proxies: Iterable[str]) -> Mount:
        """Raises UsageError where the prefix is not a path, or a proxy not an address or a network."""
        path = f"/{prefix.strip('/')}" if prefix.strip("/") else ""
        if not _PREFIX.fullmatch(path) or ".." in path.split("/"):
            raise UsageError(f"--prefix {prefix!r} is not a path. Give one such as /user/me/proxy/5006.")
        networks = []
        for proxy in proxies:
            try:
                networks.append(ipaddress.ip_network(proxy, strict=False))
            except ValueError:
                raise UsageError(f"--trust-proxy {proxy!r} is not an address or a network. Give one such as 10.0.0.5.") from None
        return cls(path, tuple(networks))

    def inner(self, path: str) -> str:
        """The requested path without the prefix, in the one spelling that routes know. A proxy may have removed the prefix."""
        if self._covers(path):
            path = path[len(self.prefix) :]
        return "/".join(_spelled(_text(part)) for part in path.split("/"))

    def outer(self, request: HTTPServerRequest) -> str:
        """The path in front of this server as the browser that asks sees it; "" where there is none, or none is known."""
        path, told = _path_of(request), request.headers.get("X-Forwarded-Prefix", "").rstrip("/")
        told = told if self.trusts(request) and _PREFIX.fullmatch(told) else ""
        if not self._covers(path):
            return told or self.prefix
        return told if told.endswith(self.prefix) else told + self.prefix

    def is_secure(self, request: HTTPServerRequest) -> bool:
        """Whether the browser that asks speaks TLS, to this server or to a trusted proxy."""
        return request.protocol == "https" or (
            self.trusts(request) and request.headers.get("X-Forwarded-Proto", "").lower() == "https"
        )

    def trusts(self, request: HTTPServerRequest) -> bool:
        """Whether the request came from this machine or from a proxy that was named."""
        try:
            address = ipaddress.ip_address(request.remote_ip or "")
        except ValueError:
            return False
        address = getattr(address, "ipv4_mapped", None) or address
        return address.is_loopback or any(address in network for network in self.proxies)

    def _covers(self, path: str) -> bool:
        return path.startswith(f"{self.prefix}/")


class Mounted(Router):
    """Hands each request on with its inner path, and leads from the bare prefix to the root below it."""

    def __init__(self, router: Router, mount: Mount) -> None:
        self._router, self._mount = router, mount
        below = f"./{mount.prefix.rpartition('/')[2]}/"
        # Not logged: the address may hold a token.
        to_below = [(".*", RedirectHandler, {"url": below, "permanent": False})]
        self._to_root = Application(to_below, log_function=lambda handler: None)

    def find_handler(self, request: HTTPServerRequest, **kwargs: object) -> HTTPMessageDelegate | None:
        """See `Router`."""
        path = _path_of(request)
        if self._mount.prefix and path == self._mount.prefix:
            return self._to_root.find_handler(request, **kwargs)
        request.path = self._mount.inner(path)
        return self._router.find_handler(request, **kwargs)


def _path_of(request: HTTPServerRequest) -> str:
    """The path as it was asked for: `request.path` is the inner one once the request was handed on."""
    return (request.uri or "").partition("?")[0]


def _spelled(text: str) -> str:
    """One part of a path, percent-encoded. File systems and keyboards write some letters in two ways: here is one."""
    return quote(unicodedata.normalize("NFC", text), safe="", errors="surrogateescape")


def _text(part: str) -> str:
    return unquote_to_bytes(part.encode("latin-1", "replace")).decode("utf-8", "surrogateescape")
