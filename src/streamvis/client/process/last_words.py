"""What a producer says on standard error as it ends: what did not reach the endpoint, and where it is."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from streamvis.client.road import Road
from streamvis.counting import agreeing, counted

__all__ = ["report", "tell"]


def report(road: Road) -> None:
    """Say what became of records that are not stored."""
    log, left, kept_in = road.producer.log, road.unsettled_records, road.producer.log.kept_in
    lost, among = left - log.kept_records, "of them"
    if road.url is None and kept_in and (log.kept_records or not left):
        tell(_kept_for_later(log.kept_records, kept_in))
        among = "more"
    elif left:
        # There may be a folder with nothing in it but the begin of the run.
        kept = f" {_kept_for_the_next(log.kept_records, left, kept_in)}" if kept_in and log.kept_records else ""
        tell(f"{counted(left, 'record')} did not reach {road.url or 'the disk'} in time.{kept}")
    if lost > 0:
        tell(f"{lost:,} {among} {agreeing(lost, 'was', 'were')} in memory alone, and {agreeing(lost, 'is', 'are')} lost.")
    if dropped := road.lost_records:
        tell(f"{counted(dropped, 'record')} {agreeing(dropped, 'was', 'were')} dropped.")
    if refused := log.runs.refused_records:
        folder = log.runs.set_aside_in
        kept = f" {_some(log.runs.set_aside_records, refused)} in {folder.parent}." if folder else ""
        tell(f"{counted(refused, 'record')} {agreeing(refused, 'was', 'were')} refused by {road.url}.{kept}")


def tell(text: str) -> None:
    """Print a line, where that can be done."""
    try:
        print(f"Streamvis: {text}", file=sys.stderr, flush=True)
    except (OSError, ValueError, AttributeError, RuntimeError):
        pass  # standard error is closed, or there is none, or a signal handler interrupted somebody who writes there


def _kept_for_later(kept: int, folder: Path) -> str:
    told = f"{counted(kept, 'record')} {agreeing(kept, 'is', 'are')} kept in {folder}."
    return f"{told} Deliver {agreeing(kept, 'it', 'them')}: {_sync(folder)} --url http://HOST:PORT"


def _kept_for_the_next(kept: int, left: int, folder: Path) -> str:
    told = f"{_some(kept, left)} kept in {folder}. The next producer delivers {agreeing(min(kept, left), 'it', 'them')}"
    return f"{told}, or: {_sync(folder)}"


def _some(count: int, all_: int) -> str:
    """So many of all, as the subject of a sentence, and its verb."""
    if count >= all_:
        return agreeing(all_, "It is", "They are")
    return f"{count:,} of them {agreeing(count, 'is', 'are')}"


def _sync(folder: Path) -> str:
    return f"streamvis sync {shlex.quote(str(folder.parent))}"
