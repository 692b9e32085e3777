"""How many records will never be delivered, by the run that they belonged to."""

from __future__ import annotations

from collections.abc import Mapping

from streamvis.client.outbox import Outbox

__all__ = ["Losses"]


class Losses:
    """Counts what could not be encoded or kept, and what the outbox dropped. One thread at a time changes it; any may read."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._outbox_seen = 0
        self._counted = 0
        self._by_run: dict[str, int] = {}

    @property
    def by_run(self) -> Mapping[str, int]:
        """The runs that lost records, and how many."""
        return self._by_run

    @property
    def records(self) -> int:
        """How many of all runs."""
        return self._counted + self._outbox.dropped - self._outbox_seen

    def add(self, run: str, records: int) -> None:
        """So many more of the run are lost."""
        if records:
            self._counted += records
            self._by_run[run] = self._by_run.get(run, 0) + records

    def look(self, run: str) -> None:
        """What the outbox dropped since the last look is of this run."""
        dropped = self._outbox.dropped
        self._outbox_seen, new = dropped, dropped - self._outbox_seen
        self.add(run, new)

    def forget(self, run: str) -> None:
        """Nothing more is sent of the run; what it lost counts in `records` alone."""
        self._by_run.pop(run, None)

    def of(self, run: str) -> int:
        """How many of one run."""
        return self._by_run.get(run, 0)
