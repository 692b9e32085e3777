"""Runs of other programs on their way into an endpoint: what it has already is left out, and the rest is stored.

A source gives its rows and values in an order that does not change when its files grow. So how many rows the endpoint has tells
where to continue: an import that is repeated stores nothing, one that was cut off continues, and one of files that grew adds
what is new.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from streamvis.errors import DeletedRun, UnknownRun, UsageError
from streamvis.metrics import Keys, sorted_metrics
from streamvis.reading.connection import Connection
from streamvis.reading.runs import Run
from streamvis.records import FINISHED, STATES, Finish, Start
from streamvis.transport import path
from streamvis.wire.arrow import encode_columns, encode_control, encode_value
from streamvis.wire.columns import Unjoinable, arrow_column, json_column
from streamvis.wire.tree import pack

__all__ = [
    "Arrival",
    "ArrivingRows",
    "ArrivingValue",
    "Origin",
    "id_of",
    "pieces_of",
    "run_to_fill",
    "with_numbers",
]

_BATCH_BYTES = 8 * 2**20
_BATCH_PIECES = 500
_NOT_IN_JSON = {"NaN": np.nan, "Infinity": np.inf, "-Infinity": -np.inf}

_MOST_ROWS = 2**15


@dataclass(frozen=True, slots=True)
class Origin:
    """A run as another program's files tell of it. `id` follows from what they hold; `created` is in seconds since 1970 UTC."""

    id: str
    app: str
    name: str
    created: float
    config: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ArrivingRows:
    """Rows of a key. Where `counts_column`, there is one column, and its cells alone count how far an import has come."""

    key: str
    steps: np.ndarray
    times: np.ndarray
    columns: Sequence[tuple[pa.Field, pa.Array]]
    counts_column: bool = False


@dataclass(frozen=True, slots=True)
class ArrivingValue:
    key: str
    step: int
    time: float
    data: Mapping[str, Any]


class Arrival:
    """Stores one run. `is_stored` tells whether anything was new."""

    def __init__(self, connection: Connection, origin: Origin, *, live: bool = False) -> None:
        self._connection, self._origin = connection, origin
        self._known = run_to_fill(connection, origin.id, otherwise="another --app")
        self._keys = Keys({key: info.kind for key, info in self._known.keys.items()} if self._known else None)
        self._rows: dict[str, dict[str, int]] = {}
        self._values: dict[str, dict[int, float]] = {}
        self._bodies: list[bytes] = []
        self._size = 0
        producer = f"import-{secrets.token_hex(8)}"
        self._params = {"app": origin.app, "producer": producer, "live": json.dumps(live), "imported": "true"}
        self._number = 0
        self._newest = origin.created
        self.is_stored = False

    def take(self, piece: ArrivingRows | ArrivingValue) -> None:
        """Store what of it is new; perhaps not before the next `flush`."""
        if isinstance(piece, ArrivingValue):
            key = self._keys.of_value(piece.key)
            if self._times_of(key).get(piece.step, -np.inf) < piece.time:
                self._put(encode_value(key, piece.step, piece.time, piece.data).body, piece.time)
            return
        key, count = self._keys.of_rows(piece.key), len(piece.steps)
        counts = self._counts_of(key)
        counted = piece.columns[0][0].name if piece.counts_column else ""
        skipped = min(counts.get(counted, 0), count)
        counts[counted] = counts.get(counted, 0) - skipped
        if skipped < count:
            columns = [(field, array[skipped:]) for field, array in piece.columns]
            made = encode_columns(key, piece.steps[skipped:], piece.times[skipped:], columns)
            self._put(made.body, float(piece.times.max()))

    def learn(self, config: Mapping[str, Any]) -> None:
        """The run's config, where it has none."""
        if self._known is None or not self._known.config:
            self.flush()
            self._begin(config)

    def flush(self) -> None:
        """Store what was taken."""
        if self._bodies:
            self._begin(None)
            self._send(b"".join(self._bodies))
            self._bodies, self._size = [], 0

    def finish(self, *, is_whole: bool = True) -> None:
        """All that can be read was taken: the run has ended. Where it is not whole and nothing could be read, no run is made."""
        self.flush()
        if not is_whole and self._known is None and not self._number:
            return
        is_open = self._known is None or self._known.state not in STATES[1:]
        if self.is_stored or is_open:
            self._begin(None)
            # Without a producer it ends the run for all of them, also for that of an import that was cut off.
            self._send(encode_control(Finish(FINISHED, self._newest)), producer="")

    def _begin(self, config: Mapping[str, Any] | None) -> None:
        if self._number and config is None:
            return
        told = json.dumps(pack(dict(self._origin.config if config is None else config)))
        name = self._origin.name if self._known is None and not self._number else None
        self._send(encode_control(Start(told, self._origin.created, name, joins=True)))

    def _put(self, body: bytes, time: float) -> None:
        self._bodies.append(body)
        self._size += len(body)
        self._newest = max(self._newest, time)
        if self._size > _BATCH_BYTES or len(self._bodies) >= _BATCH_PIECES:
            self.flush()

    def _send(self, body: bytes, **others: str) -> None:
        self._number += 1
        self.is_stored = True
        params = {**self._params, "number": self._number, **others}
        where = path("runs", self._origin.id, "batches")
        answer = json.loads(self._connection.ask("POST", where, run=self._origin.id, params=params, body=body).body)
        for one in answer["refused"]:
            raise UsageError(f"The endpoint refused the key {one['key']!r}: {one['reason']}")

    def _counts_of(self, key: str) -> dict[str, int]:
        """How many cells each column of the key has in the endpoint, and under "" how many rows there are."""
        if key not in self._rows:
            counts: dict[str, int] = {}
            if self._known is not None and key in self._known.keys:
                columns = list(self._known.keys[key].columns)
                for batch in self._known.batches(key):
                    counts[""] = counts.get("", 0) + batch.num_rows
                    for name, column in zip(columns, batch.columns[2:], strict=True):
                        counts[name] = counts.get(name, 0) + len(column) - column.null_count
            self._rows[key] = counts
        return self._rows[key]

    def _times_of(self, key: str) -> dict[int, float]:
        if key not in self._values:
            known = self._known
            is_there = known is not None and key in known.keys
            self._values[key] = {value.step: value.time for value in known.values(key)} if known is not None and is_there else {}
        return self._values[key]


def pieces_of(logged: Iterable[tuple[int, float, Mapping[str, Any]]]) -> Iterator[ArrivingRows | ArrivingValue]:
    """What was logged at steps and times, by names: the rows of each key, some at a time, and the values."""
    rows: dict[str, list[tuple[int, float, Mapping[str, Any]]]] = {}
    for step, time, metrics in logged:
        here, values = sorted_metrics(metrics)
        for key, row in here.items():
            its = rows.setdefault(key, [])
            its.append((step, time, row))
            if len(its) >= _MOST_ROWS:
                yield _rows_of_dicts(key, rows.pop(key))
        for key, value in values.items():
            yield ArrivingValue(key, step, time, value)
    for key, its in rows.items():
        yield _rows_of_dicts(key, its)


def _rows_of_dicts(key: str, its: Sequence[tuple[int, float, Mapping[str, Any]]]) -> ArrivingRows:
    """Rows of a key, each given as its step, its time and its cells."""
    columns = []
    for name in dict.fromkeys(name for _, _, row in its for name in row):
        cells = [row.get(name) for _, _, row in its]
        try:
            columns.append(arrow_column(name, cells))
        except (Unjoinable, UnicodeEncodeError):  # JSON escapes the half of a surrogate pair, which Arrow's texts cannot hold
            columns.append(json_column(name, cells))
    return ArrivingRows(key, np.array([one[0] for one in its]), np.array([one[1] for one in its]), columns)


def with_numbers(cell: Any) -> Any:
    """The cell with numbers in place of the texts that stand for those that JSON has not."""
    if isinstance(cell, dict):
        return {name: with_numbers(part) for name, part in cell.items()}
    return _NOT_IN_JSON.get(cell, cell) if isinstance(cell, str) else cell


def id_of(kind: str, *parts: str) -> str:
    """An id for what these parts tell apart."""
    return f"{kind}-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:20]}"


def run_to_fill(connection: Connection, run: str, *, otherwise: str) -> Run | None:
    """The run, if it is there. Raises UsageError where it was deleted: import it `otherwise`."""
    try:
        return Run(connection, connection.json("runs", run, run=run))
    except UnknownRun:
        return None
    except DeletedRun:
        raise UsageError(f"The run {run!r} was deleted at {connection.url}. Import it with {otherwise}.") from None
