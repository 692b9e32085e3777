"""A producer: one client in one process. Takes what waits in the outbox, makes batches of it, and brings them to the endpoint, in
order, each until it is settled.

A batch is settled when the endpoint acknowledged it, or refused it for good. Until then it is sent again, the same bytes with
the same number. One batch is under way at a time. What the endpoint does not take at the first try, or within a moment, goes
to the spool together with what follows, and is delivered from there.

What earlier producers left in the same folder of spools is delivered in between, while none of its own waits in the spool.

Two threads: `_deliver_all` packs and posts, and while it is held up by a slow or absent endpoint, or delivers what waited for it,
or gathers for as long as one with many producers asks for, `_keep_all` brings what waits to the spool: nothing is in memory alone
for longer than a tenth of a second. `_lock` is held to pack and to move batches, never while anybody waits for the network.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from streamvis.client.backlog import Backlog
from streamvis.client.exchange import Exchange
from streamvis.client.frames import Outgoing
from streamvis.client.losses import Losses
from streamvis.client.outbox import Outbox
from streamvis.client.packing import Packer, say_once
from streamvis.client.spool import Spool
from streamvis.errors import EndpointError, NotAnEndpoint, TokenRefused, VersionMismatch

__all__ = ["Producer", "new_id"]

log = logging.getLogger("streamvis")

_POLL_S = 0.002
_PARK_AFTER_S = 0.03
_LARGE_BYTES = 256 * 2**10
"""A batch of so many bytes is worth a request of its own, whatever pace the endpoint asks for."""
# Together below a tenth of a second: the request before this one, or how long what is gathered is in memory alone; how long this
# request takes until it counts as held up; and a look.
_LOOK_EVERY_S = 0.02
_HELD_UP_AFTER_S = 0.03
_KEEP_EVERY_S = 0.045
_ADOPT_EVERY_S = 0.25
_LONGEST_PARK_S = 10.0
_RETRY_S = (0.0, 0.05, 0.1, 0.2, 0.4, 0.75)
_UNUSABLE = (NotAnEndpoint, TokenRefused, VersionMismatch)


class Producer:
    """Sends what comes into `outbox` under an id of its own.

    `make_transport` is called in the thread; the spool lies in a folder of the producer's own under `spool_folder`.
    """

    def __init__(
        self,
        outbox: Outbox,
        *,
        url: str | None,
        app: str,
        make_transport: Callable[[], Any],
        spool_folder: Path,
        durable: bool,
        max_memory_bytes: int,
        max_spool_bytes: int,
    ) -> None:
        self.id = new_id()
        self._outbox, self._url, self._make_transport = outbox, url, make_transport
        self._say = say_once(log)
        self._losses = Losses(outbox)
        self._packer = Packer(outbox, self._losses, app=app, producer=self.id, say=self._say)
        limits = {"max_bytes": max_spool_bytes, "max_memory_bytes": max_memory_bytes}
        self._spool = Spool(spool_folder / self.id, url=url, durable=durable, **limits)
        self._backlog = Backlog(outbox, self._packer, self._spool, self._losses, say=self._say)
        self._exchange = Exchange(url or "", spool_folder, self._packer, self._losses, say=self._say)
        self._lock = threading.Lock()
        self._lock_holder: int | None = None
        self._threads: list[threading.Thread] = []
        self._loaded = threading.Event()
        self._hurry = threading.Event()
        self._busy = threading.Event()
        self._urgent = threading.Event()
        self.stopping = False
        self._given_up = self._is_over = False
        self._held_up_since: float | None = None
        self._is_gathering = False
        self._failures = 0
        self._adopted_at = 0.0
        self._warned_away = False

    # What the sender asks of it

    @property
    def started(self) -> bool:
        return bool(self._threads)

    @property
    def ended(self) -> bool:
        """Whether nothing is sent any more."""
        return self.started and not self._threads[0].is_alive()

    @property
    def unsettled_records(self) -> int:
        """How many records left the outbox and are not settled."""
        return self._backlog.unsettled_records

    @property
    def settled(self) -> int:
        """The number up to which all batches are settled."""
        return self._backlog.settled

    @property
    def lost_records(self) -> int:
        """How many could not be encoded or kept, or belonged to a run that is gone."""
        return self._losses.records

    @property
    def kept_records(self) -> int:
        """How many that are not settled are in files; the others are in memory alone."""
        return self._backlog.kept_records

    @property
    def set_aside_records(self) -> int:
        """How many were refused for good."""
        return self._exchange.set_aside_records

    @property
    def set_aside_in(self) -> Path | None:
        """A file with some of them."""
        return self._exchange.set_aside_in

    @property
    def kept_in(self) -> Path | None:
        """The folder of the spool, when there is anything in it."""
        return self._spool.folder if self._spool.bytes > self._spool.memory_bytes else None

    def start(self) -> None:
        """Start the threads. They are daemons: nothing of ours keeps a process from ending."""
        self._busy.set()
        targets = {"sender": self._deliver_all} | ({"keeper": self._keep_all} if self._url is not None else {})
        self._threads = [
            threading.Thread(target=target, name=f"streamvis-{name}", daemon=True) for name, target in targets.items()
        ]
        for thread in self._threads:
            thread.start()

    def forget(self, run: str) -> None:
        """Send nothing of `run` any more, unless it is begun again."""
        self._packer.gone.add(run)
        self._hurry.set()

    def stop(self) -> None:
        """Let the threads end as soon as all is settled."""
        self.stopping = True
        self._hurry.set()
        self._urgent.set()
        self._outbox.release()

    def keep_soon(self) -> None:
        """Somebody waits for the disk."""
        self._urgent.set()

    def deliver_soon(self) -> None:
        """There is something that nobody should wait for: gather no longer."""
        self._hurry.set()

    def give_up(self) -> None:
        """Let the threads end now, and leave what is not settled in the spool."""
        self.stopping = self._given_up = True
        self._hurry.set()
        self._busy.set()
        self._urgent.set()
        self._outbox.release()
        if self._loaded.is_set() and self._lock.acquire(timeout=1.0):
            try:
                if not self._is_over:
                    self._backlog.keep_all()
            finally:
                self._lock.release()

    def join(self, timeout_s: float) -> None:
        """Wait for the threads to end, so long at most."""
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def leave_spool(self) -> None:
        """In a forked child, whose producer this is not: let go of the folder without freeing it for others."""
        self._spool.leave()
        self._exchange.leave_leftovers()

    def before_fork(self) -> None:
        """Let no thread be inside an import or inside Arrow while the process is copied. Waits a bounded time."""
        if self._threads:
            self._loaded.wait(5.0)
            if self._lock.acquire(timeout=1.0):
                self._lock_holder = threading.get_ident()

    def after_fork(self) -> None:
        """In the parent: go on."""
        if self._lock_holder == threading.get_ident():
            self._lock_holder = None
            self._lock.release()

    # The thread that delivers

    def _deliver_all(self) -> None:
        try:
            self._load()
            if self._url is None:
                self._keep_only()
            else:
                self._deliver_on()
        except Exception:  # noqa: BLE001 - the top of the thread: a training run goes on where Streamvis cannot
            self._say("the sender could not start, and sends nothing.", exc_info=True)
        finally:
            self._end()

    def _load(self) -> None:
        try:
            self._packer.load()
            if self._url is not None:
                self._exchange.load(self._make_transport)
        finally:
            self._loaded.set()

    def _deliver_on(self) -> None:
        last_work = time.monotonic()
        seldom = False
        while not self._given_up:
            try:
                self._hurry.clear()  # whatever set it can be packed by now
                with self._lock:
                    batch = self._backlog.next()
                if batch is not None:
                    if self._deliver(batch):
                        self._gather(batch)
                    last_work = time.monotonic()
                    if last_work - self._adopted_at > _ADOPT_EVERY_S and not self._backlog.is_spooling:
                        self._adopt()
                elif self._outbox.entries:
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
            except Exception:  # noqa: BLE001 - the top of the thread: no error of ours ends a training run
                self._survive()

    def _keep_only(self) -> None:
        """Without an endpoint: bring all to the spool, soon after it came."""
        while not self._given_up:
            is_kept = self._kept(self._backlog.keep_all)
            with self._lock:
                is_kept = is_kept and self._backlog.settle_kept()
            if self._outbox.entries:
                continue
            if is_kept:
                if self.stopping:
                    break
                self._outbox.park()
            self._urgent.wait(_KEEP_EVERY_S)
            self._urgent.clear()

    def _adopt(self) -> bool:
        """Deliver a batch that an earlier producer left; False when there is none, or none can be delivered now."""
        if not self.settled or self._failures:
            return False
        self._adopted_at = self._held_up_since = time.monotonic()
        try:
            return self._exchange.deliver_leftover()
        finally:
            self._held_up_since = None

    def _show_alive(self) -> None:
        self._held_up_since = time.monotonic()
        try:
            self._exchange.show_alive(self.id)
        finally:
            self._held_up_since = None

    def _poll(self, until: float) -> bool:
        """Whether something came until then."""
        while not self._outbox.entries and time.monotonic() < until and not self.stopping:
            time.sleep(_POLL_S)
        return bool(self._outbox.entries) or self.stopping

    def _park(self) -> None:
        self._busy.clear()
        self._outbox.park(_LONGEST_PARK_S)
        self._busy.set()
        if not self.stopping:
            time.sleep(_POLL_S / 2)  # the calls of one step come together

    def _deliver(self, batch: Outgoing) -> bool:
        """Whether the batch is settled."""
        self._held_up_since = time.monotonic()
        try:
            refused = self._exchange.deliver(batch)
        except EndpointError as error:
            self._wait_for_return(error)
            return False
        else:
            self._settle(batch, error=refused)
            return True
        finally:
            self._held_up_since = None

    def _gather(self, batch: Outgoing) -> None:
        """Wait for as long as the endpoint asks for, unless somebody waits for what comes, or what is next is complete."""
        pace_s = self._exchange.pace_s
        if not pace_s or self.stopping or len(batch.body) >= _LARGE_BYTES:
            return
        with self._lock:
            goes_on = self._backlog.is_behind or self._backlog.is_awaited
        if goes_on:
            return
        self._is_gathering = True
        try:
            self._hurry.wait(pace_s * _spread())
        finally:
            self._is_gathering = False

    def _settle(self, batch: Outgoing, *, error: Exception | None = None) -> None:
        with self._lock:
            self._backlog.settle(batch, error=error)
        self._failures = 0
        if self._warned_away:
            self._warned_away = False
            log.warning("Streamvis: the endpoint at %s answers again; what waited is being delivered.", self._url)

    def _wait_for_return(self, error: EndpointError) -> None:
        """The endpoint did not take the batch now: keep all, say so once, and wait before the next try."""
        self._failures += 1
        with self._lock:
            self._backlog.keep_or_note_all()
            if isinstance(error, _UNUSABLE):
                self._backlog.let_go(error)
        if self._failures == 2 and not self._warned_away:
            self._warned_away = True
            log.warning("Streamvis: %s Records are kept, and sent when it takes them.", error)
        delay_s = _RETRY_S[min(self._failures, len(_RETRY_S)) - 1]
        self._hurry.wait(delay_s * _spread())

    def _survive(self) -> None:
        """An error of ours, or of what we use: say so once, leave out what may have caused it, and go on."""
        self._say("an unexpected error in the sender; the batch under way is left out.", exc_info=True)
        with self._lock:
            batch = self._backlog.oldest()
        if batch is not None:
            self._losses.add(batch.run, batch.records)
            self._settle(batch)
        time.sleep(_KEEP_EVERY_S)

    def _end(self) -> None:
        if self._given_up:
            self._kept(self._backlog.keep_all)  # who gave up may come too late to do it
        with self._lock:
            self._spool.close()
            self._is_over = True
        self._busy.set()
        self._urgent.set()
        self._exchange.close()

    # The thread that keeps

    def _keep_all(self) -> None:
        """While the delivering thread is held up, or has a backlog, bring what waits to the spool."""
        kept_at = 0.0
        while not self._is_over:
            self._busy.wait()
            is_urgent = self._urgent.wait(_KEEP_EVERY_S if self._is_gathering else _LOOK_EVERY_S)
            self._urgent.clear()
            now, since = time.monotonic(), self._held_up_since
            is_held_up = self._is_gathering or (since is not None and now - since >= _HELD_UP_AFTER_S)
            if (is_held_up or self._backlog.is_spooling) and (is_urgent or now - kept_at >= _KEEP_EVERY_S):
                self._kept(self._backlog.keep_or_note_all)
                kept_at = time.monotonic()

    def _kept(self, keep: Callable[[], None]) -> bool:
        """Bring all that waits to the spool; False when that failed."""
        try:
            with self._lock:
                if not self._is_over:
                    keep()
        except Exception:  # noqa: BLE001 - the top of the thread: no error of ours ends a training run
            self._say("an unexpected error in the sender; some records could not be kept.", exc_info=True)
            return False
        return True


def _spread() -> float:
    """About 1, and another number for each producer, so that they do not all come at once."""
    return 0.75 + os.urandom(1)[0] / 512


def new_id() -> str:
    """A short id that is unique, and sorts by the time it was made."""
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    moment, text = int(time.time() * 1000), ""
    while moment:
        moment, digit = divmod(moment, 36)
        text = digits[digit] + text
    return f"{text}-{os.urandom(4).hex()}"
