"""What a store writes: who may write what, and what counts as newest. Each method in one transaction of `_writing`.

A batch is applied in a savepoint of its own inside the commit that it shares with the others that waited. Whoever changes a run
holds it first, see `database`.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

from streamvis.errors import DamagedData, DeletedRun, RunConflict, StreamvisError, UnknownRun
from streamvis.records import RUNNING, Ack, Batch, Description, Refusal, RunInfo, Start
from streamvis.store import statements as sql
from streamvis.store.applying import apply_batch, end_run, start_over
from streamvis.store.database import Database
from streamvis.store.interface import RESTORABLE_S, Changes
from streamvis.store.reads import Reads
from streamvis.store.removing.background_cuts import begin_cut, go_on_cutting
from streamvis.store.removing.deleting import bury_next, delete_run, is_any_due, restore_run
from streamvis.store.removing.retention import Keeping, KeepValues
from streamvis.store.repairing.damage import is_damage
from streamvis.store.runs.labels import describe_run
from streamvis.store.runs.rows import RunRow, find_run, info_of, required_run, save_run
from streamvis.store.tidying import Tidier
from streamvis.store.views.summaries import Sizes

__all__ = ["Changed", "Writes"]


@dataclass(frozen=True, slots=True)
class Changed:
    """What a transaction has changed so far."""

    runs: set[str] = field(default_factory=set)
    apps: set[str] = field(default_factory=set)


class Writes(Reads):
    """The part of a `Store` that writes. `tidier` tidies, in transactions of `_writing` unless it was given others."""

    _VALUES_ARE_INDEXED = False
    """Whether the values are in the order of their times in an index from the start."""

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        sizes: Sizes,
        error: type[Exception],
        keep_values: KeepValues = KeepValues(),  # noqa: B008
    ) -> None:
        super().__init__(sizes=sizes, error=error)
        self._clock = clock
        self._listeners: list[Callable[[Changes], None]] = []
        self._unmerged = 0
        keeping = Keeping(keep_values, self._reading, self._tidying, clock, is_indexed=self._VALUES_ARE_INDEXED)
        others = [self._take_back_more, self._bury, keeping.go_on, *self._own_work()]
        self._tidier = Tidier(self._reading, self._tidying, others, sizes)

    @abstractmethod
    def _writing(self) -> AbstractContextManager[tuple[Database, Changed]]:
        """One transaction that writes; the listeners hear of it after the commit."""

    @abstractmethod
    def _tidying(self) -> AbstractContextManager[tuple[Database, Changed]]:
        """The same, while no other process tidies the store."""

    def _own_work(self) -> Sequence[Callable[[], bool]]:
        """More that tidying has to do in this database, each a short piece: see `Tidier`."""
        return ()

    def _continue_numbers(self, db: Database) -> None:
        """Have the next rows get numbers above those of rows that came with theirs, as from a copy, where they would not."""

    def listen(self, listener: Callable[[Changes], None]) -> None:
        """Call `listener` after every commit with what it changed."""
        self._listeners.append(listener)

    def _tell(self, changes: Changes | Changed) -> None:
        for listener in self._listeners:
            listener(Changes(frozenset(changes.runs), frozenset(changes.apps)))

    @property
    def commits_at_once(self) -> int:
        """One: a commit holds all runs."""
        return 1

    @property
    def unmerged(self) -> int:
        """How many small pieces of rows wait to be merged."""
        return self._unmerged

    def tidy(self, *, only_merge: bool = False) -> bool:
        """Do a short piece of housekeeping; True when there may be more to do."""
        is_more = self._tidy(only_merge=only_merge)
        # After the commit: behind a pooler whoever holds runs must not wait for a second connection, which others may have that
        # wait for these runs.
        with self._reading() as db:
            self._unmerged = self._tidier.unmerged(db)
        return is_more

    def _tidy(self, *, only_merge: bool) -> bool:
        """Do the piece, and commit it."""
        return self._tidier.tidy(only_merge=only_merge)

    def append(self, batches: Sequence[Batch]) -> list[Ack | StreamvisError]:
        """Store each batch whole or not at all, all of them in one durable commit."""
        damaged = {batch.run: error for batch in batches if (error := self._take_back_ahead(batch)) is not None}
        answers: list[Ack | StreamvisError] = []
        with self._writing() as (db, changes):
            db.hold_batches(batches)
            for at, batch in enumerate(batches):
                if batch.resumes and batch.run in damaged:
                    answers.append(damaged[batch.run])
                    continue
                # Of a name of its own: where errors show late, nothing rolls back to the savepoint of another batch.
                savepoint = f"batch_{at}"
                db.execute(f"SAVEPOINT {savepoint}")
                try:
                    answers.append(self._append_one(db, batch, changes))
                except StreamvisError as error:
                    db.execute(f"ROLLBACK TO {savepoint}")
                    answers.append(error)
                except db.Error as error:
                    if not is_damage(error):
                        raise
                    db.execute(f"ROLLBACK TO {savepoint}")
                    answers.append(self._damages.note(str(error), run=batch.run))
                db.execute(f"RELEASE {savepoint}")
            self._note_unmerged(db)
        return answers

    def _note_unmerged(self, db: Database) -> None:
        self._unmerged = self._tidier.unmerged(db)

    def _take_back_ahead(self, batch: Batch) -> DamagedData | None:
        """Take back in pieces what the batch will, but for a rest: others write in between. Returns why that is not possible."""
        if not batch.resumes:
            return None
        try:
            with self._writing() as (db, _):
                db.hold_runs([batch.run])
                run = find_run(db, batch.run, to_change=True)
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
            self._go_on_cutting(found[0], is_tidying=True)
        return found is not None

    def _go_on_cutting(self, cut: int, *, is_tidying: bool = False) -> bool:
        with self._tidying() if is_tidying else self._writing() as (db, changes):
            done = go_on_cutting(db, cut, self._sizes)
            if done is not None and done.run is not None:
                save_run(db, done.run)
                changes.runs.add(done.run.id)
        return done is None

    def _append_one(self, db: Database, batch: Batch, changes: Changed) -> Ack:
        run = find_run(db, batch.run, to_change=True)
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

    def _make_run(self, db: Database, batch: Batch, start: Start) -> RunRow:
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
        made = find_run(db, batch.run)
        assert made is not None  # it was just added
        return made

    def describe(self, runs: Sequence[str], description: Description) -> list[RunInfo]:
        """Change what people say of the runs, in one commit."""
        with self._writing() as (db, changes):
            db.hold_runs(runs)
            for run in dict.fromkeys(runs):
                with self._changed(db, changes, run) as row:
                    db.execute(sql.TOUCH_APP, (row.app_no,))
                    describe_run(db, row, description)
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
            db.hold_runs(runs)
            for run in dict.fromkeys(runs):
                with self._changed(db, changes, run) as row:
                    delete_run(db, row, restorable_until=until)
                    row.deleted = 1
        return until

    def restore(self, run: str) -> RunInfo:
        """Take the deletion of a run back."""
        with self._writing() as (db, changes):
            db.hold_runs([run])
            row = find_run(db, run, to_change=True)
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
        with self._tidying() as (db, _):
            return bury_next(db, now=self._clock())

    @contextmanager
    def _changing(self, run: str) -> Iterator[tuple[Database, RunRow]]:
        """A change of one run that did not come with a batch; it takes a place in the run's log too."""
        with self._writing() as (db, changes):
            db.hold_runs([run])
            with self._changed(db, changes, run) as row:
                yield db, row

    @contextmanager
    def _changed(self, db: Database, changes: Changed, run: str) -> Iterator[RunRow]:
        row = required_run(db, run, to_change=True)
        row.seq += 1
        row.updated = self._clock()
        yield row
        if not row.deleted:
            save_run(db, row)
        changes.runs.add(row.id)
        changes.apps.add(row.app)


def _refusal(pair: Sequence[str]) -> Refusal:
    return Refusal(*pair)
