"""What a store reads: each method in one snapshot, so that what it gives was there together.

Knows no database, only what `_snapshot` opens: see `database`.
"""

from __future__ import annotations

import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

from streamvis.errors import DamagedData, RunConflict, StoreError, UnknownKey
from streamvis.records import RUNNING, AppHead, AppInfo, AttemptInfo, Band, Cursor, History, HistoryQuery, KeyInfo, RunInfo, Tail
from streamvis.store import statements as sql
from streamvis.store.chunks.bodies import read_value
from streamvis.store.chunks.column_types import dtypes_of
from streamvis.store.chunks.key_pieces import rows_piece, spread_values
from streamvis.store.chunks.log_pieces import read_parts
from streamvis.store.chunks.tables import inner_name
from streamvis.store.database import Database
from streamvis.store.interface import TAIL_BYTES, Damage, FoundRuns, RowsPiece, RunNames, RunQuery
from streamvis.store.repairing.damage import Broken, Damages
from streamvis.store.runs.finding import find_runs
from streamvis.store.runs.names import names_of_runs
from streamvis.store.runs.rows import RunRow, info_of, required_run
from streamvis.store.views.as_of_step import levels_of
from streamvis.store.views.band import BandAxis, band_of
from streamvis.store.views.band_rows import rows_of_runs
from streamvis.store.views.history import Axis, axis_name, drawn_names, select, select_each
from streamvis.store.views.levels import Levels
from streamvis.store.views.smoothing import smoothed
from streamvis.store.views.summaries import Sizes

__all__ = ["Reads"]

_HISTORIES_AT_ONCE = 4


class Reads(ABC):
    """The part of a `Store` that reads. `error` is what its database raises."""

    def __init__(self, *, sizes: Sizes, error: type[Exception]) -> None:
        self._sizes, self._error = sizes, error
        self._damages = Damages()
        self._histories = threading.BoundedSemaphore(_HISTORIES_AT_ONCE)

    @abstractmethod
    def _snapshot(self) -> AbstractContextManager[Database]:
        """A transaction that only reads, and sees what was there when it began."""

    @abstractmethod
    def _trouble(self, error: Exception) -> StoreError:
        """What an error of the database means."""

    @property
    def id(self) -> str:
        """Made with the store. Read again each time: a backup that is put back under a running endpoint is another store."""
        with self._reading() as db:
            return db.execute(sql.GET_META, ("id",)).fetchone()[0]

    def damages(self) -> Sequence[Damage]:
        """The keys that were found to be damaged since the store was opened."""
        return self._damages.found()

    def apps(self) -> list[AppInfo]:
        """The apps that have runs, by name."""
        with self._reading() as db:
            return [AppInfo(*row) for row in db.execute(sql.GET_APPS)]

    def app_head(self, app: str | None) -> AppHead:
        """The head of the app's list of runs, or of all apps'."""
        with self._reading() as db:
            found = db.execute(sql.GET_APPS_HEAD) if app is None else db.execute(sql.GET_APP_HEAD, (app,))
            store, seq, newest = found.fetchone()
            return AppHead(Cursor(store, 0, seq or 0), newest)

    def runs(self, app: str, *, limit: int) -> list[RunInfo]:
        """The first `limit` runs of an app, the newest first."""
        with self._reading() as db:
            newest = db.execute(sql.GET_NEWEST, (app,)).fetchall()[:limit]
            others = db.execute(sql.GET_RUNS_OF_APP, (app, limit - len(newest)))
            return [info_of(RunRow(*row)) for row in (*newest, *others)]

    def find(self, query: RunQuery) -> FoundRuns:
        """The runs that a query asks for."""
        with self._reading() as db:
            return find_runs(db, query)

    def names(self, app: str | None) -> RunNames:
        """What can be asked of the runs of an app, or of all apps."""
        with self._reading() as db:
            return names_of_runs(db, app)

    def newest(self, app: str) -> RunInfo | None:
        """The run of the app that was started live last."""
        with self._reading() as db:
            row = db.execute(sql.GET_NEWEST, (app,)).fetchone()
            return info_of(RunRow(*row)) if row else None

    def awaited(self) -> list[str]:
        """The running runs of which a producer began and has not ended."""
        with self._reading() as db:
            return [run for (run,) in db.execute(sql.GET_AWAITED, (RUNNING,))]

    def run(self, run: str) -> RunInfo:
        """The run."""
        with self._reading() as db:
            return info_of(required_run(db, run))

    def config(self, run: str) -> str:
        """The run's config, as JSON text."""
        with self._reading() as db:
            return db.execute(sql.GET_CONFIG, (required_run(db, run).no,)).fetchone()[0]

    def attempts(self, run: str) -> Sequence[AttemptInfo]:
        """The attempts that resumed."""
        with self._reading() as db:
            return [AttemptInfo(*found) for found in db.execute(sql.GET_RESUMES, (required_run(db, run).no,))]

    def keys(self, run: str, *, at: int | None = None) -> Mapping[str, KeyInfo]:
        """The run's keys."""
        with self._reading() as db:
            log = required_run(db, run).log
            if at is None:
                return {name: KeyInfo(kind, json.loads(columns)) for name, kind, columns in db.execute(sql.GET_KEYS, (log,))}
            found = db.execute(sql.GET_KEYS_UNTIL, (log, at))
            return {
                name: KeyInfo(kind, json.loads(columns), is_kept=kind == "rows" or bool(has_value))
                for name, kind, columns, has_value in found
            }

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
        """The piece of the run's log after `after`, and not past `until`."""
        with self._reading() as db:
            row = required_run(db, run)
            head = Cursor(row.store, row.epoch, row.seq)
            restart = after is not None and not _is_before(after, head)
            start = 0 if after is None or restart else after.seq
            end = until.seq if until is not None and _is_before(until, head) else head.seq
            which = {"exclude": exclude, "only": only, "kind": kind, "at": at}
            stop, parts, broken = read_parts(db, row.log, start, end, max_bytes=max_bytes, **which)
            keys = {}
            for key, first_row in {part.key: part.first_row for part in reversed(parts)}.items():
                name, its_kind, columns = db.execute(sql.GET_KEY_BY_NO, (key,)).fetchone()
                keys[name] = KeyInfo(its_kind, dtypes_of(columns), first_row)
            return Tail(
                cursor=Cursor(row.store, row.epoch, max(start, stop)),
                more=stop < end,
                restart=restart,
                run=info_of(row),
                keys=keys,
                bodies=[part.body for part in parts],
                damaged={error.key: error.problem for error in (self._named(db, one) for one in broken)},
            )

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
        """Bodies of one key's rows that overlap the steps."""
        with self._reading() as db:
            no, columns, _ = self._key(db, run, key, "rows")
            limits = {"limit": limit, "max_bytes": max_bytes}
            return rows_piece(db, no, columns, from_step=from_step, to_step=to_step, **limits)

    def history(self, run: str, key: str, query: HistoryQuery) -> History:
        """Rows of one key for a screen. Some at a time: what each of them holds in memory is bounded, and not small."""
        with self._histories, self._reading() as db:
            levels, axis, dtypes = self._drawing(db, run, key, query)
            names, measured = drawn_names(query.columns, dtypes)
            found = select(levels, axis, names, measured)
            return smoothed(levels, axis, measured, found, query.smooth) if query.smooth else found

    def histories(self, run: str, key: str, query: HistoryQuery) -> list[History]:
        """As `history` of each column with `having` it."""
        with self._histories, self._reading() as db:
            levels, axis, dtypes = self._drawing(db, run, key, replace(query, having=()))
            names, measured = drawn_names(query.columns, dtypes)
            found = select_each(levels, axis, measured) if names == measured and axis.x not in names else None
            if found is None:
                found = [
                    select(levels, replace(axis, having=(name,)), [name], [name] if name in measured else []) for name in names
                ]
            return found

    def _drawing(self, db: Database, run: str, key: str, query: HistoryQuery) -> tuple[Levels, Axis, Mapping[str, str]]:
        """What a history of the key is made from: its levels, the axis, and the dtype words of its columns."""
        no, dtypes, _ = self._key(db, run, key, "rows")
        having = tuple(inner_name(name) for name in query.having if name in dtypes)
        axis = Axis(axis_name(query.x, dtypes), query.start, query.stop, query.buckets, query.log, query.window, having)

        def note(broken: Broken) -> None:
            self._named(db, broken)

        return levels_of(db, no, self._sizes, query.at, note=note), axis, dtypes

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
        """The middle and the spread over runs at each x. Some at a time, as histories."""
        with self._histories, self._reading() as db:

            def note(broken: Broken) -> None:
                self._named(db, broken)

            rows = rows_of_runs(db, runs, key, x=x, columns=columns, sizes=self._sizes, at=at, note=note)
            return band_of(rows, BandAxis(start, stop, buckets, log, smooth), columns, stat)

    def value(self, run: str, key: str, *, step: int | None = None, at: int | None = None) -> bytes | None:
        """The body of the key's value at the step, or of the newest."""
        with self._reading() as db:
            no, _, newest_step = self._key(db, run, key, "value")
            if step is None and at is not None:
                found = db.execute(sql.GET_LATEST_VALUE, (no, 0, at)).fetchone()
                return read_value(db, no, found[0]) if found else None
            step = newest_step if step is None else step
            return read_value(db, no, step) if step is not None else None

    def values(
        self, run: str, key: str, *, from_step: int = 0, to_step: int | None = None, limit: int, max_bytes: int
    ) -> list[bytes]:
        """The bodies of values of the steps, evenly spread."""
        with self._reading() as db:
            no, _, _ = self._key(db, run, key, "value")
            return spread_values(db, no, from_step=from_step, to_step=to_step, limit=limit, max_bytes=max_bytes)

    def _key(self, db: Database, run: str, key: str, kind: str) -> tuple[int, Mapping[str, str], int | None]:
        found = db.execute(sql.GET_KEY, (required_run(db, run).log, key)).fetchone()
        if found is None:
            raise UnknownKey(run, key)
        no, its_kind, columns, newest_step, _ = found
        if its_kind != kind:
            raise RunConflict(f"The key {key!r} holds {'rows' if its_kind == 'rows' else 'a value'}, not {kind}.")
        return no, json.loads(columns), newest_step

    @contextmanager
    def _reading(self) -> Iterator[Database]:
        """One snapshot, of which errors are those of a store."""
        try:
            with self._snapshot() as db:
                try:
                    yield db
                except Broken as broken:
                    raise self._named(db, broken) from broken
        except self._error as error:
            raise self._trouble(error) from error

    def _named(self, db: Database, broken: Broken) -> DamagedData:
        """The damage, with the names of the run and the key."""
        try:
            run, key = db.execute(sql.GET_KEY_NAMES, (broken.key,)).fetchone() or ("", "")
        except self._error:
            run = key = ""
        return self._damages.note(broken.problem, run=run or "", key=key)


def _is_before(cursor: Cursor, head: Cursor) -> bool:
    """Whether the cursor is a place in the log that ends at `head`."""
    return cursor.store == head.store and cursor.epoch == head.epoch and cursor.seq <= head.seq
