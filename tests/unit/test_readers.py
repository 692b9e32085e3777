"""Connections to a SQLite file: few stay open however many threads came and went. Its log stays short however many read."""

from __future__ import annotations

import os
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from streamvis.records import Batch, Start
from streamvis.store import SqliteStore, sqlite
from streamvis.store.readers import KEPT
from streamvis.wire.arrow import encode_rows
from support.conditions import wait_until


@pytest.fixture
def store(tmp_path):
    made = SqliteStore(tmp_path)
    made.append([Batch("run", "app", "p", 0, [Start("{}", 0.0)])])
    yield made
    made.close()


def burst(store, threads):
    """So many threads that are new, read all at one time, and end."""
    together = threading.Barrier(threads)

    def read():
        with store._reading() as db:
            together.wait(timeout=30)
            db.execute("SELECT count(*) FROM runs").fetchone()

    readers = [threading.Thread(target=read) for _ in range(threads)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()


def open_files(folder):
    """How many descriptors of the store's files this process has."""
    opened = [os.path.realpath(path) for path in Path("/proc/self/fd").iterdir() if path.exists()]
    return sum(path.startswith(str(folder.resolve())) for path in opened)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors are counted in /proc")
def test_bursts_of_new_threads_leave_no_connection_and_no_descriptor_behind(tmp_path, store):
    connections, made = [], store._connect
    store._readers._connect = lambda: connections.append(made()) or connections[-1]
    burst(store, 30)
    after_one = open_files(tmp_path)
    for _ in range(3):
        burst(store, 30)

    def is_open(connection):
        try:
            assert connection.total_changes >= 0
        except sqlite3.ProgrammingError:
            return False
        return True

    assert sum(map(is_open, connections)) <= KEPT
    assert open_files(tmp_path) == after_one


def test_reads_that_overlap_without_end_do_not_make_the_log_grow_without_end(tmp_path, store, monkeypatch):
    monkeypatch.setattr(sqlite, "_WAL_BYTES", 2**20)
    monkeypatch.setattr(sqlite, "_SHORTEN_EVERY_S", 0.0)
    ended = threading.Event()
    begun = [threading.Event() for _ in range(3)]

    def keep_reading(i):
        """Begin the next read while the others are under way."""
        while not ended.is_set():
            with store._reading() as db:
                db.execute("SELECT count(*) FROM chunks").fetchone()
                begun[i].set()
                begun[(i + 1) % 3].clear()
                begun[(i + 1) % 3].wait(timeout=0.2)

    wal = tmp_path / "streamvis.sqlite-wal"
    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(keep_reading, i) for i in range(3)]
        sizes = []
        for number in range(1, 60):
            rows = encode_rows("k", np.arange(1000), np.zeros(1000), {"x": np.random.default_rng(number).normal(size=(1000, 20))})
            store.append([Batch("run", "app", "p", number, [rows])])
            store.tidy()
            sizes.append(wal.stat().st_size)
        ended.set()
        assert not [reader.exception() for reader in readers if reader.exception()]
    assert 59 * 160_000 > 8 * 2**20 and max(sizes) < 4 * 2**20, max(sizes)


def test_readers_go_on_while_another_program_keeps_the_log_from_beginning_anew(tmp_path, store, monkeypatch):
    monkeypatch.setattr(sqlite, "_WAL_BYTES", 2**16)
    monkeypatch.setattr(sqlite, "_SHORTEN_EVERY_S", 0.0)
    other = sqlite3.connect(tmp_path / "streamvis.sqlite", isolation_level=None)
    other.execute("BEGIN")
    other.execute("SELECT count(*) FROM runs").fetchone()
    rows = encode_rows("k", np.arange(1000), np.zeros(1000), {"x": np.random.default_rng(1).normal(size=(1000, 20))})
    for number in range(1, 5):
        store.append([Batch("run", "app", "p", number, [rows])])
        store.tidy()
    assert len(store.rows("run", "k").bodies) == 4
    other.close()
    wal = tmp_path / "streamvis.sqlite-wal"

    def is_short():
        store.tidy()
        return wal.stat().st_size < 2**16

    wait_until(is_short)
