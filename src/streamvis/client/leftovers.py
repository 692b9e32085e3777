"""Spools that producers left behind: finding them, and delivering what is in them, under the names of who wrote it.

A leftover is delivered oldest batch first, each with its own producer and number, so that whatever was delivered before is
acknowledged and not stored again. A segment is deleted when all of its batches are settled. What the endpoint refuses for good
is set aside (see `spool`), so that it holds up nothing. Whole batches before a cut or a damage are delivered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from streamvis.client.ownership import Owner, leave, take
from streamvis.client.spool import BEGIN, SEGMENTS, Outgoing, read_segment, set_aside
from streamvis.errors import DeletedRun, EndpointError, EndpointRefused, UnknownRun

__all__ = ["Adopter", "Delivered", "Leftover", "Post", "leftovers"]

Post = Callable[[Outgoing, bytes], Any]
"""Sends a batch with some bytes before its body; see `delivery.deliver` for what it raises."""


class Delivered(NamedTuple):
    """One batch that is settled. `problem` tells why it could not be stored; it is empty where it was."""

    batch: Outgoing
    bytes: int
    problem: str


class Leftover:
    """The spool in `folder`, which is ours until `close`."""

    def __init__(self, folder: Path, held: int, owner: Owner) -> None:
        self.folder, self.owner = folder, owner
        self._held = held

    @property
    def bytes(self) -> int:
        """What its segments hold."""
        return sum(path.stat().st_size for path in self._segments())

    def deliver(self, post: Post) -> Iterator[Delivered]:
        """Deliver all there is, batch by batch. Raises what `post` raises where the endpoint takes nothing now."""
        for segment in self._segments():
            size = 0
            for batch, size_bytes in read_segment(segment):
                size += size_bytes
                yield Delivered(batch, size_bytes, self._settle(batch, post))
            # What follows the last whole batch was cut off when its producer died.
            segment.unlink()

    def close(self) -> None:
        """Let others have it; gone when nothing is left in it."""
        if self._segments():
            leave(self._held)
            return
        for path in self.folder.glob(f"*{BEGIN}"):
            path.unlink(missing_ok=True)
        leave(self._held, self.folder)
        try:
            self.folder.rmdir()
        except OSError:
            pass  # others put something there, or took it away

    def _settle(self, batch: Outgoing, post: Post) -> str:
        try:
            try:
                post(batch, b"")
            except UnknownRun as error:
                try:
                    before = (self.folder / f"{batch.run}{BEGIN}").read_bytes()
                except OSError:
                    raise EndpointRefused(404, str(error), url=self.owner.url or "") from error
                post(batch, before)
        except DeletedRun as error:
            return str(error)
        except (EndpointRefused, UnknownRun) as error:
            set_aside(self.folder.parent, batch, str(error))
            return str(error)
        return ""

    def _segments(self) -> list[Path]:
        return sorted(self.folder.glob(SEGMENTS))


class Adopter:
    """Delivers, a batch at a time, what producers of this machine left in `folder` for the endpoint at `url`."""

    def __init__(self, folder: Path, url: str | None, post: Post, *, say: Callable[[str], None]) -> None:
        self._url, self._post, self._say = url, post, say
        self._found = leftovers(folder, host=Owner.here(None).host)
        self._leftover: Leftover | None = None
        self._deliveries: Iterator[Delivered] = iter(())

    def deliver_one(self) -> bool:
        """Deliver the next batch; False when there is no more, or the endpoint takes none now: others may have it then."""
        while True:
            try:
                done = next(self._deliveries, None)
            except EndpointError:
                self.close()
                return False
            if done is not None:
                if done.problem:
                    self._say(f"records that an earlier producer left were refused: {done.problem}")
                return True
            self.close()
            self._leftover = next(self._found, None)
            if self._leftover is None:
                return False
            if self._leftover.owner.url == self._url:
                self._deliveries = self._leftover.deliver(self._post)

    def close(self) -> None:
        """Let others have what is left."""
        self._deliveries = iter(())
        if self._leftover is not None:
            self._leftover.close()
            self._leftover = None


def leftovers(folder: Path, *, host: str | None = None) -> Iterator[Leftover]:
    """The leftovers in a folder of spools, oldest first, each ours until it is closed; of one machine where `host` is given."""
    try:
        found = sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError:
        return
    for path in found:
        if (taken := take(path)) is None:
            continue
        held, owner = taken
        if host is not None and owner.host != host:
            leave(held)
            continue
        yield Leftover(path, held, owner)
