"""The endpoint without sockets: its whole application, on an event loop in a thread of this process.

For tests of pages, and to read a data folder that no endpoint has.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import threading
from collections.abc import Mapping, MutableMapping
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlencode

from streamvis.endpoint.app import create_app
from streamvis.errors import EndpointUnreachable
from streamvis.records import PROTOCOL
from streamvis.store import SqliteStore, Store
from streamvis.transport import PROTOCOL_HEADER, Response

__all__ = ["InProcessEndpoint"]


class InProcessEndpoint:
    """An endpoint over `store`, else over one in a temporary folder of its own. It has what a `Transport` has."""

    def __init__(self, store: Store | None = None, *, url: str = "http://localhost") -> None:
        self.url = url
        self._folder: Path | None = None
        if store is None:
            self._folder = Path(tempfile.mkdtemp(prefix="streamvis-"))
            store = SqliteStore(self._folder)
        self._store = store
        self._app = create_app(self._store, version=version("streamvis"))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="streamvis endpoint", daemon=True)
        self._thread.start()
        self._life = contextlib.AsyncExitStack()
        self._wait(self._life.enter_async_context(self._app.router.lifespan_context(self._app)))

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
        query = urlencode({name: value for name, value in (params or {}).items() if value is not None}, doseq=True)
        told = {"host": "localhost", PROTOCOL_HEADER: str(PROTOCOL), "content-length": str(len(body or b"")), **(headers or {})}
        raw, _, _ = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(raw),
            "raw_path": raw.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode()) for name, value in told.items()],
            "client": ("127.0.0.1", 0),
            "server": ("localhost", 80),
            "state": {},
        }
        return self._wait(asyncio.wait_for(self._exchange(scope, body or b""), timeout_s))

    async def _exchange(self, scope: dict[str, Any], body: bytes) -> Response:
        is_asked, parts, answer = False, [], {}

        async def receive() -> dict[str, Any]:
            nonlocal is_asked
            if is_asked:
                await asyncio.Event().wait()  # the other side stays until it is answered
            is_asked = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                answer.update(message)
            else:
                parts.append(message.get("body", b""))

        await self._app(scope, receive, send)
        if "status" not in answer:
            raise EndpointUnreachable("The endpoint in this process did not answer.", url=self.url)
        found = {name.decode().lower(): value.decode() for name, value in answer["headers"]}
        return Response(answer["status"], found, b"".join(parts))

    def close(self) -> None:
        """End it, and remove what it kept."""
        if self._loop.is_closed():
            return
        self._wait(self._life.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._store.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _wait(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(_awaited(coroutine), self._loop).result()


async def _awaited(awaitable: Any) -> Any:
    return await awaitable
