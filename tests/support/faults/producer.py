"""A producer of the fault program: sends numbered records for as long as it lives, and keeps a journal of what it handed over.

    python producer.py URL APP RUN SLOT LIFE SPOOL JOURNAL FLUSH_EVERY_S

A life is one process; its records are numbered from 0. Each line of the journal is one write, so a kill cuts off none: `pid PID`
at first, `begin FIRST COUNT KIND KEY STEP TIME` before a call, `handed NEXT` after it, `stored NEXT` when all records before NEXT
were acknowledged, which `flush` says, and `ending` when it sends no more and ends by itself.

SIGINT ends it in good order, SIGUSR1 by `sys.exit`, and SIGTERM as the client has it. SIGUSR2 makes it print the stacks of its
threads. Now and then it has a child: a forked process, or a spawned one to which the client is pickled. That is a life of its
own, which sends for a moment and ends, by an exit or SIGTERM. Its journal lies beside its parent's, as `child-LIFE.journal`.
"""

import faulthandler
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np

from streamvis import Client

EXIT_STATUS = 3
LIVES_PER_PARENT = 1000
VALUES_PER_STEP = 3
"""How often the value of a step is replaced."""
_PAUSE_S = 0.004
_FORK_EVERY_S, _SPAWN_EVERY_S = 4.0, 30.0
_LONGEST_CHILD_S = 0.3


class Journal:
    """An append-only file of lines; what is told is on the disk of a killed process too."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self.tell("pid", os.getpid())

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


class Life:
    """Sends until it is told to `end`, while a thread flushes."""

    def __init__(self, client: Client, slot: str, life: int, journal: Path, flush_every_s: float) -> None:
        self._is_to_end = False  # no event: a signal may come while this thread holds the event's lock, and would wait for it
        self._over = threading.Event()
        self._client, self._slot, self._life, self._path, self._flush_every_s = client, slot, life, journal, flush_every_s
        self._journal = Journal(journal)
        self._calls = Calls(client, self._journal, slot, life)
        self._random = random.Random(-life)
        self._children: list[int] = []
        self._child_number = 0

    def end(self, *_: object) -> None:
        """Send no more. Signal handlers call it."""
        self._is_to_end = True

    def live(self, *, for_s: float | None = None, has_children: bool = False) -> None:
        """Send, for so long at most."""
        flusher = threading.Thread(target=self._flush)
        flusher.start()
        until = None if for_s is None else time.monotonic() + for_s
        fork_at, spawn_at = self._after(_FORK_EVERY_S), self._after(_SPAWN_EVERY_S)
        while not self._is_to_end and (until is None or time.monotonic() < until):
            self._calls.make_one()
            self._over.wait(self._calls.pause())
            if has_children and time.monotonic() >= fork_at:
                fork_at = self._after(_FORK_EVERY_S)
                self._fork()
            if has_children and time.monotonic() >= spawn_at:
                spawn_at = self._after(_SPAWN_EVERY_S)
                multiprocessing.get_context("spawn").Process(target=live_as_child, args=self._child()).start()
        self._over.set()
        flusher.join()
        self._journal.tell("ending")

    def close(self) -> None:
        """Wait for the forked children, and end in good order."""
        for child in self._children:
            os.waitpid(child, 0)
        if self._client.close():
            self._journal.tell("stored", self._calls.next)

    def _after(self, mean_s: float) -> float:
        return time.monotonic() + self._random.expovariate(1 / mean_s)

    def _flush(self) -> None:
        while not self._over.is_set():
            handed = self._calls.next
            if self._client.flush(timeout_s=2.0):
                self._journal.tell("stored", handed)
            self._over.wait(self._flush_every_s)

    def _fork(self) -> None:
        about = self._child()
        if child := os.fork():
            self._children.append(child)
        else:
            live_as_child(*about)

    def _child(self) -> tuple[Client, str, int, Path, float]:
        self._child_number += 1
        life = self._life * LIVES_PER_PARENT + self._child_number
        return self._client, self._slot, life, self._path.with_name(f"child-{life}.journal"), self._flush_every_s


def live_as_child(client: Client, slot: str, life: int, journal: Path, flush_every_s: float) -> None:
    """A child's whole life."""
    faulthandler.register(signal.SIGUSR2)
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)  # they are for the parent
    dice = random.Random(life)
    Life(client, slot, life, journal, flush_every_s).live(for_s=dice.uniform(0, _LONGEST_CHILD_S))
    if dice.random() < 0.3:
        os.kill(os.getpid(), signal.SIGTERM)
    sys.exit(dice.choice([None, 1, "a text"]))


def main(url: str, app: str, run: str, slot: str, life: str, spool: str, path: str, flush_every_s: str) -> None:
    """Send until a signal comes."""
    faulthandler.register(signal.SIGUSR2)
    client = Client(url, app, spool=spool)
    client.init({"run": run}, run=run)
    own = Life(client, slot, int(life), Path(path), float(flush_every_s))
    came: list[int] = []
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, lambda number, _: (came.append(number), own.end()))
    own.live(has_children=True)
    if signal.SIGUSR1 in came:
        sys.exit(EXIT_STATUS)
    own.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
