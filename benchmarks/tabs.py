"""Tabs without a browser: sessions of a page that speak Bokeh's protocol, and echo each update as the page in a browser does.

A real tab takes much of a core; of these a machine holds hundreds, so it is the page server that is measured. Each looks for
the model named `last` (a `Div`), whose text a page sets to the number of the newest that it was given.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
import uuid
from collections.abc import Iterator
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

__all__ = ["Tab"]

_AGAIN_S = 0.5
_TOKEN = re.compile(r'"token":"([^"]+)"')


class Tab:
    """A session of the page at `address`; `seen` maps each number that `last` showed to when that came (`time.time`).

    A page that has no such model shows nothing. `texts` are those of the page's named models.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.seen: dict[int, float] = {}
        self.texts: dict[str, str] = {}
        self.updates = 0
        self._socket: WebSocketClientConnection | None = None
        self._link = self._last = ""
        self._names: dict[str, str] = {}
        self._reading: asyncio.Task[None] | None = None

    async def open(self, *, must_show: bool = False) -> None:
        """Load the page, and follow it; with `must_show` load it again while it has no `last`, as one that waits for its run."""
        while not await self._is_opened(must_show):
            self._socket.close()
            await asyncio.sleep(_AGAIN_S)

    async def _is_opened(self, must_show: bool) -> bool:
        page = await AsyncHTTPClient(max_clients=1000).fetch(self.address, request_timeout=120)
        token = _TOKEN.search(page.body.decode()).group(1)
        address = self.address.replace("http", "ws", 1).partition("?")[0] + "/ws"
        origin = {"Origin": "/".join(self.address.split("/")[:3])}
        request = HTTPRequest(address, headers=origin, connect_timeout=60, request_timeout=120)
        self._socket = await websocket_connect(request, subprotocols=["bokeh", token], max_message_size=2**28)
        await self._next()  # ACK
        await self._send("PULL-DOC-REQ", {})
        while "doc" not in (reply := await self._next()):
            pass  # patches that went out before the request was read are in the document by then
        models = {its.get("name", "").split(".")[-1]: its for its in _objects(reply["doc"])}
        named = {its.get("attributes", {}).get("name"): its for its in _objects(reply["doc"])}
        if must_show and "last" not in named:
            return False
        self.texts = {name: its.get("attributes", {}).get("text", "") for name, its in named.items() if name}
        self._names = {its["id"]: name for name, its in named.items() if name}
        link, last = models["StreamvisLink"], named.get("last", {})
        self._link, self._last = link["id"], last.get("id", "")
        self._take_text(last.get("attributes", {}).get("text", ""))
        await self._echo(link.get("attributes", {}).get("sent", 1))
        self._reading = asyncio.create_task(self._read())
        return True

    async def close(self) -> None:
        """Leave the page, as closing a tab does."""
        if self._reading is not None:
            self._reading.cancel()
        if self._socket is not None:
            self._socket.close()

    async def _read(self) -> None:
        while True:
            content = await self._next()
            for event in content.get("events", ()):
                model = event.get("model", {}).get("id")
                if event.get("attr") == "text" and model in self._names:
                    self.texts[self._names[model]] = event["new"]
                    if model == self._last:
                        self._take_text(event["new"])
                elif event.get("attr") == "sent" and model == self._link:
                    self.updates += 1
                    await self._echo(event["new"])

    def _take_text(self, text: str) -> None:
        if text:
            self.seen.setdefault(int(text), time.time())

    async def _echo(self, number: int) -> None:
        event = {"kind": "ModelChanged", "model": {"id": self._link}, "attr": "seen", "new": number}
        await self._send("PATCH-DOC", {"events": [event]})

    async def _send(self, kind: str, content: dict[str, Any]) -> None:
        for part in ({"msgid": uuid.uuid4().hex, "msgtype": kind}, {}, content):
            await self._socket.write_message(json.dumps(part))

    async def _next(self) -> dict[str, Any]:
        """The content of the next message; its buffers are read, and left."""
        frames = []
        for _ in range(3):
            frame = await self._socket.read_message()
            if frame is None:
                raise ConnectionError(f"{self.address} closed the connection")
            frames.append(json.loads(frame))
        for _ in range(2 * frames[0].get("num_buffers", 0)):
            await self._socket.read_message()
        return frames[2]


def _objects(part: Any) -> Iterator[dict[str, Any]]:
    """All models in a document's JSON form."""
    if isinstance(part, dict):
        if part.get("type") == "object" and "id" in part:
            yield part
        for inner in part.values():
            yield from _objects(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from _objects(inner)
