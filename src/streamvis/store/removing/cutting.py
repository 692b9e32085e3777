"""Taking back the rows and values of a log from a step on: of some batches, all else stays as it is.

Rows stay numbered from 0 without gaps. Chunks without such rows are not opened, and those before the first such row are not
touched; a chunk that holds both kinds is rewritten. Summaries end before the first row that is gone. So the cost is that of
what comes after it.

A cut can be made in pieces, key by key and each key from its end, so that what follows a piece need not be renumbered again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from streamvis.store import statements as sql
from streamvis.store.chunks.bodies import chunk_row, read_chunk
from streamvis.store.chunks.packed_rows import Marks
from streamvis.store.chunks.tables import body_of_rows, numbers_of
from streamvis.store.database import Database
from streamvis.store.repairing.damage import Broken
from streamvis.store.views.summaries import Sizes

__all__ = ["ALL", "Cut", "Place", "Reach", "cut_log", "cut_piece", "log_steps"]

ALL = 2**63 - 1
_RECORDS_AT_ONCE = 1000
_BYTES_AT_ONCE = 16 * 2**20
"""How many chunks, values and keys, and how much of chunks, a piece looks at: some ten milliseconds of work."""


class Reach:
    """Which batches are cut: given the stretches of a log, each as its first batch and whether its batches are."""

    def __init__(self, stretches: Sequence[tuple[int, int]]) -> None:
        self._starts = np.array([start for start, _ in stretches], dtype=np.int64)
        self._is_cut = np.array([bool(is_cut) for _, is_cut in stretches], dtype=bool)
        self._is_all = bool(self._is_cut.all())

    def covers(self, seqs: np.ndarray) -> np.ndarray:
        """Whether each of the batches is cut, as an array of booleans."""
        if self._is_all:
            return np.ones(len(seqs), dtype=bool)
        return self._is_cut[np.searchsorted(self._starts, seqs, side="right") - 1]

    def covers_all(self, first_seq: int, last_seq: int) -> bool:
        """Whether all batches from the first to the last are cut."""
        if self._is_all:
            return True
        first, last = np.searchsorted(self._starts, (first_seq, last_seq), side="right") - 1
        return bool(self._is_cut[first : last + 1].all()) and first <= last


@dataclass(frozen=True, slots=True)
class Cut:
    """What a cut left: whether it changed anything, and the first and the last step that there are now."""

    changed: bool
    first_step: int | None
    last_step: int | None


@dataclass(frozen=True, slots=True)
class _Key:
    no: int
    kind: str
    rows: int
    sealed: int
    summed: int


@dataclass(frozen=True, slots=True)
class Place:
    """How far a cut is: done with the keys before `key`, and with what of it lies beyond `through`, a row or a step."""

    key: int = 0
    through: int = ALL


@dataclass(slots=True)
class _Budget:
    """What may still be looked at in a piece."""

    records: int = ALL
    bytes: int = ALL

    def __bool__(self) -> bool:
        return self.records > 0 and self.bytes > 0


def cut_log(db: Database, log: int, step: int, reach: Reach, sizes: Sizes) -> Cut:
    """Take back what lies at `step` or later and came with the batches that `reach` covers. A key with nothing left is gone."""
    changed, _ = _cut_from(db, log, step, reach, sizes, Place(), _Budget())
    return Cut(changed, *log_steps(db, log))


def cut_piece(db: Database, log: int, step: int, reach: Reach, sizes: Sizes, place: Place) -> tuple[bool, Place | None]:
    """Do a piece of a cut: whether it changed anything, and where to continue (None: it is done)."""
    return _cut_from(db, log, step, reach, sizes, place, _Budget(_RECORDS_AT_ONCE, _BYTES_AT_ONCE))


def log_steps(db: Database, log: int) -> tuple[int | None, int | None]:
    """The first and the last step of all that a log holds."""
    steps: list[int] = []
    for no, kind, *_ in db.execute(sql.GET_KEYS_TO_CUT, (log, 0)).fetchall():
        statement = sql.GET_CHUNK_STEPS if kind == "rows" else sql.GET_VALUE_STEPS
        steps += [one for one in db.execute(statement, (no,)).fetchone() if one is not None]
    return min(steps, default=None), max(steps, default=None)


def _cut_from(
    db: Database, log: int, step: int, reach: Reach, sizes: Sizes, place: Place, budget: _Budget
) -> tuple[bool, Place | None]:
    changed, left = False, None
    for row in db.execute(sql.GET_KEYS_TO_CUT, (log, place.key)).fetchall():
        key = _Key(*row)
        through = place.through if key.no == place.key else ALL
        if not budget:
            left = through
            break
        of_key = _cut_rows if key.kind == "rows" else _cut_values
        its_changed, left = of_key(db, log, key, step, reach, sizes, through, budget)
        changed |= its_changed
        if left is not None:
            break
        budget.records -= 1
    if changed:
        db.execute(sql.COUNT_CUT, (log,))
    return changed, Place(key.no, left) if left is not None else None


def _cut_rows(
    db: Database, log: int, key: _Key, step: int, reach: Reach, sizes: Sizes, through: int, budget: _Budget
) -> tuple[bool, int | None]:
    removed: dict[int, int] = {}
    first_gone, left = key.rows, None
    place = (key.no, through, step, budget.records)
    for no, first_row, first_seq, last_seq, first_step, count, size in db.execute(sql.GET_CHUNKS_TO_CUT, place).fetchall():
        budget.records, budget.bytes = budget.records - 1, budget.bytes - size
        left = None if budget else first_row - 1
        if first_step >= step and reach.covers_all(first_seq, last_seq):
            kept = np.zeros(count, dtype=bool)
        else:
            try:
                name, table, seqs = _opened(db, key.no, no)
            except Broken:
                continue  # no one can read it anyway, and what of it can be saved is not for us to take away
            kept = (numbers_of(table, "step") < step) | ~reach.covers(seqs)
        if not kept.all():
            first_gone = min(first_gone, first_row + int(np.argmin(kept)))
            removed[first_row] = count - int(kept.sum())
            db.execute(sql.DELETE_CHUNK, (no,))
            if kept.any():
                db.execute(sql.ADD_CHUNK, _place(log, key.no, first_row, name, table.filter(pa.array(kept)), seqs[kept]))
        if left is not None:
            break
    if removed:
        _renumber(db, key.no, removed)
        _end_key_at(db, key, min(removed), first_gone, key.rows - sum(removed.values()), sizes)
    return bool(removed), left


def _opened(db: Database, key: int, no: int) -> tuple[str, pa.Table, np.ndarray]:
    """The key's name, the rows of a chunk, and the batch of each."""
    chunk = read_chunk(db, key, no)
    return *chunk.rows(), chunk.marked().of_rows()


def _place(log: int, key: int, first_row: int, name: str, table: pa.Table, seqs: np.ndarray) -> tuple[object, ...]:
    marks, steps = Marks.from_rows(seqs), numbers_of(table, "step")
    return chunk_row(
        log,
        key,
        first_row,
        (int(seqs[0]), int(seqs[-1])),
        (int(steps.min()), int(steps.max())),
        table.num_rows,
        body_of_rows(name, table),
        marks=marks.to_bytes() if len(marks.seqs) > 1 else None,
    )


def _renumber(db: Database, key: int, removed: dict[int, int]) -> None:
    """Move what follows chunks of which so many rows were removed, in order, so that no two chunks ever meet."""
    before, losses = 0, sorted(removed.items())
    for no, first_row in db.execute(sql.GET_CHUNKS_AFTER, (key, losses[0][0])).fetchall():
        while losses and losses[0][0] < first_row:
            before += losses.pop(0)[1]
        db.execute(sql.RENUMBER_CHUNK, (first_row - before, no))


def _end_key_at(db: Database, key: _Key, first_changed: int, first_gone: int, rows: int, sizes: Sizes) -> None:
    """Bring the key's row and its summaries in line with its chunks: from the row `first_changed` on these are others."""
    if not rows:
        db.execute(sql.DELETE_SUMMARIES, (key.no,))
        db.execute(sql.DELETE_DIGESTS, (key.no,))
        db.execute(sql.DELETE_KEY, (key.no,))
        return
    summed = min(key.summed, sizes.covered(1, first_gone))
    for level in range(1, sizes.levels(key.summed) + 1):
        db.execute(sql.DELETE_SUMMARIES_FROM, (key.no, level, summed - sizes.body_rows_of(level)))
    db.execute(sql.DELETE_DIGESTS, (key.no,))
    db.execute(sql.SET_KEY_CUT, (rows, min(key.sealed, first_changed), summed, key.no))


def _cut_values(
    db: Database, log: int, key: _Key, step: int, reach: Reach, sizes: Sizes, through: int, budget: _Budget
) -> tuple[bool, int | None]:
    found = db.execute(sql.GET_VALUES_TO_CUT, (key.no, through, step, budget.records)).fetchall()
    budget.records -= len(found)
    covered = reach.covers(np.array([seq for _, _, seq in found], dtype=np.int64))
    gone = [(no,) for (no, _, _), is_gone in zip(found, covered, strict=True) if is_gone]
    db.executemany(sql.DELETE_VALUE, gone)
    newest = db.execute(sql.GET_NEWEST_VALUE, (key.no,)).fetchone()
    if newest is None:
        db.execute(sql.DELETE_KEY, (key.no,))
    elif gone:
        db.execute(sql.SET_KEY_NEWEST, (*newest, key.no))
    return bool(gone), None if budget or not found else found[-1][1] - 1
