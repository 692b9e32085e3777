"""What a producer knows of its runs while anything of them is unsettled: how each began, and how many records it lost.

One thread at a time changes it, under the log's lock; any may read.
"""

from __future__ import annotations

from collections.abc import Mapping

from streamvis.client.entries import Begin
from streamvis.client.outbox import Outbox

__all__ = ["Runs"]


class Runs:
    """The runs of one producer, whose records pass through `outbox`. `current` began last, and `is_open` until it ends."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._dropped_seen = 0
        self._lost_records = 0
        self.current: Begin | None = None
        self.is_open = False
        self.gone: set[str] = set()
        """Those of which nothing is sent any more."""
        self._begins: dict[str, Begin] = {}
        self._last_numbers: dict[str, int] = {}
        self._lost: dict[str, int] = {}

    @property
    def name(self) -> str:
        """The id of the current one; "" before there is one."""
        return self.current.run if self.current is not None else ""

    @property
    def lost_records(self) -> int:
        """How many records of all runs will never be delivered, those that the outbox dropped included."""
        return self._lost_records + self._outbox.dropped - self._dropped_seen

    @property
    def lost(self) -> Mapping[str, int]:
        """The runs that lost records, and how many."""
        return self._lost

    def begin(self, begin: Begin, number: int) -> None:
        """What comes now belongs to another run; `number` is the last batch before it."""
        self.see_dropped()
        self.gone.discard(begin.run)
        self.current = self._begins[begin.run] = begin
        self.is_open = True
        self.note_batch(begin.run, number)

    def known(self, run: str) -> Begin | None:
        """How a run began; None where it did not begin here, or all of it is settled."""
        return self._begins.get(run)

    def note_batch(self, run: str, number: int) -> None:
        """A batch of the run has the number."""
        self._last_numbers.pop(run, None)
        self._last_numbers[run] = number

    def lose(self, run: str, records: int) -> None:
        """So many more records of the run will never be delivered."""
        if records:
            self._lost_records += records
            self._lost[run] = self._lost.get(run, 0) + records

    def see_dropped(self) -> None:
        """What the outbox dropped since the last look is of the current run."""
        if self.current is not None:
            dropped = self._outbox.dropped
            self._dropped_seen, new = dropped, dropped - self._dropped_seen
            self.lose(self.current.run, new)

    def lost_of(self, run: str) -> int:
        """How many records of the run were lost."""
        return self._lost.get(run, 0)

    def forget_settled(self, number: int) -> list[str]:
        """All batches up to `number` are settled: forget the runs that have no more of them, and return which these are."""
        over = []
        for run, last in self._last_numbers.items():
            if last > number or run == self.name:
                break  # they are in the order of their last batches
            over.append(run)
        for run in over:
            del self._last_numbers[run]
            self._begins.pop(run, None)
            self._lost.pop(run, None)
            self.gone.discard(run)
        return over
