"""The log of one producer: its batches in order. Its end moves as frames come, its beginning as batches are settled.

Nothing leaves the log before the endpoint acknowledged it, or refused it permanently. An endpoint that is away or asks producers
to gather, a producer that was killed, and no endpoint at all are one state: an end that moves, and a beginning that does not.

The last batch is open: frames are added to it until the sender takes it. So a slow endpoint, or one that asks producers to
gather, gets few large batches. The frames of a batch lie in one segment, where whoever reads it finds them together.

Beside the segments lie, for whoever delivers them when the producer is gone: for each run `RUN.begin`, notes that make the run
known to an endpoint that does not know it; and `dropped`, how many records of each run found no room.

For one thread at a time: its user holds its lock, and never while it waits for the network.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamvis.client.outbox import Begin, Marker, Outbox
from streamvis.client.spool.folders import BEGIN, DROPPED, SpoolPlace
from streamvis.client.spool.frames import Outgoing, are_notes, frames_of, notes_of_begin
from streamvis.client.spool.segments import Segments

__all__ = ["Log", "Runs", "Settings"]

_OPEN_BYTES, _OPEN_NOTES_BYTES, _OPEN_FRAMES = 4 * 2**20, 2**19, 512
"""A batch with so many bytes, bytes of notes, or frames takes no more of them."""
_MAX_CONTROL_BYTES = 4 * 2**20
"""So much more than its limit a log takes of frames without records: how a run begins and ends is known however full it is."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What all producers of a client share. `url` is None without an endpoint; `make_transport` is called in the sender's thread.

    At most `max_spool_bytes` wait on the disk, in a folder of `place`; about `max_memory_bytes` in memory.
    """

    url: str | None
    app: str
    place: SpoolPlace
    make_transport: Callable[[], Any]
    durable: bool = False
    max_memory_bytes: int = 64 * 2**20
    max_spool_bytes: int = 2 * 2**30


class Runs:
    """What is known of a producer's runs while anything of them is unsettled: how each began, and how many records it lost.

    The records pass through `outbox`. `current` began last, and `is_open` until it ends.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._dropped_seen = 0
        self._lost_records = 0
        self.current: Begin | None = None
        self.is_open = False
        self.gone: set[str] = set()
        """Those of which nothing is sent any more."""
        self.refused_records = self.set_aside_records = 0
        """How many the endpoint refused permanently, and how many of them are in files; one of these is `set_aside_in`."""
        self.set_aside_in: Path | None = None
        self._begins: dict[str, Begin] = {}
        self._last_numbers: dict[str, int] = {}
        self.lost: dict[str, int] = {}
        """The runs that lost records, and how many."""

    @property
    def name(self) -> str:
        """The id of the current one; "" before there is one."""
        return self.current.run if self.current is not None else ""

    @property
    def lost_records(self) -> int:
        """How many records of all runs were dropped, by the outbox too."""
        return self._lost_records + self._outbox.dropped - self._dropped_seen

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

    def lose(self, run: str, records: int, *, refused: int = 0) -> None:
        """So many more records of the run were dropped, and so many refused, and kept nowhere."""
        self._lost_records += records
        self.refused_records += refused
        if records + refused:
            self.lost[run] = self.lost.get(run, 0) + records + refused

    def set_aside(self, records: int, file: Path) -> None:
        """So many more records were refused, and are in the file."""
        self.refused_records += records
        self.set_aside_records += records
        self.set_aside_in = file

    def see_dropped(self) -> None:
        """What the outbox dropped since the last look is of the current run."""
        if self.current is not None:
            dropped = self._outbox.dropped
            self._dropped_seen, new = dropped, dropped - self._dropped_seen
            self.lose(self.current.run, new)

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
            self.lost.pop(run, None)
            self.gone.discard(run)
        return over


@dataclass(slots=True)
class _Open:
    """The batch that takes more frames of its run."""

    run: str = ""
    bytes: int = 0
    notes_bytes: int = 0
    frames: int = 0

    def takes(self, run: str) -> bool:
        return (
            self.run == run and self.bytes < _OPEN_BYTES and self.notes_bytes < _OPEN_NOTES_BYTES and self.frames < _OPEN_FRAMES
        )

    def add(self, body: bytes) -> None:
        self.frames += 1
        self.bytes += len(body)
        self.notes_bytes += len(body) if are_notes(body) else 0


class Log:
    """The log of the producer with the id `producer`. `end` is the number of the last batch; all up to `settled` are settled.

    Frames beyond the limits of the settings are not taken. Without an endpoint, what is on the disk is settled. The records come
    through `outbox`; `say` tells the user something. `lock` is for whoever uses the log. `options` are of `Segments`.
    """

    def __init__(self, producer: str, settings: Settings, outbox: Outbox, *, say: Callable[..., None], **options: int) -> None:
        self.segments = Segments(producer, settings.place, url=settings.url, durable=settings.durable, **options)
        self.max_bytes = settings.max_spool_bytes
        self.end = self.settled = 0
        self.unsettled_records = 0
        self.producer, self.settings, self.runs, self.say = producer, settings, Runs(outbox), say
        self.lock = threading.Lock()
        self._open = _Open()
        self._markers: list[Marker] = []
        self._remembered: set[str] = set()
        self._dropped: dict[str, int] = {}

    @property
    def kept_records(self) -> int:
        """How many records are in files; the others are in memory alone."""
        return self.segments.kept_records

    @property
    def kept_in(self) -> Path | None:
        """The folder, when there is anything in it."""
        return self.segments.folder if self.segments.bytes > self.segments.memory_bytes else None

    @property
    def is_awaited(self) -> bool:
        """Whether a caller waits for a batch."""
        return bool(self._markers)

    @property
    def is_unkept(self) -> bool:
        """Whether something is to go to the disk that this did not take."""
        return bool(self.segments.memory_bytes) or any(marker.durable for marker in self._markers)

    @property
    def is_behind(self) -> bool:
        """Whether a batch waits that takes no more frames: another came after it."""
        return self.end - self.settled > 1

    def append(self, run: str, body: bytes, records: int) -> bool:
        """Put a frame at the end; False when there is no room, neither on the disk nor in memory."""
        segments = self.segments
        self.settle_down()
        is_part = self._open.takes(run) and segments.takes_parts
        frame = Outgoing(run, self.settings.app, self.producer, self.end + (not is_part), records, (body,))
        content = frames_of(frame)
        extra = 0 if records else _MAX_CONTROL_BYTES
        if segments.bytes and segments.bytes + len(content) > self.max_bytes + extra:
            return False
        fits = not segments.memory_bytes and len(content) <= self.max_bytes + extra
        if not (fits and segments.write(frame, content, is_part=is_part)):
            if segments.memory_bytes and segments.memory_bytes + len(content) > self.settings.max_memory_bytes + extra:
                return False
            is_part = is_part and segments.ends_in_memory
            frame = frame._replace(number=self.end + (not is_part))
            segments.hold(frame, len(content), is_part=is_part)
        # The frame is there: nothing that follows may fail, or the same would be written again.
        self.end = frame.number
        self.unsettled_records += records
        if not is_part:
            self._open = _Open(run)
        self._open.add(body)
        self.runs.note_batch(run, self.end)
        self._remember(run)
        return True

    def settle_down(self) -> None:
        """Bring to the disk what is in memory alone, if it takes it now."""
        if self.segments.settle_down():
            self._open = _Open()  # it would have frames in two files

    def head(self) -> Outgoing | None:
        """The first batch, which stays, and is the same until it is settled. It takes no more frames."""
        head = self.segments.head()
        while head is None and (lost := self.segments.drop_unreadable()) is not None:
            self.unsettled_records -= lost
            self.runs.lose(self.runs.name, lost)
            self.say(f"{lost} records in the spool cannot be read any more ({self.segments.problem}).")
            head = self.segments.head()
        if head is None:
            self._settle_to(self.end)
        elif head.number == self.end:
            self._open = _Open()
        return head

    def settle(self, batch: Outgoing, *, error: Exception | None = None) -> None:
        """The endpoint has the first batch, or never will, because of an error."""
        head = self.segments.head()
        if head is not None and head.number == batch.number:
            self.segments.drop_head()
            self.unsettled_records -= head.records
        self._settle_to(batch.number, error=error)

    def hold_for(self, marker: Marker) -> None:
        """Let a caller wait until all up to the end is settled."""
        marker.number = self.end
        if marker.number <= self.settled:
            marker.reach()
        else:
            self._markers = [one for one in self._markers if not one.is_abandoned]
            self._markers.append(marker)

    def release_kept(self) -> None:
        """Release callers who wait for the disk; where there is no endpoint, all do."""
        durable = [marker for marker in self._markers if marker.durable]
        is_synced = bool(durable) and self.segments.sync()
        if is_synced:
            self._release(durable)
        if self.settings.url is None and not self.segments.memory_bytes and (is_synced or not durable):
            self.settled = self.end  # the runs stay known: what is here is to be delivered
            self._release(self._markers)

    def release_failed(self, error: Exception) -> None:
        """Release callers who want to know of errors."""
        for marker in self._markers:
            if marker.wants_errors:
                marker.reach(error)

    def note_dropped(self) -> None:
        """Keep how many records of each run were dropped, for whoever delivers what is here."""
        lost = dict(self.runs.lost)
        if lost != self._dropped and self._save(DROPPED, json.dumps(lost).encode()):
            self._dropped = lost

    def close(self) -> None:
        """Close the files, and remove the folder when nothing waits in it; what waits is anybody's then."""
        self.segments.close()

    def leave(self) -> None:
        """In a forked child: the folder is the parent's."""
        self.segments.leave()

    def _settle_to(self, number: int, *, error: Exception | None = None) -> None:
        self.settled = number
        self._release([marker for marker in self._markers if marker.number <= number], error)
        for run in self.runs.forget_settled(number):
            if run in self._remembered:
                self._remembered.discard(run)
                self.segments.remove(f"{run}{BEGIN}")

    def _release(self, markers: list[Marker], error: Exception | None = None) -> None:
        for marker in markers:
            marker.reach(error)
        self._markers = [marker for marker in self._markers if not marker.reached.is_set()]

    def _remember(self, run: str) -> None:
        """Keep what makes the run known, for whoever delivers what is here."""
        begin = self.runs.known(run)
        if run in self._remembered or begin is None:
            return
        try:
            if self._save(f"{run}{BEGIN}", notes_of_begin(begin)):
                self._remembered.add(run)
        except Exception as error:  # noqa: BLE001 - no record waits for what only helps whoever delivers it later
            self.segments.problem = error

    def _save(self, name: str, content: bytes) -> bool:
        try:
            return self.segments.is_owned and self.segments.save(name, content)
        except OSError as error:
            self.segments.problem = error
            return False
