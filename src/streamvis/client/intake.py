"""Check and copy what the caller gave, in the call: a wrong record is an error on the caller's line, and spoils no other.

This is the hot path of a training loop: a few scalars under a key seen before take one loop over them and nothing else.
Nothing here knows of threads, networks, or Arrow; NumPy is touched only where the caller's data brought it along.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from time import time
from typing import Any

from streamvis.client.notices import tell
from streamvis.client.outbox import ROW, ROWS, VALUE, Entry, Kept
from streamvis.client.values.copying import HIGHEST, LOWEST, Copier, Refused, Unfetched
from streamvis.errors import InvalidData, UsageError
from streamvis.wire.limits import MAX_COLUMNS, MAX_NAME_BYTES, MAX_NAME_CHARS

__all__ = ["Intake", "checked_step", "checked_text"]

_FEW = 8
"""A row of so many scalars counts as small: the outbox bounds it by number."""
_ROW_BYTES = 16
"""What a row costs beside its columns: its step and its time."""
_ARRAY_BYTES = 320
"""What an array inside a value costs beside its numbers."""
_MAX_KNOWN_NAMES = 100_000
"""So many names are remembered. Who uses more learns from the endpoint that a key has too many columns."""
_MAX_STEP = 2**63 - 1
_NAME = f"a string of 1 to {MAX_NAME_CHARS:,} characters, of at most {MAX_NAME_BYTES:,} bytes in UTF-8"
_KIND = {ROWS: "rows (`sendl`)", VALUE: "a value (`send`)"}


class Intake:
    """What one run's calls have shown so far: which kind each key holds, its columns, and which names were found good."""

    __slots__ = ("_column_count", "_columns", "_hint_for", "_hinted", "_kinds", "_names", "_now", "last_step")

    def __init__(self, *, now: Callable[[], float] = time) -> None:
        self._kinds: dict[str, str] = {}
        self._columns: dict[str, set[str]] = {}
        self._column_count = 0
        self._names: set[str] = set()
        self._hinted = False
        self._hint_for: str | None = None
        self._now = now
        self.last_step = 0
        """The step that was given last."""

    def forget_keys(self) -> None:
        """After a clear a key may hold the other kind, and has no columns."""
        self._kinds, self._columns, self._column_count = {}, {}, 0

    def rows(self, step: int, key: str, data: Mapping[str, Any]) -> Entry:
        """The entry of a `sendl`. Raises InvalidData and UsageError."""
        if type(data) is dict and type(step) is int and type(key) is str and 0 <= step <= _MAX_STEP:
            names = self._columns.get(key)
            if names is not None and 0 < len(data) <= _FEW:
                for name, cell in data.items():
                    kind = type(cell)
                    if name not in names or not (kind is float or (kind is int and LOWEST <= cell <= HIGHEST)):
                        break
                else:
                    self.last_step = step
                    return (ROW, step, self._now(), key, data.copy(), 0)
        return self._checked_rows(step, key, data)

    def value(self, step: int, key: str, data: Mapping[str, Any], *, keep: int | None = None) -> Entry:
        """The entry of a `send`, of whose key the `keep` newest are to be kept. Raises InvalidData and UsageError."""
        now = self._now()
        step, key = checked_step(step), self._checked_name(key, "key", "key")
        self._check_kind(key, VALUE)
        copier = Copier()
        copied: dict[str, Any] = {}
        only_numbers = True
        for name, part in _checked_mapping(data).items():
            self._checked_name(name, "name", "data")
            try:
                copied[name] = copier.tree(part)
            except Refused as refused:
                raise _invalid(refused, f"data[{_shown(name)}]") from refused.__cause__
            only_numbers = only_numbers and type(copied[name]) in (int, float, bool)
        _grow(copier, _ARRAY_BYTES * (copier.arrays + len(copier.deferred)) + sum(map(len, copied)))
        self._kinds[key] = VALUE
        self.last_step = step
        if only_numbers and copied and not self._hinted:
            self._hinted, self._hint_for = True, key
        held = Unfetched(copied) if copier.deferred else copied
        return (VALUE, step, now, key, held if keep is None else Kept(held, keep), copier.size + 256)

    def tell_hint(self) -> None:
        """Give the advice that the last call gave rise to, now that its record is on its way."""
        key, self._hint_for = self._hint_for, None
        if key is not None:
            _hint_at_sendl(key)

    def _checked_rows(self, step: Any, key: Any, data: Any) -> Entry:
        now = self._now()
        step, key = checked_step(step), self._checked_name(key, "key", "key")
        self._check_kind(key, ROWS)
        data = _checked_mapping(data)
        if not data:
            raise InvalidData("no columns", where="data", allowed="at least one column")
        copier = Copier()
        columns: dict[str, Any] = {}
        lengths: dict[str, int | None] = {}
        for name, column in data.items():
            self._checked_name(name, "column name", "data")
            try:
                columns[name], lengths[name] = copier.column(column)
            except Refused as refused:
                raise _invalid(refused, f"data[{_shown(name)}]") from refused.__cause__
        kind, count = _checked_lengths(columns, lengths)
        is_small = kind is ROW and len(columns) <= _FEW and not copier.size
        _grow(copier, _ROW_BYTES * count + sum(map(len, columns)))
        self._add_columns(key, columns)
        self._kinds[key] = ROWS
        self.last_step = step
        size = 0 if is_small else copier.size + 64 * len(columns) + 256
        return (kind, step, now, key, Unfetched(columns) if copier.deferred else columns, size)

    def _add_columns(self, key: str, columns: Mapping[str, Any]) -> None:
        known = self._columns.get(key)
        if known is not None and columns.keys() <= known:
            return
        known = known or set()
        new = columns.keys() - known
        if len(known) + len(new) > MAX_COLUMNS:
            raise InvalidData(
                f"the key {_shown(key)} would have {len(known) + len(new):,} columns in this run",
                where="data",
                allowed=f"at most {MAX_COLUMNS:,}; use several keys, or an array where the names are numbers",
            )
        if self._column_count + len(new) > _MAX_KNOWN_NAMES:
            self._columns, self._column_count, known, new = {}, 0, set(), set(columns)
        self._column_count += len(new)
        self._columns[key] = known | new

    def _check_kind(self, key: str, kind: str) -> None:
        if len(self._kinds) >= _MAX_KNOWN_NAMES:
            self._kinds.clear()  # the endpoint knows too
        holds = self._kinds.get(key, kind)
        if holds != kind:
            raise UsageError(
                f"The key {key!r} holds {_KIND[holds]}, and was used for {_KIND[kind]}. A key holds one kind: use another key."
            )

    def _checked_name(self, name: Any, what: str, where: str) -> str:
        if type(name) is str and name in self._names:
            return name
        _check_name(name, what, where)
        name = str.__str__(name)
        if len(self._names) >= _MAX_KNOWN_NAMES:
            self._names = set()
        self._names.add(name)
        return name


def checked_text(name: Any, what: str) -> str:
    """The name of an app or a run, if it is one. Raises InvalidData."""
    _check_name(name, what, what)
    return str.__str__(name)


def checked_step(step: Any, where: str = "step") -> int:
    """The step as an int, if it is one. Raises InvalidData."""
    if not isinstance(step, int) or isinstance(step, bool):
        index = getattr(type(step), "__index__", None)
        if index is None or isinstance(step, bool) or type(step).__name__.startswith("bool"):
            raise InvalidData(
                f"{_shown(step)} ({type(step).__name__}) is not a valid step",
                where=where,
                allowed="a whole number from 0, such as the loop's counter or int(...) of what you have",
            )
        try:
            step = index(step)
        except (TypeError, ValueError) as error:
            problem = f"{type(step).__name__} is not a valid step ({error})"
            raise InvalidData(problem, where=where, allowed="a whole number from 0") from error
    if not 0 <= step <= _MAX_STEP:
        raise InvalidData(f"{step} is not a valid step", where=where, allowed="a whole number from 0 to 2**63-1")
    return int(step)


def _checked_mapping(data: Any) -> dict[Any, Any]:
    if type(data) is not dict:
        if not (isinstance(data, Mapping) or (hasattr(data, "keys") and hasattr(data, "__getitem__"))):
            allowed = 'a dict of names to data, such as {"y": 1.5}'
            raise InvalidData(f"{type(data).__name__} is not a dict", where="data", allowed=allowed)
        data = {name: data[name] for name in data.keys()}  # a DataFrame, which has `keys`, iterates otherwise
    if len(data) > MAX_COLUMNS:
        raise InvalidData(f"{len(data)} names", where="data", allowed=f"at most {MAX_COLUMNS}")
    return data


def _check_name(name: Any, what: str, where: str) -> None:
    if not isinstance(name, str):
        raise InvalidData(f"the {what} {_shown(name)} is not a string", where=where, allowed=_NAME)
    if not 0 < len(name) <= MAX_NAME_CHARS:
        shown = "empty" if not name else f"{len(name)} characters long"
        raise InvalidData(f"the {what} is {shown}", where=where, allowed=_NAME)
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise InvalidData(f"the {what} {name!a} has a lone surrogate", where=where, allowed="text that UTF-8 can say") from None
    if "\0" in name:
        raise InvalidData(f"the {what} {_shown(name)} has the character NUL", where=where, allowed="names without it")
    if size > MAX_NAME_BYTES:
        raise InvalidData(f"the {what} has {size:,} bytes in UTF-8", where=where, allowed=_NAME)


def _checked_lengths(columns: dict[str, Any], lengths: Mapping[str, int | None]) -> tuple[str, int]:
    """ROW when all columns are scalars; else ROWS, with scalars made into lists of one. And the number of rows."""
    if all(length is None for length in lengths.values()):
        return ROW, 1
    for name, length in lengths.items():
        if length is None:
            columns[name] = [columns[name]]
    found = {name: 1 if length is None else length for name, length in lengths.items()}
    if len(set(found.values())) > 1:
        shown = ", ".join(f"{_shown(name)}: {length}" for name, length in list(found.items())[:6])
        raise InvalidData(
            f"columns of unequal length ({shown}{', ...' if len(found) > 6 else ''})",
            where="data",
            allowed="columns of one length (a scalar counts as one row)",
        )
    return ROWS, next(iter(found.values()))


def _grow(copier: Copier, size: int) -> None:
    try:
        copier.grow(size)
    except Refused as refused:
        raise _invalid(refused, "data") from None


def _invalid(refused: Refused, place: str) -> InvalidData:
    return InvalidData(refused.problem, where=place + "".join(reversed(refused.trail)), allowed=refused.allowed)


def _shown(name: Any) -> str:
    text = json.dumps(name, ensure_ascii=False) if isinstance(name, str) else repr(name)
    return text if len(text) <= 80 else text[:77] + "..."


def _hint_at_sendl(key: str) -> None:
    level, frame = 1, sys._getframe()
    while frame is not None and frame.f_globals.get("__name__", "").startswith("streamvis."):
        level, frame = level + 1, frame.f_back
    text = "send(step, %r, ...) got only numbers, and pages show the newest alone. For a curve, use sendl, which appends rows."
    tell(text, key, stacklevel=level)
