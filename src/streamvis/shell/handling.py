"""What the handlers of the shell's JSON API share."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

from tornado.web import RequestHandler

from streamvis.errors import StreamvisError
from streamvis.page.reader import EndpointReader
from streamvis.page.serving import Site
from streamvis.transport import Response

__all__ = ["MOST_RUNS", "Handler"]

MOST_RUNS = 10_000
"""How many runs can be changed at once."""


class Handler(RequestHandler):
    """What all of them share. `site` is what is around the pages; the endpoint is asked in threads of `executor`."""

    def initialize(self, site: Site, executor: Executor) -> None:
        self._site, self._executor = site, executor

    @property
    def writer(self) -> EndpointReader | None:
        """What changes runs for this viewer; None where they may only read."""
        return self._site.writer(self.request)

    def set_default_headers(self) -> None:
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")

    def refuse(self, status: int, code: str, message: str) -> None:
        """Answer with an error in the endpoint's form."""
        self.set_status(status)
        self.finish({"error": {"code": code, "message": message}})

    async def pass_on(self, ask: Callable[[], Response]) -> None:
        """Answer as the endpoint does."""
        try:
            response = await self.in_thread(ask)
        except StreamvisError as error:
            return self.refuse(502, "no_endpoint", str(error))
        self.set_status(response.status)
        if response.status == 204:
            self.clear_header("Content-Type")
        self.finish(response.body)

    async def in_thread(self, ask: Callable[[], Any]) -> Any:
        """What a blocking function gives."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, ask)

    def body(self) -> dict[str, Any] | None:
        """The JSON object that came with a change; None, and refused, where it may not be made or is not one."""
        if self.writer is None:
            self.refuse(403, "may_only_read", "Changing runs needs the token that may write. Open this page with it once.")
            return None
        kind = self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            self.refuse(415, "unsupported_media_type", "Send application/json.")
            return None
        try:
            sent = json.loads(self.request.body)
        except ValueError:
            sent = None
        runs = sent.get("runs") if isinstance(sent, dict) else None
        if not (isinstance(runs, list) and 0 < len(runs) <= MOST_RUNS and all(isinstance(run, str) and run for run in runs)):
            self.refuse(422, "invalid", f"Send an object with runs, a list of 1 to {MOST_RUNS} ids.")
            return None
        return sent
