"""What a store can also do, where several endpoints use it at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from streamvis.alerts import AlertJournal
from streamvis.records import Cursor
from streamvis.store.interface import Store

__all__ = ["SharedStore"]


@runtime_checkable
class SharedStore(Store, Protocol):
    """A store that several endpoints use at a time. What the others commit is told to listeners as soon as it is heard of, which
    may fail without a word: whoever waits for news asks for `heads` now and then.
    """

    def heads(self, runs: Sequence[str]) -> Mapping[str, Cursor]:
        """The heads of the logs of these runs, of those that are there. Costs one look at each run's row."""
        ...

    def alerts(self) -> AlertJournal:
        """The journal of alerts that the endpoints post, each of them once."""
        ...

    def share_signs(self, runs: Sequence[str], *, within_s: float) -> Mapping[str, float]:
        """Note that producers of these runs were heard of now. Returns for each running run of which any endpoint heard within
        the last `within_s` how many seconds ago that was.
        """
        ...
