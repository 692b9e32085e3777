"""Posts each alert to a webhook, once: also when the endpoint is killed before it could.

What is to be posted is written to a journal (a file in the data folder, or a table of the database) before the batch that brings
it is stored, and again when it was posted. A kill between the webhook's answer and that note is the one case in which an alert is
posted twice; its `id` is then the same. Posts wait for each other, in a task of their own: batches wait for a line in the journal
and for nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, TypeVar
from urllib.parse import urlsplit

from streamvis.alerts import ALERTS, Alert, AlertJournal, alerts_in
from streamvis.errors import EndpointUnreachable, StreamvisError
from streamvis.records import Batch, RowsChunk
from streamvis.store import Store
from streamvis.transport import Transport
from streamvis.wire.jsonform import body_to_json

__all__ = ["THREAD", "Webhook"]

_log = logging.getLogger("streamvis")

THREAD = "streamvis webhook"
_Answer = TypeVar("_Answer")
_BACKOFF_S = (1.0, 5.0, 30.0, 60.0)
_KEEP_TRYING_S = 24 * 3600.0
_ANSWER_S = 10.0


class Webhook:
    """Posts the alerts of `journal` to `url`. `page_of` gives the address of a run's page.

    A webhook that is away, or answers 408, 429 or 5xx, is asked again for a day; what it refuses is dropped, with a warning.
    """

    def __init__(
        self,
        url: str,
        journal: AlertJournal,
        *,
        page_of: Callable[[str], str] = lambda run: "",
        backoff_s: Sequence[float] = _BACKOFF_S,
    ) -> None:
        self._transport = Transport(url)
        self._path = "/" if url.endswith("/") else ""
        # The rest of the address may be a secret.
        self._host = urlsplit(url).hostname
        self._page_of, self._backoff_s = page_of, backoff_s
        self.journal = journal
        self._news = asyncio.Event()

    async def expect(self, batch: Batch) -> Sequence[Alert]:
        """Note the alerts of a batch that is about to be stored, and return them."""
        chunks = [chunk for chunk in batch.chunks if isinstance(chunk, RowsChunk) and chunk.key == ALERTS]
        found = [one for chunk in chunks for one in alerts_in(batch.run, body_to_json(chunk.body))]
        return await asyncio.to_thread(self.journal.expect, found) if found and not batch.is_import else []

    async def settle(self, alerts: Sequence[Alert], *, is_stored: bool) -> None:
        """Post the alerts once their batch is stored; forget them where it is not."""
        if is_stored:
            await asyncio.to_thread(self.journal.release, alerts)
            self._news.set()
        else:
            await asyncio.to_thread(self.journal.forget, alerts)

    async def post_all(self, store: Store) -> None:
        """Post what there is and what comes, until cancelled."""
        while True:
            self._news.clear()
            if (found := await asyncio.to_thread(self.journal.take)) is not None:
                await self._post(*found, store)
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), self.journal.look_again_s)

    async def _post(self, alert: Alert, since: float, store: Store) -> None:
        body = await asyncio.to_thread(self._body, alert, store)
        tries = 0
        while await asyncio.to_thread(self.journal.keep, alert):
            problem, is_final = await _apart(lambda: self._ask(body))
            if problem is None:
                await asyncio.to_thread(self.journal.settle, alert, is_posted=True)
                return
            if is_final or time.time() - since > _KEEP_TRYING_S:
                told = "The webhook at %s %s: the alert %r of the run %s is dropped"
                _log.warning(told, self._host, problem, alert.title, alert.run)
                await asyncio.to_thread(self.journal.settle, alert, is_posted=False)
                return
            if tries == 0:
                _log.warning("The webhook at %s %s: its alerts wait", self._host, problem)
            await asyncio.sleep(self._backoff_s[min(tries, len(self._backoff_s) - 1)])
            tries += 1

    def _body(self, alert: Alert, store: Store) -> bytes:
        app, name, page = "", alert.run, self._page_of(alert.run)
        try:
            run = store.run(alert.run)
            app, name = run.app, run.name
        except StreamvisError:
            pass  # deleted meanwhile; the alert is posted without its names
        said = [f"{alert.level}: {alert.title}", alert.text, f"{app}, {name}, step {alert.step}", page]
        about = {**asdict(alert), "id": alert.id, "app": app, "name": name, "page": page, "message": alert.text}
        return json.dumps({**about, "text": "\n".join(filter(None, said))}).encode()

    def _ask(self, body: bytes) -> tuple[str | None, bool]:
        """Why it was not taken, None where it was; and whether asking again is of no use."""
        headers = {"Content-Type": "application/json"}
        try:
            status = self._transport.request("POST", self._path, body=body, headers=headers, timeout_s=_ANSWER_S).status
        except EndpointUnreachable:
            return "does not answer", False
        if status < 300:
            return None, False
        return f"answers {status}", status < 500 and status not in (408, 429)


async def _apart(ask: Callable[[], _Answer]) -> _Answer:
    """What `ask` returns, from a thread that is not waited for when the endpoint ends."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_Answer] = loop.create_future()

    def tell(answer: Any, error: Exception | None) -> None:
        if not future.done():
            future.set_result(answer) if error is None else future.set_exception(error)

    def work() -> None:
        answer, failure = None, None
        try:
            answer = ask()
        except Exception as error:  # noqa: BLE001  # the top of this thread
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(tell, answer, failure)

    threading.Thread(target=work, name=THREAD, daemon=True).start()
    return await future
