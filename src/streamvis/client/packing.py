"""Entries of the outbox into numbered batches of one producer. For one thread at a time: its user holds a lock."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from streamvis.client.copying import Unfetched
from streamvis.client.entries import CONTROL, ROW, Begin, End, Entry, Marker
from streamvis.client.extent import Extent
from streamvis.client.frames import Outgoing
from streamvis.client.losses import Losses
from streamvis.client.outbox import Outbox

__all__ = ["Packer"]

_MAX_BATCH_BYTES = 4 * 2**20
_MAX_BATCH_ENTRIES = 32_768
_PLAIN = frozenset((float, int, bool, str, type(None)))
_MOST_TRIES = 5


class Packer:
    """Makes batches of what waits in `outbox`.

    A batch holds records of one run, has about 4 MiB at most (more when one record has more) and no more columns of a key than
    the endpoint takes together, and takes the next number.
    `gone` are the runs of which nothing is sent any more; `open_run` is the one that was begun last, until its end. `markers` are
    those whose records are packed, with the number they wait for. `taken` counts the entries that left the outbox.
    """

    def __init__(self, outbox: Outbox, losses: Losses, *, app: str, producer: str, say: Callable[..., None]) -> None:
        self._outbox, self._losses, self._app, self._producer, self._say = outbox, losses, app, producer, say
        self._run: Begin | None = None
        self._encode: Any = None
        self._encode_begin: Any = None
        self._gathered: Any = None
        self.begins: dict[str, Begin] = {}
        self.gone: set[str] = set()
        self.open_run: str | None = None
        self.markers: list[Marker] = []
        self.number = 0
        self.taken = 0
        self._controls: list[Entry] = []
        # What left the outbox and is not encoded yet; how many of it are tried at once (0: all), and how often they were.
        self._taken: list[Entry] = []
        self._taken_markers: list[Marker] = []
        self._at_once = self._tries = 0
        # Each run's last batch; it is known as long as that is not settled.
        self._last_numbers: dict[str, int] = {}
        self._packed_run: Begin | None = None

    @property
    def run(self) -> str:
        """The run to which what is packed now belongs; "" before there is one."""
        return self._run.run if self._run is not None else ""

    @property
    def unpacked_records(self) -> int:
        """How many records left the outbox and are in no batch yet, because an attempt failed."""
        return sum(entry[0] is not CONTROL for entry in self._taken.copy())

    @property
    def is_under_way(self) -> bool:
        """Whether there is more of what was taken for a batch, because an attempt failed."""
        return bool(self._taken)

    @property
    def is_waiting(self) -> bool:
        """Whether there is anything to pack."""
        return bool(self._taken or self._outbox.entries)

    @property
    def awaited(self) -> list[Marker]:
        """The markers that left the outbox since `markers` was emptied."""
        return self.markers + self._taken_markers

    def load(self) -> None:
        """Import Arrow, which takes long."""
        from streamvis.client import encoding

        self._encode, self._encode_begin, self._gathered = encoding.encode, encoding.encode_begin, encoding.gathered

    def pack(self, *, onto: int = 0) -> Outgoing | None:
        """The next batch; None when nothing waits, or when it came to nothing. Where it raises, the next call tries the same.

        `onto` is the number of a batch that takes more parts (0 where none does): when the next one is of the same run and
        follows on it, it is such a part, and takes no number of its own.
        """
        if not self._taken:
            self._take_more()
        part = self._taken[: self._at_once or len(self._taken)]
        is_part = 0 < onto == self.number and self._run is self._packed_run
        self._controls = [entry for entry in part if entry[0] is CONTROL]
        try:
            batch = self._encoded(part, is_part=is_part)
        except Exception as error:
            self._tried_in_vain(error)
            raise
        self._leave(part)
        return batch

    def as_own(self, part: Outgoing) -> Outgoing:
        """What was made last as a part, as a batch of its own."""
        self.number += 1
        self._note_number()
        for marker in self.markers:
            if marker.number == part.number:
                marker.number = self.number
        return part._replace(number=self.number)

    def noted(self, entries: Sequence[Entry]) -> Outgoing | None:
        """Entries that still wait, written down for the batch that is packed next, which is far cheaper than to pack them.

        None where they are not few rows of plain cells, all of which that batch is sure to hold.
        """
        if self._run is None or self._run.run in self.gone:
            return None
        lines = []
        for kind, step, moment, key, data, _ in entries:
            if kind is not ROW or type(data) is Unfetched or not all(type(cell) in _PLAIN for cell in data.values()):
                return None
            lines.append(json.dumps([step, moment, key, data]))
        body = "\n".join([*lines, ""]).encode()
        return Outgoing(self._run.run, self._app, self._producer, self.number + 1, len(lines), body, is_notes=True)

    def gathered(self, batch: Outgoing) -> Outgoing:
        """A batch of many parts in a form that costs the endpoint and its readers less; the same each time."""
        return batch._replace(body=self._gathered(batch.body))

    def without_records(self, batch: Outgoing) -> Outgoing | None:
        """What was made last, reduced to how the run began, was cleared or ended; None where there is nothing of that in it."""
        if not (self._controls and batch.records):
            return None
        return batch._replace(records=0, body=self._encode(self._controls).body)

    def joining(self, run: str, time: float) -> bytes | None:
        """The bytes that make `run` known to an endpoint that does not know it; None when it was never begun here."""
        begin = self.begins.get(run)
        return self._encode_begin(begin._replace(joins=True), time) if begin else None

    def forget_settled(self, number: int) -> list[str]:
        """All batches up to `number` are settled: forget the runs that have no more of them, and return which these are."""
        over = []
        for run, last in self._last_numbers.items():
            if last > number or run == self.run:
                break  # they are in the order of their last batches
            over.append(run)
        for run in over:
            del self._last_numbers[run]
            self.begins.pop(run, None)
            self.gone.discard(run)
            self._losses.forget(run)
        return over

    def _take_more(self) -> None:
        """Take from the outbox what makes one batch."""
        left = _MAX_BATCH_BYTES
        extent = Extent()
        entries = self._outbox.entries
        taken = self._taken
        while entries and len(taken) < _MAX_BATCH_ENTRIES:
            kind, data = entries[0][0], entries[0][4]
            if kind is CONTROL and type(data) is Marker:
                self._taken_markers.append(self._outbox.take()[4])
                self.taken += 1
                continue
            size = extent.add(entries[0])
            if taken and (size is None or size > left or type(data) is Begin):
                break
            if kind is CONTROL and type(data) is Begin:
                self._begin(data)
            elif kind is CONTROL and type(data) is End:
                self.open_run = None
            taken.append(entries[0])
            self._outbox.take()
            self.taken += 1
            left -= size or 0
        self._look_at_losses()

    def _begin(self, begin: Begin) -> None:
        self._look_at_losses()
        self.gone.discard(begin.run)
        self._run = self.begins[begin.run] = begin
        self._note_number()
        self.open_run = begin.run

    def _note_number(self) -> None:
        run = self._run.run
        self._last_numbers.pop(run, None)
        self._last_numbers[run] = self.number

    def _leave(self, part: list[Entry]) -> None:
        """What was taken first is in a batch, or never will be."""
        del self._taken[: len(part)]
        self._at_once = self._tries = 0
        if not self._taken:
            for marker in self._taken_markers:
                marker.number = self.number
            self.markers += self._taken_markers
            self._taken_markers = []

    def _tried_in_vain(self, error: Exception) -> None:
        """The reason may pass, or lie in one record: try again, then less at once, and in the end leave that record out."""
        self._tries += 1
        if self._tries < _MOST_TRIES:
            return
        if (tried := self._at_once or len(self._taken)) > 1:
            self._at_once, self._tries = tried // 2, _MOST_TRIES - 1
            return
        kind, step, _, key, data, _ = self._taken[0]
        what = type(data).__name__ if kind is CONTROL else f"key {key!r}, step {step}"
        self._say(f"a record could not be sent ({what}: {type(error).__name__}: {error}).")
        self._losses.add(self.run, int(kind is not CONTROL))
        self._leave(self._taken[:1])

    def _encoded(self, taken: list[Entry], *, is_part: bool) -> Outgoing | None:
        run = self._run
        if not taken or run is None or run.run in self.gone:
            self._losses.add(self.run, sum(entry[0] is not CONTROL for entry in taken))
            return None
        encoded = self._encode(taken)
        for text in encoded.left_out:
            self._losses.add(run.run, 1)
            self._say(f"a record could not be sent ({text}).")
        if not encoded.body:
            return None
        self.number += not is_part
        self._packed_run = run
        self._note_number()
        records = len(taken) - len(self._controls) - len(encoded.left_out)
        return Outgoing(run.run, self._app, self._producer, self.number, records, encoded.body)

    def _look_at_losses(self) -> None:
        if self._run is not None:
            self._losses.look(self._run.run)
