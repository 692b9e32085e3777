"""Entries of the outbox into the body of one batch, and what was kept of them into another form of it.

It imports Arrow, so it is loaded in the sender's thread.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from streamvis import records
from streamvis.client.copying import Refused, Unfetched
from streamvis.client.entries import ROW, Begin, Clear, End, Entry, Kept
from streamvis.client.gather import Control, GatheredRows, GatheredValue, gather
from streamvis.errors import InvalidData
from streamvis.wire.arrow import body_of, encode_control, encode_rows_apart, encode_value, streams_of
from streamvis.wire.tree import pack

__all__ = ["Encoded", "encode", "encode_begin", "encode_notes", "gathered"]

_MAX_RECORD_BYTES = 56 * 2**20
"""The endpoint takes bodies of 64 MiB. A call takes less by far; but what was counted there was rough."""
_UNENCODABLE = (pa.ArrowException, InvalidData, Refused, TypeError, ValueError, OverflowError, RuntimeError)


class Encoded(NamedTuple):
    """A body, and what could not be part of it: a text per record left out."""

    body: bytes
    left_out: list[str]


def encode(entries: Sequence[Entry]) -> Encoded:
    """Encode entries of one run. Waits for devices whose arrays are among them."""
    left_out: list[str] = []
    fetched = [one for one in (_fetched(entry, left_out) for entry in entries) if one is not None]
    return Encoded(b"".join(part for group in gather(fetched) for part in _encode_group(group, left_out)), left_out)


def encode_begin(begin: Begin, time: float) -> bytes:
    """A producer begins, or joins."""
    config = json.dumps(pack(begin.config))
    return encode_control(records.Start(config, time, begin.name, begin.joins, begin.attempt, begin.resume_at))


def encode_notes(notes: bytes) -> bytes:
    """Rows that were written down (see `frames`), as the body of a batch. Raises InvalidData."""
    try:
        rows = [json.loads(line) for line in notes.splitlines()]
        if not all(isinstance(columns, dict) and columns and isinstance(key, str) for _, _, key, columns in rows):
            raise ValueError("not rows of a key")
        return encode([(ROW, step, time, key, columns, 0) for step, time, key, columns in rows]).body
    except _UNENCODABLE as error:
        raise InvalidData(f"notes in a spool cannot be read ({error})") from error


def gathered(body: bytes) -> bytes:
    """The same records in fewer streams: rows of one key become one table where they have the same columns.

    Their order within a key stays, and nothing passes a control record.
    """
    try:
        return b"".join(group.joined() for group in _grouped(body))
    except _UNENCODABLE:
        return body


def _grouped(body: bytes) -> list[_Streams]:
    groups: list[_Streams] = []
    open_groups: dict[str, _Streams] = {}
    for meta, table, part in streams_of(body):
        key = meta.get("key")
        group = open_groups.get(key) if meta["kind"] == "rows" else None
        if group is not None and group.tables[0].schema.equals(table.schema, check_metadata=True):
            group.tables.append(table)
            continue
        groups.append(_Streams(meta, [table], bytes(part)))
        if meta["kind"] == "rows":
            open_groups[key] = groups[-1]
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


def _fetched(entry: Entry, left_out: list[str]) -> Entry | None:
    kind, step, time, key, data, size = entry
    if type(data) is Kept:
        inner = _fetched((kind, step, time, key, data.data, size), left_out)
        return inner and (*inner[:4], Kept(inner[4], data.keep), size)
    if type(data) is not Unfetched:
        return entry
    try:
        return (kind, step, time, key, data.fetch(), size)
    except _UNENCODABLE as error:
        left_out.append(f"key {key!r}, step {step}: {error}")
        return None


def _encode_group(group: GatheredRows | GatheredValue | Control, left_out: list[str]) -> list[bytes]:
    """One group; if it has no Arrow form, its rows one by one, so that one bad row spoils no other."""
    if isinstance(group, Control):
        return [_encode_control(group)]
    problem: Exception | None = None
    # Tried twice: at the end of a program Arrow fails to import pandas, where that is installed, once; then it continues without.
    for _ in range(2):
        try:
            body = _encode_one(group)
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
