"""TensorBoard's event files as runs: each folder with event files is one. Every event is kept, in the order of the files.

Scalars and texts become rows, one for each event, with the times that the events have; all else becomes values. Graphs and the
logs of TensorFlow's own sessions are left out. The form of the files: records of a length, its checksum, an `Event` message of
protobuf, and its checksum. What is written to a file later is read by the next `read`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from streamvis.errors import StreamvisError, UsageError
from streamvis.metrics import place_of, whole_step
from streamvis.reading.incremental_import import ArrivingRows, ArrivingValue, Origin, id_of
from streamvis.wire.columns import arrow_column

__all__ = ["BrokenFile", "EventFolder", "event_folders", "is_event_file"]

_HEAD = struct.Struct("<QI")
_FOOT_BYTES = 4
_CHECKED_BYTES = 2**12
"""Longer records are not checked by their checksum, which takes a microsecond a byte here; protobuf refuses most broken ones."""
_MOST_ROWS = 2**15
_TEXT_SUFFIX = "/text_summary"


class BrokenFile(StreamvisError):
    """A file that cannot be read from some place on; what is before it was read."""


def is_event_file(path: Path) -> bool:
    """Whether TensorBoard would read this file."""
    return path.is_file() and "tfevents" in path.name and not path.name.endswith(".profile-empty")


def event_folders(root: Path, app: str | None) -> list[EventFolder]:
    """The folders with event files below `root` (or the file that it is). Raises UsageError without tensorboard."""
    try:
        import tensorboard.compat.proto.event_pb2  # noqa: F401
    except ImportError as error:
        problem = "Event files are read with the package tensorboard. Install it: pip install 'streamvis[tensorboard]'"
        raise UsageError(problem) from error
    root = root.absolute()
    if root.is_file():
        return [EventFolder(root.parent, app or root.parent.parent.name, root.parent.name, only=root)]
    folders = sorted({file.parent for file in root.rglob("*tfevents*") if is_event_file(file)})
    app = app or root.name or "tensorboard"
    return [EventFolder(folder, app, str(folder.relative_to(root)) if folder != root else root.name) for folder in folders]


class EventFolder:
    """One run: the event files of a folder, by their names, which begin with the time."""

    def __init__(self, folder: Path, app: str, name: str, *, only: Path | None = None) -> None:
        self._folder, self._app, self._name, self._only = folder, app, name, only
        self._files: dict[Path, _EventFile] = {}
        self.config: dict[str, Any] = {}

    def __str__(self) -> str:
        return str(self._only or self._folder)

    @property
    def files(self) -> list[Path]:
        return [self._only] if self._only else sorted(file for file in self._folder.iterdir() if is_event_file(file))

    def origin(self) -> Origin | None:
        """The run that this is; None while there is no event."""
        first = self.files[0]
        event = next(_EventFile(first).events(), None)
        if event is None:
            return None
        id = id_of("tb", self._app, self._name, first.name, repr(event.wall_time))
        return Origin(id, self._app, self._name, event.wall_time, {})

    def read(self) -> Iterator[ArrivingRows | ArrivingValue]:
        """What was not read yet. Raises BrokenFile behind what can be read, which names the file; the next `read` continues."""
        broken: list[BrokenFile] = []
        rows = _Rows()
        for path in self.files:
            file = self._files.setdefault(path, _EventFile(path))
            try:
                for event in file.events():
                    yield from self._pieces(event, rows)
            except BrokenFile as error:
                broken.append(error)
        yield from rows.all()
        if broken:
            raise broken[0]

    def _pieces(self, event: Any, rows: _Rows) -> Iterator[ArrivingRows | ArrivingValue]:
        if event.WhichOneof("what") != "summary":
            return
        step, time = whole_step(event.step), event.wall_time
        for value in event.summary.value:
            if value.metadata.plugin_data.plugin_name == "hparams":
                self.config |= _hyperparameters(value.metadata.plugin_data.content)
                continue
            tag, cell = _cell_of(value)
            if isinstance(cell, Mapping):
                yield ArrivingValue(tag, step, time, cell)
            elif cell is not None:
                yield from rows.add(*place_of(tag), step, time, cell)


class _EventFile:
    """A file, read on from where the last reading ended."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset, self._is_broken = path, 0, False

    def events(self) -> Iterator[Any]:
        """The events that are there whole. Raises BrokenFile, once, where the file is damaged."""
        from google.protobuf.message import DecodeError
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

        if self._is_broken:
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            while len(head := file.read(_HEAD.size)) == _HEAD.size:
                length, checksum = _HEAD.unpack(head)
                if masked_crc32c(head[:8]) != checksum:
                    self._fail("a length that does not fit its checksum")
                content = file.read(length + _FOOT_BYTES)
                if len(content) < length + _FOOT_BYTES:
                    return  # still being written
                data, foot = content[:length], content[length:]
                if length <= _CHECKED_BYTES and masked_crc32c(data) != struct.unpack("<I", foot)[0]:
                    self._fail("a record that does not fit its checksum")
                try:
                    event = Event.FromString(data)
                except DecodeError as error:
                    self._fail(str(error))
                self._offset = file.tell()
                yield event

    def _fail(self, problem: str) -> NoReturn:
        self._is_broken = True
        raise BrokenFile(f"{self._path} is damaged from byte {self._offset:,} on: {problem}. Everything before it was imported.")


class _Rows:
    """Gathers the rows of each column: pieces without gaps, however many columns a key has."""

    def __init__(self) -> None:
        self._gathered: dict[tuple[str, str], tuple[list[int], list[float], list[Any]]] = {}

    def add(self, key: str, column: str, step: int, time: float, cell: Any) -> Iterator[ArrivingRows]:
        place = (key, column)
        its = self._gathered.get(place)
        if its is not None and (type(its[2][0]) is not type(cell) or len(its[0]) >= _MOST_ROWS):
            yield self._piece(place)
        steps, times, cells = self._gathered.setdefault(place, ([], [], []))
        steps.append(step)
        times.append(time)
        cells.append(cell)

    def all(self) -> Iterator[ArrivingRows]:
        for place in list(self._gathered):
            yield self._piece(place)

    def _piece(self, place: tuple[str, str]) -> ArrivingRows:
        steps, times, cells = self._gathered.pop(place)
        made = arrow_column(place[1], np.array(cells) if isinstance(cells[0], np.generic) else cells)
        return ArrivingRows(place[0], np.array(steps), np.array(times), [made], counts_column=True)


def _cell_of(value: Any) -> tuple[str, Any]:
    """The tag, and a number or a text for rows, or a dict for a value; None for what is left out."""
    kind, tag = value.WhichOneof("value"), value.tag
    if kind == "simple_value":
        return tag, np.float32(value.simple_value)
    if kind == "image":
        return tag, {"image": _bytes(value.image.encoded_image_string)}
    if kind == "audio":
        return tag, {"samples": _bytes(value.audio.encoded_audio_string), "rate": int(value.audio.sample_rate)}
    if kind == "histo":
        return tag, _histogram(value.histo)
    if kind == "tensor":
        from tensorboard.util.tensor_util import make_ndarray

        return _cell_of_tensor(tag, make_ndarray(value.tensor), value.metadata.plugin_data.plugin_name)
    return tag, None


def _cell_of_tensor(tag: str, array: np.ndarray, plugin: str) -> tuple[str, Any]:
    if plugin == "text" or (array.dtype.kind in "OSU" and plugin not in ("images", "audio")):
        tag, texts = tag.removesuffix(_TEXT_SUFFIX) or tag, [_text(cell) for cell in array.ravel().tolist()]
        return tag, texts[0] if array.size == 1 else {"text": texts}
    if plugin == "images":
        return tag, {"image": [_bytes(cell) for cell in array.ravel().tolist()[2:]]}
    if plugin == "audio":
        return tag, {"sound": [_bytes(cell) for cell in array.reshape(len(array), -1)[:, 0].tolist()]}
    if plugin == "histograms" and array.ndim == 2 and array.shape[1:] == (3,) and len(array):
        return tag, {"counts": array[:, 2], "edges": np.append(array[:, 0], array[-1, 1])}
    if plugin == "pr_curves" and array.ndim == 2 and len(array) == 6:
        return tag, dict(zip(("tp", "fp", "tn", "fn", "y", "x"), array, strict=True))
    if array.ndim == 0 and array.dtype.kind in "biuf":
        return tag, array[()]
    return tag, {"data": array}


def _histogram(histo: Any) -> dict[str, Any]:
    counts, limits = np.array(histo.bucket), np.array(histo.bucket_limit)
    edges = np.concatenate([[min(histo.min, *limits[:1])], limits])
    known = {"min": histo.min, "max": histo.max, "num": histo.num, "sum": histo.sum, "sum_squares": histo.sum_squares}
    return {"counts": counts, "edges": edges, **known}


def _hyperparameters(content: bytes) -> dict[str, Any]:
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    found = HParamsPluginData.FromString(content).session_start_info.hparams
    kinds = {name: value.WhichOneof("kind") for name, value in found.items()}
    return {name: getattr(value, kinds[name]) if kinds[name] else None for name, value in found.items()}


def _bytes(content: bytes) -> np.ndarray:
    return np.frombuffer(content, np.uint8)


def _text(cell: Any) -> str:
    return cell.decode(errors="replace") if isinstance(cell, bytes) else str(cell)
