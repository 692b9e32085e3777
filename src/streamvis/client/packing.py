"""Entries of the outbox into numbered batches of one producer. For one thread at a time: its user holds a lock."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from typing import Any

from streamvis.client.copying import Unfetched
from streamvis.client.entries import CONTROL, ROW, Begin, End, Entry, Marker
from streamvis.client.extent import Extent
from streamvis.client.frames import Outgoing
from streamvis.client.losses import Losses
from streamvis.client.outbox import Outbox

__all__ = ["Packer", "say_once"]

_MAX_BATCH_BYTES = 4 * 2**20
_MAX_BATCH_ENTRIES = 32_768
_PLAIN = frozenset((float, int, bool, str, type(None)))
_MAX_SAID = 1000


class Packer:
    """Makes batches of what waits in `outbox`.

    A batch holds records of one run, has about 4 MiB at most (more when one record has more) and no more columns of a key than
    the endpoint takes together, and takes the next number.
    `gone` are the runs of which nothing is sent any more; `open_run` is the one that was begun last, until its end. `markers` are
    those that left the outbox, with the number they wait for. `taken` counts the entries that left it.
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

    @property
    def run(self) -> str:
        """The run to which what is packed now belongs; "" before there is one."""
        return self._run.run if self._run is not None else ""

    def load(self) -> None:
        """Import Arrow, which takes long."""
        from streamvis.client import encoding

        self._encode, self._encode_begin, self._gathered = encoding.encode, encoding.encode_begin, encoding.gathered

    def pack(self, *, onto: int = 0) -> Outgoing | None:
        """The next batch; None when nothing waits, or when it came to nothing.

        `onto` is the number of a batch that takes more parts (0 where none does): when the next one is of the same run and
        follows on it, it is such a part, and takes no number of its own.
        """
        taken: list[Entry] = []
        markers: list[Marker] = []
        left = _MAX_BATCH_BYTES
        extent = Extent()
        run_before = self._run
        entries = self._outbox.entries
        while entries and len(taken) < _MAX_BATCH_ENTRIES:
            kind, data = entries[0][0], entries[0][4]
            if kind is CONTROL and type(data) is Marker:
                markers.append(self._outbox.take()[4])
                continue
            size = extent.add(entries[0])
            if taken and (size is None or size > left or type(data) is Begin):
                break
            if kind is CONTROL and type(data) is Begin:
                self._look_at_losses()
                self.gone.discard(data.run)
                self._run = self.begins[data.run] = data
                self.open_run = data.run
            elif kind is CONTROL and type(data) is End:
                self.open_run = None
            taken.append(self._outbox.take())
            left -= size or 0
        self.taken += len(taken) + len(markers)
        self._look_at_losses()
        self._controls = [entry for entry in taken if entry[0] is CONTROL]
        is_done = False
        try:
            batch = self._encoded(taken, is_part=0 < onto == self.number and self._run is run_before)
            is_done = True
            return batch
        finally:
            if not is_done:
                self._losses.add(self.run, len(taken) - len(self._controls))
            for marker in markers:
                marker.number = self.number
            self.markers += markers

    def as_own(self, part: Outgoing) -> Outgoing:
        """What was made last as a part, as a batch of its own."""
        self.number += 1
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
        records = len(taken) - len(self._controls) - len(encoded.left_out)
        return Outgoing(run.run, self._app, self._producer, self.number, records, encoded.body)

    def _look_at_losses(self) -> None:
        if self._run is not None:
            self._losses.look(self._run.run)


def say_once(log: logging.Logger) -> Callable[..., None]:
    """A function that logs a warning, each text once and not without end."""
    said: set[str] = set()

    def say(text: str, **options: Any) -> None:
        if text not in said and len(said) < _MAX_SAID:
            said.add(text)
            log.warning("Streamvis: %s", text, **options)

    return say
