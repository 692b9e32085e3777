"""A PostgreSQL store that grows to very many rows and runs: `python benchmarks/growth.py --rows 100000000 --runs 10000`.

Without options it is a small one, for everyday use. Batches come through the endpoint's own writer, which commits those that wait
together and tidies meanwhile; HTTP is left out. A tenth of the rows is of one long run; the rest is of runs that begin, send
their batches, a table and a picture at the end, and finish, thirty at a time.

A line now and then says how fast it goes. At each fifth it waits for a moment, and prints how long it takes to open the newest
run, to list runs, and so on: with what is stored these times should not grow. The last lines say what was found: no statement
reads through a table that grows, by PostgreSQL's plans and by its own count, vacuum keeps up, and all rows are there. The exit
status is 1 where one of these does not hold. `--folder` says where the files are meanwhile: some 60 bytes a row.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from installation import DISK, processor_s, told_setting
from stores import rows

from streamvis.endpoint.writer import Writer
from streamvis.errors import StreamvisError
from streamvis.records import Batch, Finish, HistoryQuery, RowsChunk, Start, ValueChunk
from streamvis.store import Store
from streamvis.store.postgresql.store import PostgresStore
from streamvis.wire.arrow import encode_rows, encode_value
from support.plans import scanned
from support.postgresql import PostgresServer, open_store

AT_ONCE = 30
LONG_BATCHES = 4
"""So much longer are the batches of the long run."""
APPS = 10
STEPS = 5
LOOKS = 5
TOLD_EVERY_S = 10.0
SETTLED_S = 600.0
"""For so long autovacuum, which looks once a minute, may take for what is left at the end."""
SMALL_ROWS = 2000
GROWING = (
    "runs",
    "producers",
    "keys",
    "chunks",
    "summaries",
    "digests",
    "key_values",
    "logs",
    "configs",
    "attempts",
    "stretches",
)


@functools.cache
def rows_from(first: int, count: int) -> RowsChunk:
    """The rows of a batch of a short run: those of all are alike."""
    return rows(first, count)


@functools.cache
def last_chunks() -> tuple[RowsChunk, ValueChunk]:
    """What a run sends at its end: how the validation went, and a picture."""
    steps = np.arange(20)
    picture = np.random.default_rng(1).integers(0, 255, (64, 64), dtype=np.uint8)
    return encode_rows("eval", steps, steps / 10, {"accuracy": steps / 20}), encode_value("sample", 20, 2.0, {"image": [picture]})


@dataclass
class Growth:
    """What is stored so far, and the gate at which producers wait while someone looks."""

    store: PostgresStore
    batch_rows: int
    done: int = 0
    commits_s: list[float] = field(default_factory=list)
    under_way: int = 0
    long_rows: int = 0
    newest: str = "long"
    is_late: bool = False
    scans: dict[str, int] = field(default_factory=dict)
    """How often each table had been read through when half was stored."""
    open: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.writer = Writer(self.store)
        self.open.set()

    async def send(self, batch: Batch) -> None:
        """Store a batch, as soon as no one looks."""
        await self.open.wait()
        began = time.perf_counter()
        self.under_way += 1
        await self.writer.append(batch)
        self.under_way -= 1
        self.commits_s.append(time.perf_counter() - began)
        self.done += sum(chunk.count for chunk in batch.chunks if isinstance(chunk, RowsChunk))

    async def short_run(self, number: int, count: int) -> None:
        """A run from its start to its end."""
        run, app = f"run {number}", f"app {number % APPS}"
        await self.send(Batch(run, app, "p", 0, [Start('{"lr": 0.001}', float(number))]))
        firsts = range(0, count, self.batch_rows)
        for number, first in enumerate(firsts, 1):
            await self.send(Batch(run, app, "p", number, [rows_from(first, min(self.batch_rows, count - first))]))
        await self.send(Batch(run, app, "p", len(firsts) + 1, [*last_chunks(), Finish("finished", 1.0)]))
        self.newest = run

    async def long_run(self, share: Callable[[], float], count: int) -> None:
        """A run that keeps pace with the others: `share` of them is done."""
        await self.send(Batch("long", "app 0", "p", 0, [Start("{}", 0.0)]))
        number = 0
        while (left := count - self.long_rows) > 0 and not self.is_late:
            await self.open.wait()
            size = min(left, LONG_BATCHES * self.batch_rows, int(count * share() - self.long_rows))
            if size < min(left, self.batch_rows):
                await asyncio.sleep(0.01)
                continue
            number += 1
            chunk = rows(self.long_rows, size)
            self.long_rows += size
            await self.send(Batch("long", "app 0", "p", number, [chunk]))

    async def fill(self, row_count: int, run_count: int) -> None:
        """Store all."""
        long = row_count // 10
        each = (row_count - long) // (run_count - 1)
        numbers = iter(range(1, run_count))
        ended = 0

        async def follow() -> None:
            nonlocal ended
            for number in numbers:
                if self.is_late:
                    return
                await self.short_run(number, each)
                ended += 1

        def share() -> float:
            return min(1.0, (ended + AT_ONCE) / (run_count - 1))

        await asyncio.gather(self.long_run(share, long), *(follow() for _ in range(AT_ONCE - 1)))


def median_ms(call: Callable[[], object]) -> float:
    """How long it takes, after once."""
    call()
    took = []
    for _ in range(LOOKS):
        began = time.perf_counter()
        call()
        took.append(1000 * (time.perf_counter() - began))
    return statistics.median(took)


def looks(growth: Growth) -> str:
    """How long what people and producers do takes."""
    store, run = growth.store, growth.newest
    app, last = store.run(run).app, store.run("long").last_step or 0
    asked = {"x": "step", "columns": ["loss"], "buckets": 1000}

    def open_newest() -> None:
        newest = store.newest(app)
        store.config(newest.id)
        for key, info in store.keys(newest.id).items():
            if info.kind == "rows":
                store.history(newest.id, key, HistoryQuery(x="step", buckets=1000))
            else:
                store.value(newest.id, key)

    def step_late() -> None:
        before = store.run("long").cursor
        store.append([Batch("long", "app 0", "late", growth.long_rows, [rows(growth.long_rows, 1)])])
        growth.long_rows += 1
        growth.done += 1
        assert len(store.tail("long", before).bodies) == 1

    took = {
        "newest run opened": median_ms(open_newest),
        "100 of the list": median_ms(lambda: (store.app_head(app), store.runs(app, limit=100))),
        "a run's tail": median_ms(lambda: store.tail(run, None)),
        "a step of the long run stored and read": median_ms(step_late),
        "all of the long run": median_ms(lambda: store.history("long", "train", HistoryQuery(**asked))),
        "a thousandth": median_ms(
            lambda: store.history("long", "train", HistoryQuery(**asked, start=last * 0.5, stop=last * 0.501))
        ),
    }
    return ", ".join(f"{what} {ms:.1f} ms" for what, ms in took.items())


@dataclass(frozen=True)
class Table:
    """What PostgreSQL knows of a table, with its bodies, which stand in a table of their own."""

    name: str
    live: int
    dead: int
    bodies: int
    dead_bodies: int
    vacuums: int
    heap_bytes: int
    index_bytes: int
    scans: int
    most_dead: float
    """From so many dead rows on autovacuum begins."""

    def told(self) -> str:
        """A line."""
        bodies = f", pieces of bodies {self.bodies:,} ({self.dead_bodies:,} dead)" if self.bodies else ""
        sizes = f"{self.heap_bytes / 2**20:,.0f} MiB and {self.index_bytes / 2**20:,.0f} MiB of indexes"
        return f"{self.name}: {self.live:,} rows ({self.dead:,} dead){bodies}, {self.vacuums} vacuums, {sizes}"


_TABLES = """
SELECT one.relname, one.n_live_tup, one.n_dead_tup, coalesce(body.n_live_tup, 0), coalesce(body.n_dead_tup, 0),
    one.autovacuum_count + coalesce(body.autovacuum_count, 0), pg_table_size(one.relid), pg_indexes_size(one.relid), one.seq_scan,
    coalesce(substring(array_to_string(reloptions, ' ') FROM 'vacuum_threshold=([0-9.]+)')::float8, 50)
        + coalesce(substring(array_to_string(reloptions, ' ') FROM 'vacuum_scale_factor=([0-9.]+)')::float8, 0.2)
        * greatest(one.n_live_tup, coalesce(body.n_live_tup, 0))
FROM pg_stat_user_tables AS one JOIN pg_class ON pg_class.oid = relid
LEFT JOIN pg_stat_all_tables AS body ON body.relid = reltoastrelid WHERE one.relname = ANY(%s) ORDER BY one.relname
"""


def tables(server: PostgresServer) -> list[Table]:
    """All that grow."""
    return [Table(*row) for row in server.execute(_TABLES, list(GROWING))]


def size_told(server: PostgresServer) -> str:
    """What the database takes of the disk."""
    ((data, log),) = server.execute("SELECT pg_database_size('postgres'), (SELECT sum(size) FROM pg_ls_waldir())::bigint")
    return f"database {data / 2**20:,.0f} MiB, its log {log / 2**20:,.0f} MiB"


async def grow(server: PostgresServer, growth: Growth, options: argparse.Namespace) -> None:
    """Store all, tell how fast, and look at each part."""
    tidying = asyncio.create_task(growth.writer.keep_tidy())
    filling = asyncio.create_task(growth.fill(options.rows, options.runs))
    began = told_at = time.monotonic()
    own, database = psutil.Process(), psutil.Process(server.pid)
    before, part, paused_s = growth.done, 0, 0.0
    used = (sum(own.cpu_times()[:2]), processor_s(database))
    while not filling.done():
        await asyncio.wait([filling], timeout=0.2)
        now = time.monotonic()
        growth.is_late = now - began > 60 * options.minutes
        if now - told_at >= TOLD_EVERY_S or filling.done():
            spent = (sum(own.cpu_times()[:2]), processor_s(database))
            shares = [(b - a) / (now - told_at) for a, b in zip(used, spent, strict=True)]
            commits_ms = [1000 * one for one in growth.commits_s] or [0.0]
            growth.commits_s.clear()
            median, late = np.percentile(commits_ms, [50, 99])
            print(
                f"{now - began:.0f} s: {growth.done:,} rows, {(growth.done - before) / (now - told_at):,.0f} rows/s,",
                f"a batch {median:.0f} ms (p99 {late:.0f}), {growth.store.unmerged:,} unmerged,",
                f"cores {shares[0]:.2f} here and {shares[1]:.2f} in the database",
                flush=True,
            )
            told_at, before, used = now, growth.done, spent
        if int(growth.done * STEPS / options.rows) > part and not filling.done():
            part = int(growth.done * STEPS / options.rows)
            growth.open.clear()
            while growth.under_way:
                await asyncio.sleep(0.01)
            print(f"  {size_told(server)}; {await asyncio.to_thread(looks, growth)}", flush=True)
            growth.open.set()
            if part <= STEPS // 2:
                growth.scans = {one.name: one.scans for one in tables(server)}
            paused_s += time.monotonic() - now
    await filling
    wrote_s = time.monotonic() - began - paused_s
    tidying.cancel()
    with suppress(asyncio.CancelledError):
        await tidying
    print(f"{growth.done:,} rows of {options.runs:,} runs in {wrote_s:.0f} s: {growth.done / wrote_s:,.0f} rows/s")


def settle(server: PostgresServer, store: Store) -> None:
    """Merge what is left, and wait until autovacuum has caught up."""
    began = time.monotonic()
    while store.tidy():
        pass
    print(f"all merged {time.monotonic() - began:.0f} s later")
    began = time.monotonic()
    while time.monotonic() - began < SETTLED_S and behind(server):
        time.sleep(1)
    print(f"vacuum caught up in {time.monotonic() - began:.0f} s")


def behind(server: PostgresServer) -> list[str]:
    """Tables of which autovacuum has more to do than it leaves."""
    return [one.name for one in tables(server) if max(one.dead, one.dead_bodies) > one.most_dead]


def found(server: PostgresServer, growth: Growth) -> bool:
    """Check what should hold, and print it."""
    its = tables(server)
    print("\n".join(one.told() for one in its))
    print(size_told(server))
    # PostgreSQL reads through a table of a few pages, since that is cheaper.
    small = {one.name for one in its if one.live < SMALL_ROWS}
    read = {
        one.name: one.scans - growth.scans[one.name]
        for one in its
        if one.scans > growth.scans[one.name] and one.name not in small
    }
    by_plan = scanned(growth.store, but=small)
    ((stored, chunks),) = server.execute("SELECT sum(count)::bigint, count(*) FROM streamvis.chunks")
    late = behind(server)
    checks = {
        "no statement reads through a table that grows, by its plan": not by_plan,
        "nor did one in the last half": not read,
        "vacuum keeps up": not late,
        f"all rows are there, in {chunks:,} chunks": stored == growth.done,
    }
    for what, holds in checks.items():
        print(f"{what}: {'yes' if holds else 'NO'}")
    for what in (by_plan, read, late, stored - growth.done):
        print(f"  {what}") if what else None
    return all(checks.values())


def run(server: PostgresServer, store: PostgresStore, options: argparse.Namespace) -> bool:
    """All of it; whether all holds that should."""
    growth = Growth(store, options.batch_rows)
    asyncio.run(grow(server, growth, options))
    settle(server, store)
    print(looks(growth))
    is_good = found(server, growth)
    print(f"{told_setting()}; {'passed' if is_good else 'FAILED'}")
    return is_good


def main() -> int:
    """Grow, check, and print; 0 where all holds."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rows", type=int, default=10**6)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--batch-rows", type=int, default=500, help="of a batch of a short run")
    parser.add_argument("--minutes", type=float, default=40, help="stop after so many")
    parser.add_argument("--folder", type=Path, help="where the database's files are, and its log stays")
    options = parser.parse_args()
    if options.folder:
        options.folder.mkdir(parents=True, exist_ok=True)
        tempfile.tempdir = str(options.folder)
    server = PostgresServer(on_disk=True, **DISK)
    try:
        with closing(open_store(server.address)) as store:
            return 0 if run(server, store, options) else 1
    except StreamvisError:
        print(f"the database's log ends with:\n{(server.folder / 'log').read_text()[-3000:]}", file=sys.stderr)
        raise
    finally:
        if options.folder:
            shutil.copy(server.folder / "log", options.folder / "postgresql.log")
        server.remove()


if __name__ == "__main__":
    sys.exit(main())
