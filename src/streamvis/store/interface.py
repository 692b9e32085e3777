"""What every store can do, whatever is behind it. One suite of tests holds for all of them.

A store knows runs, batches and cursors. It does not know HTTP, and it does not look inside the bodies that it keeps. All
methods may be called from any thread; writes are done one after another, reads never wait for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from streamvis.errors import StreamvisError
from streamvis.filters import Filter, Path
from streamvis.records import (
    Ack,
    AppHead,
    AppInfo,
    AttemptInfo,
    Band,
    Batch,
    Cursor,
    Description,
    History,
    HistoryQuery,
    KeyInfo,
    RunInfo,
    Tail,
)

__all__ = [
    "RESTORABLE_S",
    "TAIL_BYTES",
    "Changes",
    "ConfigName",
    "Damage",
    "FoundRun",
    "FoundRuns",
    "RowsPiece",
    "RunNames",
    "RunQuery",
    "Store",
]

RESTORABLE_S = 60.0
"""How long a deleted run can be restored."""
TAIL_BYTES = 4 * 2**20
"""How many bytes of bodies one piece of a tail holds at most by default, unless a single batch is larger."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What a commit changed: runs with something new in their log, apps with something new in their list of runs."""

    runs: frozenset[str]
    apps: frozenset[str]


@dataclass(frozen=True, slots=True)
class Damage:
    """A key of a run that is damaged ("" where it is not known which), and what was found first."""

    run: str
    key: str
    problem: str


@dataclass(frozen=True, slots=True)
class RowsPiece:
    """Bodies of one key's rows, in log order, that overlap a range of steps; their rows outside of it are still there.

    `more` tells that bodies that overlap the range were left out, because of `limit` or `max_bytes`.
    """

    info: KeyInfo
    bodies: Sequence[bytes]
    more: bool


@dataclass(frozen=True, slots=True)
class RunQuery:
    """Which runs to find, and what of each.

    Args:
        app: those of this app (None: of all apps)
        where: those that fit this filter
        words: those in whose name, id, tags, note or config each of these words is, in lower case
        runs: of those, these ids alone
        archived: those that are archived, or that are not (None: all)
        order: by the value of this name, then the newest first; without it, the app's newest run first
        is_falling: the highest first; runs without a value are last still
        limit, after: so many, after where an answer to the same query ended
        offset: without `after`, how many that fit are passed over
        columns: names whose values are wanted
        with_config: whether configs are wanted
        vanished: ids of runs that are shown as vanished
    """

    app: str | None = None
    where: Filter | None = None
    words: Sequence[str] = ()
    runs: Sequence[str] | None = None
    archived: bool | None = None
    order: Path | None = None
    is_falling: bool = False
    limit: int = 1000
    after: str = ""
    offset: int = 0
    columns: Sequence[Path] = ()
    with_config: bool = False
    vanished: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class FoundRun:
    """A run, the values of the columns that were asked for as strict JSON can say them (None: missing), and its config's text."""

    info: RunInfo
    columns: Sequence[Any] = ()
    config: str | None = None


@dataclass(frozen=True, slots=True)
class FoundRuns:
    """A piece of the runs that fit a query, `matching` of them in all; `after` is for the next piece where there is `more`."""

    runs: Sequence[FoundRun]
    more: bool
    after: str | None
    matching: int


@dataclass(frozen=True, slots=True)
class ConfigName:
    """A name of configs: how many values it has (100: as many or more), whether runs differ in it, and of which kind they are.

    A kind is "number", "text", "bool", "list", "null", or "mixed".
    """

    name: str
    values: int
    differs: bool
    kind: str


@dataclass(frozen=True, slots=True)
class RunNames:
    """What can be asked of the runs of an app: names in configs, columns that have summaries, and tags."""

    config: Sequence[ConfigName]
    summaries: Sequence[str]
    tags: Sequence[str]


class Store(Protocol):
    """The runs that one endpoint keeps. Raises StoreUnavailable where it cannot take or give data now, and DamagedData where what
    it keeps was damaged; all that is not damaged can still be read.
    """

    @property
    def id(self) -> str:
        """Made with the store, and never the same for another one."""
        ...

    @property
    def commits_at_once(self) -> int:
        """How many calls of `append` are worth having under way at a time."""
        ...

    def append(self, batches: Sequence[Batch]) -> list[Ack | StreamvisError]:
        """Store each batch whole or not at all, all of them in one durable commit; the answers stand in the same order.

        An answer is UnknownRun, DeletedRun or RunConflict where the batch does not fit; nothing of it is stored then.
        """
        ...

    def listen(self, listener: Callable[[Changes], None]) -> None:
        """Call `listener` after every commit, on the thread that made it, with what it changed."""
        ...

    def apps(self) -> list[AppInfo]:
        """The apps that have runs, by name."""
        ...

    def app_head(self, app: str | None) -> AppHead:
        """The head of the app's list of runs: newer whenever a run starts, ends, is renamed, deleted, or becomes newest.

        Of all apps without one. Costs the same however many runs the app has.
        """
        ...

    def runs(self, app: str, *, limit: int) -> list[RunInfo]:
        """The first `limit` runs of an app: the newest, then by when they were created, the last first.

        Reads no more runs than it returns, and no config.
        """
        ...

    def find(self, query: RunQuery) -> FoundRuns:
        """The runs that a query asks for. Raises InvalidData for an `after` of another query.

        Looks at all runs of the app, and of each only at what the query needs.
        """
        ...

    def names(self, app: str | None) -> RunNames:
        """What can be asked of the runs of an app, or of all apps. It looks at a bounded number of runs, the newest first."""
        ...

    def newest(self, app: str) -> RunInfo | None:
        """The run of the app that was started live last."""
        ...

    def awaited(self) -> list[str]:
        """The running runs of which a producer began and has not ended."""
        ...

    def run(self, run: str) -> RunInfo:
        """The run. Raises UnknownRun or DeletedRun, as all that follow."""
        ...

    def config(self, run: str) -> str:
        """The run's config, as JSON text."""
        ...

    def attempts(self, run: str) -> Sequence[AttemptInfo]:
        """The attempts of the run that took the place of earlier ones, in their order.

        Raises UnknownRun, DeletedRun, StoreUnavailable.
        """
        ...

    def keys(self, run: str, *, at: int | None = None) -> Mapping[str, KeyInfo]:
        """The run's keys; with `at`, those that had something at that step."""
        ...

    def tail(
        self,
        run: str,
        after: Cursor | None,
        *,
        until: Cursor | None = None,
        max_bytes: int = TAIL_BYTES,
        exclude: Sequence[str] = (),
        only: Sequence[str] = (),
        kind: str | None = None,
        at: int | None = None,
    ) -> Tail:
        """The piece of the run's log after `after` (None: from the beginning), and not past `until`, without the keys `exclude`.

        With names in `only`, of these keys alone; with a `kind`, "rows" or "value", of keys that hold that. With `at`, as they
        were at that step: rows of later steps, and values of later steps, are not there.
        A key's value is in the piece in which the newest one (greatest step, then stored last) was stored, and nowhere else.
        What is damaged is left out, and its key named in `damaged`.
        """
        ...

    def rows(
        self,
        run: str,
        key: str,
        *,
        from_step: int = 0,
        to_step: int | None = None,
        limit: int | None = None,
        max_bytes: int | None = None,
    ) -> RowsPiece:
        """Rows of one key whose chunks overlap the steps; enough for `limit` rows. Raises UnknownKey or RunConflict."""
        ...

    def history(self, run: str, key: str, query: HistoryQuery) -> History:
        """Rows of one key for a screen.

        Raises UnknownKey, RunConflict, or InvalidData where a column is not there or cannot be drawn.
        """
        ...

    def histories(self, run: str, key: str, query: HistoryQuery) -> list[History]:
        """As `history` of each of the query's columns by itself, with the rows that have something in it; not smoothed.

        Reads shared rows once.
        """
        ...

    def band(
        self,
        runs: Sequence[str],
        key: str,
        *,
        x: str,
        columns: Sequence[str],
        stat: str,
        start: float | None = None,
        stop: float | None = None,
        buckets: int,
        log: bool = False,
        at: int | None = None,
        smooth: float = 0.0,
    ) -> Band:
        """The middle and the spread of columns over runs, from all rows of equal x; see `Band`, and `store.spread` for `stat`.

        Where there are more x than buckets, of each bucket the rows with the lowest and the highest of each returned column, and
        those at which a run ends. With `smooth`, a weight below 1, of each run's smoothed columns (see `exponential_mean`).
        With `at`, of the rows of that step and earlier ones alone.
        Runs that are gone, or lack the key or x, are left out. Raises UnknownRun where none of the runs is there.
        """
        ...

    def value(self, run: str, key: str, *, step: int | None = None, at: int | None = None) -> bytes | None:
        """The body of the value at the step, or None where there is none; by default of the newest, or what was newest at `at`.

        Raises UnknownKey or RunConflict.
        """
        ...

    def values(
        self, run: str, key: str, *, from_step: int = 0, to_step: int | None = None, limit: int, max_bytes: int
    ) -> list[bytes]:
        """The bodies of the key's values from one step to another, by step: at most `limit`, evenly spread over the steps
        (see `even_steps`).

        They end early where they would be more than `max_bytes` together, but for the first. Raises UnknownKey or RunConflict.
        """
        ...

    def describe(self, runs: Sequence[str], description: Description) -> list[RunInfo]:
        """Change what people say of the runs: all in one commit, or none of them where one is not there."""
        ...

    def finish(self, run: str, state: str) -> RunInfo:
        """Set the run's state, whatever its producers said. A later Start makes it running again."""
        ...

    def clear(self, run: str) -> RunInfo:
        """Take back the run's rows and values."""
        ...

    def delete(self, *runs: str, restorable_s: float = RESTORABLE_S) -> float:
        """Delete runs: all of them in one commit, or none where one is not there. Returns until when they can be restored.

        What they hold is freed after that.
        """
        ...

    def restore(self, run: str) -> RunInfo:
        """Take the deletion of a run back: all that it had is there again. Raises DeletedRun where it is too late."""
        ...

    def tidy(self, *, only_merge: bool = False) -> bool:
        """Do a short piece of housekeeping, such as giving freed space back; True when there is more to do.

        With `only_merge`, it is merging what was stored in small pieces.
        """
        ...

    @property
    def unmerged(self) -> int:
        """How many small pieces of rows wait to be merged: reading gets slower by them."""
        ...

    def damages(self) -> Sequence[Damage]:
        """The keys that were found to be damaged since the store was opened."""
        ...

    def close(self) -> None:
        """Close everything. Nothing else may be called after."""
        ...
