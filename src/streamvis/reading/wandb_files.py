"""The folders that wandb writes, online or offline, as runs: what was logged, config, system metrics and alerts.

A run is one file, `run-ID.wandb`: a log in the form of LevelDB's (blocks of 32 KiB, in which records may be split), each record a
protobuf message. Only the few fields that are read are named here. Media lie beside it, below `files/`.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from streamvis.alerts import ALERTS, LEVELS
from streamvis.errors import StreamvisError
from streamvis.metrics import whole_step
from streamvis.reading.incremental_import import ArrivingRows, ArrivingValue, Origin, id_of, pieces_of, with_numbers

__all__ = ["SUFFIX", "WandbRun"]

SUFFIX = ".wandb"
_FILE_HEAD = b":W&B"
_FILE_HEAD_BYTES = 7
_BLOCK = 2**15
_HEAD = struct.Struct("<IHB")
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4

# Fields of wandb's messages, by their numbers in wandb_internal.proto.
_HISTORY, _CONFIG, _STATS, _ALERT, _RUN = 2, 5, 7, 10, 17
_ITEM, _STEP, _STEP_NUMBER = 1, 2, 1
_ITEM_KEY, _ITEM_NESTED_KEY, _ITEM_JSON = 1, 2, 16
_CONFIG_UPDATE, _CONFIG_REMOVE = 1, 2
_RUN_ID, _RUN_PROJECT, _RUN_CONFIG, _RUN_NAME, _RUN_START = 1, 3, 4, 8, 17
_STATS_TIME, _STATS_ITEM = 2, 3
_ALERT_TITLE, _ALERT_TEXT, _ALERT_LEVEL = 1, 2, 3
_ALERT_LEVELS = {"WARN": LEVELS[1], "ERROR": LEVELS[2]}
_INTERNAL = "_wandb"
"""Under this name the config holds what wandb notes for itself."""

Fields = dict[int, list[Any]]


class WandbRun:
    """The run of a `.wandb` file. The app is the project, where no other is given."""

    def __init__(self, path: Path, app: str | None) -> None:
        self._path, self._app = path, app
        self.config: dict[str, Any] = {}

    def __str__(self) -> str:
        return str(self._path)

    def origin(self) -> Origin | None:
        """The run that this is, with its config as it was at last; None where the file says nothing of one."""
        run: Fields = {}
        config: dict[str, Any] = {}
        with suppress(StreamvisError):  # `read` tells of it
            for record in _records(self._path):
                if _RUN in record:
                    run = _message(record, _RUN)
                    _change(config, _message(run, _RUN_CONFIG))
                elif _CONFIG in record:
                    _change(config, _message(record, _CONFIG))
        if not run:
            return None
        app, id = self._app or _text(run, _RUN_PROJECT) or "wandb", _text(run, _RUN_ID)
        return Origin(id_of("wandb", app, id), app, _text(run, _RUN_NAME) or id, _moment(_message(run, _RUN_START)), config)

    def read(self) -> Iterator[ArrivingRows | ArrivingValue]:
        """All of it. Raises StreamvisError behind what can be read where the file is damaged."""
        broken: list[StreamvisError] = []
        yield from pieces_of(self._logged(broken))
        if broken:
            raise broken[0]

    def _logged(self, broken: list[StreamvisError]) -> Iterator[tuple[int, float, dict[str, Any]]]:
        """What was logged, at steps and times; damage goes to `broken`."""
        step, time, system = 0, 0.0, 0
        try:
            for record in _records(self._path):
                if _RUN in record:
                    time = time or _moment(_message(_message(record, _RUN), _RUN_START))
                elif _HISTORY in record:
                    history = _message(record, _HISTORY)
                    cells = _items(history.get(_ITEM, ()))
                    step = whole_step(cells.pop("_step", _number(_message(history, _STEP), _STEP_NUMBER)))
                    time = float(cells.pop("_timestamp", time))
                    cells.pop("_runtime", None)  # the time since the run began
                    yield step, time, {name: self._cell(cell) for name, cell in cells.items()}
                elif _STATS in record:
                    stats = _message(record, _STATS)
                    yield system, _moment(_message(stats, _STATS_TIME)), {"system": _items(stats.get(_STATS_ITEM, ()))}
                    system += 1
                elif _ALERT in record:
                    alert = _message(record, _ALERT)
                    level = _ALERT_LEVELS.get(_text(alert, _ALERT_LEVEL), LEVELS[0])
                    row = {"title": _text(alert, _ALERT_TITLE), "text": _text(alert, _ALERT_TEXT), "level": level}
                    yield step, time, {ALERTS: row}
        except StreamvisError as error:
            broken.append(error)

    def _cell(self, cell: Any) -> Any:
        """What wandb kept as a description is a value of arrays: the bytes of files, a histogram's counts."""
        kind = cell.get("_type", "") if isinstance(cell, dict) else ""
        if kind == "histogram" and "values" in cell:
            edges = {} if cell.get("bins") is None else {"edges": np.array(cell["bins"])}
            return {"counts": np.array(cell["values"]), **edges}
        name = "image" if kind.startswith("image") else "sound" if kind.startswith("audio") else "file"
        if kind and "filenames" in cell:
            return {name: [self._file(path) for path in cell["filenames"]], "captions": cell.get("captions") or []}
        if kind and "path" in cell:
            return {name: self._file(cell["path"]), "caption": cell.get("caption")}
        return {part: self._cell(its) for part, its in cell.items()} if isinstance(cell, dict) else with_numbers(cell)

    def _file(self, name: str) -> np.ndarray:
        """The bytes of a media file; none where it is gone, or not in the run's folder."""
        folder = (self._path.parent / "files").resolve()
        file = (folder / name).resolve()
        content = file.read_bytes() if file.is_relative_to(folder) and file.is_file() else b""
        return np.frombuffer(content, np.uint8)


def _records(path: Path) -> Iterator[Fields]:
    """The fields of each record that is there whole. Raises StreamvisError where the file is damaged, or not wandb's."""
    with path.open("rb") as file:
        head = file.read(_FILE_HEAD_BYTES)
        if head and not head.startswith(_FILE_HEAD):
            raise StreamvisError(f"{path} is not a file of wandb.")
        at, parts = len(head), []
        while True:
            left = _BLOCK - at % _BLOCK
            if left < _HEAD.size:
                file.read(left)
                at += left
            begin = file.read(_HEAD.size)
            if len(begin) < _HEAD.size:
                return
            checksum, length, kind = _HEAD.unpack(begin)
            content = file.read(length)
            if len(content) < length or begin == bytes(_HEAD.size):
                return  # still being written
            is_first = kind in (_FULL, _FIRST)
            if zlib.crc32(content, zlib.crc32(bytes([kind]))) != checksum or not (is_first or parts):
                told = f"{path} is damaged from byte {at:,} on: a record that does not fit its checksum"
                raise StreamvisError(f"{told}. Everything before it was imported.")
            at += _HEAD.size + length
            parts = [content] if is_first else [*parts, content]
            if kind in (_FULL, _LAST):
                try:
                    yield _fields(b"".join(parts))
                except (IndexError, struct.error) as error:
                    raise StreamvisError(f"{path} has a record before byte {at:,} that cannot be read.") from error
                parts = []


def _fields(data: bytes) -> Fields:
    """The fields of a protobuf message by number: whole numbers, or bytes. See protobuf.dev/programming-guides/encoding."""
    found: Fields = {}
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(data, at)
        elif kind == 2:
            length, at = _varint(data, at)
            value, at = data[at : at + length], at + length
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
            value, at = data[at : at + size], at + size
        else:
            raise IndexError(f"wire type {kind}")
        if at > len(data):
            raise IndexError("cut off")
        found.setdefault(tag >> 3, []).append(value)
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _message(fields: Fields, number: int) -> Fields:
    return _fields(fields[number][-1]) if number in fields else {}


def _text(fields: Fields, number: int) -> str:
    return fields[number][-1].decode(errors="replace") if number in fields else ""


def _number(fields: Fields, number: int) -> int:
    return fields[number][-1] if number in fields else 0


def _moment(timestamp: Fields) -> float:
    """A protobuf timestamp in seconds since 1970 UTC."""
    return _number(timestamp, 1) + _number(timestamp, 2) / 1e9


def _path_of(item: Fields) -> list[str]:
    return [part.decode(errors="replace") for part in item.get(_ITEM_NESTED_KEY, ())] or [_text(item, _ITEM_KEY)]


def _items(items: Any) -> dict[str, Any]:
    """The cells of these items by name, in dicts where they were logged so."""
    cells: dict[str, Any] = {}
    for item in map(_fields, items):
        _put(cells, _path_of(item), _json(item))
    return cells


def _put(place: dict[str, Any], path: list[str], cell: Any) -> None:
    *outer, last = path
    for part in outer:
        if not isinstance(place.get(part), dict):
            place[part] = {}
        place = place[part]
    place[last] = cell


def _change(config: dict[str, Any], change: Fields) -> None:
    """Change the config as a message says."""
    for item in map(_fields, change.get(_CONFIG_UPDATE, ())):
        path = _path_of(item)
        if path[0] != _INTERNAL:
            _put(config, path, with_numbers(_json(item)))
    for item in map(_fields, change.get(_CONFIG_REMOVE, ())):
        config.pop(_path_of(item)[0], None)


def _json(item: Fields) -> Any:
    text = _text(item, _ITEM_JSON)
    try:
        return json.loads(text)
    except ValueError:
        return text
