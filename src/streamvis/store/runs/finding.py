"""Finding runs: those that a filter names, in an order, a piece at a time, with chosen columns.

Where a filter, words, a config or a summary decides, all runs of the app are looked at, and of each only what these ask for.
Otherwise the database orders them. Whole rows of the table are read of those runs that are given, and configs only where they are
asked for. No rows or values of runs are read.
"""

from __future__ import annotations

import base64
import bisect
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streamvis.errors import InvalidData
from streamvis.filters import MISSING, Path, format_path
from streamvis.naming import readable_name
from streamvis.records import RUNNING, VANISHED
from streamvis.store import statements as sql
from streamvis.store.database import Database
from streamvis.store.interface import FoundRun, FoundRuns, RunQuery
from streamvis.store.runs.rows import RunRow, info_of
from streamvis.store.views.digests import read_digests, value_in
from streamvis.wire.tree import to_plain, unpack

__all__ = ["config_value", "find_runs", "plain_config"]

_COLUMNS = {
    "app": "apps.name",
    "archived": "archived",
    "created": "created",
    "ended": "ended",
    "id": "runs.id",
    "name": "runs.name",
    "note": "note",
    "state": "state",
    "step": "last_step",
    "tags": "tags",
    "updated": "updated",
}
"""What each field of the filter language is called in the tables."""
_ALWAYS = ("runs.no", "runs.id", "runs.log", "created", "apps.newest IS runs.no")
_IN_WORDS = ("name", "note", "tags")
_ORDERED_IN_TABLES = {"app", "created", "ended", "id", "step", "updated"}
"""The fields of which the tables hold just what is shown."""

Place = tuple[Any, ...]
"""Where a run stands in the order: compares with the places of other runs."""


@dataclass(frozen=True, slots=True)
class _Falling:
    """A text that stands before those that are lower."""

    text: str

    def __lt__(self, other: _Falling) -> bool:
        return other.text < self.text


def find_runs(db: Database, query: RunQuery) -> FoundRuns:
    """The runs that the query asks for. Raises InvalidData for an `after` that was not given for it."""
    is_quick = query.where is None and not query.words and not query.after
    if is_quick and (query.order is None or query.order[0] in _ORDERED_IN_TABLES):
        numbers, matching = _ordered_in_tables(db, query)
        first = query.offset
    else:
        places = sorted(_places(db, query))
        first = bisect.bisect_right(places, _place_of(query)) if query.after else query.offset
        numbers, matching = [-place[-1] for place in places[first : first + query.limit]], len(places)
    is_more = bool(numbers) and first + len(numbers) < matching
    token = _token(query, _place(query, _run(db, query, numbers[-1]))) if is_more else None
    return FoundRuns(_shown(db, numbers, query), is_more, token, matching)


def _ordered_in_tables(db: Database, query: RunQuery) -> tuple[list[int], int]:
    """The numbers of the runs to give, and how many there are."""
    where, given = _which(query)
    if query.order is not None:
        column = _COLUMNS[query.order[0]]
        order = f"{column} IS NULL, {column} {'DESC' if query.is_falling else ''}, "
    else:
        order = "apps.newest IS runs.no DESC, " if query.app else ""
    tables = f"FROM runs CROSS JOIN apps ON apps.no = runs.app WHERE {where}"
    text = f"SELECT runs.no {tables} ORDER BY {order} created DESC, runs.no DESC LIMIT ? OFFSET ?"
    numbers = [no for (no,) in db.execute(text, (*given, query.limit, query.offset))]
    return numbers, db.execute(f"SELECT count(*) {tables}", given).fetchone()[0]


def _which(query: RunQuery) -> tuple[str, list[Any]]:
    """The condition on the tables for all runs that the query could mean, and its values."""
    where, given = ["deleted = 0"], []
    if query.app is not None:
        where.append("runs.app = (SELECT no FROM apps WHERE name = ?)")
        given.append(query.app)
    if query.runs is not None:
        where.append("runs.id IN (SELECT value FROM json_each(?))")
        # No id has NUL, where SQLite would cut it and PostgreSQL fails.
        given.append(json.dumps([run for run in query.runs if "\0" not in run]))
    if query.archived is not None:
        where.append("archived = ?")
        given.append(int(query.archived))
    return " AND ".join(where), given


def _run(db: Database, query: RunQuery, number: int) -> _Run:
    """A run by its number, with what its place depends on."""
    names = [query.order] if query.order else []
    return next(_Reader(db, names, query, with_config=False, only=json.dumps([number])).runs())


def _places(db: Database, query: RunQuery) -> Iterator[Place]:
    """The place of each run that fits."""
    names = {*(query.where.names if query.where else ()), *([query.order] if query.order else [])}
    names |= {(name,) for name in _IN_WORDS} if query.words else set()
    reader = _Reader(db, names, query, with_config=bool(query.words))
    for run in reader.runs():
        if query.where is not None and not query.where.matches(run.value):
            continue
        if query.words and not run.holds(query.words):
            continue
        yield _place(query, run)


def _place(query: RunQuery, run: _Run) -> Place:
    value = run.value(query.order) if query.order else MISSING
    after = (-run.created, -run.no)
    if not query.order:
        return (not (query.app and run.is_newest), 0, 0, *after)
    if isinstance(value, (bool, int, float)) and value == value:  # not NaN; `math.isnan` takes no int above 1.8e308
        return (False, 1 if query.is_falling else 0, -value if query.is_falling else value, *after)
    if value is MISSING or value is None or isinstance(value, float):
        return (True, 0, 0, *after)
    text = value if isinstance(value, str) else json.dumps(value)
    return (False, 0 if query.is_falling else 1, _Falling(text) if query.is_falling else text, *after)


def _token(query: RunQuery, place: Place) -> str:
    parts = [part.text if isinstance(part, _Falling) else part for part in place]
    return base64.urlsafe_b64encode(json.dumps([_order(query), *parts]).encode()).decode().rstrip("=")


def _place_of(query: RunQuery) -> Place:
    try:
        text = base64.urlsafe_b64decode(f"{query.after}{'=' * (-len(query.after) % 4)}")
        order, is_last, rank, value, created, no = json.loads(text)
        is_text = isinstance(value, str)
        fits = order == _order(query) and type(rank) is int and type(no) is int and isinstance(is_last, bool)
        fits = fits and is_text == (not is_last and bool(query.order) and rank == (0 if query.is_falling else 1))
        if not fits or not isinstance(created, (int, float)) or not (is_text or isinstance(value, (int, float))):
            raise ValueError("of another query")
    except (ValueError, TypeError, RecursionError) as error:
        problem = f"{query.after[:40]!r} was not given for this order"
        raise InvalidData(problem, where="after", allowed="what an answer to the same query gave") from error
    return (is_last, rank, _Falling(value) if is_text and query.is_falling else value, created, no)


def _order(query: RunQuery) -> str:
    return f"{'-' if query.is_falling else ''}{format_path(query.order)}" if query.order else ""


def _shown(db: Database, numbers: Sequence[int], query: RunQuery) -> list[FoundRun]:
    asked = json.dumps(numbers)
    rows = {row[0]: RunRow(*row) for row in db.execute(sql.GET_RUNS_BY_NO, (asked,))}
    reader = _Reader(db, set(query.columns), query, with_config=query.with_config, only=asked)
    values = {run.no: run for run in reader.runs()} if query.columns or query.with_config else {}
    found = []
    for no in numbers:
        run = values.get(no)
        columns = tuple(_given(run.value(path)) for path in query.columns) if run else ()
        found.append(FoundRun(info_of(rows[no]), columns, run.config_text if run and query.with_config else None))
    return found


def _given(value: Any) -> Any:
    return None if value is MISSING else to_plain(value)


class _Reader:
    """Reads of runs what some names need: of all that the query could mean, or `only` of those with these numbers (JSON)."""

    def __init__(
        self, db: Database, names: Iterable[Path], query: RunQuery, *, with_config: bool, only: str | None = None
    ) -> None:
        self._db, self._query, self._only = db, query, only
        names = set(names)
        self._fields = sorted({path[0] for path in names if path[0] in _COLUMNS})
        self._with_config = with_config or any(path[0] == "config" for path in names)
        self._columns = sorted({path[1:3] for path in names if path[0] == "summary"})

    def runs(self) -> Iterator[_Run]:
        wanted = [*_ALWAYS, *(_COLUMNS[name] for name in self._fields), *(["config"] if self._with_config else [])]
        where, given = _which(self._query)
        if self._only is not None:
            where, given = "deleted = 0 AND runs.no IN (SELECT value FROM json_each(?))", [self._only]
        configs = "LEFT JOIN configs ON configs.no = runs.no" if self._with_config else ""
        # CROSS keeps the order of the tables: apps have no more to say than their name.
        text = f"SELECT {', '.join(wanted)} FROM runs CROSS JOIN apps ON apps.no = runs.app {configs} WHERE {where}"
        summaries = self._summaries(where, given)
        for row in self._db.execute(text, given):
            fields = dict(zip(self._fields, row[len(_ALWAYS) :], strict=False))
            no, run, log, created, is_newest = row[: len(_ALWAYS)]
            config = row[-1] if self._with_config else None
            yield _Run(no, run, log, created, is_newest, fields, config, summaries, self._query.vanished)

    def _summaries(self, where: str, given: Sequence[Any]) -> Mapping[Path, Mapping[int, Sequence[Any]]]:
        """Of each column that is asked for the digest in each run's log."""
        if not self._columns:
            return {}
        logs = [log for (log,) in self._db.execute(f"SELECT runs.log FROM runs WHERE {where}", given)]
        return {(key, column): read_digests(self._db, logs, key, column) for key, column in self._columns}


class _Run:
    """What was read of a run, as the names of the filter language."""

    def __init__(
        self,
        no: int,
        run: str,
        log: int,
        created: float,
        is_newest: int,
        fields: Mapping[str, Any],
        config_text: str | None,
        summaries: Mapping[Path, Mapping[int, Sequence[Any]]],
        vanished: frozenset[str],
    ) -> None:
        self.no, self.created, self.is_newest, self.config_text = no, created, bool(is_newest), config_text
        self._id, self._log, self._fields, self._summaries, self._vanished = run, log, fields, summaries, vanished
        self._config: Any = None

    def value(self, path: Path) -> Any:
        """The value of a name, or MISSING."""
        head = path[0]
        if head == "config":
            if self._config is None:
                self._config = plain_config(self.config_text or "{}")
            return config_value(self._config, path[1:])
        if head == "summary":
            digest = self._summaries[path[1:3]].get(self._log)
            return MISSING if digest is None else value_in(digest, path[3])
        value = self._fields[head]
        made = _MADE.get(head)
        return made(self, value) if made else MISSING if value is None else value

    def state(self, state: str) -> str:
        """The state, as it is shown."""
        return VANISHED if state == RUNNING and self._id in self._vanished else state

    def name(self, name: str | None) -> str:
        """The name, as it is shown."""
        return name or readable_name(self._id)

    def holds(self, words: Sequence[str]) -> bool:
        """Whether each of the words, in lower case, is somewhere in what people read of the run."""
        tags = " ".join(self.value(("tags",)))
        texts = (self._id, self.value(("name",)), self.value(("note",)), tags, self.config_text or "")
        text = "\n".join(texts).lower()
        return all(word in text for word in words)


_MADE: Mapping[str, Callable[[_Run, Any], Any]] = {
    "archived": lambda _, value: bool(value),
    "name": _Run.name,
    "state": _Run.state,
    "tags": lambda _, value: json.loads(value),
}


def plain_config(text: str) -> Any:
    """A config as its names are read in filters: times are ISO texts."""
    config = json.loads(text)
    return _plain(unpack(config, ())) if '"~' in text else config


def _plain(node: Any) -> Any:
    if isinstance(node, dict):
        return {name: _plain(part) for name, part in node.items()}
    if isinstance(node, list):
        return [_plain(part) for part in node]
    return node if isinstance(node, float) else to_plain(node)


def config_value(config: Any, path: Path) -> Any:
    """What stands at a path in a config; MISSING where there is nothing. A whole number names an item of a list."""
    for part in path:
        if isinstance(config, dict) and part in config:
            config = config[part]
        elif isinstance(config, list) and part.isdecimal() and int(part) < len(config):
            config = config[int(part)]
        else:
            return MISSING
    return config
