"""The connections of the page server: how many may be open, and how slowly and how much each may ask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.iostream import IOStream, StreamClosedError

__all__ = ["ConnectionLimits", "LimitedServer"]

_LINGER_S = 1.0
_MOST_LINGERING = 64
_TOLD = "Too many connections to this page server are open. Try again later.\n"
_REFUSAL = "\r\n".join(
    [
        "HTTP/1.1 503 Service Unavailable",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(_TOLD)}",
        "Retry-After: 1",
        "Connection: close",
        "",
        _TOLD,
    ]
).encode()


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What connections may take.

    Args:
        most_open: how many are open at a time: each open page has one, and more while it loads. The next is refused
        head_s: how long a head may take, from connecting or from the last answer on; later its connection is closed
        body_s: how long a body may take. Nothing here asks for one
        max_body_bytes: how long a body may be. What comes over a WebSocket has a limit of Bokeh's
    """

    most_open: int = 1000
    head_s: float = 60.0
    body_s: float = 30.0
    max_body_bytes: int = 2**20


class LimitedServer(HTTPServer):
    """Tornado's server, within limits."""

    def initialize(self, *args: Any, limits: ConnectionLimits, **options: Any) -> None:
        super().initialize(
            *args,
            idle_connection_timeout=limits.head_s,
            body_timeout=limits.body_s,
            max_body_size=limits.max_body_bytes,
            **options,
        )
        self._limits = limits
        self._streams: list[IOStream] = []
        self._lingering: list[IOStream] = []

    def handle_stream(self, stream: IOStream, address: tuple) -> None:
        """Serve a new connection, or say that there are too many."""
        # Tornado tells of no end of a connection that became a WebSocket.
        self._streams = [one for one in self._streams if not one.closed()]
        if len(self._streams) < self._limits.most_open:
            self._streams.append(stream)
            super().handle_stream(stream, address)
            return
        self._lingering = [one for one in self._lingering if not one.closed()]
        if len(self._lingering) >= _MOST_LINGERING:
            stream.close()
            return
        self._lingering.append(stream)
        try:
            # Who is still sending would miss the answer before a connection that is closed at once.
            stream.write(_REFUSAL).add_done_callback(_seen)
        except StreamClosedError:
            return
        IOLoop.current().call_later(_LINGER_S, stream.close)


def _seen(future: Any) -> None:
    """The client is gone: that is not an error of ours."""
    if not future.cancelled():
        future.exception()
