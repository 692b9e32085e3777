"""One producer's exchanges with the endpoint: what is asked, and what the answers mean for a batch.

What cannot be settled now is an EndpointError for the caller; anything else is settled, refused permanently or not. Blocking:
never called with a lock held.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from streamvis.client.frames import Outgoing
from streamvis.client.leftovers import Adopter
from streamvis.client.losses import Losses
from streamvis.client.packing import Packer
from streamvis.client.refused import set_aside
from streamvis.client.spool_place import SpoolPlace
from streamvis.client.whereabouts import tell_page
from streamvis.errors import DeletedRun, EndpointError, EndpointRefused, EndpointUnreachable, StreamvisError, UnknownRun

__all__ = ["Exchange"]

log = logging.getLogger("streamvis")

_BEAT_S = 10.0
"""After so long without a batch the endpoint is told that the producer lives; it shows runs as vanished after 45 s."""

_LONGEST_PACE_S = 10.0
_TIMEOUT_S, _LONGEST_TIMEOUT_S = 10.0, 60.0


class Exchange:
    """Delivers batches to the endpoint at `url`, and what earlier producers left among the `spools` for it.

    `pace_s` is for how many seconds the endpoint asked last to gather before the next batch.
    """

    def __init__(
        self,
        url: str,
        spools: SpoolPlace,
        packer: Packer,
        losses: Losses,
        *,
        make_transport: Callable[[], Any],
        say: Callable[..., None],
    ) -> None:
        self._url, self._spools, self._packer, self._losses, self._say = url, spools, packer, losses, say
        self._make_transport = make_transport
        self._transport: Any = None
        self._deliver: Any = None
        self._show_alive: Any = None
        self._adopter: Adopter | None = None
        self._heard_at = 0.0
        self._told_of = ""
        self._timeout_s = _TIMEOUT_S
        self.pace_s = 0.0
        self.set_aside_records = 0
        self.set_aside_in: Path | None = None

    def load(self) -> None:
        """Import what HTTP needs, which takes long. Raises EndpointUnreachable where that, or a proxy, cannot be used now."""
        if self._transport is not None:
            return
        try:
            from streamvis.client.delivery import deliver, show_alive

            transport = self._make_transport()
        except EndpointError:
            raise
        except Exception as error:
            log.debug("Streamvis: cannot connect to %s", self._url, exc_info=True)
            told = f"Cannot connect to {self._url}: {type(error).__name__}: {error}."
            raise EndpointUnreachable(told, url=self._url) from error
        post = partial(deliver, transport, live=False)
        self._adopter = Adopter(self._spools.folders, self._url, post, say=self._say)
        self._transport, self._deliver, self._show_alive = transport, deliver, show_alive

    def deliver(self, batch: Outgoing) -> StreamvisError | None:
        """Settle a batch: None where the endpoint has it now, else why it never will. Raises EndpointError to try again later."""
        if batch.run in self._packer.gone:
            self._losses.add(batch.run, batch.records)
            return None
        self.load()
        began = time.monotonic()
        try:
            ack = self._posted(batch)
        except DeletedRun as error:
            self._packer.gone.add(batch.run)
            self._losses.add(batch.run, batch.records)
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
        self._timeout_s = _TIMEOUT_S
        for refusal in ack.refused:
            self._say(f"records of the key {refusal.key!r} were not stored: {refusal.reason}")
        for warning in ack.warnings:
            self._say(warning)
        begin = self._packer.begins.get(batch.run)
        if begin is not None and self._told_of != batch.run:
            self._told_of = batch.run
            tell_page(begin, ack.page)
        self._heard_at = time.monotonic()
        self.pace_s = min(max(0.0, ack.pace_s), _LONGEST_PACE_S)
        return None

    def deliver_leftover(self) -> bool:
        """Deliver a batch that an earlier producer left; False when there is none, or none can be delivered now."""
        return self._adopter is not None and self._adopter.deliver_one()

    def show_alive(self, producer: str) -> None:
        """Tell the endpoint that the producer lives, where it was told nothing for a while."""
        run = self._packer.open_run
        if run is None or self._transport is None or run in self._packer.gone or time.monotonic() - self._heard_at < _BEAT_S:
            return
        self._heard_at = time.monotonic()
        try:
            self._show_alive(self._transport, run, producer)
        except EndpointError:
            pass  # the next batch meets the same trouble, and says so

    def set_aside(self, batch: Outgoing, error: Exception) -> None:
        """Keep a batch that can never be delivered, because of `error`, where only a person takes it from."""
        if isinstance(error, EndpointRefused):
            self._say(f"{batch.records} records were refused, and are left out. {error}")
        kept_in = set_aside(self._spools.writable(), batch, str(error) or type(error).__name__)
        if kept_in is None:
            self._say(f"there is no room to keep what is refused in {self._spools.folder}.")
            self._losses.add(batch.run, batch.records)
        else:
            self.set_aside_records += batch.records
            self.set_aside_in = kept_in

    def close(self) -> None:
        """Close the connections; others may have what earlier producers left."""
        if self._adopter is not None:
            self._adopter.close()
            self._transport.close()

    def leave_leftovers(self) -> None:
        """In a forked child: what is being delivered is the parent's to deliver."""
        if self._adopter is not None:
            self._adopter.let_go()

    def _posted(self, batch: Outgoing) -> Any:
        dropped = self._losses.of(batch.run)
        try:
            return self._deliver(self._transport, batch, dropped=dropped, timeout_s=self._timeout_s)
        except UnknownRun as error:
            # The endpoint lost the run, or never had it. What it refused took no number, so the batch keeps its own.
            before = self._packer.joining(batch.run, time.time())
            if before is None:
                raise EndpointRefused(404, str(error), url=self._url) from error
        try:
            return self._deliver(self._transport, batch, before, dropped=dropped, timeout_s=self._timeout_s)
        except UnknownRun as error:
            raise EndpointRefused(404, str(error), url=self._url) from error
