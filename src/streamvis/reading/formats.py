"""Files of rows and values: Parquet and Arrow, which keep every type, and CSV and JSON lines, which every program reads.

A writer takes batches in log order. Where a batch has other types than those before it, it begins another file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv, parquet

from streamvis.errors import UsageError
from streamvis.records import Value
from streamvis.wire.columns import column_dtype
from streamvis.wire.jsonform import plain_cells, rows_to_json
from streamvis.wire.tree import to_plain

__all__ = ["EXACT", "FORMATS", "read_tables", "write_rows", "write_values"]

EXACT = ("parquet", "arrow")
"""Formats that an import takes back."""
FORMATS = (*EXACT, "csv", "jsonl")


def write_rows(batches: Iterable[pa.RecordBatch], format: str, path_of: Callable[[int], Path]) -> list[dict[str, Any]]:
    """Write the rows into the files `path_of(0)`, `path_of(1)` ...; of each its name, its count of rows and its columns."""
    parts: list[dict[str, Any]] = []
    writer: _Writer | None = None
    schema = None
    try:
        for batch in batches:
            if writer is None or batch.schema != schema:
                if writer is not None:
                    writer.close()
                path, schema = path_of(len(parts)), batch.schema
                writer = _Writer(path, format)
                fields = list(schema)[2:]
                parts.append({"file": path.name, "rows": 0, "columns": [[one.name, column_dtype(one)] for one in fields]})
            writer.write(pa.Table.from_batches([batch]))
            parts[-1]["rows"] += batch.num_rows
    finally:
        if writer is not None:
            writer.close()
    return parts


def write_values(values: Iterable[tuple[int, bytes]] | Iterable[Value], format: str, path: Path) -> int:
    """Write values: their stored forms one after another, or lines of JSON. Returns how many there were."""
    count = 0
    with path.open("wb") as file:
        for value in values:
            if isinstance(value, Value):
                line = {"step": value.step, "time": value.time, "data": to_plain(value.data)}
                file.write(json.dumps(line, allow_nan=False).encode() + b"\n")
            else:
                file.write(value[1])
            count += 1
    return count


def read_tables(path: Path, format: str) -> Iterator[pa.Table]:
    """The rows of a file that `write_rows` made in an exact format, a piece at a time."""
    if format == "parquet":
        with parquet.ParquetFile(path) as file:
            # By groups of rows: names of columns may be such as a path of Parquet would be.
            for i in range(file.num_row_groups):
                yield file.read_row_group(i)
        return
    with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as stream:
        for batch in stream:
            yield pa.Table.from_batches([batch])


class _Writer:
    def __init__(self, path: Path, format: str) -> None:
        if format not in FORMATS:
            raise UsageError(f"There is no format {format!r}. Choose one of {', '.join(FORMATS)}.")
        self._path, self._format = path, format
        self._file: Any = path.open("wb") if format in ("jsonl", "arrow") else None
        self._writer: Any = None

    def write(self, table: pa.Table) -> None:
        if self._format == "jsonl":
            self._write_lines(table)
            return
        table = _as_texts(table) if self._format == "csv" else table
        if self._writer is None:
            make = {"csv": csv.CSVWriter, "parquet": parquet.ParquetWriter, "arrow": pa.ipc.new_stream}[self._format]
            self._writer = make(self._file or str(self._path), table.schema)
        self._writer.write_table(table)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        if self._file is not None:
            self._file.close()

    def _write_lines(self, table: pa.Table) -> None:
        rows = rows_to_json(table)
        names = ["step", "time", *rows["columns"]]
        columns = [rows["steps"], rows["times"], *(column["data"] for column in rows["columns"].values())]
        for cells in zip(*columns, strict=True):
            line = json.dumps(dict(zip(names, cells, strict=True)), ensure_ascii=False, allow_nan=False)
            self._file.write(_in_utf8(line) + b"\n")


def _in_utf8(text: str) -> bytes:
    """JSON in UTF-8. The half of a surrogate pair, which UTF-8 cannot say, is escaped, as JSON allows."""
    return text.encode(errors="backslashreplace")


def _as_texts(table: pa.Table) -> pa.Table:
    """The table with cells that CSV can hold: times in ISO form, durations in their unit, arrays and mixed cells as JSON."""
    fields, columns = [], []
    for field, column in zip(table.schema, table.columns, strict=True):
        array = pa.concat_arrays(column.chunks)
        if field.metadata:
            cells = plain_cells(field, array)
            made = [None if cell is None else json.dumps(cell, ensure_ascii=False, allow_nan=False) for cell in cells]
            texts = [None if text is None else _in_utf8(text).decode() for text in made]
            array = pa.array(texts, pa.string())
        elif pa.types.is_timestamp(field.type):
            array = pa.array(plain_cells(field, array), pa.string())
        elif pa.types.is_duration(field.type):
            array = array.cast(pa.int64())
        elif pa.types.is_null(field.type):
            array = pa.nulls(len(array), pa.string())
        elif pa.types.is_float16(field.type):
            array = array.cast(pa.float32())
        fields.append(pa.field(field.name, array.type))
        columns.append(array)
    return pa.table(columns, schema=pa.schema(fields))
