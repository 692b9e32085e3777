"""Entries of the outbox into the body of one batch. It imports Arrow, so it is loaded in the sender's thread."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa

from streamvis import records
from streamvis.client.copying import Refused, Unfetched
from streamvis.client.entries import Begin, Clear, End, Entry
from streamvis.client.gather import Control, GatheredRows, GatheredValue, gather
from streamvis.errors import InvalidData
from streamvis.wire.arrow import encode_control, encode_rows, encode_value
from streamvis.wire.tree import pack

__all__ = ["Encoded", "encode", "encode_begin"]

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


def _fetched(entry: Entry, left_out: list[str]) -> Entry | None:
    kind, step, time, key, data, size = entry
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
    # Tried twice: at the end of a program Arrow fails to import pandas, where that is installed, once; then it goes on without.
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
        return encode_rows(group.key, group.steps, group.times, group.columns).body
    return encode_value(group.key, group.step, group.time, group.data).body


def _encode_control(control: Control) -> bytes:
    match control.record:
        case Begin() as begin:
            return encode_begin(begin, control.time)
        case Clear():
            return encode_control(records.Clear(time=control.time))
        case End(state):
            return encode_control(records.Finish(state=state, time=control.time))
    raise TypeError(type(control.record))
