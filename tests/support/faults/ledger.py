"""The comparison of the fault program: what was sent, acknowledged, stored and seen, record by record. Files in, findings out.

A record is known by its life and its number (see `producer`). Nothing here knows processes or networks.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

__all__ = ["Findings", "Life", "Record", "StoredRow", "Told", "compare_store", "compare_told"]

Id = tuple[int, int]
"""The life of a record, and its number in it."""


class Record(NamedTuple):
    """One row of a `sendl`, or one `send`, as its producer wrote it down."""

    kind: str
    key: str
    step: int
    time: float


class StoredRow(NamedTuple):
    """A row that the store gave back."""

    life: int
    n: int
    step: int
    y: float


class _Lines:
    """The whole lines of a file that grows."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset = path, 0

    def new(self) -> list[str]:
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._offset += len(whole)
        return whole.decode().splitlines()


class Life:
    """What one producer process wrote down. `parent` is the life that had this one as a child.

    `killed_at` is None for one that was not killed. One that `has_ended` by itself took nothing with it.
    """

    def __init__(self, life: int, journal: Path, *, parent: Life | None = None) -> None:
        self.life, self.parent = life, parent
        self.pid: int | None = None
        self.is_ending = self.has_ended = False
        self.killed_at: float | None = None
        self.begun: list[Record] = []
        self.handed = self.stored = self.due = 0
        self._lines = _Lines(journal)

    def demand(self) -> None:
        """What was acknowledged by now has to be in the store when that is read after this."""
        self.due = self.stored

    def read(self) -> None:
        """Read on."""
        for line in self._lines.new():
            word, *words = line.split("\t")
            if word == "begin":
                first, count, kind, key, step, time = words
                assert int(first) == len(self.begun)
                self.begun += [Record(kind, key, int(step), float(time))] * int(count)
            elif word == "handed":
                self.handed = int(words[0])
            elif word == "pid":
                self.pid = int(words[0])
            elif word == "ending":
                self.is_ending = True
            else:
                self.stored = max(self.stored, int(words[0]))


@dataclass
class Findings:
    """What was found so far, in sets, so that what is found again does not count twice.

    `left_in_spool` is what was ever found missing and in a killed producer's spool, `gone_with_producer` what nobody has.
    """

    lost: set[tuple[object, ...]] = field(default_factory=set)
    doubled: set[tuple[object, ...]] = field(default_factory=set)
    out_of_order: set[tuple[object, ...]] = field(default_factory=set)
    invented: set[tuple[object, ...]] = field(default_factory=set)
    gone_with_producer: set[Id] = field(default_factory=set)
    left_in_spool: set[Id] = field(default_factory=set)
    longest_window_s: float = 0.0

    @property
    def is_good(self) -> bool:
        return not (self.lost or self.doubled or self.out_of_order or self.invented)


def compare_store(
    findings: Findings,
    lives: Iterable[Life],
    rows: Mapping[str, Sequence[StoredRow]],
    values: Mapping[tuple[str, int], Id],
    *,
    spooled: set[Id],
    window_s: float,
) -> None:
    """Compare what producers wrote down with what the store gave: `rows` by key in log order, `values` by key and step.

    `spooled` is what lay in the spools of producers before the store was read. Of a producer that is gone may be missing what
    lies there; of one that was killed also an end of what it sent that is not older than `window_s` seconds.
    """
    known = {life.life: life for life in lives}
    found = [(row.life, row.n) for of_key in rows.values() for row in of_key]
    findings.doubled |= {("store", *one) for one, count in Counter(found).items() if count > 1}
    _compare_content(findings, known, rows, values)
    held = set(found)
    for life in known.values():
        held |= _superseded(life, values)
    findings.gone_with_producer -= held
    for life in known.values():
        findings.lost |= {("store", life.life, n) for n in range(life.due) if (life.life, n) not in held}
        if life.killed_at is not None or life.has_ended:
            _compare_end(findings, life, held, spooled, window_s)


def _compare_content(
    findings: Findings,
    lives: Mapping[int, Life],
    rows: Mapping[str, Sequence[StoredRow]],
    values: Mapping[tuple[str, int], Id],
) -> None:
    """Whether what is stored was sent, as it was sent, and each life's rows in its order."""
    for key, of_key in rows.items():
        last: dict[int, int] = {}
        for row in of_key:
            record = _record(lives, (row.life, row.n))
            if record is None or (record.key, record.step, row.n / 2) != (key, row.step, row.y):
                findings.invented.add(("store", key, *row))
            if row.n < last.get(row.life, -1):
                findings.out_of_order.add(("store", key, row.life, row.n))
            last[row.life] = row.n
    for (key, step), one in values.items():
        record = _record(lives, one)
        if record is None or (record.key, record.step) != (key, step):
            findings.invented.add(("store", key, step, *one))


def _record(lives: Mapping[int, Life], one: Id) -> Record | None:
    life, n = one
    return lives[life].begun[n] if life in lives and 0 <= n < len(lives[life].begun) else None


def _superseded(life: Life, values: Mapping[tuple[str, int], Id]) -> set[Id]:
    """The values of a life that are stored, or were replaced by a later one of their step that is."""
    return {
        (life.life, n)
        for n, record in enumerate(life.begun)
        if record.kind == "value" and n <= values.get((record.key, record.step), (0, -1))[1]
    }


def _compare_end(findings: Findings, life: Life, held: set[Id], spooled: set[Id], window_s: float) -> None:
    """What is missing of a producer that is gone lies in its spool, or is the very end of what it sent before it was killed."""
    is_end = True
    for n in range(life.handed - 1, life.due - 1, -1):
        one = (life.life, n)
        if one in held:
            is_end = False
        elif one in spooled or _is_replaced(life, n, spooled):
            is_end = False
            findings.left_in_spool.add(one)
        elif life.killed_at is None:
            findings.lost.add(("ended", *one))
        else:
            age_s = life.killed_at - life.begun[n].time
            findings.longest_window_s = max(findings.longest_window_s, age_s)
            if is_end and age_s <= window_s:
                findings.gone_with_producer.add(one)
            else:
                findings.lost.add(("killed", *one))


def _is_replaced(life: Life, n: int, spooled: set[Id]) -> bool:
    """Whether a later value of the same step lies in the spool."""
    record = life.begun[n]
    later = (m for m in range(n + 1, len(life.begun)) if life.begun[m][:3] == record[:3])
    return record.kind == "value" and any((life.life, m) in spooled for m in later)


class Told:
    """What a reader or a browser wrote down: all it was given, in order; a browser once per session."""

    def __init__(self, who: str, journal: Path) -> None:
        self.who, self.run = who, ""
        self.sessions = 0
        self._lines = _Lines(journal)
        self._begin()

    def _begin(self) -> None:
        self.rows: dict[str, list[Id]] = {}
        self.values: dict[str, list[Id]] = {}
        self.pieces: list[set[Id]] = []

    def read(self) -> Iterable[None]:
        """Read on; stops before each new session, so that what the last one saw can be compared."""
        for line in map(json.loads, self._lines.new()):
            if "run" in line:
                yield
                self._begin()
                self.run, self.sessions = line["run"], self.sessions + 1
                continue
            self.pieces.append({tuple(one) for of_key in line["rows"].values() for one in of_key})
            for key, ids in line["rows"].items():
                self.rows.setdefault(key, []).extend(map(tuple, ids))
            for key, one in line["values"].items():
                seen = self.values.setdefault(key, [])
                if not seen or seen[-1] != tuple(one) or self.who == "reader":
                    seen.append(tuple(one))

    def has_reached(self, rows: Mapping[str, Sequence[Id]], newest: Mapping[str, Id]) -> bool:
        """Whether it saw as many rows of each key, and a value of each key that is as new."""
        return all(len(self.rows.get(key, ())) >= len(ids) for key, ids in rows.items()) and all(
            self.values.get(key, [(-1, -1)])[-1] >= one for key, one in newest.items()
        )


def compare_told(
    findings: Findings, told: Told, rows: Mapping[str, Sequence[Id]], newest: Mapping[str, Id], *, whole: bool
) -> None:
    """Compare what was seen with the store's rows by key, in log order; with `whole`, it must have seen all of them by now.

    What it saw beyond `rows`, which were read before, is compared later.
    """
    for key, ids in rows.items():
        seen = told.rows.get(key, [])
        if whole:
            findings.lost |= {(told.who, *one) for one in set(ids) - set(seen)}
        if seen[: len(ids)] == ids[: len(seen)]:
            continue
        findings.doubled |= {(told.who, *one) for one, count in Counter(seen).items() if count > 1}
        common = [one for one in dict.fromkeys(seen) if one in set(ids)]
        findings.lost |= {(told.who, *one) for one in set(ids[: len(common)]) - set(common)}
        place = {one: at for at, one in enumerate(ids)}
        pairs = zip(common, common[1:], strict=False)
        findings.out_of_order |= {(told.who, key, *two) for one, two in pairs if place[two] < place[one]}
    for key, seen in told.values.items():
        findings.doubled |= {(told.who, key, *one) for one, count in Counter(seen).items() if count > 1}
        findings.out_of_order |= {(told.who, key, *two) for one, two in zip(seen, seen[1:], strict=False) if two < one}
    if whole:
        missed = {key: one for key, one in newest.items() if told.values.get(key, [(-1, -1)])[-1] < one}
        findings.lost |= {(told.who, key, *one) for key, one in missed.items()}
    _compare_pieces(findings, told)


def _compare_pieces(findings: Findings, told: Told) -> None:
    """A later piece holds only later rows of a life, whatever their keys."""
    last: dict[int, int] = {}
    for piece in told.pieces:
        for life, n in piece:
            if n < last.get(life, -1):
                findings.out_of_order.add((told.who, life, n))
        for life, n in piece:
            last[life] = max(last.get(life, -1), n)
