"""Notes: entries of the outbox written down as JSON, without Arrow.

They are quick to make of few entries, and the only form until Arrow is loaded. Notes are lines of JSON. A line is a list of
notes, each of them a list; one note alone is a line too, as earlier versions wrote them:

    [step, time, key, columns]                    a row of numbers, texts and booleans
    [kind, step, time, key, data, arrays, keep]   another entry; `data` is packed (see `wire.tree`)
    ["begin", time, {...}], ["clear", time], ["end", time, state, others]

A config that JSON does not say as it is stands as a text: the JSON of what `wire.tree` packs.
An array is its dtype, its shape, and its bytes as base64.
"""

from __future__ import annotations

import base64
import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from streamvis.client.outbox import CONTROL, ROW, ROWS, VALUE, Begin, Clear, End, Entry, Kept
from streamvis.errors import InvalidData

__all__ = ["UNREADABLE", "are_notes", "entries_of", "notes_of", "says_as_it_is"]

_PLAIN = frozenset((float, int, bool, str, type(None)))
UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, RecursionError, OverflowError)
"""What notes raise that no producer wrote."""


def notes_of(entries: Iterable[Entry]) -> bytes:
    """Entries as notes. Raises InvalidData for what cannot be stored."""
    return json.dumps([_note(entry) for entry in entries]).encode() + b"\n"


def are_notes(body: bytes) -> bool:
    """Whether a frame's body is notes."""
    return body[:1] == b"["


def entries_of(notes: bytes) -> list[Entry]:
    """The entries that were written down. Raises InvalidData."""
    entries: list[Entry] = []
    try:
        for line in notes.splitlines():
            told = json.loads(line)
            entries += [_entry(*note) for note in (told if isinstance(told[0], list) else [told])]
    except UNREADABLE as error:
        raise InvalidData(f"notes in a spool cannot be read ({error})") from error
    return entries


def _note(entry: Entry) -> list[Any]:
    kind, step, time, key, data, _ = entry
    if kind is ROW and all(type(cell) in _PLAIN for cell in data.values()):
        return [step, time, key, data]
    if kind is CONTROL:
        return _control_note(time, data)
    data, keep = data if type(data) is Kept else (data, None)
    if not _needs_packing(data):
        return [kind, step, time, key, data, [], keep]
    from streamvis.wire.tree import pack

    arrays: list[Any] = []
    packed = pack(data, arrays)
    return [kind, step, time, key, packed, [_array_note(array) for array in arrays], keep]


def _control_note(time: float, record: Any) -> list[Any]:
    match record:
        case Begin():
            told = record._asdict()
            if not says_as_it_is(record.config):
                from streamvis.wire.tree import pack

                told["config"] = json.dumps(pack(record.config))
            return ["begin", time, told]
        case Clear():
            return ["clear", time]
        case End(state, others):
            return ["end", time, state, others]
    raise TypeError(type(record))


def says_as_it_is(node: Any) -> bool:
    """Whether any reader of JSON gets the config, or a part of one, as it is."""
    match node:
        case None | bool() | str():
            return True
        case int():
            return -(2**63) <= node < 2**63
        case float():
            return math.isfinite(node)
        case list() | tuple():
            return all(map(says_as_it_is, node))
        case dict():
            return all(type(name) is str and name[:1] != "~" for name in node) and all(map(says_as_it_is, node.values()))
    return False


def _needs_packing(data: Mapping[str, Any]) -> bool:
    """Whether JSON cannot say the data as they are. Without NumPy there is no array."""
    return any(
        not (type(part) in _PLAIN or (type(part) is list and all(type(cell) in _PLAIN for cell in part))) or name[:1] == "~"
        for name, part in data.items()
    )


def _array_note(array: Any) -> list[Any]:
    numpy = sys.modules["numpy"]
    return [array.dtype.str, array.shape, base64.b64encode(numpy.ascontiguousarray(array).tobytes()).decode()]


def _array(dtype: str, shape: Sequence[int], text: str) -> Any:
    import numpy as np

    wanted = np.dtype(dtype)
    if wanted.kind not in "biufUmM":
        raise ValueError(f"an array of {dtype}")
    return np.frombuffer(base64.b64decode(text), wanted).reshape(shape)


def _entry(first: Any, *rest: Any) -> Entry:
    match first, *rest:
        case "begin", time, {"config": str(packed), **told}:
            from streamvis.wire.tree import unpack

            return (CONTROL, None, time, None, Begin(config=unpack(json.loads(packed), []), **told), 0)
        case "begin", time, told:
            return (CONTROL, None, time, None, Begin(**told), 0)
        case "clear", time:
            return (CONTROL, None, time, None, Clear(), 0)
        case "end", time, state, others:
            return (CONTROL, None, time, None, End(state, tuple(others)), 0)
        case (("row" | "rows" | "value" as name), int(step), float(time), str(key), dict(data), list(arrays), keep):
            kind = {"row": ROW, "rows": ROWS, "value": VALUE}[name]
            if arrays or _needs_packing(data):
                from streamvis.wire.tree import unpack

                data = unpack(data, [_array(*array) for array in arrays])
            return (kind, step, time, key, data if keep is None else Kept(data, keep), 0)
        case int(step), float(time), str(key), dict(columns) if columns:
            return (ROW, step, time, key, columns, 0)
    raise ValueError("an unknown note")
