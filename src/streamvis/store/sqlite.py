"""The store in one SQLite file: WAL, synchronous to disk at every commit, one writer, and connections to read as they are needed.

A batch is applied in a savepoint of its own inside the commit that it shares with the others that waited. All SQL is in
`statements`; what this module adds is the meaning: who may write what, what counts as newest, which piece a tail is.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from streamvis.errors import (
    DamagedData,
    DeletedRun,
    FolderUnusable,
    RunConflict,
    StoreError,
    StoreUnavailable,
    StreamvisError,
    UnknownKey,
    UnknownRun,
)
from streamvis.records import (
    RUNNING,
    Ack,
    AppHead,
    AppInfo,
    Band,
    Batch,
    Cursor,
    Description,
    History,
    KeyInfo,
    Refusal,
    RunInfo,
    Start,
    Tail,
)
from streamvis.store import statements as sql
from streamvis.store.applying import apply_batch, end_run, start_over
from streamvis.store.band import BandAxis, band_of
from streamvis.store.band_rows import rows_of_runs
from streamvis.store.bodies import read_value
from streamvis.store.columns import dtypes_of
from streamvis.store.damage import Broken, Damages, is_damage
from streamvis.store.deleting import bury_next, delete_run, is_any_due, restore_run
from streamvis.store.describing import describe_run
from streamvis.store.finding import find_runs
from streamvis.store.folder import make_own
from streamvis.store.history import Axis, axis_name, drawn_names, select
from streamvis.store.interface import RESTORABLE_S, TAIL_BYTES, Changes, Damage, FoundRuns, RowsPiece, RunNames, RunQuery
from streamvis.store.offering import names_of_runs
from streamvis.store.past import levels_of
from streamvis.store.pieces import rows_piece, spread_values
from streamvis.store.readers import Readers
from streamvis.store.run_rows import RunRow, find_run, info_of, required_run, save_run
from streamvis.store.schema import MIGRATIONS, SCHEMA, SCHEMA_VERSION
from streamvis.store.smoothing import smoothed
from streamvis.store.summaries import Sizes
from streamvis.store.tables import inner_name
from streamvis.store.tails import read_parts
from streamvis.store.taking_back import begin_cut, go_on_cutting
from streamvis.store.tidying import Tidier
from streamvis.store.turns import Turns

__all__ = ["FILE", "SqliteStore", "files_of"]

FILE = "streamvis.sqlite"
_BUSY_S = 10.0
_WAL_BYTES = 64 * 2**20
"""What the write-ahead log keeps of the disk after it was larger, as it is after a restore."""
_HISTORIES_AT_ONCE = 4
_SHORTEN_EVERY_S = 2.0
_PAUSE_S = 0.5
_MOST_PAUSE_S = 10.0
"""How long reads pause at most so that the write-ahead log can starts again: some of it when it is just too large, then more."""


class SqliteStore:
    """The store in the file `streamvis.sqlite` of `folder`. See `Store` for its methods.

    Raises FolderUnusable when the file was made by a newer version, or is none of ours.
    """

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time, sizes: Sizes = Sizes()) -> None:  # noqa: B008
        self._path = folder / FILE
        self._clock, self._sizes = clock, sizes
        self._write_lock = Turns()
        self._readers = Readers(self._connect)
        self._damages = Damages()
        self._histories = threading.BoundedSemaphore(_HISTORIES_AT_ONCE)
        self._shorten_at = 0.0
        self._listeners: list[Callable[[Changes], None]] = []
        self._unmerged = 0
        self._tidier = Tidier(self._reading, self._writing, self._vacuum, [self._take_back_more, self._bury], sizes)
        try:
            self._open(folder)
        except (sqlite3.DatabaseError, OSError) as error:
            raise FolderUnusable(str(folder), f"{self._path.name} is not usable ({error}).") from error

    def _open(self, folder: Path) -> None:
        make_own(self._path)
        self._writer = self._connect()
        self._open_schema()
        self._files = [(path, path.stat()) for path in files_of(folder)]

    def _connect(self) -> sqlite3.Connection:
        # This never makes the file: where it was deleted, an empty one would look like a store without runs.
        address = f"{self._path.absolute().as_uri()}?mode=rw"
        connection = sqlite3.connect(address, uri=True, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
        return connection

    def _open_schema(self) -> None:
        (version,) = self._writer.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise FolderUnusable(
                str(self._path.parent), f"it was written by a newer Streamvis (schema {version}). Update this one."
            )
        if version == 0:
            self._writer.executescript(f"BEGIN; {SCHEMA}; PRAGMA user_version = {SCHEMA_VERSION};")
            self._writer.execute(sql.SET_META, ("id", uuid.uuid4().hex[:12]))
            self._writer.execute("COMMIT")
        for older in range(version, SCHEMA_VERSION) if version else ():
            self._writer.executescript(f"BEGIN; {MIGRATIONS[older]}; PRAGMA user_version = {older + 1}; COMMIT;")

    @property
    def id(self) -> str:
        """Made with the store. Read again each time: a backup that is put back under a running endpoint is another store."""
        with self._reading() as db:
            return db.execute(sql.GET_META, ("id",)).fetchone()[0]

    def close(self) -> None:
        """Close all connections."""
        with self._write_lock:
            self._readers.close()
            self._writer.close()

    def listen(self, listener: Callable[[Changes], None]) -> None:
        """Call `listener` after every commit with what it changed."""
        self._listeners.append(listener)

    def damages(self) -> Sequence[Damage]:
        """The keys that were found to be damaged since the store was opened."""
        return self._damages.found()

    # Writing

    def append(self, batches: Sequence[Batch]) -> list[Ack | StreamvisError]:
        """Store each batch whole or not at all, all of them in one durable commit."""
        damaged = {batch.run: error for batch in batches if (error := self._take_back_ahead(batch)) is not None}
        answers: list[Ack | StreamvisError] = []
        with self._writing() as (db, changes):
            for batch in batches:
                if batch.resumes and batch.run in damaged:
                    answers.append(damaged[batch.run])
                    continue
                db.execute("SAVEPOINT batch")
                try:
                    answers.append(self._append_one(db, batch, changes))
                except StreamvisError as error:
                    db.execute("ROLLBACK TO batch")
                    answers.append(error)
                except sqlite3.Error as error:
                    if not is_damage(error):
                        raise
                    db.execute("ROLLBACK TO batch")
                    answers.append(self._damages.note(str(error), run=batch.run))
                db.execute("RELEASE batch")
            self._unmerged = self._tidier.unmerged(db)
        return answers

    def _take_back_ahead(self, batch: Batch) -> DamagedData | None:
        """Take back in pieces what the batch will, but for a rest: others write in between. Returns why that is not possible."""
        if not batch.resumes:
            return None
        try:
            with self._writing() as (db, _):
                run = find_run(db, batch.run)
                cut = run and begin_cut(db, run, batch, self._sizes)
            while cut is not None and self._go_on_cutting(cut):
                pass
        except DamagedData as error:
            return error
        return None

    def _take_back_more(self) -> bool:
        """Continue what an endpoint that was killed had begun to take back."""
        with self._reading() as db:
            found = db.execute(sql.GET_FIRST_CUT).fetchone()
        if found is not None:
            self._go_on_cutting(found[0])
        return found is not None

    def _go_on_cutting(self, cut: int) -> bool:
        with self._writing() as (db, changes):
            done = go_on_cutting(db, cut, self._sizes)
            if done is not None and done.run is not None:
                save_run(db, done.run)
                changes.runs.add(done.run.id)
        return done is None

    def _append_one(self, db: sqlite3.Connection, batch: Batch, changes: _Changed) -> Ack:
        run = find_run(db, batch.run)
        is_new = run is None
        if is_new:
            if not batch.app or not batch.chunks or not isinstance(batch.chunks[0], Start):
                raise UnknownRun(batch.run)
            run = self._make_run(db, batch, batch.chunks[0])
            changes.apps.add(batch.app)
        elif run.deleted:
            raise DeletedRun(batch.run)
        elif batch.app and batch.app != run.app:
            raise RunConflict(f"The run {run.id!r} is of the app {run.app!r}, not of {batch.app!r}. Choose another run id.")
        known = db.execute(sql.GET_PRODUCER, (run.no, batch.producer)).fetchone() if batch.producer else None
        if known and batch.number <= known[0]:
            refused, warnings = (tuple(json.loads(text)) for text in known[2:4])
            return Ack(known[1], duplicate=True, refused=tuple(_refusal(pair) for pair in refused), warnings=warnings)
        before = (run.state, run.name)
        dropped = max(batch.dropped, known[4] if known else 0)
        run.dropped += dropped - (known[4] if known else 0)
        run.seq += 1
        run.updated = self._clock()
        refused, warnings = apply_batch(db, run, batch, is_new=is_new, sizes=self._sizes)
        save_run(db, run)
        if batch.producer:
            db.execute(
                sql.SAVE_NUMBER,
                (
                    run.no,
                    batch.producer,
                    batch.number,
                    run.seq,
                    json.dumps([[refusal.key, refusal.reason] for refusal in refused]),
                    json.dumps(warnings),
                    dropped,
                ),
            )
        changes.runs.add(run.id)
        if (run.state, run.name) != before:
            db.execute(sql.TOUCH_APP, (run.app_no,))
            changes.apps.add(run.app)
        return Ack(run.seq, refused=tuple(refused), warnings=tuple(warnings))

    def _make_run(self, db: sqlite3.Connection, batch: Batch, start: Start) -> RunRow:
        db.execute(sql.ADD_APP, (batch.app,))
        app_no, lives = db.execute(sql.GET_APP, (batch.app,)).fetchone()
        log = db.execute(sql.ADD_LOG).lastrowid
        live = lives + 1 if batch.live else None
        now = self._clock()
        no = db.execute(sql.ADD_RUN, (batch.run, app_no, start.name, RUNNING, start.time, now, live, log)).lastrowid
        db.execute(sql.ADD_CONFIG, (no, start.config))
        db.execute(sql.COUNT_RUN, (1, app_no))
        db.execute(sql.COUNT_MADE, (app_no,))
        if batch.live:
            db.execute(sql.TAKE_LIVE, (no, app_no))
        return find_run(db, batch.run)

    def describe(self, runs: Sequence[str], description: Description) -> list[RunInfo]:
        """Change what people say of the runs, in one commit."""
        with self._writing() as (db, changes):
            for run in dict.fromkeys(runs):
                with self._changed(db, changes, run) as row:
                    describe_run(db, row, description)
                    db.execute(sql.TOUCH_APP, (row.app_no,))
        with self._reading() as db:
            return [info_of(required_run(db, run)) for run in dict.fromkeys(runs)]

    def finish(self, run: str, state: str) -> RunInfo:
        """Set the run's state, whatever its producers said."""
        with self._changing(run) as (db, row):
            end_run(db, row, state, at=row.updated)
            db.execute(sql.TOUCH_APP, (row.app_no,))
        return self.run(run)

    def clear(self, run: str) -> RunInfo:
        """Take back the run's rows and values."""
        with self._changing(run) as (db, row):
            start_over(db, row)
        return self.run(run)

    def delete(self, *runs: str, restorable_s: float = RESTORABLE_S) -> float:
        """Delete the runs, in one commit; they can be restored for so long."""
        until = self._clock() + restorable_s
        with self._writing() as (db, changes):
            for run in dict.fromkeys(runs):
                with self._changed(db, changes, run) as row:
                    delete_run(db, row, restorable_until=until)
                    row.deleted = 1
        return until

    def restore(self, run: str) -> RunInfo:
        """Take the deletion of a run back."""
        with self._writing() as (db, changes):
            row = find_run(db, run)
            if row is None:
                raise UnknownRun(run)
            if row.deleted:
                restore_run(db, row, now=self._clock())
                changes.runs.add(row.id)
                changes.apps.add(row.app)
        return self.run(run)

    def _bury(self) -> bool:
        """Begin to free what a deleted run holds that can no longer be restored."""
        with self._reading() as db:
            if not is_any_due(db, now=self._clock()):
                return False
        with self._writing() as (db, _):
            return bury_next(db, now=self._clock())

    def tidy(self, *, only_merge: bool = False) -> bool:
        """Do a short piece of housekeeping; True when there may be more to do."""
        self._shorten_log()
        is_more = self._tidier.tidy(only_merge=only_merge)
        with self._reading() as db:
            self._unmerged = self._tidier.unmerged(db)
        return is_more

    @property
    def unmerged(self) -> int:
        """How many small pieces of rows wait to be merged."""
        return self._unmerged

    def _shorten_log(self) -> None:
        """Reset the write-ahead log where it has grown, for which all reads pause: the longer, the longer it is."""
        try:
            size = self._path.with_name(f"{FILE}-wal").stat().st_size
        except OSError:
            return  # the next commit says so
        if size <= _WAL_BYTES or time.monotonic() < self._shorten_at:
            return
        self._shorten_at = time.monotonic() + _SHORTEN_EVERY_S
        with self._readers.paused(min(_MOST_PAUSE_S, _PAUSE_S * size / _WAL_BYTES)) as is_quiet:
            if is_quiet:
                with self._write_lock:
                    try:
                        # Who reads now is another program, such as a backup. It is not waited for.
                        self._writer.execute("PRAGMA busy_timeout = 0")
                        self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                        self._writer.execute(f"PRAGMA busy_timeout = {int(1000 * _BUSY_S)}")
                    except sqlite3.Error as error:
                        raise self._trouble(error) from error

    def _vacuum(self, pages: int) -> None:
        with self._write_lock:
            try:
                # A statement that is stepped once gives one page back; a script runs to its end.
                self._writer.executescript(f"PRAGMA incremental_vacuum({pages})")
            except sqlite3.Error as error:
                raise self._trouble(error) from error

    @contextmanager
    def _writing(self) -> Iterator[tuple[sqlite3.Connection, _Changed]]:
        """One transaction of the writer; the listeners hear of it after the commit."""
        changes = _Changed(set(), set())
        with self._write_lock:
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                try:
                    yield self._writer, changes
                    self._writer.execute("COMMIT")
                    self._check_files()
                finally:
                    if self._writer.in_transaction:
                        self._writer.execute("ROLLBACK")
            except sqlite3.Error as error:
                raise self._trouble(error) from error
        for listener in self._listeners:
            listener(Changes(frozenset(changes.runs), frozenset(changes.apps)))

    def _check_files(self) -> None:
        """Raises StoreUnavailable when what was just written is in no file that anybody will ever find again."""
        for path, known in self._files:
            try:
                found = path.stat()
            except OSError:
                found = None
            if found is None or not os.path.samestat(found, known):
                what = "gone" if found is None else "another one now"
                told = "End the endpoint (not with kill -9) and start it again; producers keep their data."
                raise StoreUnavailable(f"The store's file {path} is {what}. {told}")

    @contextmanager
    def _changing(self, run: str) -> Iterator[tuple[sqlite3.Connection, RunRow]]:
        """A change of one run that did not come with a batch; it takes a place in the run's log too."""
        with self._writing() as (db, changes), self._changed(db, changes, run) as row:
            yield db, row

    @contextmanager
    def _changed(self, db: sqlite3.Connection, changes: _Changed, run: str) -> Iterator[RunRow]:
        row = required_run(db, run)
        row.seq += 1
        row.updated = self._clock()
        yield row
        if not row.deleted:
            save_run(db, row)
        changes.runs.add(row.id)
        changes.apps.add(row.app)

    # Reading

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

    def keys(self, run: str, *, at: int | None = None) -> Mapping[str, KeyInfo]:
        """The run's keys."""
        with self._reading() as db:
            log = required_run(db, run).log
            found = db.execute(sql.GET_KEYS, (log,)) if at is None else db.execute(sql.GET_KEYS_UNTIL, (log, at))
            return {name: KeyInfo(kind, json.loads(columns)) for name, kind, columns in found}

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
                name, kind, columns = db.execute(sql.GET_KEY_BY_NO, (key,)).fetchone()
                keys[name] = KeyInfo(kind, dtypes_of(columns), first_row)
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

    def history(
        self,
        run: str,
        key: str,
        *,
        x: str,
        columns: Sequence[str] | None = None,
        start: float | None = None,
        stop: float | None = None,
        window: float | None = None,
        buckets: int,
        log: bool = False,
        having: Sequence[str] = (),
        smooth: float = 0.0,
        at: int | None = None,
    ) -> History:
        """Rows of one key for a screen. Some at a time: what each of them holds in memory is bounded, and not small."""
        with self._histories, self._reading() as db:
            no, dtypes, _ = self._key(db, run, key, "rows")
            needed = tuple(inner_name(name) for name in having if name in dtypes)
            axis = Axis(axis_name(x, dtypes), start, stop, buckets, log, window, needed)

            def note(broken: Broken) -> None:
                self._named(db, broken)

            names, measured = drawn_names(columns, dtypes)
            levels = levels_of(db, no, self._sizes, at, note=note)
            found = select(levels, axis, names, measured)
            return smoothed(levels, axis, measured, found, smooth) if smooth else found

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
            return read_value(db, no, newest_step if step is None else step)

    def values(
        self, run: str, key: str, *, from_step: int = 0, to_step: int | None = None, limit: int, max_bytes: int
    ) -> list[bytes]:
        """The bodies of values of the steps, evenly spread."""
        with self._reading() as db:
            no, _, _ = self._key(db, run, key, "value")
            return spread_values(db, no, from_step=from_step, to_step=to_step, limit=limit, max_bytes=max_bytes)

    def _key(self, db: sqlite3.Connection, run: str, key: str, kind: str) -> tuple[int, Mapping[str, str], int | None]:
        found = db.execute(sql.GET_KEY, (required_run(db, run).log, key)).fetchone()
        if found is None:
            raise UnknownKey(run, key)
        no, its_kind, columns, newest_step, _ = found
        if its_kind != kind:
            raise RunConflict(f"The key {key!r} holds {'rows' if its_kind == 'rows' else 'a value'}, not {kind}.")
        return no, json.loads(columns), newest_step

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """One snapshot."""
        try:
            with self._readers.snapshot() as db:
                try:
                    yield db
                except Broken as broken:
                    raise self._named(db, broken) from broken
        except sqlite3.Error as error:
            raise self._trouble(error) from error

    def _named(self, db: sqlite3.Connection, broken: Broken) -> DamagedData:
        """The damage, with the names of the run and the key."""
        try:
            run, key = db.execute(sql.GET_KEY_NAMES, (broken.key,)).fetchone() or ("", "")
        except sqlite3.Error:
            run = key = ""
        return self._damages.note(broken.problem, run=run or "", key=key)

    def _trouble(self, error: sqlite3.Error) -> StoreError:
        return self._damages.note(str(error)) if is_damage(error) else _unavailable(error)


@dataclass(frozen=True, slots=True)
class _Changed:
    runs: set[str]
    apps: set[str]


def files_of(folder: Path) -> list[Path]:
    """The files of a store that is in use: the store, what was written last, and the index of that."""
    return [folder / f"{FILE}{ending}" for ending in ("", "-wal", "-shm")]


def _is_before(cursor: Cursor, head: Cursor) -> bool:
    """Whether the cursor is a place in the log that ends at `head`."""
    return cursor.store == head.store and cursor.epoch == head.epoch and cursor.seq <= head.seq


def _refusal(pair: Sequence[str]) -> Refusal:
    return Refusal(*pair)


def _unavailable(error: sqlite3.Error) -> StoreUnavailable:
    full = "full" in str(error)
    what = "The disk of the data folder is full. Make room; producers keep their data and try again." if full else ""
    return StoreUnavailable(what or f"The store cannot be used now: {error}.", full=full)
