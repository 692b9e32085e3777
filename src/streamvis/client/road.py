"""What stands behind one `Client`: the road of its records, from the outbox on. After a fork the child has another producer.

Copies of a client, however they are made (`copy`, pickle to another process, joblib): in one process all are one object, since a
client stands for something of the process, as a file or a lock does. In another process they are one client too, however often
they arrive there, and it joins the run as a forked child does: as a producer of its own, with its first record. What a client
tells of itself is a `Traveller`: no threads, sockets or files.
"""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from streamvis.client.notices import say
from streamvis.client.outbox import CONTROL, Begin, End, Entry, Marker, Outbox
from streamvis.client.producer import Producer
from streamvis.client.producer_log import Settings
from streamvis.client.spool.folders import Owner

__all__ = ["Road", "Traveller", "arrived", "known"]

_LONGEST_DURABLE_S = 60.0
_LONGEST_AT_EXIT_S = 2.0
_LOOK_AGAIN_S = 0.1


class Road:
    """Puts records and control records on their way. Its threads start with the first of them; `on_start` is called then."""

    def __init__(self, settings: Settings, *, on_start: Callable[[Road], None]) -> None:
        self.url = settings.url
        self.outbox = Outbox(self.wake, max_bytes=settings.max_memory_bytes, can_wait=lambda: self.producer.can_wait)
        self._on_start = on_start
        self._new_producer = lambda: Producer(self.outbox, settings)
        self.producer = self._new_producer()
        self._begun: Begin | None = None
        self._told_of_end = self._waited_in_vain = self._is_joined = False
        self._failed_before = 0
        self._ancestors: tuple[tuple[str, Owner], ...] = ()
        self._since = (os.getpid(), time.time())
        self._inherited: list[Any] = []

    @property
    def is_stopped(self) -> bool:
        """Whether it was told to end: another run needs another sender."""
        return self.producer.stopping

    @property
    def is_untouched(self) -> bool:
        """Whether there was nothing to send yet. A forked child that sends nothing never becomes a producer."""
        return not self.producer.was_asked

    @property
    def can_deliver(self) -> bool:
        """Whether waiting may help: there are threads, and this is none of them."""
        return self.producer.can_wait and not (self.producer.ended or self.producer.cannot_start)

    @property
    def has_delivered(self) -> bool:
        """Whether all that was sent is stored; or on the disk, where there is no endpoint."""
        left = self.unsettled_records - (self.producer.log.kept_records if self.url is None else 0)
        return left <= 0 and not self.failed_records

    @property
    def unsettled_records(self) -> int:
        """How many records the endpoint has neither acknowledged nor refused."""
        waiting = sum(entry[0] is not CONTROL for entry in list(self.outbox.entries))
        return waiting + self.producer.unsettled_records

    @property
    def lost_records(self) -> int:
        """How many were dropped."""
        return self.producer.log.runs.lost_records

    @property
    def failed_records(self) -> int:
        """How many will never be stored: dropped, or refused by the endpoint."""
        return self.lost_records + self.producer.log.runs.refused_records

    def has_failed_since_asked(self) -> bool:
        """Whether there are more such records than when this was asked before."""
        failed_before, self._failed_before = self._failed_before, self.failed_records
        return self._failed_before > failed_before

    def begin(self, begin: Begin) -> Marker:
        """Start or join a run, after finishing the one before; the marker tells when the endpoint knows of it."""
        if self.is_untouched:
            self.outbox.entries.clear()  # a child that starts a run of its own does not join its parent's
        else:
            self.end("finished")
        self._begun, self._ancestors, self._is_joined = begin, (), False
        marker = Marker(wants_errors=True)
        self.control(begin, marker)
        return marker

    def end(self, state: str) -> None:
        """Finish the run that was begun, if there is one."""
        if self._begun is not None and not self.is_untouched:
            self.control(End(state, tuple(producer for producer, owner in self._ancestors if owner.is_gone)))
        self._begun, self._ancestors = None, ()

    @property
    def heritage(self) -> tuple[Begin | None, tuple[tuple[str, Owner], ...]]:
        """What a copy in another process continues with: the run, and the producers of it from whose processes that one descends.

        The last of them that lives ends the run, also for those that could not say that they ended.
        """
        if self._begun is None:
            return None, ()
        own = () if self.is_untouched else ((self.producer.id, Owner.of(*self._since)),)
        return self._begun._replace(joins=True, name=None), (*self._ancestors, *own)

    def join(self, begin: Begin | None, ancestors: tuple[tuple[str, Owner], ...]) -> None:
        """Belong to a run that was begun elsewhere, from the next record on, if there is one."""
        if self.is_untouched:
            self.outbox.entries.clear()
        else:
            self.end("finished")
        self._begun, self._ancestors, self._is_joined = begin, ancestors, True
        if begin is not None:
            # Not `control`: it goes out with the first record.
            self.outbox.entries.append((CONTROL, None, time.time(), None, begin, 0))

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
        if not self.wait(marker, _LONGEST_DURABLE_S):
            say("a record could not be written to the disk; the call returns anyway.")
        return True

    def put_at_exit(self, entry: Entry) -> bool:
        """Add an entry while the program ends, when nothing is delivered later: return when it is stored, if that is soon."""
        if not self.put_durably(entry):
            return False
        if not self._waited_in_vain:
            self._waited_in_vain = not self.wait(self.mark(), _LONGEST_AT_EXIT_S)
        return True

    def wait(self, marker: Marker, timeout_s: float) -> bool:
        """Wait until a marker is reached, so long at most; whether it is. Waits for no one who cannot come."""
        deadline = time.monotonic() + timeout_s
        while not marker.reached.is_set():
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not self.can_deliver:
                break
            marker.reached.wait(min(left_s, _LOOK_AGAIN_S))
        marker.is_abandoned = True
        return self.has_reached(marker)

    def has_reached(self, marker: Marker) -> bool:
        """Whether all before the marker is settled. One that came after the end is passed by no one, and tells nothing."""
        return marker.reached.is_set() or (self.producer.ended and not self.outbox.entries and self.producer.is_settled)

    def mark(self, *, durable: bool = False) -> Marker:
        """A marker behind all that is in the outbox now; see `Marker`."""
        marker = Marker(durable=durable)
        if self.is_untouched:
            marker.reach()
        else:
            self.control(marker)
        return marker

    def wake(self) -> None:
        """There is something to send: start the threads, or let them continue."""
        self.outbox.parked = False
        try:
            if not self.producer.ended:
                self._start()
            self.outbox.awake.ring()
        except BaseException:  # a signal's handler raised here, as at Ctrl-C: the next call wakes the writer
            self.outbox.parked = True
            raise
        if self.producer.ended:
            self._discard()

    def _start(self) -> None:
        was_asked = self.producer.was_asked
        self.producer.start()
        if not was_asked:
            self._on_start(self)
            if self._is_joined:
                self.producer.load()  # as `init` does

    def _discard(self) -> None:
        """What comes when all has ended, as from a function of the program's own that `atexit` calls later, goes nowhere."""
        dropped = self.outbox.dropped
        self.outbox.discard()
        if self.outbox.dropped > dropped and not self._told_of_end:
            self._told_of_end = True
            say("records that were sent after the client had ended are dropped.")

    def abandon(self) -> None:
        """No one holds the client any more: finish the run and end when all is settled, without anybody waiting."""
        if not self.is_stopped and not self.is_untouched:
            self.end("finished")
            self.producer.stop()
            if self.producer.cannot_start:
                self.producer.give_up()

    def after_fork_in_child(self) -> None:
        """Become another producer of the same run, with nothing of the parent's to send."""
        # Kept, not freed: what the parent's threads hold (sockets, files, a device's memory) is not the child's to close.
        self._inherited.append((self.producer, self.outbox.entries))
        self.producer.leave_spool()
        stopped, heritage = self.is_stopped, self.heritage
        self.outbox.empty_out()
        self.producer = self._new_producer()
        self.producer.stopping = stopped
        self._failed_before = 0
        self._since = (os.getpid(), time.time())
        self.join(*heritage)


# Copies

_clients: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()


class Traveller(NamedTuple):
    """A client on its way to another process. `given` made it; `begin` is None where no run is open.

    `ancestors` are the producers that it descends from, see `Road.heritage`.
    """

    kind: type
    id: str
    pid: int
    given: Mapping[str, Any]
    run: str | None
    begin: Begin | None
    ancestors: tuple[tuple[str, Owner], ...]


def known(client: Any, id: str) -> None:
    """From now on copies of `client` that arrive in this process are the client."""
    _clients[id] = client


def arrived(*told: Any) -> Any:
    """The client in this process that a copy is. For pickle to call."""
    traveller = Traveller(*told)
    client = _clients.get(traveller.id)
    if client is None:
        client = traveller.kind(**traveller.given)
        client.become(traveller)
        known(client, traveller.id)
    elif traveller.pid != os.getpid() and client.run != traveller.run:
        client.become(traveller)  # it was inherited by a fork, before this run began
    return client
