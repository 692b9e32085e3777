"""A producer: one client in one process, from its outbox to the endpoint.

Two threads, with one job each: the `Writer` takes what waits in the outbox and writes it to the `Log`; the `Sender` reads the log
and delivers it. The writer starts first, and starts the sender after its first write. `_forming` is held while a thread is in
Arrow, or may import something. Calls of the program's own threads take no lock here, since they may interrupt one another (see
`threads`), but while they import Arrow, and around a fork.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress
from typing import Any

from streamvis.client.notices import say_once
from streamvis.client.outbox import Outbox
from streamvis.client.process.imports import undisturbed
from streamvis.client.process.threads import Threads
from streamvis.client.producer_log import Log, Settings
from streamvis.client.sender import Sender
from streamvis.client.writer import Writer

__all__ = ["Producer", "new_id"]

_LONGEST_IMPORT_S = 5.0
_LONGEST_WRITE_S = 10.0


class Producer:
    """Sends what comes into `outbox` under an id of its own. `log` says what became of it."""

    def __init__(self, outbox: Outbox, settings: Settings) -> None:
        self.id = new_id()
        self._outbox = outbox
        self.log = Log(self.id, settings, outbox, say=say_once())
        self._forming = threading.Lock()
        # The threads that fork now, and what each of them holds for it.
        self._forking: dict[int, list[Any]] = {}
        self._writer = Writer(
            outbox,
            self.log,
            forming=self._forming,
            is_awaited=lambda: self._sender.is_waiting,
            on_frame=self._see_frame,
        )
        self._sender = Sender(outbox, self.log, self._writer, forming=self._forming)
        self._has_sender = self._is_closed = False
        self._threads = Threads("streamvis-writer", self._write, on_failure=self._could_not_start)

    @property
    def was_asked(self) -> bool:
        """Whether there was ever anything to send."""
        return self._threads.was_asked

    @property
    def stopping(self) -> bool:
        """Whether it was told to end."""
        return self._writer.stopping

    @stopping.setter
    def stopping(self, stopping: bool) -> None:
        self._writer.stopping = stopping

    @property
    def cannot_start(self) -> bool:
        """Whether no thread can be started."""
        return self._threads.problem is not None

    @property
    def ended(self) -> bool:
        """Whether nothing is sent any more."""
        return self._threads.ended.is_set()

    @property
    def can_wait(self) -> bool:
        """Whether a call may wait for this producer; it would wait for itself otherwise, or for threads that stand still."""
        return not (self._threads.are_own or threading.get_ident() in self._forking or sys.is_finalizing())

    @property
    def unsettled_records(self) -> int:
        """How many records left the outbox and are not settled."""
        return self.log.unsettled_records + self._writer.unwritten_records

    @property
    def is_settled(self) -> bool:
        """Whether nothing that left the outbox waits."""
        return self.log.settled == self.log.end and not self._writer.unwritten_records

    def start(self) -> None:
        """Start the threads, unless they are there. Where none can be started, the next call tries again."""
        self._threads.start()

    def load(self) -> None:
        """Import what the sender needs, or wait until it has. If that fails now, the sender tries again.

        Other libraries look for Arrow among the loaded modules, as scikit-learn does, and must not find half of it.
        """
        if self.cannot_start:
            return
        with undisturbed():
            # A signal's handler may begin a run within an import for whose end the sender waits: not forever.
            if self._sender.importing.acquire(timeout=_LONGEST_IMPORT_S):
                try:
                    with suppress(Exception):  # whatever an import raises: the sender meets it too, and says so
                        self._sender.load()
                finally:
                    self._sender.importing.release()

    def forget(self, run: str) -> None:
        """Send nothing of `run` any more, unless it is begun again."""
        self.log.runs.gone.add(run)
        self.deliver_soon()

    def stop(self) -> None:
        """Let the threads end as soon as all is settled."""
        self._writer.stopping = True
        if not self._threads.was_asked:
            self._threads.ended.set()
        self._outbox.release()
        self._sender.hurry.ring()

    def deliver_soon(self) -> None:
        """A caller waits: write what there is, and gather no longer."""
        self._outbox.awake.ring()
        self._sender.hurry.ring()

    def give_up(self) -> None:
        """Let the threads end now, and leave what is not settled in the log."""
        self._sender.given_up = True
        self.stop()
        if not self._threads.are_running:
            self._write_here()
        elif self.can_wait and not self._writer.ended.wait(1.0) and self._writer.is_writing:
            self._writer.ended.wait(_LONGEST_WRITE_S)

    def join(self, timeout_s: float) -> None:
        """Wait for the threads to end, so long at most."""
        self._threads.join(timeout_s)

    def tell_if_away(self) -> None:
        """A caller waited for the endpoint and waits no longer: say that it is away, if it is."""
        self._sender.tell_if_away()

    def leave_spool(self) -> None:
        """In a forked child, whose producer this is not: leave the folder without releasing it for others."""
        self.log.leave()
        if self._sender.exchange is not None:
            self._sender.exchange.leave()

    def before_fork(self) -> None:
        """Let no thread be inside an import, Arrow or the log while the process is copied. Waits a bounded time."""
        if self._threads.are_running and self.can_wait and not self.ended:
            held = self._forking[threading.get_ident()] = []
            locks = (self._sender.importing, _LONGEST_IMPORT_S), (self._forming, 1.0), (self.log.lock, 1.0)
            held += (lock for lock, most_s in locks if lock.acquire(timeout=most_s))

    def after_fork(self) -> None:
        """In the parent: continue."""
        for lock in self._forking.pop(threading.get_ident(), ()):
            lock.release()

    def _write(self) -> None:
        """The first thread."""
        try:
            self._writer.run()
        finally:
            if not self._has_sender:
                self._sender.ended.set()
            self._close()

    def _send(self) -> None:
        """The second thread."""
        try:
            self._sender.run()
        finally:
            self._close()

    def _see_frame(self, is_awaited: bool) -> None:
        if not self._has_sender:
            self._has_sender = self._threads.add("streamvis-sender", self._send)
        if self.log.settings.url is None:
            self.log.settings.place.tell()
        self._sender.see_frame(is_awaited)

    def _close(self) -> None:
        """Both threads, or the caller's, are at their end: the last of them closes everything."""
        if not (self._writer.ended.is_set() and self._sender.ended.is_set()):
            return
        with self.log.lock:
            is_closed, self._is_closed = self._is_closed, True
        if is_closed:
            return
        try:
            if self._sender.exchange is not None:
                self._sender.exchange.close()
            with self.log.lock:
                self.log.close()
        except Exception:  # noqa: BLE001 - the end of the thread
            self.log.say("an unexpected error while the sender ended.", exc_info=True)
        finally:
            self._threads.ended.set()
            self._outbox.discard()

    def _could_not_start(self, error: Exception) -> None:
        self._outbox.parked = True  # the next call tries again
        self.log.say(f"no thread could be started ({error}). Records wait in memory, and the next call tries again.")

    def _write_here(self) -> None:
        """No thread could be started: write what waits to the log in the caller's, which ends the producer."""
        if self.ended or self._has_sender:
            return
        self._has_sender = True  # none is to start now; and a signal handler may come here again
        self._writer.write_all()
        self._writer.ended.set()
        self._sender.ended.set()
        self._close()


def new_id() -> str:
    """A short id that is unique, and sorts by the time it was made."""
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    moment, text = int(time.time() * 1000), ""
    while moment:
        moment, digit = divmod(moment, 36)
        text = digits[digit] + text
    return f"{text}-{os.urandom(4).hex()}"
