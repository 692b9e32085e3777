"""Housekeeping in a store, a short piece at a time: merging chunks, summaries, digests, deleting.

What readers see never changes by it. Chunks and summaries that are there are changed here, and where a run's past is taken back;
appending only adds. So a piece of work is prepared from a snapshot, without a lock, and put in place in a short transaction,
unless the log was cut meanwhile. It is for many keys, since a commit costs the same for one.

Chunks as they come are small. As soon as sixteen of about one size follow each other they are merged into one, so that a key
never has many, and none of its rows is rewritten more than a few times. From `Sizes.seal_rows` rows (or `seal_bytes`) on a
chunk is packed, and stays as it is. Chunks whose rows cannot stand in one table exactly as they are stay apart.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import pyarrow as pa

from streamvis.errors import DamagedData, StoreUnavailable
from streamvis.store import statements as sql
from streamvis.store.chunks.bodies import chunk_row, read_chunks_of, read_summary, summary_row
from streamvis.store.chunks.packed_rows import Marks, pack
from streamvis.store.chunks.rows import read_rows
from streamvis.store.chunks.tables import body_of_rows, concat_exact, numbers_of
from streamvis.store.database import Database
from streamvis.store.removing.discarding import discard_piece
from streamvis.store.views.digests import Digesting
from streamvis.store.views.summaries import Sizes, summary_of_rows, summary_of_summaries

__all__ = ["Tidier"]

_CHUNKS_AT_ONCE = 2000
_BYTES_AT_ONCE = 16 * 2**20
_KEYS_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class _OpenChunk:
    no: int
    first_row: int
    count: int
    size: int
    first_seq: int
    last_seq: int


@dataclass(frozen=True, slots=True)
class _Key:
    no: int
    log: int
    name: str
    sealed: int
    summed: int
    pending: int
    cuts: int


@dataclass(frozen=True, slots=True)
class _Made:
    """A chunk to put in place of those that hold its rows now."""

    first_row: int
    table: pa.Table
    marks: Marks
    sealed: bool


@dataclass(frozen=True, slots=True)
class _Work:
    """What to change of a key: chunks in place of others, summaries to add, and how many pending chunks are seen to by that.

    `places` are the rows of what was made; `chunks` and `bytes` are how much was looked at.
    """

    made: Sequence[_Made] = ()
    places: Sequence[tuple[object, ...]] = ()
    gone: Sequence[int] = ()
    summaries: Sequence[tuple[object, ...]] = ()
    seen: int = 0
    chunks: int = 0
    bytes: int = 0


class Tidier:
    """Tidies the store that `reading` and `writing` open transactions of.

    `others` are more kinds of work, of which each call does a piece and says whether it did.
    """

    def __init__(
        self,
        reading: Callable[[], AbstractContextManager[Database]],
        writing: Callable[[], AbstractContextManager[tuple[Database, object]]],
        others: Sequence[Callable[[], bool]],
        sizes: Sizes,
    ) -> None:
        self._reading, self._writing, self._sizes = reading, writing, sizes
        self._lock = threading.Lock()
        self._kinds = deque([*others, self._tidy_keys, Digesting(reading, writing).go_on, self._delete_dropped])
        self._last_key = 0
        self._given_up: set[int] = set()
        self._damaged_logs: set[int] = set()
        self._stopped: set[Callable[[], bool]] = set()

    def tidy(self, *, only_merge: bool = False) -> bool:
        """Do a short piece of work; True when there may be more. The kinds of work take turns, so that none waits for another.

        Raises what goes wrong. A key on which it does is left alone from then on, unless the store itself was unavailable. Damage
        is left alone too, and is not raised: whoever opened the transaction has told of it.
        """
        with self._lock:
            try:
                if only_merge:
                    return self._done(self._tidy_keys)
                for _ in range(len(self._kinds)):
                    self._kinds.rotate(-1)
                    if self._done(self._kinds[-1]):
                        return True
                return False
            except StoreUnavailable:
                self._given_up.clear()
                self._damaged_logs.clear()
                raise

    def unmerged(self, db: Database) -> int:
        """How many chunks wait to be merged, in keys that have enough of them and are not given up."""
        return db.execute(sql.COUNT_UNMERGED, (self._left_alone(),)).fetchone()[0]

    def _left_alone(self) -> str:
        return json.dumps(sorted(self._given_up))

    def _done(self, work: Callable[[], bool]) -> bool:
        """Whether something was done, or given up. A kind of work that meets damage with no key to give up for it is stopped."""
        if work in self._stopped:
            return False
        before = len(self._given_up) + len(self._damaged_logs)
        try:
            return work()
        except DamagedData:
            if len(self._given_up) + len(self._damaged_logs) == before:
                self._stopped.add(work)
            return True

    @staticmethod
    @contextmanager
    def _giving_up(left_alone: set[int], no: int) -> Iterator[None]:
        """Leave the key or log of this number alone from now on where anything goes wrong with it."""
        left_alone.add(no)
        yield
        left_alone.discard(no)

    def _tidy_keys(self) -> bool:
        with self._reading() as db:
            (store,) = db.execute(sql.GET_META, ("id",)).fetchone()
            works = list(self._prepared(db))
        if not works:
            return False
        with self._writing() as (db, _):
            is_same = db.execute(sql.GET_META, ("id",)).fetchone() == (store,)  # no backup was put in its place meanwhile
            db.hold_logs(key.log for key, _ in works)
            for key, work in works:
                if is_same and db.execute(sql.GET_CUTS, (key.log,)).fetchone() == (key.cuts,):
                    with self._giving_up(self._given_up, key.no):
                        self._put_in_place(db, key, work)
        return True

    def _prepared(self, db: Database) -> Iterator[tuple[_Key, _Work]]:
        """What is to be done for the keys that are due, after those of the last time and not for longer than a moment."""
        found = db.execute(sql.GET_KEYS_DUE, (self._last_key, self._left_alone(), _KEYS_AT_ONCE)).fetchall()
        if not found and self._last_key:
            found = db.execute(sql.GET_KEYS_DUE, (0, self._left_alone(), _KEYS_AT_ONCE)).fetchall()
        self._last_key = 0
        chunks = size = 0
        for row in found:
            key = _Key(*row)
            with self._giving_up(self._given_up, key.no):
                work = _prepared(db, key, self._sizes)
            yield key, work
            chunks, size = chunks + work.chunks, size + work.bytes
            self._last_key = key.no
            if chunks >= _CHUNKS_AT_ONCE or size >= _BYTES_AT_ONCE:
                return

    def _put_in_place(self, db: Database, key: _Key, work: _Work) -> None:
        sealed = key.sealed + sum(chunk.table.num_rows for chunk in work.made if chunk.sealed)
        summed = key.summed + (self._sizes.body_rows if work.summaries else 0)
        db.executemany(sql.DELETE_CHUNK, [(no,) for no in work.gone])
        db.executemany(sql.ADD_CHUNK, work.places)
        db.executemany(sql.ADD_SUMMARY, work.summaries)
        db.execute(sql.SET_KEY_TIDIED, (sealed, summed, work.seen, key.no))
        db.execute(sql.SET_KEY_DUE, (key.no, *self._sizes.due))

    def _delete_dropped(self) -> bool:
        with self._reading() as db:
            found = db.execute(sql.GET_DROPPED_LOG, (json.dumps(sorted(self._damaged_logs)),)).fetchone()
        if found is None:
            return False
        with self._giving_up(self._damaged_logs, found[0]), self._writing() as (db, _):
            discard_piece(db, found[0])
        return True


def _prepared(db: Database, key: _Key, sizes: Sizes) -> _Work:
    """What is to be done for a key next."""
    if key.sealed - key.summed >= sizes.body_rows:
        return _Work(summaries=_summaries(db, key, sizes), bytes=sizes.seal_bytes)
    chunks = [_OpenChunk(*row) for row in db.execute(sql.GET_OPEN_CHUNKS, (key.no, key.sealed, _CHUNKS_AT_ONCE))]
    made: list[_Made] = []
    gone: list[_OpenChunk] = []
    for group in _chosen(chunks, sizes):
        its = _merged(db, key.no, group, sizes)
        if len(its) < len(group) or any(chunk.sealed for chunk in its):
            made += its
            gone += group
    # Where more is left than could be looked at now, the key stays due.
    is_more = bool(made) and (len(chunks) == _CHUNKS_AT_ONCE or any(chunk.sealed for chunk in made))
    return _Work(
        made=made,
        places=[_place(key, chunk) for chunk in made],
        gone=[chunk.no for chunk in gone],
        seen=0 if is_more else key.pending,
        chunks=len(chunks),
        bytes=sum(chunk.size for chunk in gone),
    )


def _is_due(chunks: list[_OpenChunk], sizes: Sizes) -> bool:
    """Whether the chunks are enough to be sealed."""
    return sum(c.count for c in chunks) >= sizes.seal_rows or sum(c.size for c in chunks) >= sizes.seal_bytes


def _chosen(chunks: list[_OpenChunk], sizes: Sizes) -> list[list[_OpenChunk]]:
    """Groups of neighbours to merge now."""
    if _is_due(chunks, sizes):
        total = itertools.accumulate(chunk.size for chunk in chunks)
        return [chunks[: max(1, sum(1 for so_far in total if so_far <= _BYTES_AT_ONCE))]]
    # From the smallest size on, those that are enough: each row is rewritten once a size.
    groups = [[chunk] for chunk in chunks]
    limit = sizes.merge_at
    while limit < sizes.merge_at * sizes.seal_rows:
        groups = _with_neighbours(groups, limit, sizes.merge_at)
        limit *= sizes.merge_at
    return [group for group in groups if len(group) > 1]


def _with_neighbours(groups: list[list[_OpenChunk]], limit: int, enough: int) -> list[list[_OpenChunk]]:
    """The groups, where `enough` neighbours of less than `limit` rows each are one."""
    joined: list[list[_OpenChunk]] = []
    for is_small, members in itertools.groupby(groups, key=lambda group: sum(chunk.count for chunk in group) < limit):
        neighbours = list(members)
        joined += [list(itertools.chain(*neighbours))] if is_small and len(neighbours) >= enough else neighbours
    return joined


def _merged(db: Database, key: int, chunks: list[_OpenChunk], sizes: Sizes) -> list[_Made]:
    """What takes the place of the chunks."""
    is_sealing = _is_due(chunks, sizes)
    # What a cut left of a key may have sealed chunks behind others.
    stored = read_chunks_of(db, key, (chunk.no for chunk in chunks))
    parts = [(one.rows()[1], one.marked(), chunk) for one, chunk in zip(stored, chunks, strict=True)]
    made: list[_Made] = []
    groups = _that_fit(parts)
    for i, group in enumerate(groups):
        table = concat_exact([table for table, _, _ in group])
        assert table is not None  # `_that_fit` has seen to it
        marks = Marks.joined([marks for _, marks, _ in group])
        size, first_row = sum(chunk.size for _, _, chunk in group), group[0][2].first_row
        rows = max(1, min(sizes.seal_rows, table.num_rows * sizes.seal_bytes // max(1, size)))
        for start in range(0, table.num_rows, rows):
            stop = min(start + rows, table.num_rows)
            is_rest = stop - start < rows and i == len(groups) - 1
            made.append(
                _Made(first_row + start, table.slice(start, stop - start), marks.part(start, stop), is_sealing and not is_rest)
            )
    return made


def _that_fit(parts: list[tuple[pa.Table, Marks, _OpenChunk]]) -> list[list[tuple[pa.Table, Marks, _OpenChunk]]]:
    """The parts, in groups that can each be one table."""
    if not parts:
        return []
    if len(parts) == 1 or concat_exact([table for table, _, _ in parts]) is not None:
        return [parts]
    middle = len(parts) // 2
    left, right = _that_fit(parts[:middle]), _that_fit(parts[middle:])
    if concat_exact([table for table, _, _ in left[-1] + right[0]]) is not None:
        return [*left[:-1], left[-1] + right[0], *right[1:]]
    return left + right


def _place(key: _Key, made: _Made) -> tuple[object, ...]:
    body = pack({"key": key.name}, made.table) if made.sealed else body_of_rows(key.name, made.table)
    steps = numbers_of(made.table, "step")
    return chunk_row(
        key.log,
        key.no,
        made.first_row,
        (int(made.marks.seqs[0]), int(made.marks.seqs[-1])),
        (int(steps.min()), int(steps.max())),
        made.table.num_rows,
        body,
        is_packed=made.sealed,
        marks=made.marks.to_bytes() if len(made.marks.seqs) > 1 else None,
    )


def _summaries(db: Database, key: _Key, sizes: Sizes) -> list[tuple[object, ...]]:
    """The next body of level 1, and those of the levels above that it completes."""
    end = key.summed + sizes.body_rows
    body = summary_of_rows(lambda names: read_rows(db, key.no, key.summed, end, names=names), sizes)
    made = [summary_row(key.no, 1, key.summed, body)]
    level = 2
    while sizes.covered(level, end) > sizes.covered(level, key.summed):
        first, step = end - sizes.body_rows_of(level), sizes.body_rows_of(level - 1)
        bodies = [read_summary(db, key.no, level - 1, row) for row in range(first, end - step, step)]
        body = summary_of_summaries([*bodies, body], sizes)
        made.append(summary_row(key.no, level, first, body))
        level += 1
    return made
