"""What a page says of the runs that it shows."""

from __future__ import annotations

import time
from collections.abc import Sequence

from streamvis.counting import agreeing, counted
from streamvis.page.documents.link import Notice
from streamvis.page.feeds.following import Following
from streamvis.page.time_text import moment
from streamvis.records import VANISHED

__all__ = ["of_dropped_records", "of_reading", "of_vanished_producers"]

_READING_NOTICE_AFTER_S = 1.0


def of_vanished_producers(followings: Sequence[Following]) -> list[Notice]:
    """The producer that was not heard of for the longest time."""
    gone = [its for its in followings if its.run.state == VANISHED]
    if not gone:
        return []
    its = min(gone, key=lambda its: its.heard)
    which = "The producer" if len(followings) == 1 else f"The producer of {its.run.label}"
    title = f"{which} was last heard of at {moment(its.heard)}"
    return [Notice("vanished", title, "It was killed, or cannot reach the endpoint.")]


def of_dropped_records(followings: Sequence[Following]) -> list[Notice]:
    """How many records the producers dropped."""
    dropped = sum(its.run.dropped for its in followings)
    if not dropped:
        return []
    why = "Its producers could not keep them: the endpoint was away or too slow, and their spools were full."
    what = "this run" if len(followings) == 1 else "these runs"
    return [Notice("slow", f"{counted(dropped, 'record')} of {what} {agreeing(dropped, 'was', 'were')} dropped", why)]


def of_reading(followings: Sequence[Following]) -> list[Notice]:
    """How much was read so far, where reading the past takes a while."""
    late = [its for its in followings if time.monotonic() - its.reading_since > _READING_NOTICE_AFTER_S]
    if not any(its.reads_past for its in late):
        return []
    return [Notice("reading", f"Loading earlier data: {sum(its.read_rows for its in late):,} rows so far")]
