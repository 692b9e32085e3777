"""Runs as a script reads them: `open` an endpoint, find runs, read what they have.

Everything is asked for when it is needed. Nothing here needs Bokeh or a web server.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, overload

import pyarrow as pa

from streamvis.errors import UnknownRun, UsageError
from streamvis.filters import STATISTICS, format_path
from streamvis.reading import rows as its_rows
from streamvis.reading import values as its_values
from streamvis.reading.connection import Connection
from streamvis.reading.following import Update, follow
from streamvis.records import KeyInfo, Value
from streamvis.transport import path
from streamvis.wire.arrow import ARROW, decode_head, decode_tail_body
from streamvis.wire.limits import RUN_ID
from streamvis.wire.tree import unpack

__all__ = ["Reader", "Run", "Runs"]

_MOST_COLUMNS = 100
"""So many summaries an endpoint gives at a time."""
_PIECE = 1000
_RUN_ID = re.compile(RUN_ID)
_NOT_IDS = ("names", "newest")
"""No run has these ids: their addresses are of something else."""


class Reader:
    """The runs of one endpoint, or of a data folder; see `streamvis.open`. Usable from many threads, and as a context manager."""

    def __init__(self, url: str, *, token: str | None = None, transport: Any = None) -> None:
        self.connection = Connection(url, token=token or os.environ.get("STREAMVIS_TOKEN") or None, transport=transport)
        self.url = self.connection.url
        self.connection.json("apps")

    def apps(self) -> list[str]:
        """The names of the apps that have runs."""
        return [app["name"] for app in self.connection.json("apps")["apps"]]

    def runs(self, app: str | None = None, where: str | None = None, order: str | None = None, limit: int | None = None) -> Runs:
        """The runs for which the filter `where` holds, by default the newest first; see docs/rest.md for filters and orders."""
        found: list[Run] = []
        after: str | None = None
        while limit is None or len(found) < limit:
            size = _PIECE if limit is None else min(_PIECE, limit - len(found))
            params = {"app": app, "where": where, "order": order, "limit": size, "after": after}
            answer = self.connection.json("runs", params=params)
            found += [Run(self.connection, run) for run in answer["runs"]]
            after = answer["after"]
            if not answer["more"]:
                break
        return Runs(found)

    def run(self, id: str) -> Run:
        """The run with this id, or with this name if only one run has it. Raises UnknownRun, which lists similar names."""
        try:
            if not _RUN_ID.fullmatch(id) or id in _NOT_IDS:
                raise UnknownRun(id)
            return Run(self.connection, self.connection.json("runs", id, run=id))
        except (UnknownRun, UsageError):
            params = {"where": f"name == {json.dumps(id, ensure_ascii=False)}", "archived": "any", "limit": 10}
            same = self.connection.json("runs", params=params)["runs"]
            if len(same) == 1:
                return Run(self.connection, same[0])
            if same:
                ids = ", ".join(run["run"] for run in same)
                raise UsageError(f"Several runs are called {id!r}. Give an id: {ids}.") from None
            near = self.connection.near_runs(id)
            raise UnknownRun(id, near=near, listing="`streamvis runs`, or reader.runs(),") from None

    def close(self) -> None:
        """Close the connections."""
        self.connection.close()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


@dataclass(frozen=True, eq=False)
class Run:
    """A run at the time of the request; `keys` and `config` are loaded when they are first used.

    `about` has the fields of the REST API: name, state, created, tags ..., by their names in docs/rest.md.
    """

    _connection: Connection = field(repr=False)
    about: Mapping[str, Any] = field(repr=False)

    def __repr__(self) -> str:
        return f"Run({self.id!r}, app={self.app!r}, name={self.name!r}, state={self.state!r})"

    @property
    def id(self) -> str:
        return self.about["run"]

    @property
    def app(self) -> str:
        return self.about["app"]

    @property
    def name(self) -> str:
        return self.about["name"]

    @property
    def state(self) -> str:
        """running, finished, interrupted, failed, or vanished."""
        return self.about["state"]

    @property
    def color(self) -> str:
        return self.about["color"]

    @property
    def tags(self) -> list[str]:
        return list(self.about["tags"])

    @cached_property
    def config(self) -> dict[str, Any]:
        """What `Client.init` was given."""
        return unpack(json.loads(self.config_text), ())

    @cached_property
    def config_text(self) -> str:
        """The config in the form in which it is stored, see `wire.tree`."""
        return decode_head(self._connection.arrow("runs", self.id, run=self.id))[0]["config"]

    @cached_property
    def keys(self) -> dict[str, KeyInfo]:
        """The run's keys: the `kind` of each, "rows" or "value", and the `columns` of rows with their dtypes."""
        found = self._connection.json("runs", self.id, run=self.id)["keys"]
        return {key: KeyInfo(its["kind"], its["columns"]) for key, its in found.items()}

    @property
    def summary(self) -> dict[str, dict[str, dict[str, Any]]]:
        """For each key and column of numbers: last, min, max, their steps, and count.

        The endpoint updates it about a second after rows are stored."""
        asked = [
            (key, column, statistic)
            for key, info in self.keys.items()
            for column, dtype in info.columns.items()
            if dtype.startswith(("int", "uint", "float", "bool"))
            for statistic in STATISTICS
        ]
        made: dict[str, dict[str, dict[str, Any]]] = {}
        for start in range(0, len(asked), _MOST_COLUMNS):
            piece = asked[start : start + _MOST_COLUMNS]
            names = [format_path(("summary", *one)) for one in piece]
            params = {"run": self.id, "column": names, "archived": "any"}
            (run,) = self._connection.json("runs", params=params)["runs"]
            for (key, column, statistic), name in zip(piece, names, strict=True):
                if (value := run["columns"][name]) is not None:
                    made.setdefault(key, {}).setdefault(column, {})[statistic] = value
        return made

    def rows(
        self,
        key: str,
        columns: Sequence[str] | None = None,
        steps: its_rows.Steps | None = None,
        buckets: int | None = None,
    ) -> pa.Table:
        """The key's rows with `step` and `time`: all of them, exactly and in log order, or those of the steps (first, last).

        With `buckets`, only the rows with the lowest and highest value of each column in each of this number of ranges of
        steps. A missing cell is null. Raises UnknownKey, which lists similar keys.
        """
        if buckets is not None:
            return its_rows.read_history(self._connection, self.id, key, columns=columns, steps=steps, buckets=buckets)
        return its_rows.read_rows(self._connection, self.id, key, columns=columns, steps=steps)

    def batches(
        self, key: str, columns: Sequence[str] | None = None, steps: its_rows.Steps | None = None
    ) -> Iterator[pa.RecordBatch]:
        """As `rows`, a few megabytes at a time: for runs that do not fit into memory."""
        return its_rows.read_batches(self._connection, self.id, key, columns=columns, steps=steps)

    def value(self, key: str, step: int | None = None) -> Any:
        """The value of the key at this step, by default the newest. Raises UnknownKey, or NoValue."""
        where = path("runs", self.id, "value")
        answer = self._connection.ask("GET", where, run=self.id, key=key, params={"key": key, "step": step}, accept=ARROW)
        (value,) = decode_tail_body(answer.body)
        assert isinstance(value, Value)  # that is what was asked for
        return value.data

    def values(self, key: str, steps: its_rows.Steps | None = None) -> Iterator[Value]:
        """The values of the key by step, with `step`, `time` and `data`; a few megabytes are in memory at a time."""
        first, last = steps or (None, None)
        return its_values.read_values(self._connection, self.id, key, first=first or 0, last=last)

    def value_bodies(self, key: str) -> Iterator[tuple[int, bytes]]:
        """Step and stored form of each value, for an export."""
        return its_values.read_value_bodies(self._connection, self.id, key)

    def show(self, height: int = 500) -> None:
        """Show the run's page below a notebook's cell, see `streamvis.run`."""
        from streamvis.notebook import show

        show(self._connection.url, f"run={self.id}", height)

    def _repr_html_(self) -> str:
        from streamvis.notebook import frame_or_reason

        return frame_or_reason(self._connection.url, f"run={self.id}")

    def follow(self, keys: str | Sequence[str] = (), past: bool = True) -> Iterator[Update]:
        """All rows and the newest values so far (unless `past` is false), then new ones, until the run has ended."""
        return follow(self._connection, self.id, keys=[keys] if isinstance(keys, str) else keys, past=past)


class Runs(Sequence[Run]):
    """Some runs, in order."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = tuple(runs)

    @overload
    def __getitem__(self, at: int) -> Run: ...
    @overload
    def __getitem__(self, at: slice) -> Runs: ...
    def __getitem__(self, at: int | slice) -> Run | Runs:
        return Runs(self._runs[at]) if isinstance(at, slice) else self._runs[at]

    def __len__(self) -> int:
        return len(self._runs)

    def __repr__(self) -> str:
        return f"Runs({list(self._runs)!r})"

    def rows(
        self,
        key: str,
        columns: Sequence[str] | None = None,
        steps: its_rows.Steps | None = None,
        buckets: int | None = None,
    ) -> pa.Table:
        """As `Run.rows`, of all these runs that have the key, one after another, with the run's id in the column `run`.

        A column that a run lacks is missing in its rows. Raises UnknownKey when no run has the key.
        """
        having = [run for run in self._runs if key in run.keys]
        if self._runs and not having:
            return self._runs[0].rows(key)  # which raises, with the keys that are like it
        tables = []
        for run in having:
            wanted = None if columns is None else [name for name in columns if name in run.keys[key].columns]
            tables.append(run.rows(key, columns=wanted, steps=steps, buckets=buckets))
        return its_rows.stacked([run.id for run in having], tables)
