"""The first thread of a producer: takes batches, oldest first, and brings each to the endpoint until it is settled.

It decides when the next batch is made, how long to wait before another try, what is said about an endpoint that is away, and what
becomes of errors of ours: they stop no training run and lose no record. It ends when it was told to stop and all is settled, or
when it is given up; what is left then is in the spool.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable

from streamvis.client.backlog import Backlog
from streamvis.client.bells import Bell, Latch
from streamvis.client.exchange import Exchange
from streamvis.client.frames import Outgoing
from streamvis.client.keeper import KEEP_EVERY_S, Keeper
from streamvis.client.notices import say
from streamvis.client.outbox import Outbox
from streamvis.client.packing import Packer
from streamvis.client.spool import Spool
from streamvis.client.spool_place import SpoolPlace
from streamvis.errors import EndpointError, NotAnEndpoint, TokenRefused, VersionMismatch

__all__ = ["Deliverer"]

log = logging.getLogger("streamvis")

_POLL_S = 0.002
_PARK_AFTER_S = 0.03
_LARGE_BYTES = 256 * 2**10
"""A batch of so many bytes is worth a request of its own, whatever pace the endpoint asks for."""
_ADOPT_EVERY_S = 0.25
_LONGEST_PARK_S = 10.0
_RETRY_S = (0.0, 0.05, 0.1, 0.2, 0.4, 0.75)
_SILENT_S = 2.0
"""For so long after its start nothing is said of an endpoint that has not answered yet: it may be starting too."""
_MOST_TRIES = 8
"""So often a batch is tried that an unexpected error stops."""
_UNUSABLE = (NotAnEndpoint, TokenRefused, VersionMismatch)


class Deliverer:
    """Delivers for the producer with the id `producer`, whose other parts it is given. `lock` is held to pack and move batches.

    `loaded` is set when what packing and sending need is imported. `hurry` is rung when no one should wait any longer.
    `start_keeper` starts the second thread, and says whether it did; `on_end` is called when all has ended.
    """

    def __init__(
        self,
        producer: str,
        outbox: Outbox,
        packer: Packer,
        backlog: Backlog,
        spool: Spool,
        exchange: Exchange,
        keeper: Keeper,
        *,
        url: str | None,
        spools: SpoolPlace,
        lock: threading.Lock,
        start_keeper: Callable[[], bool],
        on_end: Callable[[], None],
        say: Callable[..., None],
    ) -> None:
        self._producer, self._outbox, self._packer, self._backlog = producer, outbox, packer, backlog
        self._spool, self._exchange, self._keeper = spool, exchange, keeper
        self._url, self._spools, self._lock, self._say = url, spools, lock, say
        self._ask_for_keeper, self._on_end = start_keeper, on_end
        self.loaded = Latch()
        self.hurry = Bell()
        self.stopping = False
        self.given_up = False
        self._has_keeper = False
        self._under_way: Outgoing | None = None
        self._failures = self._errors = 0
        self._adopted_at = 0.0
        self._silent_until = 0.0
        self._trouble: EndpointError | None = None
        self._warned_away = False

    def begin_silence(self) -> None:
        """The threads are being started for the first time."""
        self._silent_until = time.monotonic() + _SILENT_S

    def tell_if_away(self) -> None:
        """Somebody waited for the endpoint and waits no longer: say that it is away, if it is."""
        self._silent_until = 0.0
        if self._trouble is not None:
            self._warn_away(self._trouble)

    def end(self) -> None:
        """Leave in the spool what there is, and close everything. Later calls are told that nothing is sent any more."""
        try:
            for _ in range(_MOST_TRIES if self.loaded.is_set() else 0):
                if self._keeper.keep(self._backlog.keep_all):  # what came last, or all where this was given up
                    break
                time.sleep(KEEP_EVERY_S)
            with self._lock:
                self._spool.close()
                self._keeper.end()
            self._exchange.close()
        except Exception:  # noqa: BLE001 - the top of the thread
            self._say("an unexpected error while the sender ended.", exc_info=True)
        finally:
            self._keeper.end()
            self._on_end()
            self._outbox.discard()

    def run(self) -> None:
        """The thread."""
        try:
            if self._load():
                if self._url is None:
                    self._keep_only()
                else:
                    self._deliver_on()
        except Exception:  # noqa: BLE001 - the top of the thread: a training run continues where Streamvis cannot
            self._say("an unexpected error ended the sender; nothing more is sent.", exc_info=True)
        finally:
            self.end()

    def _load(self) -> bool:
        """Import what packing and sending need, however often that fails; False when it is to end before."""
        failures = 0
        while True:
            try:
                self._packer.load()
                break
            except Exception as error:  # no file descriptor is left, or a library does not load at all
                log.debug("Streamvis: the sender cannot load", exc_info=True)
                self._say(f"the sender cannot load now ({type(error).__name__}: {error}). Records wait in memory meanwhile.")
                failures += 1
            if self.given_up or (self.stopping and failures >= _MOST_TRIES):
                return False
            self.hurry.wait(_RETRY_S[min(failures, len(_RETRY_S) - 1)])
        try:
            if self._url is not None:
                self._exchange.load()
        except EndpointError:
            pass  # the first batch meets it again, and says so
        self.loaded.set()
        return True

    def _deliver_on(self) -> None:
        last_work = time.monotonic()
        seldom = False
        while not self.given_up:
            try:
                self.hurry.clear()  # whatever rang it can be packed by now
                self._start_keeper()
                with self._lock:
                    batch = self._under_way = self._backlog.next()
                if batch is not None:
                    if self._deliver(batch):
                        self._gather(batch)
                    last_work = time.monotonic()
                    if last_work - self._adopted_at > _ADOPT_EVERY_S and not self._backlog.is_spooling:
                        self._adopt()
                elif self._backlog.is_waiting:
                    continue
                elif self.stopping:
                    break
                elif not seldom and self._poll(last_work + _PARK_AFTER_S):
                    continue
                else:
                    self._show_alive()
                    if not self._adopt():
                        began = time.monotonic()
                        self._park()
                        last_work = time.monotonic()
                        # Calls that come so seldom may each wake this thread: looking for them in between costs more.
                        seldom = last_work - began > _PARK_AFTER_S
            except Exception as error:  # noqa: BLE001 - the top of the thread: no error of ours ends a training run
                self._survive(error)

    def _keep_only(self) -> None:
        """Without an endpoint: bring all to the spool, soon after it came."""
        while not self.given_up:
            is_kept = self._keeper.keep(self._backlog.keep_all)
            self._spools.tell()
            with self._lock:
                is_kept = is_kept and self._backlog.settle_kept()
            if is_kept and self._backlog.is_waiting:
                continue
            if is_kept:
                if self.stopping:
                    break
                self._outbox.park()
            self.hurry.wait(KEEP_EVERY_S)

    def _start_keeper(self) -> None:
        if not self._has_keeper:
            self._has_keeper = self._ask_for_keeper()

    def _adopt(self) -> bool:
        """Deliver a batch that an earlier producer left; False when there is none, or none can be delivered now."""
        if not self._backlog.settled or self._failures:
            return False
        self._adopted_at = time.monotonic()
        with self._keeper.held_up():
            return self._exchange.deliver_leftover()

    def _show_alive(self) -> None:
        with self._keeper.held_up():
            self._exchange.show_alive(self._producer)

    def _poll(self, until: float) -> bool:
        """Whether something came until then."""
        while not self._outbox.entries and time.monotonic() < until and not self.stopping:
            time.sleep(_POLL_S)
        return bool(self._outbox.entries) or self.stopping

    def _park(self) -> None:
        self._keeper.is_busy = False
        self._outbox.park(_LONGEST_PARK_S)
        self._keeper.wake()
        if not self.stopping:
            time.sleep(_POLL_S / 2)  # the calls of one step come together

    def _deliver(self, batch: Outgoing) -> bool:
        """Whether the batch is settled."""
        with self._keeper.held_up():
            try:
                refused = self._exchange.deliver(batch)
            except EndpointError as error:
                self._wait_for_return(error)
                return False
            self._settle(batch, error=refused)
            return True

    def _gather(self, batch: Outgoing) -> None:
        """Wait for as long as the endpoint asks for, unless somebody waits for what comes, or what is next is complete."""
        pace_s = self._exchange.pace_s
        if not pace_s or self.stopping or len(batch.body) >= _LARGE_BYTES:
            return
        with self._lock:
            goes_on = self._backlog.is_behind or self._backlog.is_awaited
        if goes_on:
            return
        self._keeper.is_gathering = True
        try:
            self.hurry.wait(pace_s * _spread())
        finally:
            self._keeper.is_gathering = False

    def _settle(self, batch: Outgoing, *, error: Exception | None = None) -> None:
        with self._lock:
            self._backlog.settle(batch, error=error)
        self._failures = self._errors = 0
        self._under_way = self._trouble = None
        self._silent_until = 0.0
        if self._warned_away:
            self._warned_away = False
            say("the endpoint at %s answers again; waiting records are being delivered.", self._url)

    def _wait_for_return(self, error: EndpointError) -> None:
        """The endpoint did not take the batch now: keep all, say so once, and wait before the next try."""
        self._failures += 1
        self._trouble = error
        with self._lock:
            self._backlog.keep_or_note_all()
            if isinstance(error, _UNUSABLE):
                self._backlog.release(error)
        if self._failures >= 2 and time.monotonic() >= self._silent_until:
            self._warn_away(error)
        delay_s = _RETRY_S[min(self._failures, len(_RETRY_S)) - 1]
        self.hurry.wait(delay_s * _spread())

    def _warn_away(self, error: EndpointError) -> None:
        if not self._warned_away:
            self._warned_away = True
            self._spools.tell()
            where = f" in memory alone ({self._spool.problem})" if self._spool.memory_bytes else ""
            say("%s. Records are kept%s and will be sent when it responds.", str(error).rstrip("."), where)

    def _survive(self, error: Exception) -> None:
        """An error of ours, or of what we use: say so once, and try again; set aside the batch that it stops again and again."""
        self._say("an unexpected error in the sender; it tries again.", exc_info=True)
        self._errors += 1
        batch = self._under_way
        try:
            if batch is not None and self._errors >= _MOST_TRIES:
                self._exchange.set_aside(batch, error)
                self._settle(batch)
                return
            with self._keeper.held_up():
                self.hurry.wait(_RETRY_S[min(self._errors, len(_RETRY_S) - 1)])
        except Exception:  # noqa: BLE001 - the same trouble again: it is tried once more
            time.sleep(KEEP_EVERY_S)


def _spread() -> float:
    """About 1, and another number for each producer, so that they do not all come at once."""
    return 0.75 + os.urandom(1)[0] / 512
