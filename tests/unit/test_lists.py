"""What lists of runs read: as many rows as they show, and no config."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter

import pytest

from streamvis.records import Batch, Start
from streamvis.store import SqliteStore
from streamvis.wire.arrow import encode_rows


class Watched(SqliteStore):
    """A store that counts the steps of SQLite's machine, and notes which columns its statements read."""

    def __init__(self, folder):
        self.steps, self.read = 0, Counter()
        super().__init__(folder)

    def _connect(self):
        connection = super()._connect()
        connection.set_progress_handler(self._step, 1)
        connection.set_authorizer(self._note)
        return connection

    def _step(self):
        self.steps += 1

    def _note(self, action, table, column, *_):
        if action == sqlite3.SQLITE_READ:
            self.read[table, column] += 1
        return sqlite3.SQLITE_OK

    def steps_of(self, work):
        work()  # what is prepared and cached once is not counted
        before = self.steps
        work()
        return self.steps - before


@pytest.fixture
def store(tmp_path):
    made = Watched(tmp_path)
    yield made
    made.close()


def add_runs(store, first, last, *, app="app", config="{}"):
    batches = [Batch(f"{app}-{i}", app, "p", 0, [Start(config, float(i % 7), f"run {i}")]) for i in range(first, last)]
    store.append(batches)


def test_a_list_costs_what_it_shows_however_many_runs_there_are(store):
    add_runs(store, 0, 40)
    add_runs(store, 0, 40, app="other")
    few = store.steps_of(lambda: store.runs("app", limit=25))
    add_runs(store, 40, 700)
    add_runs(store, 40, 700, app="other")
    assert store.steps_of(lambda: store.runs("app", limit=25)) <= few + 25
    assert store.steps_of(lambda: store.app_head("app")) <= store.steps_of(lambda: store.app_head("nobody's")) + 25


def test_a_list_begins_with_the_newest_run_and_goes_on_by_when_they_were_created(store):
    add_runs(store, 0, 9)
    store.append([Batch("late", "app", "p", 0, [Start("{}", 99.0)], live=False)])
    listed = [run.id for run in store.runs("app", limit=100)]
    assert listed == ["app-8", "late", "app-6", "app-5", "app-4", "app-3", "app-2", "app-1", "app-7", "app-0"]
    assert [run.id for run in store.runs("app", limit=3)] == listed[:3]
    assert [run.id for run in store.runs("app", limit=1)] == listed[:1] == [store.app_head("app").newest]
    store.delete("app-8")
    assert [run.id for run in store.runs("app", limit=2)] == ["app-7", "late"]
    assert store.runs("nobody's", limit=5) == [] and store.app_head("nobody's").newest is None


def test_only_who_asks_for_a_config_reads_it(store):
    config = json.dumps({"text": "x" * 200_000})
    add_runs(store, 0, 3, config=config)
    store.read.clear()
    rows = encode_rows("k", [0], [0.0], {"x": [1]})
    store.append([Batch("app-1", "app", "p", 1, [rows])])
    store.finish("app-1", "finished")
    store.runs("app", limit=10)
    store.run("app-1")
    store.newest("app")
    store.tail("app-1", None)
    assert store.read and not [place for place in store.read if "config" in place]
    assert store.config("app-1") == config
    assert store.append([Batch("app-1", "app", "q", 1, [Start('{"other": 1}', 2.0)])])[0].warnings
    store.delete("app-1", restorable_s=0)
    while store.tidy():
        pass
    assert store._writer.execute("SELECT count(*) FROM configs").fetchone() == (2,)
