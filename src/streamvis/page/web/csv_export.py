"""Rows as CSV: what the download button of a chart gives, all rows and not those that are drawn.

`/rows.csv?run=ID&series=["KEY","COLUMN"]&series=...` answers with a table of `step`, `time`, `key` and the columns; with several
`run`, the run's id is the first column. Rows of one key come in log order, keys and runs one after the other. Nothing is held
but a piece at a time.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from tornado.http1connection import HTTP1Connection
from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, RequestHandler

from streamvis.errors import DeletedRun, StreamvisError, UnknownRun
from streamvis.page.feeds.reader import EndpointReader
from streamvis.records import Rows

__all__ = ["RowsHandler", "csv_pieces"]

_log = logging.getLogger("streamvis.page")

_MOST_SERIES, _MOST_RUNS = 1000, 100


class RowsHandler(RequestHandler):
    """Answers with the rows of some columns."""

    def initialize(self, reader: EndpointReader) -> None:
        self._reader = reader

    async def get(self) -> None:
        """The rows, as they are read."""
        runs, series = self.get_query_arguments("run"), [_pair(text) for text in self.get_query_arguments("series")]
        if not runs or len(runs) > _MOST_RUNS:
            raise HTTPError(400, reason=f"Give 1 to {_MOST_RUNS} runs")
        if not series or len(series) > _MOST_SERIES:
            raise HTTPError(400, reason=f"Give 1 to {_MOST_SERIES} series")
        self.set_header("Content-Type", "text/csv; charset=utf-8")
        self.set_header("Content-Disposition", "attachment")
        self.set_header("Cache-Control", "no-store")
        pieces = csv_pieces(self._reader, runs, series)
        loop = asyncio.get_running_loop()
        is_begun = False
        try:
            for run in runs:
                await loop.run_in_executor(None, self._reader.run, run)
            while (piece := await loop.run_in_executor(None, next, pieces, None)) is not None:
                self.write(piece)
                is_begun = True
                await self.flush()
        except StreamClosedError:
            return
        except StreamvisError as error:
            if is_begun:
                # Cut off, so that no one takes what there is for all of it.
                _log.warning("the rows of %s could not be read to their end: %s", runs, error)
                connection = self.request.connection
                if isinstance(connection, HTTP1Connection):
                    connection.close()
                return
            self.clear()
            self.set_status({UnknownRun: 404, DeletedRun: 410}.get(type(error), 502))
            self.set_header("Content-Type", "text/plain; charset=utf-8")
            self.finish(f"{error}\n")


def _pair(text: str) -> tuple[str, str]:
    try:
        key, column = json.loads(text)
    except ValueError:
        key = column = None
    if not (isinstance(key, str) and isinstance(column, str)):
        raise HTTPError(400, reason="series is a JSON list of a key and a column")
    return key, column


def csv_pieces(reader: EndpointReader, runs: Sequence[str], series: Sequence[tuple[str, str]]) -> Iterator[str]:
    """The lines of the table, in pieces. What has no value is left empty; numbers are written so that they read back the same."""
    columns = list(dict.fromkeys(column for _, column in series))
    yield _lines([[*(["run"] if len(runs) > 1 else []), "step", "time", "key", *columns]])
    for run in runs:
        first = [run] if len(runs) > 1 else []
        for key in dict.fromkeys(key for key, _ in series):
            its = {column for its_key, column in series if its_key == key}
            for rows in reader.rows_of(run, key):
                table = _table(rows, [column if column in its else None for column in columns])
                yield _lines([*first, *line] for line in table)


def _table(rows: Rows, columns: Sequence[str | None]) -> Iterator[list[Any]]:
    cells = [[] if name is None else _cells(rows.columns.get(name)) for name in columns]
    times = np.rint(rows.times * 1e6).astype(np.int64).view("M8[us]")
    for i, step in enumerate(rows.steps.tolist()):
        found = [column[i] if i < len(column) else None for column in cells]
        # A row of a key that is drawn for other columns says nothing here.
        if any(cell is not None for cell in found):
            yield [step, f"{times[i]}Z", rows.key, *found]


def _cells(column: Any) -> list[Any]:
    if column is None:
        return []
    if isinstance(column, np.ndarray) and column.dtype.kind in "mM":
        return [None if np.isnat(cell) else str(cell) for cell in column]
    return [_cell(cell) for cell in (column.tolist() if isinstance(column, np.ndarray) else column)]


def _cell(cell: Any) -> Any:
    if isinstance(cell, float):
        return None if cell != cell else repr(cell)
    return cell.tolist() if isinstance(cell, np.ndarray) else cell


def _lines(rows: Any) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
