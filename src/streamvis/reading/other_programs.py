"""Which runs of other programs a file or a folder holds, and their import."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from streamvis.errors import StreamvisError, UsageError
from streamvis.reading import wandb_files
from streamvis.reading.connection import Connection
from streamvis.reading.event_files import event_folders, is_event_file
from streamvis.reading.incremental_import import Arrival, ArrivingRows, ArrivingValue, Origin
from streamvis.reading.tables import TABLES, TableFile
from streamvis.reading.trackers import DATABASES, database_runs

__all__ = ["Source", "follow_events", "import_source", "sources_in"]

_LOOK_AGAIN_S = 1.0


class Source(Protocol):
    """One run in another program's files. `read` gives what it did not give before; `config` is known after that."""

    @property
    def config(self) -> Mapping[str, Any]: ...

    def origin(self) -> Origin | None: ...

    def read(self) -> Iterator[ArrivingRows | ArrivingValue]: ...


def sources_in(root: Path, *, app: str | None = None, step: str | None = None, time: str | None = None) -> Sequence[Source]:
    """The runs of a file, or of all files below a folder. Raises UsageError where there are none."""
    files = [root] if root.is_file() else sorted(file for file in root.rglob("*") if file.is_file())
    found: list[Source] = []
    if any(map(is_event_file, files)):
        found += event_folders(root, app)
    for file in files:
        if file.suffix in DATABASES:
            try:
                found += database_runs(file, app)
            except StreamvisError as error:
                found.append(_Unreadable(file, error))
        elif file.suffix == wandb_files.SUFFIX:
            found.append(wandb_files.WandbRun(file, app))
        elif file.suffix in TABLES and not _is_of_wandb(file):
            name = file.stem if file == root else str(file.relative_to(root).with_suffix(""))
            its_app = app or (root.absolute().name if root.is_dir() else None)
            found.append(TableFile(file, its_app, name=name, step=step, time=time))
    if not found:
        raise UsageError(
            f"{root} has nothing to import: neither runs that `streamvis export` wrote, nor event files of TensorBoard, "
            f"nor runs of wandb, nor databases of Trackio or MLflow, nor {', '.join(TABLES)} files."
        )
    return found


def _is_of_wandb(file: Path) -> bool:
    """Whether this is what wandb wrote beside a run of its: a media file, or its notes."""
    return any(part.name == "files" and next(part.parent.glob(f"*{wandb_files.SUFFIX}"), None) for part in file.parents)


class _Unreadable:
    """A file about which an error is all that there is."""

    def __init__(self, path: Path, error: StreamvisError) -> None:
        self._path, self._error = path, error
        self.config: dict[str, Any] = {}

    def __str__(self) -> str:
        return str(self._path)

    def origin(self) -> Origin | None:
        raise self._error

    def read(self) -> Iterator[ArrivingRows | ArrivingValue]:
        return iter(())


def import_source(connection: Connection, source: Source) -> tuple[str, bool]:
    """Store a run; its id, and whether anything was new. What could be read is stored also where an error is raised."""
    origin = source.origin()
    if origin is None:
        raise UsageError(f"{source} is empty.")
    arrival = Arrival(connection, origin)
    is_whole = False
    try:
        _take(arrival, source)
        is_whole = True
    except UnicodeEncodeError as error:
        raise StreamvisError(f"{source} has a name that is not valid Unicode: {error}") from error
    finally:
        arrival.finish(is_whole=is_whole)
    return origin.id, arrival.is_stored


def follow_events(
    connection: Connection, root: Path, *, app: str | None, tell: Callable[[str], None], wait: Callable[[float], Any] = time.sleep
) -> None:
    """Store what event files below `root` have and get, until KeyboardInterrupt; the runs end then.

    `tell` is called with what is found and what is damaged; `wait` waits some seconds between two looks.
    """
    arrivals: dict[str, tuple[Source, Arrival]] = {}
    try:
        while True:
            for source in event_folders(root, app):
                origin = None if str(source) in arrivals else source.origin()
                if origin is not None:
                    arrivals[str(source)] = source, Arrival(connection, origin, live=True)
                    tell(f"{origin.id}: {source}")
            for source, arrival in arrivals.values():
                try:
                    _take(arrival, source)
                except StreamvisError as error:
                    tell(str(error))
                arrival.flush()
            wait(_LOOK_AGAIN_S)
    except KeyboardInterrupt:
        for _, arrival in arrivals.values():
            arrival.finish()


def _take(arrival: Arrival, source: Source) -> None:
    known = dict(source.config)
    for piece in source.read():
        arrival.take(piece)
    if source.config != known:
        arrival.learn(source.config)
