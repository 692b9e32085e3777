"""Digests: what is known of each column of numbers in a run without reading its rows, for lists of runs.

Of a column: how many numbers it has, the one stored last, the lowest and the highest, each with its step. A NaN is not a
number, but may be the last. A digest covers the first rows of a key, as many as the key's row says; what came since is added in
the background, a moment after it was stored. A cut changes rows that were digested: that key starts again. A column that the
database refuses, such as one whose name is too long for an index, has no digest.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import astuple, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from streamvis.filters import MISSING
from streamvis.store import statements as sql
from streamvis.store.chunks.bodies import read_chunk
from streamvis.store.chunks.tables import numbers_of
from streamvis.store.database import Database
from streamvis.store.repairing.damage import Broken
from streamvis.wire.columns import column_dtype

__all__ = ["Digest", "Digesting", "digests_of", "joined", "read_digests", "value_in"]

_log = logging.getLogger("streamvis")

_KEYS_AT_ONCE = 64
_BYTES_AT_ONCE = 16 * 2**20
_CHUNKS_AT_ONCE = 2000

_PLACES = {name: i for i, name in enumerate(("count", "last", "last_step", "min", "min_step", "max", "max_step"), 1)}


@dataclass(frozen=True, slots=True)
class Digest:
    """What is known of a column. The lowest and highest are None, with their steps, while there is no number."""

    count: int
    last: float | int
    last_step: int
    min: float | int | None
    min_step: int | None
    max: float | int | None
    max_step: int | None


def digests_of(table: pa.Table) -> dict[str, Digest]:
    """The digest of each column of numbers in rows as `tables` has them."""
    steps = numbers_of(table, "step")
    found = {}
    for i, field in enumerate(table.schema):
        if i < 2 or field.metadata or not column_dtype(field).startswith(("int", "uint", "float")):
            continue
        column = table.column(i)
        its_steps = steps
        if column.null_count:
            there = np.asarray(column.is_valid())
            column, its_steps = column.drop_null(), steps[there]
        if len(column):
            found[field.name[1:]] = _digest(column.to_numpy(), its_steps)
    return found


def _digest(numbers: np.ndarray, steps: np.ndarray) -> Digest:
    last, last_step = _stored(numbers[-1]), int(steps[-1])
    if numbers.dtype.kind == "f" and np.isnan(numbers).any():
        there = ~np.isnan(numbers)
        numbers, steps = numbers[there], steps[there]
    if not len(numbers):
        return Digest(0, last, last_step, None, None, None, None)
    low, high = int(np.argmin(numbers)), int(np.argmax(numbers))
    lowest, highest = (_stored(numbers[low]), int(steps[low])), (_stored(numbers[high]), int(steps[high]))
    return Digest(len(numbers), last, last_step, *lowest, *highest)


def _stored(number: np.generic) -> float | int:
    """The number, as SQLite can hold it."""
    value = number.item()
    return float(value) if isinstance(value, int) and value >= 2**63 else value


def joined(one: Digest | None, other: Digest) -> Digest:
    """The digest of the rows of one, and of the other's, which were stored later. Of equal numbers the first counts."""
    if one is None:
        return other
    made = replace(other, count=one.count + other.count)
    if one.min is not None and (other.min is None or one.min <= other.min):
        made = replace(made, min=one.min, min_step=one.min_step)
    if one.max is not None and (other.max is None or one.max >= other.max):
        made = replace(made, max=one.max, max_step=one.max_step)
    return made


def read_digests(db: Database, logs: Sequence[int], key: str, column: str) -> Mapping[int, Sequence[Any]]:
    """The row of a column's digest in each of the logs that has it, see `value_in`: there may be very many."""
    return {row[0]: row for row in db.execute(sql.GET_DIGESTS_OF_LOGS, (key, column, json.dumps(logs)))}


def value_in(row: Sequence[Any], statistic: str) -> Any:
    """The value of a statistic in a row of `read_digests`, or MISSING."""
    value = row[_PLACES[statistic]]
    if value is None:
        return math.nan if statistic == "last" else MISSING  # SQLite has no NaN
    return value


def _of_row(row: Sequence[Any]) -> Digest:
    count, last, *rest = row
    return Digest(count, math.nan if last is None else last, *rest)


@dataclass(frozen=True, slots=True)
class _Key:
    no: int
    log: int
    digested: int
    rows: int
    cuts: int


class Digesting:
    """Brings digests up to date, a short piece at a time, in the file that `reading` and `writing` open transactions of."""

    def __init__(
        self,
        reading: Callable[[], AbstractContextManager[Database]],
        writing: Callable[[], AbstractContextManager[tuple[Database, object]]],
    ) -> None:
        self._reading, self._writing = reading, writing
        self._last_key = 0
        self._refused: set[tuple[int, str]] = set()
        """Keys and columns whose digests the database does not take."""

    def go_on(self) -> bool:
        """Do a piece; False where nothing is to be done."""
        with self._reading() as db:
            store = db.execute(sql.GET_META, ("id",)).fetchone()
            found = list(self._prepared(db))
        if not found:
            return False
        with self._writing() as (db, _):
            if db.execute(sql.GET_META, ("id",)).fetchone() != store:  # a backup was put in its place meanwhile
                return True
            db.hold_logs(key.log for key, _, _ in found)
            cuts = [db.execute(sql.GET_CUTS_OF_LIVE, (key.log,)) for key, _, _ in found]
            cuts = [one.fetchone() for one in cuts]  # all were asked for first: together they cost one round trip
            live = [one for one, its in zip(found, cuts, strict=True) if its == (one[0].cuts,)]
            self._save(db, [(key.no, column, digest) for key, _, digests in live for column, digest in digests.items()])
            db.executemany(sql.SET_DIGESTED, [(rows, key.no) for key, rows, _ in live])
        return True

    def _save(self, db: Database, digests: Sequence[tuple[int, str, Digest]]) -> None:
        """Save the digests, each of a key's column. Those that the database refuses are found by halves, and given up."""
        digests = [one for one in digests if one[:2] not in self._refused]
        if not digests:
            return
        db.execute("SAVEPOINT digests")
        try:
            db.executemany(sql.SAVE_DIGEST, [(key, column, *astuple(digest)) for key, column, digest in digests])
            db.execute("SELECT 1").fetchone()  # where errors show late, it is waited for here
            refusal = None
        except db.Refused as error:
            db.execute("ROLLBACK TO digests")
            refusal = error
        db.execute("RELEASE digests")
        if refusal is None:
            return
        if len(digests) == 1:
            self._give_up(db, *digests[0][:2], refusal)
            return
        middle = len(digests) // 2
        self._save(db, digests[:middle])
        self._save(db, digests[middle:])

    def _give_up(self, db: Database, key: int, column: str, refusal: Exception) -> None:
        self._refused.add((key, column))
        run, name = db.execute(sql.GET_KEY_NAMES, (key,)).fetchone() or ("", "")
        told = "The column %r of the key %r of the run %r gets no summary; its rows are stored, and can be read. The reason: %s"
        _log.warning(told, column[:40], name, run, str(refusal).partition("\n")[0])

    def _prepared(self, db: Database) -> Iterator[tuple[_Key, int, dict[str, Digest]]]:
        """Keys with how many rows are digested then, and the digests that changed: after those of the last time, in turn."""
        rows = db.execute(sql.GET_KEYS_UNDIGESTED, (self._last_key, _KEYS_AT_ONCE)).fetchall()
        if not rows and self._last_key:
            rows = db.execute(sql.GET_KEYS_UNDIGESTED, (0, _KEYS_AT_ONCE)).fetchall()
        budget = [_BYTES_AT_ONCE, _CHUNKS_AT_ONCE]
        self._last_key = 0
        for key in (_Key(*row) for row in rows):
            yield key, *_digested(db, key, budget)
            self._last_key = key.no
            if min(budget) <= 0:
                return


def _digested(db: Database, key: _Key, budget: list[int]) -> tuple[int, dict[str, Digest]]:
    known = {column: _of_row(row) for column, *row in db.execute(sql.GET_DIGESTS, (key.no,))}
    changed: dict[str, Digest] = {}
    done = key.digested
    for no, first_row, count in db.execute(sql.GET_CHUNKS_FROM, (key.no, key.digested)):
        if first_row + count <= done:
            continue
        try:
            chunk = read_chunk(db, key.no, no)
            table = chunk.rows()[1].slice(done - first_row)
            budget[0] -= len(chunk.body)
        except Broken:
            table = None  # whoever reads these rows is told
        for column, digest in digests_of(table).items() if table is not None else ():
            changed[column] = joined(changed.get(column) or known.get(column), digest)
        done = first_row + count
        budget[1] -= 1
        if min(budget) <= 0:
            return done, changed
    return key.rows, changed
