"""A producer: one client in one process. Takes what waits in the outbox, makes batches of it, and brings them to the endpoint, in
order, each until it is settled.

A batch is settled when the endpoint acknowledged it, or refused it permanently. Until then it is sent again, the same bytes with
the same number. One batch is under way at a time. What the endpoint does not take at the first try, or within a moment, goes
to the spool together with what follows, and is delivered from there.

What earlier producers left in the same folder of spools is delivered in between, while none of its own waits in the spool.

Two threads: the `Deliverer` packs and posts; while it is held up, the `Keeper` brings what waits to the spool. `_lock` is held to
pack and to move batches, never while anybody waits for the network. Calls of the program's own threads take no lock here, since
they may interrupt one another (see `bells`); only around a fork do they hold `_lock`.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from streamvis.client.backlog import Backlog
from streamvis.client.deliverer import Deliverer
from streamvis.client.exchange import Exchange
from streamvis.client.keeper import Keeper
from streamvis.client.losses import Losses
from streamvis.client.notices import say_once
from streamvis.client.outbox import Outbox
from streamvis.client.packing import Packer
from streamvis.client.spool import Spool
from streamvis.client.spool_place import SpoolPlace
from streamvis.client.threads import Threads, is_subinterpreter

__all__ = ["Producer", "new_id"]

_LONGEST_KEEPING_S = 10.0


class Producer:
    """Sends what comes into `outbox` under an id of its own.

    `make_transport` is called in the thread; the spool lies in a folder of the producer's own among the `spools`.
    """

    def __init__(
        self,
        outbox: Outbox,
        *,
        url: str | None,
        app: str,
        make_transport: Callable[[], Any],
        spools: SpoolPlace,
        durable: bool,
        max_memory_bytes: int,
        max_spool_bytes: int,
    ) -> None:
        self.id = new_id()
        self._outbox, self._url = outbox, url
        self._say = say_once()
        self._losses = Losses(outbox)
        self._packer = Packer(outbox, self._losses, app=app, producer=self.id, say=self._say)
        limits = {"max_bytes": max_spool_bytes, "max_memory_bytes": max_memory_bytes}
        self._spool = Spool(spools.folder / self.id, url=url, place=spools, durable=durable, **limits)
        self._backlog = Backlog(outbox, self._packer, self._spool, self._losses, say=self._say)
        self._exchange = Exchange(url or "", spools, self._packer, self._losses, make_transport=make_transport, say=self._say)
        self._lock = threading.Lock()
        self._lock_holder: int | None = None
        self._keeper = Keeper(self._backlog, self._lock, say=self._say)
        self._deliverer = Deliverer(
            self.id,
            outbox,
            self._packer,
            self._backlog,
            self._spool,
            self._exchange,
            self._keeper,
            url=url,
            spools=spools,
            lock=self._lock,
            start_keeper=lambda: self._threads.add("streamvis-keeper", self._keeper.run),
            on_end=lambda: self._threads.ended.set(),
            say=self._say,
        )
        self._threads = Threads("streamvis-sender", self._deliverer.run, on_failure=self._could_not_start)

    @property
    def was_asked(self) -> bool:
        """Whether there was ever anything to send."""
        return self._threads.was_asked

    @property
    def stopping(self) -> bool:
        """Whether it was told to end."""
        return self._deliverer.stopping

    @stopping.setter
    def stopping(self, stopping: bool) -> None:
        self._deliverer.stopping = stopping

    @property
    def cannot_start(self) -> bool:
        """Whether there is no thread to be had."""
        return self._threads.problem is not None

    @property
    def ended(self) -> bool:
        """Whether nothing is sent any more."""
        return self._threads.ended.is_set()

    @property
    def can_wait(self) -> bool:
        """Whether a call may wait for this producer; it would wait for itself otherwise, or for threads that stand still."""
        return not (self._threads.are_own or self._lock_holder == threading.get_ident() or sys.is_finalizing())

    @property
    def unsettled_records(self) -> int:
        """How many records left the outbox and are not settled."""
        return self._backlog.unsettled_records + self._backlog.waiting_records

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
        """How many were refused permanently, or could not be sent."""
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
        """Start the threads, unless they are there. Where none is to be had, the next call tries again."""
        if not self._threads.was_asked:
            self._deliverer.begin_silence()
        self._threads.start()

    def forget(self, run: str) -> None:
        """Send nothing of `run` any more, unless it is begun again."""
        self._packer.gone.add(run)
        self._deliverer.hurry.ring()

    def stop(self) -> None:
        """Let the threads end as soon as all is settled."""
        self._deliverer.stopping = True
        if not self._threads.was_asked:
            self._threads.ended.set()
        self._deliverer.hurry.ring()
        self._keeper.keep_soon()
        self._outbox.release()

    def keep_soon(self) -> None:
        """Somebody waits for the disk."""
        self._keeper.keep_soon()

    def deliver_soon(self) -> None:
        """There is something that no one should wait for: gather no longer."""
        self._deliverer.hurry.ring()

    def give_up(self) -> None:
        """Let the threads end now, and leave what is not settled in the spool."""
        self._deliverer.stopping = self._deliverer.given_up = True
        self._deliverer.hurry.ring()
        self._outbox.release()
        if not self._threads.are_running:
            self._keep_here()
            return
        self._keeper.give_up()
        if self._deliverer.loaded.is_set() and self.can_wait and not self._keeper.gave_up.wait(1.0) and self._keeper.is_keeping:
            self._keeper.gave_up.wait(_LONGEST_KEEPING_S)

    def join(self, timeout_s: float) -> None:
        """Wait for the threads to end, so long at most."""
        self._threads.join(timeout_s)

    def tell_if_away(self) -> None:
        """Somebody waited for the endpoint and waits no longer: say that it is away, if it is."""
        self._deliverer.tell_if_away()

    def leave_spool(self) -> None:
        """In a forked child, whose producer this is not: leave the folder without releasing it for others."""
        self._spool.leave()
        self._exchange.leave_leftovers()

    def before_fork(self) -> None:
        """Let no thread be inside an import or inside Arrow while the process is copied. Waits a bounded time."""
        if self._threads.are_running and self.can_wait:
            self._deliverer.loaded.wait(5.0)
            if self._lock.acquire(timeout=1.0):
                self._lock_holder = threading.get_ident()

    def after_fork(self) -> None:
        """In the parent: continue."""
        if self._lock_holder == threading.get_ident():
            self._lock_holder = None
            self._lock.release()

    def _could_not_start(self, error: Exception) -> None:
        self._outbox.parked = True  # the next call tries again
        self._say(f"no thread could be started ({error}). Records wait in memory, and the next call tries again.")

    def _keep_here(self) -> None:
        """No thread was to be had: bring what waits to the spool in the caller's, which ends the producer."""
        if self.ended or not self._lock.acquire(blocking=False):
            return
        self._lock_holder = threading.get_ident()
        try:
            if not is_subinterpreter():
                self._packer.load()
                self._backlog.keep_all()
                if self._url is None:
                    self._backlog.settle_kept()
        except Exception:  # noqa: BLE001 - no error of ours ends a training run
            self._say("records could not be written to the disk.", exc_info=True)
        finally:
            self._lock_holder = None
            self._lock.release()
        self._deliverer.end()


def new_id() -> str:
    """A short id that is unique, and sorts by the time it was made."""
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    moment, text = int(time.time() * 1000), ""
    while moment:
        moment, digit = divmod(moment, 36)
        text = digits[digit] + text
    return f"{text}-{os.urandom(4).hex()}"
