"""What has left the outbox and is not settled: packed into numbered batches, under way or in the spool, with who waits for it.

For one thread at a time: its user holds a lock, and never while it waits for the network.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from streamvis.client.entries import CONTROL, Marker
from streamvis.client.extent import Extent
from streamvis.client.frames import Outgoing
from streamvis.client.losses import Losses
from streamvis.client.outbox import Outbox
from streamvis.client.packing import Packer
from streamvis.client.spool import Spool

__all__ = ["Backlog"]


_MOST_NOTED, _MOST_NOTED_BYTES = 2048, 2**18
"""So much is in the next batch for sure; and of what the outbox can hold, a fourth at most."""


class Backlog:
    """Batches in order: `next` is the one to deliver until `settle`; `keep_all` brings everything to the spool."""

    def __init__(self, outbox: Outbox, packer: Packer, spool: Spool, losses: Losses, *, say: Callable[..., None]) -> None:
        self._outbox, self._packer, self._spool, self._losses, self._say = outbox, packer, spool, losses, say
        self._current: Outgoing | None = None
        self._head: Outgoing | None = None
        self._fresh: Outgoing | None = None  # packed, and neither under way nor in the spool yet
        self._markers: list[Marker] = []
        self._spool_lost = 0
        self._forget_noted()
        self.unsettled_records = 0
        self.settled = 0

    @property
    def is_spooling(self) -> bool:
        """Whether batches wait in the spool."""
        return len(self._spool) > 0

    @property
    def kept_records(self) -> int:
        """How many records that are not settled are in files."""
        return self._spool.kept_records + self._noted

    @property
    def is_waiting(self) -> bool:
        """Whether there is anything to pack, or packed just now."""
        return self._fresh is not None or self._packer.is_waiting

    @property
    def waiting_records(self) -> int:
        """How many records left the outbox and are in no batch yet."""
        return self._packer.unpacked_records

    @property
    def is_awaited(self) -> bool:
        """Whether anybody waits for a batch, or a control record is among what waits."""
        # Copied in one step, while callers append. One that came just now may stand behind rows that the next batch begins with.
        return bool(self._all_markers) or any(entry[0] is CONTROL for entry in self._outbox.entries.copy())

    @property
    def is_behind(self) -> bool:
        """Whether a batch waits that takes no more: another came after it."""
        return self._packer.number - self.settled > 1

    @property
    def _all_markers(self) -> list[Marker]:
        return self._markers + self._packer.awaited

    def next(self) -> Outgoing | None:
        """The oldest batch, which stays until it is settled; packed now where nothing waits. None where there is nothing."""
        batch = self.oldest()
        if batch is None:
            self._pack()
            if self._fresh is not None and self._fresh.number == self._spool.last_number:
                self._fresh = self._packer.as_own(self._fresh)  # it was to be added to a batch that is delivered meanwhile
            batch, self._current, self._fresh = self._fresh, self._fresh, None
        if batch is None and not self.is_waiting:
            self._settle_to(self._packer.number)
        return batch

    def oldest(self) -> Outgoing | None:
        """The oldest batch that there is already."""
        batch = self._current or self._spool.head()
        self._count_lost()
        if batch is None or batch is self._current:
            return batch
        if self._head is None or self._head.number != batch.number:
            self._head = self._packer.gathered(batch)
        return self._head

    def settle(self, batch: Outgoing, *, error: Exception | None = None) -> None:
        """The endpoint has the batch, or never will."""
        if self._current is not None:
            self._current = None
        elif self._spool.head_number == batch.number:
            self._spool.drop_head()
            self._head = None
        self._spool.forget_notes(batch.number)
        self.unsettled_records -= batch.records
        self._settle_to(batch.number, error=error)

    def settle_kept(self) -> bool:
        """Where there is no endpoint: what is on the disk is settled. False while some of it is in memory alone."""
        self._collect_markers()
        if self._spool.memory_bytes or any(marker.durable for marker in self._markers):
            return False
        self._settle_to(self._packer.number)
        return True

    def keep_all(self) -> None:
        """Move the batch under way, and all that is in the outbox now, to the spool; whoever waits for the disk continues."""
        self._keep_current()
        until = self._packer.taken + len(self._outbox.entries)
        while self.is_waiting and (self._fresh or self._packer.is_under_way or self._packer.taken < until):
            self._pack(onto=0 if self._noted else self._spool.open_number)
            self._keep_fresh()
        self._spool.settle_down()
        if self._current is None:
            self._spool.forget_notes(self._packer.number)
        self._spool.note_dropped(self._losses.by_run)
        self._release_durable()

    def keep_or_note_all(self) -> None:
        """As `keep_all`, but what is little stays in the outbox, to go with the next batch, and is written down for a crash."""
        self._keep_current()
        if not self._note_all():
            self.keep_all()

    def _keep_current(self) -> None:
        if self._current is None or self.is_spooling:
            return  # where it found no room at first, it stays before what came later and found some
        if self._spool.append(self._current, seen=True):
            self._remember(self._current)
            self._spool.forget_notes(self._current.number)
            self._current = None

    def _note_all(self) -> bool:
        """Write down what waits in the outbox; False where that cannot be done."""
        entries = self._outbox.entries
        count = len(entries)
        most, most_bytes = min(_MOST_NOTED, self._outbox.max_entries // 4), min(_MOST_NOTED_BYTES, self._outbox.max_bytes // 4)
        if self._current is not None or self._spool.memory_bytes or self._outbox.wants_room or count > most:
            return False
        if self._fresh is not None or self._packer.is_under_way:
            return False  # it comes before what waits
        if self._spool.open_number or any(marker.durable for marker in self._all_markers):
            return False  # what is added to an open batch makes no more of them
        new = [entries[i] for i in range(self._noted, count)]  # whoever appends meanwhile disturbs an iterator, and not this
        if not new:
            return True
        sizes = [self._noted_extent.add(entry) for entry in new]
        size = None if None in sizes else self._noted_bytes + sum(sizes)
        notes = self._packer.noted(new) if size is not None and size < most_bytes else None
        if notes is None or not self._spool.note(notes):
            return False
        self._noted, self._noted_bytes = count, size
        self._remember(notes)
        self._spool.note_dropped(self._losses.by_run)
        return True

    def release(self, error: Exception) -> None:
        """Whoever wants to know of errors need not wait any more."""
        self._collect_markers()
        for marker in self._markers:
            if marker.wants_errors:
                marker.reach(error)

    def _pack(self, *, onto: int = 0) -> None:
        """Make the next batch, unless there is a fresh one."""
        if self._fresh is not None:
            return
        was_noted = self._noted > 0
        self._forget_noted()
        batch = self._fresh = self._packer.pack(onto=onto)
        if batch is not None:
            self.unsettled_records += batch.records
        elif was_noted:
            self._spool.forget_notes(self._packer.number + 1)  # another batch will have the number
        if self._outbox.dropped:
            self._say("records arrive faster than they can be kept: some were dropped.")

    def _forget_noted(self) -> None:
        self._noted, self._noted_bytes, self._noted_extent = 0, 0, Extent()

    def _keep_fresh(self) -> None:
        batch = self._fresh
        if batch is None:
            return
        if batch.number == self._spool.last_number != self._spool.open_number:
            batch = self._fresh = self._packer.as_own(batch)
        is_kept = self._spool.append(batch)
        if not is_kept and self._spool.is_interrupted(batch):
            batch = self._fresh = self._packer.as_own(batch)
            is_kept = self._spool.append(batch)
        self._fresh = None
        if not is_kept:
            self._losses.add(batch.run, batch.records)
            self.unsettled_records -= batch.records
            why = self._spool.problem or f"the limit of {self._spool.max_bytes:,} bytes is reached"
            self._say(f"no room to keep more records in {self._spool.folder} ({why}); new ones are dropped.")
            rest = self._packer.without_records(batch)
            is_kept = rest is not None and self._spool.append(rest)
        if is_kept:
            self._remember(batch)

    def _remember(self, batch: Outgoing) -> None:
        """Keep what makes its run known, for whoever delivers the batch."""
        if not self._spool.remembers(batch.run) and (begin := self._packer.joining(batch.run, time.time())):
            self._spool.remember(batch.run, begin)

    def _release_durable(self) -> None:
        self._collect_markers()
        waiting = [marker for marker in self._markers if marker.durable]
        if waiting and self._current is None and self._spool.sync():
            for marker in waiting:
                marker.reach()
            self._markers = [marker for marker in self._markers if not marker.durable]

    def _settle_to(self, number: int, *, error: Exception | None = None) -> None:
        """All batches up to `number` are settled: whoever waits for them continues."""
        self.settled = number
        self._collect_markers()
        for marker in self._markers:
            if marker.number <= number:
                marker.reach(error)
        self._markers = [marker for marker in self._markers if marker.number > number]
        for run in self._packer.forget_settled(number):
            self._spool.forget_run(run)

    def _collect_markers(self) -> None:
        self._markers += self._packer.markers
        self._packer.markers = []

    def _count_lost(self) -> None:
        """Somebody took a file of the spool away, or damaged it."""
        lost, self._spool_lost = self._spool.lost_records - self._spool_lost, self._spool.lost_records
        if lost:
            self.unsettled_records -= lost
            self._losses.add(self._packer.run, lost)
            self._say(f"{lost} records in the spool cannot be read any more ({self._spool.problem}).")
