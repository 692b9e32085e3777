"""One producer's exchanges with the endpoint: one batch, one request, and what the answer means.

What cannot be settled now is an EndpointError for the caller; anything else is settled, refused permanently or not. Blocking:
never called with the log's lock held. It imports HTTP and Arrow, so the sender's thread loads it.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, NamedTuple

from streamvis.client.encoding import Encoded, encode_bodies
from streamvis.client.process.launch import tell_page
from streamvis.client.producer_log import Log
from streamvis.client.spool.frames import Outgoing, notes_of_begin
from streamvis.client.spool.leftovers import Adopter, set_aside
from streamvis.counting import agreeing, counted
from streamvis.errors import (
    DeletedRun,
    EndpointError,
    EndpointRefused,
    EndpointUnreachable,
    InvalidData,
    StreamvisError,
    UnknownRun,
)
from streamvis.protocol import ARROW, Ack, Refusal
from streamvis.transport import Response, check, path
from streamvis.wire.arrow import streams_of

__all__ = ["Exchange", "NotNow", "post"]

log = logging.getLogger("streamvis")

_BEAT_S = 10.0
"""After so long without a batch the endpoint is told that the producer lives; it shows runs as vanished after 45 s."""
_LONGEST_PACE_S = 10.0
_TIMEOUT_S, _LONGEST_TIMEOUT_S = 10.0, 60.0
_TRY_AGAIN = (408, 425, 429)


class NotNow(EndpointError):
    """The endpoint, or a proxy before it, answered that it cannot take anything now."""


class Answer(NamedTuple):
    """What became of a batch: its acknowledgement, None where nothing of it could be sent; and what of it was not stored.

    The endpoint refused `refused_records`, whose keys hold something else; `left_out` is of `Encoded`.
    """

    ack: Ack | None
    refused_records: int
    left_out: list[str]

    @property
    def unstored_records(self) -> int:
        """How many records of the batch were not stored."""
        return self.refused_records + len(self.left_out)

    @property
    def reasons(self) -> list[str]:
        """Why they were not stored, each in a sentence."""
        refused = self.ack.refused if self.ack is not None else ()
        return [
            *(f"a record could not be sent ({text})." for text in self.left_out),
            *(f"records of the key {refusal.key!r} were refused: {refusal.reason}" for refusal in refused),
        ]


def form_of(batch: Outgoing, before: bytes) -> Encoded:
    """A batch as it is sent, with the notes `before` in front of it. Raises InvalidData for what can never be sent."""
    return encode_bodies((before, *batch.bodies) if before else batch.bodies)


def post(
    transport: Any,
    batch: Outgoing,
    *,
    begin: Callable[[], bytes] = lambda: b"",
    form: Callable[[Outgoing, bytes], Encoded] = form_of,
    live: bool = False,
    dropped: int = 0,
    timeout_s: float = _TIMEOUT_S,
) -> Answer:
    """Send a batch, and behind the notes that `begin` gives where the endpoint does not know the run.

    Not `live` is one that comes late, from a spool that was left behind. `dropped` is how many records its producer had to drop
    so far. The answer may take `timeout_s` seconds.

    Raises DeletedRun, EndpointRefused for what the endpoint does not take, and any other EndpointError for what is worth trying
    again with the same bytes and the same number.
    """
    about = {"app": batch.app, "producer": batch.producer, "number": batch.number, "live": int(live), "dropped": dropped or None}
    before = b""
    while True:
        try:
            return _posted(transport, batch.run, about, form(batch, before), timeout_s=timeout_s)
        except InvalidData as error:
            raise EndpointRefused(422, str(error), url=transport.url) from error
        except UnknownRun as error:
            # The endpoint lost the run, or never had it. What it refused took no number, so the batch keeps its own.
            if before or not (before := begin()):
                raise EndpointRefused(404, str(error), url=transport.url) from error


def _posted(transport: Any, run: str, about: dict[str, Any], form: Encoded, *, timeout_s: float) -> Answer:
    if not form.body:
        return Answer(None, 0, form.left_out)
    response = transport.request(
        "POST",
        path("runs", run, "batches"),
        params=about,
        body=form.body,
        headers={"Content-Type": ARROW, "Accept": "application/json"},
        timeout_s=timeout_s,
    )
    if response.status in _TRY_AGAIN or response.status >= 500:
        raise NotNow(f"The endpoint at {transport.url} answered {response.status}: {_detail(response)}", url=transport.url)
    check(response, url=transport.url)
    if response.status == 404 and _error(response).get("code") == "unknown_run":
        raise UnknownRun(run)
    if response.status == 410:
        raise DeletedRun(run)
    if response.status != 200:
        raise EndpointRefused(response.status, _detail(response), url=transport.url)
    ack = _ack(response, url=transport.url)
    return Answer(ack, _records_of({refusal.key for refusal in ack.refused}, form.body) if ack.refused else 0, form.left_out)


class Exchange:
    """Delivers batches to the endpoint, and what earlier producers left for it in the same place.

    `pace_s` is for how many seconds the endpoint asked last to gather before the next batch. `forming` is held while a batch is
    brought into the form in which it is sent, `lock` while lost records are counted.
    """

    def __init__(self, log: Log, *, forming: threading.Lock) -> None:
        self._producer, self._settings, self._url = log.producer, log.settings, log.settings.url or ""
        self._runs, self._lock, self._say, self._forming = log.runs, log.lock, log.say, forming
        self._transport: Any = None
        self._adopter: Adopter | None = None
        self._formed: tuple[Outgoing, Encoded] | None = None
        self._heard_at = 0.0
        self._told_of = ""
        self._timeout_s = _TIMEOUT_S
        self.pace_s = 0.0

    def deliver(self, batch: Outgoing) -> StreamvisError | None:
        """Settle a batch: None where the endpoint has it now, else why it never will. Raises EndpointError to try again later."""
        if batch.run in self._runs.gone:
            self._lose(batch.run, batch.records)
            return None
        self._connect()
        began = time.monotonic()
        try:
            answer = post(
                self._transport,
                batch,
                begin=lambda: self._begin_of(batch.run),
                form=self._form,
                live=True,
                dropped=self._runs.lost.get(batch.run, 0),
                timeout_s=self._timeout_s,
            )
        except DeletedRun as error:
            self._runs.gone.add(batch.run)
            self._lose(batch.run, batch.records)
            self._say(f"{error} Nothing more is sent for it.")
            return error
        except EndpointRefused as error:
            self.set_aside(batch, error)
            return error
        except EndpointError:
            if time.monotonic() - began >= self._timeout_s:
                # It may still be working on the batch, and has less to do when that is not soon sent again.
                self._timeout_s = min(2 * self._timeout_s, _LONGEST_TIMEOUT_S)
            raise
        self._hear(batch, answer)
        self._formed = None
        return None

    def deliver_leftover(self) -> bool:
        """Deliver a batch that an earlier producer left; False when there is none, or none can be delivered now."""
        return self._adopter is not None and self._adopter.deliver_one()

    def show_alive(self) -> None:
        """Tell the endpoint that the producer lives, where it was told nothing for a while."""
        run = self._runs.name
        if not self._runs.is_open or self._transport is None or run in self._runs.gone:
            return
        if time.monotonic() - self._heard_at < _BEAT_S:
            return
        self._heard_at = time.monotonic()
        try:
            self._transport.request("POST", path("runs", run, "alive"), params={"producer": self._producer}, timeout_s=_TIMEOUT_S)
        except EndpointError:
            pass  # the next batch meets the same trouble, and says so

    def may_have_stored(self, batch: Outgoing) -> bool:
        """Whether the batch was brought into its form, and so was sent too."""
        return self._formed is not None and self._formed[0] is batch

    def set_aside(self, batch: Outgoing, error: Exception) -> None:
        """Keep a batch that can never be delivered, because of `error`, where only a person takes it from."""
        self._formed = None
        if isinstance(error, EndpointRefused):
            were = agreeing(batch.records, "was", "were")
            self._say(f"{counted(batch.records, 'record')} {were} refused, and left out. {error}")
        kept_in = set_aside(self._settings.place.writable(), batch, str(error) or type(error).__name__)
        if kept_in is None:
            self._say(f"there is no room to keep what is refused in {self._settings.place.folder}.")
            self._lose(batch.run, refused=batch.records)
        else:
            with self._lock:
                self._runs.set_aside(batch.records, kept_in)

    def close(self) -> None:
        """Close the connections; others may have what earlier producers left."""
        if self._adopter is not None:
            self._adopter.close()
            self._transport.close()

    def leave(self) -> None:
        """In a forked child: what is being delivered is the parent's to deliver."""
        if self._adopter is not None:
            self._adopter.leave()

    def _lose(self, run: str, records: int = 0, *, refused: int = 0) -> None:
        with self._lock:
            self._runs.lose(run, records, refused=refused)

    def _connect(self) -> None:
        """Raises EndpointUnreachable where HTTP, or a proxy, cannot be used now."""
        if self._transport is not None:
            return
        try:
            transport = self._settings.make_transport()
        except EndpointError:
            raise
        except Exception as error:  # whatever libraries raise here, the batch is not the reason: it waits
            log.debug("Streamvis: cannot connect to %s", self._url, exc_info=True)
            told = f"Cannot connect to {self._url}: {type(error).__name__}: {error}."
            raise EndpointUnreachable(told, url=self._url) from error
        self._adopter = Adopter(
            self._settings.place.folders, self._url, partial(post, transport, form=self._form_once), say=self._say
        )
        self._transport = transport

    def _form(self, batch: Outgoing, before: bytes) -> Encoded:
        """The form of a batch; once made, it is kept until the batch is settled."""
        if before or self._formed is None or self._formed[0] is not batch:
            self._formed = batch, self._form_once(batch, before)
        return self._formed[1]

    def _form_once(self, batch: Outgoing, before: bytes) -> Encoded:
        with self._forming:
            return form_of(batch, before)

    def _begin_of(self, run: str) -> bytes:
        begin = self._runs.known(run)
        return notes_of_begin(begin) if begin is not None else b""

    def _hear(self, batch: Outgoing, answer: Answer) -> None:
        self._lose(batch.run, len(answer.left_out), refused=answer.refused_records)
        for reason in answer.reasons:
            self._say(reason)
        if (ack := answer.ack) is None:
            return
        self._timeout_s = _TIMEOUT_S
        for warning in ack.warnings:
            self._say(warning)
        begin = self._runs.known(batch.run)
        if begin is not None and self._told_of != batch.run:
            self._told_of = batch.run
            tell_page(begin, ack.page)
        self._heard_at = time.monotonic()
        self.pace_s = min(max(0.0, ack.pace_s), _LONGEST_PACE_S)


def _records_of(keys: Collection[str], body: bytes) -> int:
    """How many records of a body are of these keys: each has a time of its own."""
    of_keys = [(meta["kind"], table) for meta, table, _ in streams_of(body) if meta.get("key") in keys]
    return sum(len(table.column(1).unique()) if kind == "rows" else 1 for kind, table in of_keys)


def _ack(response: Response, *, url: str) -> Ack:
    try:
        told = json.loads(response.body)
        refused = tuple(Refusal(one["key"], one["reason"]) for one in told["refused"])
        warnings, pace_s = tuple(map(str, told["warnings"])), float(told.get("pace_s", 0.0))
        return Ack(int(told["seq"]), bool(told["duplicate"]), refused, warnings, pace_s, str(told.get("page", "")))
    except (ValueError, KeyError, TypeError) as error:
        raise NotNow(f"The endpoint at {url} answered something else than an acknowledgement.", url=url) from error


def _error(response: Response) -> dict[str, Any]:
    try:
        told = json.loads(response.body)["error"]
    except (ValueError, KeyError, TypeError):
        return {}
    return told if isinstance(told, dict) else {}


def _detail(response: Response) -> str:
    told = _error(response)
    if "message" in told:
        return " ".join(str(told[name]) for name in ("where", "message") if told.get(name))
    return response.body[:200].decode(errors="replace").strip() or "no reason given"
