"""Posts each alert to a webhook, once: also when the endpoint is killed before it could.

What is to be posted is written to a journal in the data folder before the batch that brings it is stored, and again when it was
posted. A kill between the webhook's answer and that note is the one case in which an alert is posted twice; its `id` is then the
same. Posts wait for each other, in a task of their own: batches wait for a line in the journal and for nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from streamvis.alerts import ALERTS, Alert, alerts_in
from streamvis.errors import EndpointUnreachable, StreamvisError
from streamvis.records import Batch, RowsChunk
from streamvis.store import Store
from streamvis.transport import Transport
from streamvis.wire.jsonform import body_to_json

__all__ = ["JOURNAL", "THREAD", "Webhook"]

_log = logging.getLogger("streamvis")

JOURNAL = "alerts.jsonl"
THREAD = "streamvis webhook"
_Answer = TypeVar("_Answer")
_BACKOFF_S = (1.0, 5.0, 30.0, 60.0)
_KEEP_TRYING_S = 24 * 3600.0
_KEEP_NOTES_S = 7 * 24 * 3600.0
"""How long it is known that an alert was posted: a batch that is sent again brings its alerts along."""
_MOST_WAITING = 1000
_ANSWER_S = 10.0


class Webhook:
    """Posts alerts to `url`. `page_of` gives the address of a run's page. A webhook that is away, or answers 408, 429 or 5xx, is
    asked again for a day; what it refuses is dropped, and said."""

    def __init__(
        self,
        url: str,
        folder: Path,
        *,
        page_of: Callable[[str], str] = lambda run: "",
        backoff_s: Sequence[float] = _BACKOFF_S,
    ) -> None:
        self._transport = Transport(url)
        self._path = "/" if url.endswith("/") else ""
        # The rest of the address may be a secret.
        self._host = urlsplit(url).hostname
        self._page_of, self._backoff_s = page_of, backoff_s
        self._journal = _Journal(folder / JOURNAL)
        self._news = asyncio.Event()

    async def expect(self, batch: Batch) -> list[Alert]:
        """Note the alerts of a batch that is about to be stored, and return them."""
        chunks = [chunk for chunk in batch.chunks if isinstance(chunk, RowsChunk) and chunk.key == ALERTS]
        found = [one for chunk in chunks for one in alerts_in(batch.run, body_to_json(chunk.body))]
        return await asyncio.to_thread(self._journal.expect, found) if found and not batch.is_import else []

    async def settle(self, alerts: Sequence[Alert], *, is_stored: bool) -> None:
        """Post the alerts once their batch is stored; forget them where it is not."""
        if is_stored:
            await asyncio.to_thread(self._journal.release, alerts)
            self._news.set()
        else:
            await asyncio.to_thread(self._journal.forget, alerts)

    async def post_all(self, store: Store) -> None:
        """Post what there is and what comes, until cancelled."""
        while True:
            self._news.clear()
            due = await asyncio.to_thread(self._journal.due)
            for alert, since in due:
                await self._post(alert, since, store)
            if not due:
                await self._news.wait()

    async def _post(self, alert: Alert, since: float, store: Store) -> None:
        body = await asyncio.to_thread(self._body, alert, store)
        tries = 0
        while True:
            problem, is_final = await _apart(lambda: self._ask(body))
            if problem is None:
                await asyncio.to_thread(self._journal.note, [alert], "posted")
                return
            if is_final or time.time() - since > _KEEP_TRYING_S:
                told = "The webhook at %s %s: the alert %r of the run %s is dropped"
                _log.warning(told, self._host, problem, alert.title, alert.run)
                await asyncio.to_thread(self._journal.note, [alert], "dropped")
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


class _Journal:
    """Which alerts are to be posted, and which were: lines of JSON in a file, each on disk before the call returns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._waiting: dict[str, tuple[Alert, float]] = {}
        self._settled: dict[str, float] = {}
        self._held: set[str] = set()
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            self._read(line)
        self._begin_anew()

    def expect(self, alerts: Sequence[Alert]) -> list[Alert]:
        """Those whose batch is not stored yet. They are not due before `release`."""
        with self._lock:
            known, given = self._settled.keys() | self._waiting.keys(), {one.id: one for one in alerts}
            new = [one for id, one in given.items() if id not in known]
            if len(self._waiting) + len(new) > _MOST_WAITING:
                _log.warning("%d alerts are dropped: %d wait for the webhook", len(new), len(self._waiting))
                return []
            self._wait_for(new)
            self._held.update(one.id for one in new)
            # Also what a request brought that was given up: its batch comes again.
            return [one for id, one in given.items() if id in self._held]

    def release(self, alerts: Sequence[Alert]) -> None:
        """Their batch is stored: they are due."""
        with self._lock:
            self._held.difference_update(one.id for one in alerts)
            # The same batch may have come twice, and the other request failed and forgot them.
            known = self._settled.keys() | self._waiting.keys()
            self._wait_for([one for one in alerts if one.id not in known])

    def forget(self, alerts: Sequence[Alert]) -> None:
        """Their batch is not stored: those that another request of the same batch released stay."""
        with self._lock:
            self._remove([one for one in alerts if one.id in self._held], "dropped")

    def due(self) -> list[tuple[Alert, float]]:
        """What is to be posted now, and since when."""
        with self._lock:
            return [its for id, its in self._waiting.items() if id not in self._held]

    def note(self, alerts: Sequence[Alert], word: str) -> None:
        """They were "posted", or the webhook does not take them: "dropped"."""
        with self._lock:
            self._settled.update({one.id: time.time() for one in alerts})
            self._remove(alerts, word)

    def _wait_for(self, alerts: Sequence[Alert]) -> None:
        now = time.time()
        self._append([{"alert": asdict(one), "at": now} for one in alerts])
        self._waiting.update({one.id: (one, now) for one in alerts})

    def _remove(self, alerts: Sequence[Alert], word: str) -> None:
        for one in alerts:
            self._waiting.pop(one.id, None)
            self._held.discard(one.id)
        self._append([{word: one.id, "at": time.time()} for one in alerts])

    def _append(self, lines: Sequence[dict[str, Any]]) -> None:
        if not lines:
            return
        try:
            with self._path.open("ab") as file:
                file.write(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            _log.warning("alerts cannot be noted in %s (%s): after a restart some may be lost or posted again", self._path, error)

    def _read(self, line: str) -> None:
        try:
            said = json.loads(line)
            if "alert" in said:
                alert = Alert(**said["alert"])
                self._waiting[alert.id] = (alert, said["at"])
                return
            id = said.get("posted") or said["dropped"]
            self._waiting.pop(id, None)
            if "posted" in said and said["at"] > time.time() - _KEEP_NOTES_S:
                self._settled[id] = said["at"]
        except (ValueError, KeyError, TypeError):
            pass  # the last line, which a kill cut off

    def _begin_anew(self) -> None:
        """Leave out what is settled for long."""
        lines = [{"posted": id, "at": at} for id, at in self._settled.items()]
        lines += [{"alert": asdict(alert), "at": at} for alert, at in self._waiting.values()]
        part = self._path.with_suffix(".part")
        part.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        part.replace(self._path)
