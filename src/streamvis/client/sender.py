"""What stands behind one `Client`: its outbox, and the producer that empties it. After a fork the child has another."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from streamvis.client.entries import CONTROL, Begin, End, Entry, Marker
from streamvis.client.outbox import Outbox
from streamvis.client.producer import Producer

__all__ = ["Sender"]

log = logging.getLogger("streamvis")

_LONGEST_DURABLE_S = 60.0
_LOOK_AGAIN_S = 1.0


class Sender:
    """Puts records and control records on their way. Its threads start with the first of them; `on_start` is called then."""

    def __init__(
        self,
        url: str | None,
        app: str,
        *,
        make_transport: Callable[[], Any],
        on_start: Callable[[Sender], None],
        spool_folder: Path,
        durable: bool = False,
        max_memory_bytes: int,
        max_spool_bytes: int,
    ) -> None:
        self.url = url
        self.outbox = Outbox(self.wake, max_bytes=max_memory_bytes)
        self._on_start = on_start
        self._new_producer = lambda: Producer(
            self.outbox,
            url=url,
            app=app,
            make_transport=make_transport,
            spool_folder=spool_folder,
            durable=durable,
            max_memory_bytes=max_memory_bytes,
            max_spool_bytes=max_spool_bytes,
        )
        self.producer = self._new_producer()
        self._starting = threading.RLock()
        self._begun: Begin | None = None
        self._inherited: list[Any] = []

    @property
    def is_stopped(self) -> bool:
        """Whether it was told to end: another run needs another sender."""
        return self.producer.stopping

    @property
    def is_untouched(self) -> bool:
        """Whether there was nothing to send yet. A forked child that sends nothing never becomes a producer."""
        return not self.producer.started

    @property
    def unsettled_records(self) -> int:
        """How many records the endpoint has neither acknowledged nor refused."""
        waiting = sum(entry[0] is not CONTROL for entry in list(self.outbox.entries))
        return waiting + self.producer.unsettled_records

    @property
    def lost_records(self) -> int:
        """How many were dropped."""
        return self.producer.lost_records

    @property
    def failed_records(self) -> int:
        """How many will never be stored: dropped, or refused by the endpoint."""
        return self.lost_records + self.producer.set_aside_records

    def begin(self, begin: Begin) -> Marker:
        """Start or join a run, after finishing the one before; the marker tells when the endpoint knows of it."""
        if self.is_untouched:
            self.outbox.entries.clear()  # a child that starts a run of its own does not join its parent's
        else:
            self.end("finished")
        self._begun = begin
        marker = Marker(wants_errors=True)
        self.control(begin, marker)
        return marker

    def end(self, state: str) -> None:
        """Finish the run that was begun, if there is one."""
        if self._begun is not None and not self.is_untouched:
            self.control(End(state))
        self._begun = None

    def forget(self, run: str) -> None:
        """The run could not be begun: send nothing of it."""
        self.producer.forget(run)
        self._begun = None

    def control(self, *records: Any) -> None:
        """Put control records on their way."""
        now = time.time()
        self.outbox.put_always(*((CONTROL, None, now, None, record, 0) for record in records))
        self.producer.deliver_soon()

    def put_durably(self, entry: Entry) -> bool:
        """Add an entry, and return when it is stored, or on the local disk; False when it was dropped for want of room."""
        if not self.outbox.put(entry):
            return False
        marker = self.mark(durable=True)
        self.producer.keep_soon()
        deadline = time.monotonic() + _LONGEST_DURABLE_S
        while not marker.reached.wait(_LOOK_AGAIN_S):
            if self.producer.ended or time.monotonic() >= deadline:
                log.warning("Streamvis: a record could not be brought to the disk, and the call returns all the same.")
                break
        return True

    def mark(self, *, durable: bool = False) -> Marker:
        """A marker behind all that is in the outbox now; see `Marker`."""
        marker = Marker(durable=durable)
        if self.is_untouched:
            marker.reach()
        else:
            self.control(marker)
        return marker

    def wake(self) -> None:
        """There is something to send: start the threads, or let them go on."""
        self.outbox.parked = False
        if not self.producer.started:
            with self._starting:
                if not self.producer.started and not self.producer.stopping:
                    self._start()
        self.outbox.awake.set()

    def _start(self) -> None:
        try:
            self.producer.start()
        except RuntimeError as error:  # no more threads, or the interpreter is ending
            log.warning("Streamvis: nothing can be sent (%s).", error)
        else:
            self._on_start(self)

    def abandon(self) -> None:
        """Nobody holds the client any more: finish the run and end when all is settled, without anybody waiting."""
        if not self.is_stopped and not self.is_untouched:
            self.end("finished")
            self.producer.stop()

    def after_fork_in_child(self) -> None:
        """Become another producer of the same run, with nothing of the parent's to send."""
        # Kept, not freed: what the parent's threads hold (sockets, files, a device's memory) is not the child's to close.
        self._inherited.append((self.producer, self.outbox.entries))
        self.producer.leave_spool()
        stopped = self.is_stopped
        self.outbox.empty_out()
        self.producer = self._new_producer()
        self.producer.stopping = stopped
        self._starting = threading.RLock()
        if self._begun is not None:
            self._begun = self._begun._replace(joins=True, name=None)
            # Not `control`: it goes out with the child's first record, if there is one.
            self.outbox.entries.append((CONTROL, None, time.time(), None, self._begun, 0))
