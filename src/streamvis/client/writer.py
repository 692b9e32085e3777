"""The first thread of a producer: takes what waits in the outbox, and writes it to the log.

It imports nothing that takes long, and never waits for the network: so what was sent is on the disk within a few hundredths of a
second, whatever the endpoint does, and from the first record on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from streamvis.client.outbox import CONTROL, Begin, End, Entry, Extent, Marker, Outbox, fetched
from streamvis.client.process.threads import Latch
from streamvis.client.producer_log import Log
from streamvis.client.spool.frames import notes_of
from streamvis.client.values.copying import Refused
from streamvis.errors import InvalidData

__all__ = ["PASSING", "Writer"]

_POLL_S = 0.002
_WRITE_EVERY_S = 0.02
"""How often frames are added to a batch while the sender is busy. With the time of a write it is below a tenth of a second."""
_PARK_AFTER_S = 0.03
_TRY_AGAIN_S = 0.045
_MOST_TRIES = 5
"""So often something is tried that an unexpected error stops, before less is tried at once."""
_MOST_TRIES_FOR_MEMORY = 1000
"""So often one record is tried alone where memory is short."""

_MAX_FRAME_BYTES = 4 * 2**20
_MAX_FRAME_ENTRIES = 32_768
_MAX_NOTES, _MAX_NOTES_BYTES = 256, 2**16
"""More entries than these are quicker to encode as columns."""
_UNSTORABLE = (InvalidData, Refused, TypeError, ValueError, OverflowError, RuntimeError)
PASSING = (MemoryError, ImportError, OSError)
"""What may be over when the same is tried again."""


class Writer:
    """Writes frames: each holds records of one run, and no more columns of a key than the endpoint takes together.

    `forming` is held while entries are brought into a form. `encode` makes columns of them, once Arrow is
    loaded. `is_awaited` says whether the sender waits for a frame; `on_frame` is called after each, with whether somebody waits
    for what is in it.
    """

    def __init__(
        self,
        outbox: Outbox,
        log: Log,
        *,
        forming: threading.Lock,
        is_awaited: Callable[[], bool],
        on_frame: Callable[[bool], None],
    ) -> None:
        self._outbox, self._log, self._runs, self._lock, self._say = outbox, log, log.runs, log.lock, log.say
        self._forming, self._is_awaited, self._on_frame = forming, is_awaited, on_frame
        self.encode: Callable[[Sequence[Entry]], Any] | None = None
        self.stopping = False
        self.is_writing = False
        self.ended = Latch()
        # What left the outbox and is not in the log yet; how many of it are tried at once (0: all), and how often they were.
        self._taken: list[Entry] = []
        self._markers: list[Marker] = []
        self._at_once = self._tries = 0

    @property
    def unwritten_records(self) -> int:
        """How many records left the outbox and are not in the log yet, because an attempt failed."""
        return sum(entry[0] is not CONTROL for entry in self._taken.copy())

    @property
    def brings_control(self) -> bool:
        """Whether a control record, or somebody who waits, is among what is not in the log yet."""
        # Copied in one step, while callers append.
        return bool(self._markers) or any(entry[0] is CONTROL for entry in self._outbox.entries.copy())

    def run(self) -> None:
        """The thread. It ends when it was told to stop and all is written."""
        try:
            self._write_on()
        except Exception:  # noqa: BLE001 - the top of the thread: a training run continues where Streamvis cannot
            self._say("an unexpected error ended the sender; nothing more is sent.", exc_info=True)
        finally:
            self.ended.set()
            self._on_frame(True)

    def write_all(self) -> bool:
        """Write all that is in the outbox now; False where an attempt failed."""
        self.is_writing = True
        try:
            for _ in range(1 + len(self._outbox.entries)):
                if not self._write():
                    break
            return True
        except Exception:  # noqa: BLE001 - no error of ours ends a training run
            self._say("an unexpected error in the sender; it tries again.", exc_info=True)
            return False
        finally:
            self.is_writing = False

    def _write_on(self) -> None:
        worked_at = time.monotonic()
        is_seldom, failures = False, 0
        while True:
            had_work, before = self._is_waiting, (len(self._taken), self._at_once)
            # Less at once, or a record that was left out, is progress.
            failures = 0 if self.write_all() or before != (len(self._taken), self._at_once) else failures + 1
            if self.stopping and (not self._is_waiting or failures > 2 * _MOST_TRIES):
                return
            now = time.monotonic()
            worked_at = now if had_work else worked_at
            if failures:
                time.sleep(_TRY_AGAIN_S)
            elif self._log.is_unkept:
                self._outbox.awake.wait(_TRY_AGAIN_S)
                with self._lock:
                    self._log.settle_down()
                    self._log.release_kept()
            elif not is_seldom and now - worked_at < _PARK_AFTER_S:
                self._outbox.awake.wait(_POLL_S if self._is_awaited() else _WRITE_EVERY_S)
            else:
                self._outbox.park()
                worked_at = time.monotonic()
                # Calls that come so seldom may each wake this thread: looking for them in between costs more.
                is_seldom = worked_at - now > _PARK_AFTER_S
                if not self.stopping:
                    time.sleep(_POLL_S / 2)  # the calls of one step come together

    @property
    def _is_waiting(self) -> bool:
        return bool(self._taken or self._markers or self._outbox.entries)

    def _write(self) -> bool:
        """Write a frame; False when nothing waits. Where it raises, the next call tries the same."""
        if not self._is_waiting:
            return False
        if not self._taken:
            self._take_more()
        part = self._taken[: self._at_once or len(self._taken)]
        try:
            if part:
                self._write_frame(part)
        except Exception as error:  # whatever it is, it must not stop the writer forever: see `_count_try`
            self._count_try(error)
            raise
        is_awaited = bool(self._markers) or any(entry[0] is CONTROL for entry in part)
        self._pass(part)
        if self._outbox.dropped:
            self._say("records arrive faster than they can be kept: some were dropped.")
        self._on_frame(is_awaited)
        with self._lock:
            self._log.release_kept()
            self._log.note_dropped()
        return bool(part)

    def _take_more(self) -> None:
        """Take from the outbox what makes one frame."""
        extent = Extent(_MAX_FRAME_BYTES)
        entries, taken = self._outbox.entries, self._taken
        while entries and len(taken) < _MAX_FRAME_ENTRIES:
            kind, data = entries[0][0], entries[0][4]
            if kind is CONTROL and type(data) is Marker:
                self._markers.append(self._outbox.take()[4])
                continue
            if not extent.takes(entries[0]) or (taken and type(data) is Begin):
                break
            if kind is CONTROL and type(data) is Begin:
                with self._lock:
                    self._runs.begin(data, self._log.end)
            elif kind is CONTROL and type(data) is End:
                self._runs.is_open = False
            taken.append(entries[0])
            self._outbox.take()
        with self._lock:
            self._runs.see_dropped()

    def _write_frame(self, entries: list[Entry]) -> None:
        run = self._runs.name
        controls = [entry for entry in entries if entry[0] is CONTROL]
        records = len(entries) - len(controls)
        if not run or run in self._runs.gone:
            with self._lock:
                self._runs.lose(run, records)
            return
        left_out: list[str] = []
        found = [one for entry in entries if (one := _tried(fetched, entry, left_out)) is not None]
        with self._forming:
            body = self._form(found, left_out)
            rest = notes_of(controls) if controls and records else b""
        with self._lock:
            self._runs.lose(run, len(left_out))
            records -= len(left_out)
            is_kept = not body or self._log.append(run, body, records)
            if not is_kept:
                self._runs.lose(run, records)
                if rest:
                    self._log.append(run, rest, 0)
        for text in left_out:
            self._say(f"a record could not be sent ({text}).")
        if not is_kept:
            segments = self._log.segments
            why = segments.problem or f"the limit of {self._log.max_bytes:,} bytes is reached"
            self._say(f"no room to keep more records in {segments.folder} ({why}); new ones are dropped.")

    def _form(self, entries: list[Entry], left_out: list[str]) -> bytes:
        """Entries as the body of a frame: as columns where they are many and Arrow is loaded, else as notes."""
        is_little = len(entries) <= _MAX_NOTES and sum(entry[5] for entry in entries) <= _MAX_NOTES_BYTES
        if self.encode is not None and not is_little:
            encoded = self.encode(entries)
            left_out += encoded.left_out
            return encoded.body
        try:
            return notes_of(entries) if entries else b""
        except _UNSTORABLE:
            found = [entry for entry in entries if _tried(lambda one: notes_of([one]), entry, left_out) is not None]
            return notes_of(found) if found else b""

    def _pass(self, part: list[Entry]) -> None:
        """What was taken first is in the log, or never will be: those who wait for it wait for the log now."""
        del self._taken[: len(part)]
        self._at_once = self._tries = 0
        if not self._taken:
            markers, self._markers = self._markers, []
            with self._lock:
                for marker in markers:
                    self._log.hold_for(marker)

    def _count_try(self, error: Exception) -> None:
        """The reason may pass, or lie in one record: try again, then less at once, and in the end leave that record out."""
        self._tries += 1
        if self._tries < _MOST_TRIES:
            return
        if (tried := self._at_once or len(self._taken)) > 1:
            self._at_once, self._tries = tried // 2, _MOST_TRIES - 1
            return
        if isinstance(error, PASSING) and not self.stopping:
            if not isinstance(error, MemoryError) or self._tries < _MOST_TRIES_FOR_MEMORY:
                return
        with self._lock:
            self._runs.lose(self._runs.name, int(self._taken[0][0] is not CONTROL))
        self._say(f"a record could not be sent ({_named(self._taken[0])}: {type(error).__name__}: {error}).")
        self._pass(self._taken[:1])


def _tried(work: Callable[[Entry], Any], entry: Entry, left_out: list[str]) -> Any:
    """What the work makes of an entry; None where it cannot be stored."""
    try:
        return work(entry)
    except _UNSTORABLE as error:
        left_out.append(f"{_named(entry)}: {error}")
        return None


def _named(entry: Entry) -> str:
    kind, step, _, key, data, _ = entry
    return type(data).__name__ if kind is CONTROL else f"key {key!r}, step {step}"
