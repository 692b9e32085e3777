"""A producer of the fault program: sends numbered records for as long as it lives, and keeps a journal of what it handed over.

    python producer.py URL APP RUN SLOT LIFE SPOOL JOURNAL FLUSH_EVERY_S

A life is one process of one slot; its records are numbered from 0. Each line of the journal is one write, so a kill cuts off
none: `begin FIRST COUNT KIND KEY STEP TIME` before a call, `handed NEXT` after it, `stored NEXT` when all records before NEXT
were acknowledged, which `flush` says. SIGINT ends it in good order.
"""

import os
import random
import signal
import sys
import threading
import time

import numpy as np

from streamvis import Client

VALUES_PER_STEP = 3
"""How often the value of a step is replaced."""
_PAUSE_S = 0.004


class Journal:
    """An append-only file of lines; what is told is on the disk of a killed process too."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def tell(self, *words: object) -> None:
        os.write(self._file, ("\t".join(map(str, words)) + "\n").encode())


class Calls:
    """Calls of one life: which records come next, and how."""

    def __init__(self, client: Client, journal: Journal, slot: str, life: int) -> None:
        self._client, self._journal, self._slot, self._life = client, journal, slot, life
        self._random = random.Random(life)
        self._values = 0
        self.next = 0

    def make_one(self) -> None:
        """Hand over the next record, or the next rows of one call."""
        first, dice = self.next, self._random.random()
        if dice < 0.06:
            # No two lives share a step, so that a value that comes late replaces none of a later life.
            count, kind, key, step = 1, "value", f"value {self._slot}", 10_000 * self._life + self._values // VALUES_PER_STEP
            self._values += 1
        else:
            count, kind, step = self._random.randint(2, 5) if dice < 0.2 else 1, "rows", first
            key = self._random.choice([f"own {self._slot}", "shared a", "shared b"])
        self._journal.tell("begin", first, count, kind, key, step, time.time())
        if kind == "value":
            self._client.send(step, key, {"life": self._life, "n": first, "image": np.full((4, 4), first)})
        else:
            rows = list(range(first, first + count))
            data = {"life": [self._life] * count, "n": rows, "y": [n / 2 for n in rows]}
            self._client.sendl(step, key, {name: cells[0] for name, cells in data.items()} if count == 1 else data)
        self.next = first + count
        self._journal.tell("handed", self.next)

    def pause(self) -> float:
        """Seconds until the next call: often none, so that calls come in bursts."""
        return self._random.expovariate(1 / _PAUSE_S) if self._random.random() < 0.7 else 0.0


def main(url: str, app: str, run: str, slot: str, life: str, spool: str, path: str, flush_every_s: str) -> None:
    """Send until SIGINT."""
    over = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: over.set())
    journal = Journal(path)
    client = Client(url, app, spool=spool)
    client.init({"run": run}, run=run)
    calls = Calls(client, journal, slot, int(life))

    def flush() -> None:
        while not over.is_set():
            handed = calls.next
            if client.flush(timeout_s=2.0):
                journal.tell("stored", handed)
            over.wait(float(flush_every_s))

    flusher = threading.Thread(target=flush)
    flusher.start()
    while not over.is_set():
        calls.make_one()
        over.wait(calls.pause())
    flusher.join()
    if client.close():
        journal.tell("stored", calls.next)


if __name__ == "__main__":
    main(*sys.argv[1:])
