"""Spools that producers left behind: finding them, and delivering what is in them, under the names of who wrote it.

A leftover is delivered oldest batch first, each with its own producer and number, so that whatever was delivered before is
acknowledged and not stored again. A segment is deleted when all of its batches are settled. What the endpoint refuses permanently
is set aside, so that it holds up nothing: as frames in the folder `refused` beside the spools, with a text that says why. That
folder is bounded, and only `streamvis sync --refused` delivers what is in it. Of a damaged segment all whole batches are
delivered, and a copy stays.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from streamvis.client.spool.folders import BEGIN, DROPPED, OWNER, Owner, remove, take
from streamvis.client.spool.folders import leave as leave_folder
from streamvis.client.spool.frames import Outgoing, frames_of, open_segment, scan_segment
from streamvis.client.spool.segments import SEGMENTS
from streamvis.counting import counted
from streamvis.errors import DeletedRun, EndpointError, EndpointRefused

__all__ = ["Adopter", "Leftover", "forget_refused", "refused_in", "set_aside", "spools_in"]

Post = Callable[..., Any]
"""`post(batch, begin=..., dropped=N)` sends a batch; see `exchange.post`."""
_AGAIN_AFTER_S = 5.0

REFUSED = "refused"
_MAX_FILES = 1000
_MAX_BYTES = 256 * 2**20


class Delivered(NamedTuple):
    """A batch that is settled, or bytes that are none (`batch` is None). `problem` tells why something was not stored, if so.

    `unstored_records` of the batch were not stored.
    """

    batch: Outgoing | None
    bytes: int
    problem: str = ""
    unstored_records: int = 0


class Leftover:
    """The spool in `folder`, which is ours until `close`. Every method raises OSError where its files cannot be used."""

    def __init__(self, folder: Path, held: int, owner: Owner) -> None:
        self.folder, self.owner = folder, owner
        self._held: int | None = held
        self._dropped = _dropped(folder)

    def deliver(self, post: Post) -> Iterator[Delivered]:
        """Deliver all there is, batch by batch. Raises what `post` raises where the endpoint takes nothing now."""
        for segment in self._segments():
            damaged_bytes, found = 0, scan_segment(segment)
            ahead = next(found, None)
            while ahead is not None:
                (batch, size_bytes), done = ahead, None
                if batch is None:
                    damaged_bytes += size_bytes
                else:
                    done = Delivered(batch, size_bytes, *self._settle(batch, post))
                ahead = next(found, None)
                if ahead is None and not damaged_bytes:
                    segment.unlink()  # before it is told: who asks may stop with the last batch
                if done is not None:
                    yield done
            if damaged_bytes:
                kept = keep_damaged(self.folder.parent, segment)
                where = f"A copy is {kept}." if kept else "There was no room for a copy."
                yield Delivered(None, damaged_bytes, f"{segment} is damaged: {damaged_bytes:,} bytes cannot be read. {where}")
            segment.unlink(missing_ok=True)

    def close(self) -> None:
        """Let others have it; gone when nothing is left in it."""
        held, self._held = self._held, None
        if held is None:
            return
        if self._segments():
            leave_folder(held)
            return
        remove(held, self.folder)

    def leave(self) -> None:
        """In a forked child: it is the parent's."""
        held, self._held = self._held, None
        leave_folder(held)

    def _settle(self, batch: Outgoing, post: Post) -> tuple[str, int]:
        """Why something of the batch was not stored, and how many records that is."""
        try:
            answer = post(batch, begin=lambda: self._begin_of(batch.run), dropped=self._dropped.get(batch.run, 0))
        except DeletedRun as error:
            return str(error), batch.records
        except EndpointRefused as error:
            kept = set_aside(self.folder.parent, batch, str(error))
            return str(error) if kept else f"{error} There was no room to keep the batch.", batch.records
        return " ".join(answer.reasons), answer.unstored_records

    def _begin_of(self, run: str) -> bytes:
        try:
            with open_segment(self.folder / f"{run}{BEGIN}") as file:
                return file.read()
        except OSError:
            return b""

    def _segments(self) -> list[Path]:
        return sorted(self.folder.glob(SEGMENTS))


class Adopter:
    """Delivers, a batch at a time, what producers of this machine left in `folders` for the endpoint at `url`."""

    def __init__(self, folders: Callable[[], Iterable[Path]], url: str, post: Post, *, say: Callable[[str], None]) -> None:
        self._folders, self._url, self._post, self._say = folders, url, post, say
        self._found = self._find()
        self._again_at: float | None = None
        self._leftover: Leftover | None = None
        self._deliveries: Iterator[Delivered] = iter(())

    def deliver_one(self) -> bool:
        """Deliver the next batch; False when there is no more, or the endpoint takes none now: others may have it then."""
        if self._again_at is not None and time.monotonic() >= self._again_at:
            self._found, self._again_at = self._find(), None
        while True:
            try:
                done = next(self._deliveries, None)
                if done is None and not self._take_next():
                    return False
            except EndpointError:
                self._again_at = time.monotonic() + _AGAIN_AFTER_S
                self.close()
                return False
            except OSError as error:
                self._say(f"what an earlier producer left cannot be delivered from here ({error}).")
                self.close()
                continue
            if done is not None:
                if done.problem:
                    self._say(f"of what an earlier producer left, something could not be stored: {done.problem}")
                return True

    def close(self) -> None:
        """Let others have what is left."""
        leftover, self._leftover, self._deliveries = self._leftover, None, iter(())
        if leftover is not None:
            try:
                leftover.close()
            except OSError:
                leftover.leave()

    def leave(self) -> None:
        """In a forked child: what is being delivered is the parent's to deliver."""
        if self._leftover is not None:
            self._leftover.leave()

    def _find(self) -> Iterator[Path]:
        return iter([spool for folder in self._folders() for spool in spools_in(folder)])

    def _take_next(self) -> bool:
        self.close()
        for path in self._found:
            if (taken := take(path)) is None:
                continue
            leftover = Leftover(path, *taken)
            if leftover.owner.is_of_this_machine and leftover.owner.url == self._url:
                self._leftover, self._deliveries = leftover, leftover.deliver(self._post)
                return True
            leftover.leave()
        return False


def spools_in(folder: Path) -> list[Path]:
    """The spools in a folder of spools, the oldest first; or the folder itself, where it is one."""
    try:
        if _is_spool(folder):
            return [folder]
        return [path for path in sorted(folder.iterdir()) if path.name != REFUSED and path.is_dir() and _is_spool(path)]
    except OSError:
        return []


def _is_spool(folder: Path) -> bool:
    return (folder / OWNER).exists() or any(folder.glob(SEGMENTS))


def _dropped(folder: Path) -> dict[str, int]:
    try:
        with open_segment(folder / DROPPED) as file:
            told = json.load(file)
    except (OSError, ValueError, RecursionError):
        return {}
    return {run: count for run, count in told.items() if isinstance(count, int)} if isinstance(told, dict) else {}


# What was refused


def set_aside(folder: Path, batch: Outgoing, reason: str, *, max_bytes: int = _MAX_BYTES) -> Path | None:
    """Keep a batch that was refused, and why, in a folder of spools; where. None where there is no room for it."""
    content = frames_of(batch)
    text = f"run {batch.run}, app {batch.app}, {counted(batch.records, 'record')}: {reason}\n"
    return _keep(folder, f"{batch.producer}-{batch.number}.spool", content, text, max_bytes=max_bytes)


def keep_damaged(folder: Path, segment: Path, *, max_bytes: int = _MAX_BYTES) -> Path | None:
    """Keep a copy of a segment in which something cannot be read; where. None where there is no room for it."""
    text = f"{segment} is damaged. All batches that could be read were delivered.\n"
    name = f"{segment.parent.name}-{segment.stem}.damaged"
    with open_segment(segment) as file:
        content = file.read()
    return _keep(folder, name, content, text, max_bytes=max_bytes)


def refused_in(folder: Path) -> list[Path]:
    """The files with batches that were set aside, oldest producer first."""
    return sorted((folder / REFUSED).glob(SEGMENTS))


def forget_refused(path: Path) -> None:
    """It was taken after all."""
    for one in (path, path.with_suffix(".txt")):
        one.unlink(missing_ok=True)


def _keep(folder: Path, name: str, content: bytes, text: str, *, max_bytes: int) -> Path | None:
    refused = folder / REFUSED
    path = refused / name
    try:
        refused.mkdir(parents=True, exist_ok=True, mode=0o700)
        sizes = [one.stat().st_size for one in refused.iterdir() if one.suffix != ".txt" and one != path]
        if len(sizes) >= _MAX_FILES or sum(sizes) + len(content) > max_bytes:
            return None
        _write(path, content)
        _write(path.with_suffix(".txt"), text.encode())
    except OSError:
        path.unlink(missing_ok=True)
        return None
    return path


def _write(path: Path, content: bytes) -> None:
    """Write a new file for its owner alone: where a link has its name, that goes, and not what it leads to."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600), "wb") as file:
        file.write(content)
