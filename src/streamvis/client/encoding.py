"""Entries into the body of one batch, in Arrow form. It imports Arrow, so it is loaded in the sender's thread.

Entries are gathered by key into columns: rows of one key that stand between two control records become one table, and of values
for the same key and step the last one stays. Order within a key is the order of the entries; nothing passes a control record.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from streamvis import records
from streamvis.client.outbox import CONTROL, ROW, VALUE, Begin, Clear, End, Entry, Extent, Kept, row_count
from streamvis.client.spool.frames import are_notes, entries_of
from streamvis.client.values.copying import Refused
from streamvis.errors import InvalidData
from streamvis.wire.arrow import body_of, encode_control, encode_rows_apart, encode_value, streams_of
from streamvis.wire.tree import pack

__all__ = ["Encoded", "GatheredRows", "encode", "encode_begin", "encode_bodies", "gather"]

_MAX_RECORD_BYTES = 56 * 2**20
"""The endpoint takes bodies of 64 MiB. A call takes less by far; but what was counted there was rough."""
_MAX_TABLE_BYTES = 4 * 2**20
_UNENCODABLE = (pa.ArrowException, InvalidData, Refused, TypeError, ValueError, OverflowError, RuntimeError)


class Encoded(NamedTuple):
    """A body, and what could not be part of it: a text per record left out."""

    body: bytes
    left_out: list[str]


def encode(entries: Iterable[Entry]) -> Encoded:
    """Encode entries of one run, which no device holds any more."""
    left_out: list[str] = []
    return Encoded(b"".join(part for group in gather(entries) for part in _encode_group(group, left_out)), left_out)


def encode_begin(begin: Begin, time: float) -> bytes:
    """A producer begins, or joins."""
    config = json.dumps(pack(begin.config))
    return encode_control(records.Start(config, time, begin.name, begin.joins, begin.attempt, begin.resume_at))


def encode_bodies(bodies: Iterable[bytes]) -> Encoded:
    """Encode a batch of several bodies, each of them notes, or encoded already. Raises InvalidData for unreadable notes.

    Rows of one key become one table where they have the same columns. The same bodies make the same bytes each time.
    """
    parts: list[bytes] = []
    left_out: list[str] = []
    for group in _grouped_notes(bodies):
        if isinstance(group, bytes):
            parts.append(group)
        else:
            encoded = encode(group)
            parts.append(encoded.body)
            left_out += encoded.left_out
    return Encoded(parts[0] if len(parts) == 1 else _regathered(b"".join(parts)), left_out)


def _grouped_notes(bodies: Iterable[bytes]) -> Iterator[bytes | list[Entry]]:
    """Bodies that are encoded, and between them the entries of notes, as many at a time as can be gathered."""
    entries: list[Entry] = []
    extent = Extent(_MAX_TABLE_BYTES)
    for body in bodies:
        if not are_notes(body):
            if entries:
                yield entries
            yield body
            entries, extent = [], Extent(_MAX_TABLE_BYTES)
            continue
        for entry in entries_of(body):
            if not extent.takes(entry):
                yield entries
                entries, extent = [], Extent(_MAX_TABLE_BYTES)
                extent.takes(entry)
            entries.append(entry)
    if entries:
        yield entries


def _regathered(body: bytes) -> bytes:
    """The same records in fewer streams. Their order within a key stays, and nothing passes a control record."""
    try:
        return b"".join(group.joined() for group in _grouped_streams(body))
    except (*_UNENCODABLE, LookupError):
        return body  # what is wrong with it, the endpoint says


def _grouped_streams(body: bytes) -> list[_Streams]:
    groups: list[_Streams] = []
    open_groups: dict[str, _Streams] = {}
    for meta, table, part in streams_of(body):
        key = meta.get("key")
        group = open_groups.get(meta["key"]) if meta["kind"] == "rows" else None
        if group is not None and group.tables[0].schema.equals(table.schema, check_metadata=True):
            group.tables.append(table)
            continue
        groups.append(_Streams(meta, [table], bytes(part)))
        if meta["kind"] == "rows":
            open_groups[meta["key"]] = groups[-1]
        elif key is None:
            open_groups = {}
    return groups


class _Streams(NamedTuple):
    """Streams that can be one; `first` is the first of them as it came."""

    meta: dict[str, Any]
    tables: list[pa.Table]
    first: bytes

    def joined(self) -> bytes:
        if len(self.tables) == 1:
            return self.first
        return body_of(self.meta, pa.concat_tables(self.tables).combine_chunks().replace_schema_metadata(None))


def _encode_group(group: GatheredRows | GatheredValue | Control, left_out: list[str]) -> list[bytes]:
    """One group; if it has no Arrow form, its rows one by one, so that one bad row spoils no other."""
    if isinstance(group, Control):
        return [_encode_control(group)]
    problem: Exception | None = None
    # Tried twice: at the end of a program Arrow fails to import pandas, where that is installed, once; then it continues without.
    for _ in range(2):
        try:
            body = _encode_one(group)
        except MemoryError:
            raise
        except _UNENCODABLE as error:
            problem = error
            continue
        if len(body) <= _MAX_RECORD_BYTES:
            return [body]
        left_out.append(f"key {group.key!r}: {len(body):,} bytes, more than the {_MAX_RECORD_BYTES:,} that can be sent together")
        return []
    parts = _singly(group)
    if len(parts) <= 1:
        left_out.append(f"key {group.key!r}: {problem}")
        return []
    return [body for part in parts for body in _encode_group(part, left_out)]


def _singly(group: GatheredRows | GatheredValue) -> list[GatheredRows]:
    """The rows of a group, each as a group of its own."""
    if isinstance(group, GatheredValue):
        return []
    return [
        GatheredRows(group.key, [step], [time], {name: cells[i : i + 1] for name, cells in group.columns.items()})
        for i, (step, time) in enumerate(zip(group.steps, group.times, strict=True))
    ]


def _encode_one(group: GatheredRows | GatheredValue) -> bytes:
    if isinstance(group, GatheredRows):
        return b"".join(chunk.body for chunk in encode_rows_apart(group.key, group.steps, group.times, group.columns))
    data, keep = group.data if isinstance(group.data, Kept) else (group.data, None)
    return encode_value(group.key, group.step, group.time, data, keep=keep).body


def _encode_control(control: Control) -> bytes:
    match control.record:
        case Begin() as begin:
            return encode_begin(begin, control.time)
        case Clear():
            return encode_control(records.Clear(time=control.time))
        case End(state, others):
            return encode_control(records.Finish(state, control.time, others))
    raise TypeError(type(control.record))


# Gathering: pure


class GatheredRows(NamedTuple):
    """Rows of one key: `steps` and `times` have one element per row, each column a list or an array of as many cells."""

    key: str
    steps: Sequence[int]
    times: Sequence[float]
    columns: Mapping[str, Any]


class GatheredValue(NamedTuple):
    """One key's value at a step."""

    key: str
    step: int
    time: float
    data: Mapping[str, Any]


class Control(NamedTuple):
    """A control record as it came."""

    time: float
    record: Any


def gather(entries: Iterable[Entry]) -> list[GatheredRows | GatheredValue | Control]:
    """Gather entries; nothing passes a control record."""
    gathered: list[GatheredRows | GatheredValue | Control] = []
    rows: dict[str, list[Entry]] = {}
    values: dict[tuple[str, int], Entry] = {}
    for entry in entries:
        kind = entry[0]
        if kind is VALUE:
            values.pop((entry[3], entry[1]), None)
            values[entry[3], entry[1]] = entry
        elif kind is CONTROL:
            gathered += _between_controls(rows, values)
            rows, values = {}, {}
            gathered.append(Control(entry[2], entry[4]))
        elif entry[3] in rows:
            rows[entry[3]].append(entry)
        else:
            rows[entry[3]] = [entry]
    return gathered + _between_controls(rows, values)


def _between_controls(rows: Mapping[str, list[Entry]], values: Mapping[Any, Entry]) -> list[GatheredRows | GatheredValue]:
    gathered: list[Any] = [_rows_of(key, entries) for key, entries in rows.items()]
    gathered = [one for one in gathered if one.steps]
    return gathered + [GatheredValue(key, step, time, data) for _, step, time, key, data, _ in values.values()]


def _rows_of(key: str, entries: Sequence[Entry]) -> GatheredRows:
    if any(entry[0] is not ROW for entry in entries):
        return _rows_of_columns(key, [entry for entry in entries if row_count(entry[0], entry[4])])
    datas = [entry[4] for entry in entries]
    names = _names(datas)
    steps, times = [entry[1] for entry in entries], [entry[2] for entry in entries]
    if all(len(data) == len(names) for data in datas):
        return GatheredRows(key, steps, times, {name: [data[name] for data in datas] for name in names})
    return GatheredRows(key, steps, times, {name: [data.get(name) for data in datas] for name in names})


def _rows_of_columns(key: str, entries: Sequence[Entry]) -> GatheredRows:
    counts = [row_count(entry[0], entry[4]) for entry in entries]
    steps = [entry[1] for entry, count in zip(entries, counts, strict=True) for _ in range(count)]
    times = [entry[2] for entry, count in zip(entries, counts, strict=True) for _ in range(count)]
    names = _names(entry[4] for entry in entries)
    return GatheredRows(key, steps, times, {name: _column(name, entries, counts) for name in names})


def _names(datas: Iterable[Mapping[str, Any]]) -> dict[str, None]:
    """All the names, in the order in which they came."""
    return dict.fromkeys(name for data in datas for name in data)


def _column(name: str, entries: Sequence[Entry], counts: Sequence[int]) -> Any:
    """One column out of the parts that the entries have of it; None stands for a part that is missing."""
    parts: list[Any] = []
    for entry, count in zip(entries, counts, strict=True):
        part = entry[4].get(name)
        if entry[0] is ROW:
            part = [part]
        parts.append(count if part is None else part)
    arrays = [part for part in parts if isinstance(part, np.ndarray)]
    if len(arrays) == len(parts) and _fit(arrays):
        return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    cells: list[Any] = []
    for part in parts:
        if isinstance(part, int):
            cells += [None] * part
        else:
            cells += part if isinstance(part, list) else _cells(part)
    return cells


def _fit(arrays: Sequence[np.ndarray]) -> bool:
    """Whether the arrays make one array without a change of what the cells are, whatever these are."""
    if len({array.shape[1:] for array in arrays}) > 1:
        return False
    dtypes = {array.dtype for array in arrays}
    kinds = {dtype.kind for dtype in dtypes}
    if len(dtypes) == 1 or kinds == {"U"}:
        return True
    # What is left is joined by value: numbers as doubles lack some whole numbers of 64 bits, and each unit some times.
    widest = np.result_type(*dtypes) if kinds <= {"i", "u", "f"} else None
    return widest is not None and not (widest.kind == "f" and any(one.kind in "iu" and one.itemsize == 8 for one in dtypes))


def _cells(array: np.ndarray) -> list[Any]:
    return list(array) if array.ndim > 1 or array.dtype.kind in "mM" else array.tolist()
