"""A PostgreSQL store that grows to very many rows and runs: `python benchmarks/growth.py --rows 10000000 --runs 1000`.

A tenth of the rows is of one long run, the rest is of many. Each commit has a batch of thirty runs, and the store is tidied
meanwhile, as by an endpoint. At each tenth it prints what is there, what waits to be merged, what vacuum has left to do, and how
long views take. It needs some 60 bytes of disk a row: `--folder` says where.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from installation import DISK, processor_s, told_setting
from stores import rows

from streamvis.records import Ack, Batch, Finish, HistoryQuery, Start
from streamvis.store import Store
from support.postgresql import PostgresServer, open_store

ROWS_A_BATCH = 1000
AT_ONCE = 30
"""So many runs grow at a time: a commit has a batch of each."""
STEPS = 10
LOOKS = 5
GROWING = ("runs", "producers", "keys", "chunks", "summaries", "digests")


def batches(rows_in_all: int, runs: int) -> Iterator[list[Batch]]:
    """The batches of each commit: the long run's all along, beside those of runs that begin and end."""
    long = rows_in_all // 10
    each = max(ROWS_A_BATCH, (rows_in_all - long) // (runs - 1))
    commits = (runs - 1) // (AT_ONCE - 1) * (each // ROWS_A_BATCH)
    long_a_commit = max(ROWS_A_BATCH, long // max(1, commits))
    yield [Batch("long", "app", "p", 0, [Start("{}", 0.0)])]
    number, first = 0, 1
    while first < runs:
        group = [f"run {i}" for i in range(first, min(first + AT_ONCE - 1, runs))]
        first += len(group)
        yield [Batch(run, "app", "p", 0, [Start("{}", float(first))]) for run in group]
        for part in range(each // ROWS_A_BATCH):
            number += 1
            chunk = rows(part * ROWS_A_BATCH, ROWS_A_BATCH)
            grown = Batch("long", "app", "p", number, [rows((number - 1) * long_a_commit, long_a_commit)])
            yield [grown, *(Batch(run, "app", "p", part + 1, [chunk]) for run in group)]
        yield [Batch(run, "app", "p", each // ROWS_A_BATCH + 1, [Finish("finished", 1.0)]) for run in group]


def row_count(group: list[Batch]) -> int:
    """How many rows are in these batches."""
    return sum(chunk.count for batch in group for chunk in batch.chunks if hasattr(chunk, "count"))


class Tidying:
    """Tidies for half of the time, as an endpoint does, from another thread."""

    def __init__(self, store: Store) -> None:
        self._store, self._is_over = store, threading.Event()
        self._thread = threading.Thread(target=self._tidy)
        self._thread.start()

    def _tidy(self) -> None:
        while not self._is_over.is_set():
            began = time.monotonic()
            self._is_over.wait(time.monotonic() - began if self._store.tidy() else 1.0)

    def close(self) -> None:
        """Stop, and do what is left."""
        self._is_over.set()
        self._thread.join()
        while self._store.tidy():
            pass


def median_ms(call: Callable[[], object]) -> float:
    """How long it takes, after once."""
    call()
    took = []
    for _ in range(LOOKS):
        began = time.perf_counter()
        call()
        took.append(1000 * (time.perf_counter() - began))
    return statistics.median(took)


def views(store: Store, run: str) -> str:
    """How long it takes to see all of the long run, a thousandth of it, a short run, and the first of the list of runs."""
    last = store.run("long").last_step or 0
    asked = {"x": "step", "columns": ["loss"], "buckets": 1000}
    whole = median_ms(lambda: store.history("long", "train", HistoryQuery(**asked)))
    part = median_ms(lambda: store.history("long", "train", HistoryQuery(**asked, start=last * 0.5, stop=last * 0.501)))
    short = median_ms(lambda: store.history(run, "train", HistoryQuery(**asked)))
    listed = median_ms(lambda: store.runs("app", limit=100))
    return f"long run {whole:.0f} ms, a thousandth {part:.1f} ms, a run {short:.1f} ms, list {listed:.1f} ms"


def state(server: PostgresServer) -> str:
    """What vacuum has left, and how large the tables are with their indexes."""
    asked = """
        SELECT relname, n_live_tup, n_dead_tup, autovacuum_count, pg_total_relation_size(relid) FROM pg_stat_user_tables
        WHERE relname = ANY(%s) ORDER BY relname
    """
    found = server.execute(asked, list(GROWING))
    lines = []
    for name, live, dead, vacuums, size in found:
        lines.append(f"{name} {live:,} rows, {dead:,} dead, {vacuums} vacuums, {size / 2**20:,.0f} MiB")
    ((whole,),) = server.execute("SELECT pg_database_size('postgres')")
    return "\n".join(["  " + line for line in lines] + [f"  database {whole / 2**20:,.0f} MiB"])


def grow(server: PostgresServer, store: Store, options: argparse.Namespace) -> None:
    """Store all, and print what it takes."""
    tidying = Tidying(store)
    done = at = 0
    began, last, before_s = time.monotonic(), time.monotonic(), processor_s(psutil.Process(server.pid))
    newest = "long"
    for group in batches(options.rows, options.runs):
        assert all(isinstance(answer, Ack) for answer in store.append(group))
        done, newest = done + row_count(group), group[-1].run
        while store.unmerged > options.most_unmerged and store.tidy(only_merge=True):
            pass
        is_late = time.monotonic() - began > options.minutes * 60
        if done >= options.rows * (at + 1) / STEPS or is_late:
            at = int(done * STEPS / options.rows)
            now, used_s = time.monotonic(), processor_s(psutil.Process(server.pid))
            share = (used_s - before_s) / (now - last)
            print(
                f"{done:,} rows, {(now - began):.0f} s, {store.unmerged:,} unmerged, database {share:.2f} of a core", flush=True
            )
            print(f"{state(server)}\n  {views(store, newest)}", flush=True)
            last, before_s = time.monotonic(), processor_s(psutil.Process(server.pid))
        if is_late:
            print("out of time")
            break
    written = time.monotonic()
    tidying.close()
    print(f"{done:,} rows in {written - began:.0f} s: {done / (written - began):,.0f} rows/s;", end=" ")
    print(f"all merged {time.monotonic() - written:.0f} s later")
    server.execute("SELECT pg_sleep(70)") if options.settle else None
    print(f"{state(server)}\n  {views(store, newest)}\n{told_setting()}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rows", type=int, default=10**7)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=60, help="stop after so many")
    parser.add_argument("--most-unmerged", type=int, default=50_000, help="wait for merging beyond so many chunks")
    parser.add_argument("--settle", action="store_true", help="look again after autovacuum had its turn")
    parser.add_argument("--folder", type=Path, help="keep the data folder there")
    options = parser.parse_args()
    if options.folder:
        options.folder.mkdir(parents=True, exist_ok=True)
        tempfile.tempdir = str(options.folder)
    server = PostgresServer(on_disk=True, **DISK)
    try:
        with closing(open_store(server.address)) as store:
            grow(server, store, options)
    finally:
        server.remove()


if __name__ == "__main__":
    main()
