"""How much of the past of values is kept: the newest of a key, where its producer asks for that, and by age and size for all.

The newest value of a key always stays. A key notes from which step on values are missing, so that a page of the past can say so.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from streamvis.errors import UsageError
from streamvis.store import statements as sql
from streamvis.store.database import Database
from streamvis.store.repairing import scan_statements as whole

__all__ = ["KeepValues", "Keeping", "keep_newest"]

_AT_ONCE = 200
_LOOK_EVERY_S = 60.0
_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400}
_BYTES = {"MB": 10**6, "GB": 10**9, "TB": 10**12}


@dataclass(frozen=True, slots=True)
class _Chosen:
    """A value to remove, as it was when it was chosen."""

    no: int
    key: int
    step: int
    size: int
    seq: int
    log: int


@dataclass(frozen=True, slots=True)
class KeepValues:
    """For how long values are kept after they were sent, and how many bytes of them; None for all."""

    age_s: float | None = None
    size_bytes: int | None = None

    @classmethod
    def read(cls, texts: Sequence[str]) -> KeepValues:
        """Read what an operator says, such as "30d" or "20GB". Raises UsageError."""
        age_s: float | None = None
        size_bytes: int | None = None
        for text in texts:
            said = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*", text)
            count, unit = (float(said[1]), said[2]) if said else (0.0, "")
            if unit not in _SECONDS and unit not in _BYTES or not count:
                told = f"Give an age, such as 30d (s, min, h, d), or a size, such as 20GB ({', '.join(_BYTES)})."
                raise UsageError(f"--keep-values is {text!r}. {told}")
            if unit in _SECONDS:
                age_s = count * _SECONDS[unit]
            else:
                size_bytes = int(count * _BYTES[unit])
        return cls(age_s, size_bytes)


def keep_newest(db: Database, key: int, count: int) -> None:
    """Remove all but the values of the key's greatest steps. Inside a write transaction.

    Of very many it removes the oldest; the rest goes when the next values come."""
    found = db.execute(sql.GET_NTH_NEWEST_STEP, (key, count - 1)).fetchone()
    if found is not None:
        _remove(db, key, db.execute(sql.GET_VALUES_BEFORE, (key, found[0], _AT_ONCE)).fetchall())


def _remove(db: Database, key: int, values: Sequence[tuple[int, int]]) -> None:
    """Remove values of a key, each given as its number and its step."""
    if values:
        db.executemany(sql.DELETE_VALUE, [(no,) for no, _ in values])
        db.execute(sql.SET_FIRST_MISSING, (min(step for _, step in values), key))


class Keeping:
    """Removes values that are older, or more, than an operator wants kept, the oldest first: a kind of work for the tidier."""

    def __init__(
        self,
        keep: KeepValues,
        reading: Callable[[], AbstractContextManager[Database]],
        writing: Callable[[], AbstractContextManager[tuple[Database, object]]],
        clock: Callable[[], float],
        *,
        is_indexed: bool = False,
    ) -> None:
        self._keep, self._reading, self._writing, self._clock = keep, reading, writing, clock
        self._rests_until = 0.0
        self._is_indexed = is_indexed
        self._held_bytes: int | None = None

    def go_on(self) -> bool:
        """Remove some; False when nothing has to be removed now."""
        if self._keep == KeepValues() or time.monotonic() < self._rests_until:
            return False
        if not self._is_indexed:
            with self._writing() as (db, _):
                db.execute(whole.INDEX_VALUES_BY_TIME)
            self._is_indexed = True
        with self._reading() as db:
            store = db.execute(sql.GET_META, ("id",)).fetchone()
            chosen = self._due(db)
        if not chosen:
            self._rests_until, self._held_bytes = time.monotonic() + _LOOK_EVERY_S, None
            return False
        with self._writing() as (db, _):
            if db.execute(sql.GET_META, ("id",)).fetchone() != store:  # a backup was put in its place meanwhile
                self._held_bytes = None
                return True
            db.hold_logs(value.log for value in chosen)
            same = [value for value in chosen if _is_same(db, value)]
            for key in {value.key for value in same}:
                _remove(db, key, [(value.no, value.step) for value in same if value.key == key])
        if self._held_bytes is not None:
            self._held_bytes -= sum(value.size for value in same)
        return True

    def _due(self, db: Database) -> list[_Chosen]:
        """Values to remove next."""
        if self._keep.age_s is not None:
            found = self._oldest(db, before=self._clock() - self._keep.age_s)
            if found:
                return found
        if self._keep.size_bytes is None:
            return []
        if self._held_bytes is None:
            self._held_bytes = int(db.execute(whole.GET_VALUES_SIZE).fetchone()[0])
        too_much, chosen = self._held_bytes - self._keep.size_bytes, []
        for value in self._oldest(db, before=self._clock()) if too_much > 0 else ():
            if too_much <= 0:
                break
            chosen.append(value)
            too_much -= value.size
        return chosen

    @staticmethod
    def _oldest(db: Database, *, before: float) -> list[_Chosen]:
        return [_Chosen(*row) for row in db.execute(whole.GET_OLDEST_VALUES, (before, _AT_ONCE))]


def _is_same(db: Database, value: _Chosen) -> bool:
    """Whether the value was not sent again since it was chosen, and is not the newest of its key now."""
    return db.execute(whole.GET_VALUE_AS_CHOSEN, (value.no, value.key, value.seq)).fetchone() is not None
