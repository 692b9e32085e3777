"""What was asked and then given up: reading for a client that has gone away stops, or never begins.

A client that waited too long asks again. If the first request were worked on to its end, each further one would make all of them
slower. A request that waits for a thread or for news is dropped at once. What a thread is already doing is done to its end, and
its result is thrown away; so everything that reads has to be bounded. Writing is never given up.
"""

from __future__ import annotations

import asyncio
from typing import Any

from anyio import CancelScope

__all__ = ["GivenUp"]


class GivenUp:
    """An ASGI application around `app` that ends a request to read when its connection is closed."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        is_answered = is_asked = False

        async def receive_on() -> Any:
            nonlocal is_asked
            if is_asked:
                await asyncio.Future()  # a client that goes away ends all of this
            is_asked = True
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send_on(message: Any) -> None:
            nonlocal is_answered
            # The server says that the client has gone after the last part of an answer too.
            is_answered |= message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            if not is_answered:
                work.cancel()

        # A scope of anyio's, since it waits for a thread that is at work: only then another may take its place.
        with CancelScope() as work:
            watching = asyncio.create_task(watch())
            try:
                await self._app(scope, receive_on, send_on)
            finally:
                watching.cancel()
