"""Tables of other programs as runs: a CSV, Parquet or JSON lines file is one run.

A column is named after the rules of `streamvis.metrics`: "train/loss" is the column loss of the key train. A row in which a key
has nothing adds no row to that key. One column is the step and one the time, where there are such; else the rows are counted, and
the file's own time counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, parquet

from streamvis.errors import StreamvisError, UsageError
from streamvis.metrics import place_of
from streamvis.reading.incremental_import import ArrivingRows, ArrivingValue, Origin, id_of, pieces_of, with_numbers
from streamvis.wire.columns import Unjoinable, arrow_column, json_column, numpy_column
from streamvis.wire.limits import MAX_TIME_S

__all__ = ["TABLES", "TableFile"]

TABLES = (".csv", ".parquet", ".jsonl", ".ndjson")
_STEPS = ("step", "global_step", "_step", "Step", "iteration", "epoch")
_TIMES = ("time", "timestamp", "_timestamp", "wall_time", "Wall time", "datetime")
_MOST_ROWS = 2**16
_HEAD_BYTES = 2**12
_MISSING = ["", "null", "NULL", "None"]
_KNOWN = (
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_boolean,
    pa.types.is_string,
    pa.types.is_null,
    pa.types.is_timestamp,
    pa.types.is_duration,
)
"""Types that are stored as they are."""
_LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)


class TableFile:
    """One file. `step` and `time` name its columns; by default those of the usual names."""

    def __init__(
        self, path: Path, app: str | None, *, name: str | None = None, step: str | None = None, time: str | None = None
    ) -> None:
        self._path, self._step, self._time = path.absolute(), step, time
        self._app, self._name = app or self._path.parent.name or "tables", name or path.stem
        self._written = self._path.stat().st_mtime
        self.config: dict[str, Any] = {}

    def __str__(self) -> str:
        return str(self._path)

    def origin(self) -> Origin | None:
        """The run that this is: known by the app, the file's name and how it begins. None for an empty file."""
        with self._path.open("rb") as file:
            # A file of text may grow: its first two lines stay. One of Parquet does not.
            head = file.read(_HEAD_BYTES) if self._path.suffix == ".parquet" else file.readline() + file.readline()
        if not head:
            return None
        return Origin(id_of("table", self._app, self._name, head.hex()), self._app, self._name, self._written, {})

    def read(self) -> Iterator[ArrivingRows | ArrivingValue]:
        """All of it. Raises StreamvisError, which names the file, where it cannot be read."""
        try:
            if self._path.suffix in (".jsonl", ".ndjson"):
                broken: list[StreamvisError] = []
                yield from pieces_of(self._lines(broken))
                if broken:
                    raise broken[0]
                return
            at = 0
            for batch in self._batches():
                yield from self._of_batch(batch, at)
                at += batch.num_rows
        except (
            pa.ArrowException,
            OSError,
            ValueError,
            OverflowError,
        ) as error:  # ValueError: also a cell that Python lacks
            raise StreamvisError(f"{self._path} cannot be read: {error}") from error

    def _batches(self) -> Iterator[pa.RecordBatch]:
        if self._path.suffix == ".parquet":
            with parquet.ParquetFile(self._path) as file:
                yield from file.iter_batches(_MOST_ROWS)
        else:
            # A NaN is not missing, and a text in quotation marks may be empty.
            convert = csv.ConvertOptions(null_values=_MISSING, strings_can_be_null=True, quoted_strings_can_be_null=False)
            yield from csv.read_csv(self._path, convert_options=convert).to_batches(_MOST_ROWS)

    def _of_batch(self, batch: pa.RecordBatch, at: int) -> Iterator[ArrivingRows]:
        names = batch.schema.names
        if len(set(names)) != len(names):
            raise UsageError(f"{self._path} has several columns of one name. Rename them.")
        step, time = self._column(self._step, _STEPS, names), self._column(self._time, _TIMES, names)
        steps = np.arange(at, at + batch.num_rows) if step is None else self._steps(batch.column(step), step)
        times = np.full(batch.num_rows, self._written) if time is None else self._times(batch.column(time), time)
        keys: dict[str, dict[str, pa.Array]] = {}
        for name in names:
            if name not in (step, time):
                key, column = place_of(name or "unnamed")
                keys.setdefault(key, {})[column] = batch.column(name)
        for key, columns in keys.items():
            is_there = np.logical_or.reduce([~np.asarray(column.is_null()) for column in columns.values()])
            if is_there.any():
                made = [_stored_form(name, column.filter(pa.array(is_there))) for name, column in columns.items()]
                yield ArrivingRows(key, steps[is_there], times[is_there], made)

    def _lines(self, broken: list[StreamvisError]) -> Iterator[tuple[int, float, dict[str, Any]]]:
        """The lines up to the first that cannot be read, about which an error goes to `broken`."""
        with self._path.open(encoding="utf-8") as file:
            for at, line in enumerate(file):
                if not line.strip():
                    continue
                if not line.endswith("\n") and not line.rstrip().endswith("}"):
                    break  # still being written
                try:
                    row = self._line(line, at)
                except StreamvisError as error:
                    broken.append(error)
                    return
                yield row

    def _line(self, line: str, at: int) -> tuple[int, float, dict[str, Any]]:
        try:
            row = json.loads(line)
        except ValueError as error:
            told = f"{self._path}, line {at + 1:,} is not JSON: {error}. Everything before it was imported."
            raise StreamvisError(told) from None
        if not isinstance(row, dict):
            raise StreamvisError(f"{self._path}, line {at + 1:,} is not an object of JSON. Everything before it was imported.")
        step, time = (
            self._column(given, usual, list(row), must=False) for given, usual in ((self._step, _STEPS), (self._time, _TIMES))
        )
        steps = at if step is None else int(self._steps(pa.array([row.pop(step)]), step)[0])
        times = self._written if time is None else float(self._times(pa.array([row.pop(time)]), time)[0])
        return steps, times, with_numbers(row)

    def _column(self, given: str | None, usual: Sequence[str], names: Sequence[str], *, must: bool = True) -> str | None:
        if given is not None and given not in names and must:
            raise UsageError(f"{self._path} has no column {given!r}. It has {', '.join(names)[:500]}.")
        if given is not None:
            return given if given in names else None
        return next((name for name in usual if name in names), None)

    def _steps(self, column: pa.Array, name: str) -> np.ndarray:
        is_number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
        if is_number and not column.null_count:
            steps = np.floor(column.to_numpy(zero_copy_only=False))
            if np.isfinite(steps).all() and (steps >= 0).all():
                return steps.astype(np.int64)
        told = f"{self._path}: the column {name!r} has cells that are not steps (whole numbers from 0)."
        raise UsageError(f"{told} Choose another with --step.")

    def _times(self, column: pa.Array, name: str) -> np.ndarray:
        try:
            if pa.types.is_string(column.type):
                column = pc.cast(column, pa.timestamp("us", "UTC"))
            if pa.types.is_timestamp(column.type):
                micros = pc.cast(pc.cast(column, pa.timestamp("us", column.type.tz)), pa.int64()).cast("double")
                column = pc.divide(micros, 1e6)  # pyright: ignore[reportAttributeAccessIssue]  # made when it is imported
            times = column.cast(pa.float64()).fill_null(self._written).to_numpy(zero_copy_only=False)
        except (pa.ArrowException, ValueError) as error:
            raise UsageError(f"{self._path}: the column {name!r} has no times ({error}). Choose another with --time.") from None
        wrong = times[~(np.abs(times) < MAX_TIME_S)]
        if len(wrong):
            raise UsageError(
                f"{self._path}: the column {name!r} has the time {wrong[0]:.15g}, which is out of range for seconds since 1970. "
                "If it is in milliseconds or a finer unit, convert it to seconds, or choose another column with --time."
            )
        return times


def _stored_form(name: str, column: pa.Array) -> tuple[pa.Field, pa.Array]:
    """The column in a form that is stored: types of Arrow that Streamvis does not know become those that it does."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.dictionary_decode()
    elif pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        column = column.cast(pa.string())
    elif pa.types.is_decimal(kind):
        column = column.cast(pa.float64())
    elif pa.types.is_date(kind):
        column = column.cast(pa.timestamp("us"))
    elif pa.types.is_timestamp(kind) and kind.tz is not None:
        column = column.cast(pa.timestamp(kind.unit, "UTC"))
    elif not any(known(kind) for known in _KNOWN):
        cells = _cells(column)
        try:
            return arrow_column(name, cells)
        except Unjoinable:
            return json_column(name, cells)
    return pa.field(name, column.type), column


def _cells(column: pa.Array) -> list[Any]:
    """The cells of lists and structs. Times and durations in them are scalars of NumPy: those of Python lack nanoseconds."""
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_duration(kind):
        return [None if np.isnat(cell) else cell for cell in numpy_column(pa.field("", kind), column)]
    if any(known(kind) for known in _LISTS):
        return [_cells(cell.values) if cell.is_valid else None for cell in column]
    if pa.types.is_struct(kind):
        parts = {field.name: _cells(part) for field, part in zip(kind, column.flatten(), strict=True)}
        valid = column.is_valid().to_pylist()
        return [{name: part[i] for name, part in parts.items()} if is_there else None for i, is_there in enumerate(valid)]
    return column.to_pylist()
