"""The connections of the endpoint: how many may be open, and how long and how large the head of a request may be in coming.

It stands between the event loop and uvicorn's protocol, which has no such limits, and knows no more of HTTP than where a head
ends. When a request has come is told by `Requests`, an ASGI application around ours; from there on to the end of its answer
others watch (`request_bodies`). So that what comes after an answer is always the head of the next request, what is left of a body
is read before the answer ends, though the answer is not kept back for that. A connection that is idle after an answer is
uvicorn's to close.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from streamvis.records import PROTOCOL
from streamvis.transport import PROTOCOL_HEADER

__all__ = ["ConnectionLimits", "Connections", "Requests"]

_END_OF_HEAD = b"\r\n\r\n"
_STATE = "streamvis.connection"
_LINGER_S = 1.0
_MOST_LINGERING = 64


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What connections may take.

    Args:
        most_open: how many are open at a time. A producer that is at work has one, a page server two for each run that is looked
            at, and some more. The next is answered with an error
        head_s: how long a head may take from its first byte to its last; later its connection is closed
        silent_s: when the first byte must have come; later the connection is closed
        max_head_bytes: how long a head may be; the answer to a longer one is an error
        idle_s: how long a connection stays open after an answer. Producers show that they live every 10 s, and keep theirs
    """

    most_open: int = 2000
    head_s: float = 30.0
    silent_s: float = 75.0
    max_head_bytes: int = 64 * 2**10
    idle_s: int = 20


class Connections:
    """How many connections are open, and what makes their protocols."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self.open = 0
        self.lingering = 0

    def protocol(self, inner: Callable[..., asyncio.Protocol]) -> Callable[..., asyncio.Protocol]:
        """What makes the protocol of each connection, as uvicorn asks for it, around uvicorn's own."""

        def make(*, app_state: dict[str, Any], **options: Any) -> asyncio.Protocol:
            connection = _Connection(self)
            connection.inner = inner(app_state={**app_state, _STATE: connection}, **options)
            return connection

        return make


class Requests:
    """An ASGI application around `app` that tells each connection when a request of it begins and ends."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        connection = scope.get("state", {}).pop(_STATE, None) if scope["type"] == "http" else None
        if connection is None:
            await self._app(scope, receive, send)
            return
        is_whole = not any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])

        async def receive_on() -> Any:
            nonlocal is_whole
            message = await receive()
            is_whole = not message.get("more_body", False)
            return message

        async def send_on(message: Any) -> None:
            if message["type"] == "http.response.body" and not message.get("more_body", False) and not is_whole:
                await send({**message, "more_body": True})
                message = {"type": "http.response.body", "body": b""}
                try:
                    async with asyncio.timeout(connection.longest_rest_s):
                        while not is_whole:
                            await receive_on()
                except TimeoutError:
                    connection.close()
            await send(message)

        connection.begin()
        try:
            await self._app(scope, receive_on, send_on)
        finally:
            connection.end()


class _Connection(asyncio.Protocol):
    """One connection. Hands everything on to `inner`, unless it was refused."""

    def __init__(self, all_of_them: Connections) -> None:
        self.inner: Any = None
        self._all, self._limits = all_of_them, all_of_them.limits
        self._timer: asyncio.TimerHandle | None = None
        self._requests = 0
        self._is_refused = False
        self._is_counted = False
        self._begin_head()

    @property
    def longest_rest_s(self) -> float:
        """How long the rest of a body may take that no one wants any more."""
        return self._limits.head_s

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def begin(self) -> None:
        """A request has come, but for its body."""
        self._requests += 1
        self._stop_timer()

    def end(self) -> None:
        """A request was answered."""
        self._requests -= 1
        self._begin_head()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        if self._all.open >= self._limits.most_open:
            self._refuse("503 Service Unavailable", "too_many_connections", "Too many connections are open. Try again later.")
            return
        self._all.open += 1
        self._is_counted = True
        self._start_timer(self._limits.silent_s)
        self.inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        if not self._requests:
            if not self._head_bytes:
                self._start_timer(self._limits.head_s)
            if not self._is_head_whole and self._head_bytes > self._limits.max_head_bytes:
                self._stop_timer()
                told = f"The head of a request may have {self._limits.max_head_bytes:,} bytes."
                self._refuse("431 Request Header Fields Too Large", "head_too_large", told)
                return
            self._head_bytes += len(data)
            self._is_head_whole = self._is_head_whole or _END_OF_HEAD in data or _END_OF_HEAD in self._last + data[:3]
            self._last = (self._last + data[-3:])[-3:]
        self.inner.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        if self._is_counted:
            self._all.open -= 1
            self.inner.connection_lost(exc)
        if self._is_refused:
            self._all.lingering -= 1

    def eof_received(self) -> bool | None:
        return None if self._is_refused else self.inner.eof_received()

    def pause_writing(self) -> None:
        if self._is_counted:
            self.inner.pause_writing()

    def resume_writing(self) -> None:
        if self._is_counted:
            self.inner.resume_writing()

    def _begin_head(self) -> None:
        self._head_bytes, self._is_head_whole, self._last = 0, False, b""

    def _start_timer(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, status: str, code: str, message: str) -> None:
        """Answer, and close soon: whoever is still sending would miss an answer before a connection that is closed at once."""
        self._is_refused = True
        self._all.lingering += 1
        body = json.dumps({"error": {"code": code, "message": message}}).encode()
        head = [
            f"HTTP/1.1 {status}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            f"{PROTOCOL_HEADER}: {PROTOCOL}",
            "Retry-After: 1",
            "Connection: close",
        ]
        self._transport.write("\r\n".join([*head, "", ""]).encode() + body)
        self._start_timer(_LINGER_S if self._all.lingering <= _MOST_LINGERING else 0)
