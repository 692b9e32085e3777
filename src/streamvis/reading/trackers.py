"""The SQLite databases of Trackio and MLflow as runs. They are only read, also while their programs write.

Rows come in the order in which they were stored there: a row of Trackio is one `log` with its time to the second or finer; one of
MLflow is one metric. Images of Trackio are values; its tables, too.
"""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from streamvis.errors import StreamvisError
from streamvis.metrics import place_of, whole_step
from streamvis.reading.incremental_import import ArrivingRows, ArrivingValue, Origin, id_of, pieces_of, with_numbers
from streamvis.wire.columns import arrow_column

__all__ = ["DATABASES", "database_runs"]

DATABASES = (".db", ".sqlite", ".sqlite3")
_MOST_ROWS = 2**15
_MEDIA = "media"

_TRACKIO_RUNS = "SELECT run_id, run_name, min(timestamp) FROM metrics GROUP BY run_id, run_name ORDER BY min(id)"
_TRACKIO_CONFIG = "SELECT config FROM configs WHERE run_id = ?"
_TRACKIO_ROWS = "SELECT step, timestamp, metrics FROM metrics WHERE run_id = ? ORDER BY id"
_TRACKIO_SYSTEM = "SELECT timestamp, metrics FROM system_metrics WHERE run_id = ? ORDER BY id"
_MLFLOW_RUNS = """
SELECT runs.run_uuid, runs.name, experiments.name, runs.start_time FROM runs JOIN experiments USING (experiment_id)
ORDER BY runs.start_time
"""
_MLFLOW_PARAMS = "SELECT key, value FROM params WHERE run_uuid = ?"
_MLFLOW_ROWS = "SELECT key, step, timestamp, value, is_nan FROM metrics WHERE run_uuid = ? ORDER BY rowid"
_MLFLOW_LARGEST = 1.7976931348623157e308
"""What MLflow writes in place of infinity."""


def database_runs(path: Path, app: str | None) -> list[TrackioRun | MlflowRun]:
    """The runs of a database; none where it is of another program. Raises StreamvisError where it cannot be read."""
    with _opened(path) as db:
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if {"runs", "experiments", "metrics", "params"} <= tables:
            return [MlflowRun(path, app or its_app, *its) for *its, its_app in _mlflow_runs(db)]
        if {"metrics", "configs"} <= tables:
            return [TrackioRun(path, app or path.stem, *its) for its in db.execute(_TRACKIO_RUNS)]
    return []


class TrackioRun:
    """A run in the database of a Trackio project; media lie in a folder beside it."""

    def __init__(self, path: Path, app: str, run: str, name: str, began: str) -> None:
        self._path, self._app, self._run, self._name, self._began = path, app, run, name, began
        self.config: dict[str, Any] = {}

    def __str__(self) -> str:
        return f"{self._path}, run {self._name}"

    def origin(self) -> Origin:
        with _opened(self._path) as db:
            found = db.execute(_TRACKIO_CONFIG, (self._run,)).fetchone()
        config = with_numbers(json.loads(found[0])) if found else {}
        return Origin(id_of("trackio", self._app, self._run), self._app, self._name, _seconds(self._began), config)

    def read(self) -> Iterator[ArrivingRows | ArrivingValue]:
        with _opened(self._path) as db:
            logged = ((step, time, json.loads(text)) for step, time, text in db.execute(_TRACKIO_ROWS, (self._run,)))
            yield from self._pieces(logged)
            system = db.execute(_TRACKIO_SYSTEM, (self._run,)) if _has_table(db, "system_metrics") else ()
            yield from self._pieces((i, time, {"system": json.loads(text)}) for i, (time, text) in enumerate(system))

    def _pieces(self, logged: Any) -> Iterator[ArrivingRows | ArrivingValue]:
        cells = ((step, at, {name: self._cell(cell) for name, cell in metrics.items()}) for step, at, metrics in logged)
        return pieces_of((whole_step(step), _seconds(at), its) for step, at, its in cells)

    def _cell(self, cell: Any) -> Any:
        """What Trackio kept as a description is a value of arrays: a file's bytes, a histogram's counts."""
        kind = cell.get("_type", "") if isinstance(cell, dict) else ""
        if "file_path" in (cell if kind else ()):
            file = self._path.parent / _MEDIA / cell["file_path"]
            if not file.is_file():
                return {"file": cell["file_path"], "caption": cell.get("caption"), "missing": np.array([True])}
            return {"image" if kind == "trackio.image" else "file": np.frombuffer(file.read_bytes(), np.uint8)}
        if kind == "trackio.histogram":
            return {"counts": np.array(cell["values"]), "edges": np.array(cell["bins"])}
        return with_numbers(cell)


class MlflowRun:
    """A run in a tracking database of MLflow. The step of a metric is MLflow's, its time to the millisecond."""

    def __init__(self, path: Path, app: str, run: str, name: str | None, began: int | None) -> None:
        self._path, self._app, self._run, self._name, self._began = path, app, run, name or run, began or 0
        self.config: dict[str, Any] = {}

    def __str__(self) -> str:
        return f"{self._path}, run {self._name}"

    def origin(self) -> Origin:
        with _opened(self._path) as db:
            config = dict(db.execute(_MLFLOW_PARAMS, (self._run,)))
        return Origin(id_of("mlflow", self._app, self._run), self._app, self._name, self._began / 1000, config)

    def read(self) -> Iterator[ArrivingRows | ArrivingValue]:
        gathered: dict[str, list[tuple[int, float, float]]] = {}
        with _opened(self._path) as db:
            for name, step, time_ms, number, is_nan in db.execute(_MLFLOW_ROWS, (self._run,)):
                its = gathered.setdefault(name, [])
                number = np.nan if is_nan else np.copysign(np.inf, number) if abs(number) >= _MLFLOW_LARGEST else number
                its.append((whole_step(step), time_ms / 1000, number))
                if len(its) >= _MOST_ROWS:
                    yield _column(name, gathered.pop(name))
        for name, its in gathered.items():
            yield _column(name, its)


def _mlflow_runs(db: sqlite3.Connection) -> Iterator[tuple[str, str | None, int | None, str]]:
    for run, name, experiment, began in db.execute(_MLFLOW_RUNS):
        yield run, name, began, experiment


def _column(name: str, its: list[tuple[int, float, float]]) -> ArrivingRows:
    key, column = place_of(name)
    steps, times, numbers = (np.array(part) for part in zip(*its, strict=True))
    return ArrivingRows(key, steps, times, [arrow_column(column, numbers.astype(np.float64))], counts_column=True)


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """The database, to be read only. Errors of SQLite, and broken texts in it, name the file."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            yield db
    except (sqlite3.Error, ValueError) as error:
        raise StreamvisError(f"{path} cannot be read: {error}") from error


def _has_table(db: sqlite3.Connection, name: str) -> bool:
    return db.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (name,)).fetchone() is not None


def _seconds(text: str) -> float:
    """Since 1970 UTC, of a time in ISO form; without a zone it is UTC, as Trackio writes it."""
    moment = dt.datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp()
