"""The second thread of a producer: reads the first batch of the log, and brings it to the endpoint until it is settled.

A batch is settled when the endpoint acknowledged it, or refused it permanently. Until then it is sent again, the same bytes with
the same number. One batch is under way at a time. It decides when the next is taken, how long to wait before another try, what
is said about an endpoint that is away, and what becomes of errors of ours: they stop no training run and lose no record.

HTTP and Arrow are imported here; until then the writer writes notes. What earlier producers left
in the same folder of spools is delivered in between, while little of its own waits.
"""

from __future__ import annotations

import importlib
import logging
import math
import os
import threading
import time
from typing import Any

from streamvis.client.notices import say
from streamvis.client.outbox import Outbox
from streamvis.client.process.threads import Bell, Latch
from streamvis.client.producer_log import Log
from streamvis.client.spool.frames import Outgoing
from streamvis.client.writer import PASSING, Writer
from streamvis.errors import EndpointError, NotAnEndpoint, TokenRefused, VersionMismatch

__all__ = ["Sender"]

log = logging.getLogger("streamvis")

_LARGE_BYTES = 256 * 2**10
"""A batch of so many bytes is worth a request of its own, whatever pace the endpoint asks for."""
_REST_FOR_WORK = 9.0
"""So much longer than the work of a batch is the rest after it: this thread shares the interpreter's lock with the program, and
takes a tenth of its time at most while records keep coming."""
_LONGEST_REST_S = 0.1
_ADOPT_EVERY_S = 0.25
_LONGEST_WAIT_S = 10.0
_RETRY_S = (0.0, 0.05, 0.1, 0.2, 0.4, 0.75)
_SILENT_S = 2.0
"""For so long after its start nothing is said of an endpoint that has not answered yet: it may be starting too."""
_MOST_TRIES = 8
"""So often a batch is tried that an unexpected error stops."""
_MOST_TRIES_FOR_MEMORY = 80
"""The same where memory is short, which is most likely over within a minute."""
_UNUSABLE = (NotAnEndpoint, TokenRefused, VersionMismatch)


class Sender:
    """Sends what is in the log. Without an endpoint it only loads Arrow.

    `importing` is held during imports. `hurry` is rung when a wait should end, and `is_waiting` is true while there is
    nothing to send.
    """

    def __init__(self, outbox: Outbox, log: Log, writer: Writer, *, forming: threading.Lock) -> None:
        self._outbox, self._log, self._writer, self._lock, self._say = outbox, log, writer, log.lock, log.say
        self._url, self._forming = log.settings.url, forming
        self.exchange: Any = None
        self.ended = Latch()
        self.importing = threading.RLock()  # a signal's handler may begin a run while its thread loads
        self.hurry = Bell()
        self.is_waiting = self.given_up = False
        self._under_way: Outgoing | None = None
        self._failures = self._errors = 0
        self._work_s = 0.0
        self._adopted_at = 0.0
        self._silent_until = 0.0
        self._trouble: EndpointError | None = None
        self._warned_away = False

    def run(self) -> None:
        """The thread. It ends when the writer has ended and all is settled, or when it is given up."""
        try:
            if self._has_loaded() and self._url is not None:
                self._silent_until = time.monotonic() + _SILENT_S
                self._deliver_on()
        except Exception:  # noqa: BLE001 - the top of the thread: a training run continues where Streamvis cannot
            self._say("an unexpected error ended the sender; nothing more is sent.", exc_info=True)
        finally:
            self.ended.set()

    def tell_if_away(self) -> None:
        """A caller waited for the endpoint and waits no longer: say that it is away, if it is."""
        self._silent_until = 0.0
        if self._trouble is not None:
            self._warn_away(self._trouble)

    def see_frame(self, is_awaited: bool) -> None:
        """There is a frame more; with whether somebody waits for what is in it. For the writer."""
        if is_awaited or self.is_waiting:
            self.hurry.ring()

    @property
    def _is_over(self) -> bool:
        return self.given_up or (self._writer.ended.is_set() and self._log.settled == self._log.end)

    def load(self) -> None:
        """Import what takes long, in any thread. A child that is forked meanwhile would wait for it forever."""
        with self.importing:
            self._writer.encode = importlib.import_module("streamvis.client.encoding").encode
            if self._url is not None and self.exchange is None:
                exchange = importlib.import_module("streamvis.client.exchange")
                self.exchange = exchange.Exchange(self._log, forming=self._forming)

    def _has_loaded(self) -> bool:
        """Load, however often that fails; False when it is to end before."""
        failures = 0
        while True:
            try:
                self.load()
                return True
            except Exception as error:  # no file descriptor is left, or a library does not load at all
                log.debug("Streamvis: the sender cannot load", exc_info=True)
                self._say(f"the sender cannot load now ({type(error).__name__}: {error}). Records wait meanwhile.")
                failures += 1
            if self.given_up or (self._writer.stopping and failures >= _MOST_TRIES):
                return False
            self.hurry.wait(_RETRY_S[min(failures, len(_RETRY_S) - 1)])

    def _deliver_on(self) -> None:
        while not self._is_over:
            try:
                self.hurry.clear()  # whatever rang is in the log by now
                with self._lock:
                    batch = self._under_way = self._log.head()
                if batch is None:
                    self._wait()
                elif self._deliver(batch):
                    self._gather(batch)
                    if time.monotonic() - self._adopted_at > _ADOPT_EVERY_S and not self._log.is_behind:
                        self._adopt()
            except Exception as error:  # noqa: BLE001 - the top of the thread: no error of ours ends a training run
                self._survive(error)

    def _wait(self) -> None:
        """Nothing waits to be sent: show the endpoint that the producer lives, deliver what others left, or wait."""
        self.exchange.show_alive()
        if self._adopt():
            return
        self.is_waiting = True
        try:
            if self._outbox.entries:
                self._outbox.awake.ring()
            if self._log.settled == self._log.end and not self._is_over:
                self.hurry.wait(_LONGEST_WAIT_S)
        finally:
            self.is_waiting = False

    def _deliver(self, batch: Outgoing) -> bool:
        """Whether the batch is settled."""
        began_s = time.thread_time()
        try:
            refused = self.exchange.deliver(batch)
        except EndpointError as error:
            self._wait_for_return(error)
            return False
        self._settle(batch, error=refused)
        self._work_s = time.thread_time() - began_s
        return True

    def _gather(self, batch: Outgoing) -> None:
        """Rest, for as long as the endpoint asks for or the work was long, unless somebody waits for what comes, or what is next
        is complete."""
        rest_s = max(self.exchange.pace_s * _spread(), min(_REST_FOR_WORK * self._work_s, _LONGEST_REST_S))
        if batch.bytes < _LARGE_BYTES and not self._writer.stopping:
            if not (self._log.is_behind or self._log.is_awaited or self._writer.brings_control):
                self.hurry.wait(rest_s)

    def _adopt(self) -> bool:
        """Deliver a batch that an earlier producer left; False when there is none, or none can be delivered now."""
        if not self._log.settled or self._failures:
            return False
        self._adopted_at = time.monotonic()
        return self.exchange.deliver_leftover()

    def _settle(self, batch: Outgoing, *, error: Exception | None = None) -> None:
        with self._lock:
            self._log.settle(batch, error=error)
        self._failures = self._errors = 0
        self._under_way = self._trouble = None
        self._silent_until = 0.0
        if self._warned_away:
            self._warned_away = False
            say("the endpoint at %s answers again; waiting records are being delivered.", self._url)

    def _wait_for_return(self, error: EndpointError) -> None:
        """The endpoint did not take the batch now: say so once, and wait before the next try."""
        self._failures += 1
        self._errors = 0
        self._trouble = error
        if isinstance(error, _UNUSABLE):
            with self._lock:
                self._log.release_failed(error)
        if self._failures >= 2 and time.monotonic() >= self._silent_until:
            self._warn_away(error)
        # Those who wait for a batch ring often, and an endpoint in trouble is not to be asked as often.
        self._rest(_RETRY_S[min(self._failures, len(_RETRY_S)) - 1] * _spread())

    def _rest(self, for_s: float) -> None:
        """Wait, however often somebody rings; not while the producer is to end."""
        until = time.monotonic() + for_s
        while (left_s := until - time.monotonic()) > 0 and not (self.given_up or self._writer.stopping):
            self.hurry.wait(left_s)

    def _warn_away(self, error: EndpointError) -> None:
        if not self._warned_away:
            self._warned_away = True
            self._log.settings.place.tell()
            segments = self._log.segments
            where = f" in memory alone ({segments.problem})" if segments.memory_bytes else ""
            say("%s. Records are kept%s and will be sent when it responds.", str(error).rstrip("."), where)

    def _survive(self, error: Exception) -> None:
        """An error of ours, or of what we use: say so once, and try again; set aside the batch that it stops again and again."""
        self._say("an unexpected error in the sender; it tries again.", exc_info=True)
        self._errors += 1
        batch = self._under_way
        try:
            if batch is not None and self._errors >= _most_tries(error, is_sent=self.exchange.may_have_stored(batch)):
                self.exchange.set_aside(batch, error)
                self._settle(batch)
                return
            rest_s = _RETRY_S[min(self._errors, len(_RETRY_S) - 1)]
            self._rest(rest_s)
            if self._writer.stopping:
                self.hurry.wait(rest_s)
        except Exception:  # noqa: BLE001 - the same trouble again: it is tried once more
            time.sleep(_RETRY_S[1])


def _most_tries(error: Exception, *, is_sent: bool) -> float:
    if isinstance(error, MemoryError) and not is_sent:  # what may be stored is asked about until the answer can be read
        return _MOST_TRIES_FOR_MEMORY
    return math.inf if isinstance(error, PASSING) else _MOST_TRIES


def _spread() -> float:
    """About 1, and another number for each producer, so that they do not all come at once."""
    return 0.75 + os.urandom(1)[0] / 512
