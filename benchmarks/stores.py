"""What the two stores take and give, side by side on one machine: `python benchmarks/stores.py`.

Both wait for the disk at each commit. Batches come through the endpoint's own writer, which commits those that wait together;
HTTP is left out. PostgreSQL is Debian's, with a server of its own in a temporary folder.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from installation import DISK, processor_s, told_setting

from streamvis.endpoint.writer import Writer
from streamvis.records import Ack, Batch, HistoryQuery, Start
from streamvis.store import SqliteStore, Store
from streamvis.wire.arrow import encode_rows
from support.postgresql import PostgresServer, open_store

ROWS_A_BATCH = 100
VIEW_ROWS_AT_ONCE = 100_000
ROUNDS = 3


def rows(first: int, count: int):
    """Rows as a training loop sends them: a step and three numbers."""
    x = np.arange(first, first + count)
    return encode_rows("train", x, x / 10, {"loss": np.sin(x / 100), "accuracy": np.cos(x / 50), "lr": x * 1e-6})


async def send(store: Store, run: str, producers: int, batches: int) -> float:
    """Acknowledged rows a second, by so many producers of which each waits for the answer to its last batch."""
    writer = Writer(store, most_unmerged=10**9)

    async def produce(i: int) -> None:
        await writer.append(Batch(f"{run}-{i}", "app", "p", 0, [Start("{}", 1.0)]))
        for number in range(1, batches + 1):
            chunk = rows(number * ROWS_A_BATCH, ROWS_A_BATCH)
            assert isinstance(await writer.append(Batch(f"{run}-{i}", "app", "p", number, [chunk])), Ack)

    began = time.perf_counter()
    await asyncio.gather(*(produce(i) for i in range(producers)))
    return producers * batches * ROWS_A_BATCH / (time.perf_counter() - began)


def views(store: Store, count: int) -> tuple[float, float]:
    """Seconds for all of a run of so many rows, and for a thousandth of it: medians."""
    store.append([Batch("long", "app", "p", 0, [Start("{}", 1.0)])])
    for number, first in enumerate(range(0, count, VIEW_ROWS_AT_ONCE), 1):
        store.append([Batch("long", "app", "p", number, [rows(first, VIEW_ROWS_AT_ONCE)])])
        while store.tidy():
            pass

    def look(**span: float) -> float:
        took = []
        for _ in range(7):
            began = time.perf_counter()
            store.history("long", "train", HistoryQuery(x="step", columns=["loss"], buckets=1000, **span))
            took.append(time.perf_counter() - began)
        return statistics.median(took)

    return look(), look(start=count / 2, stop=count / 2 + count / 1000)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--view-rows", type=int, default=10**6)
    parser.add_argument("--batches", type=int, default=200, help="of each producer")
    options = parser.parse_args()
    server = PostgresServer(on_disk=True, **DISK)
    database = psutil.Process(server.pid)
    try:
        with tempfile.TemporaryDirectory() as folder:
            kinds: dict[str, Callable[[], Store]] = {
                "SQLite": lambda: SqliteStore(Path(folder)),
                "PostgreSQL": lambda: open_store(server.address),
            }
            for producers in (1, 30):
                found: dict[str, list[float]] = {kind: [] for kind in kinds}
                used_us: dict[str, list[float]] = {who: [] for who in (*kinds, "the database")}
                for turn in range(ROUNDS):
                    for kind, opened in kinds.items():
                        with closing(opened()) as store:
                            batches = options.batches // (1 if producers == 1 else 5)
                            before = time.process_time(), processor_s(database)
                            found[kind].append(asyncio.run(send(store, f"{producers}-{turn}", producers, batches)))
                            after = time.process_time(), processor_s(database)
                            its, in_database = (1e6 * (b - a) / (producers * batches) for a, b in zip(before, after, strict=True))
                            used_us[kind].append(its)
                            used_us["the database"] += [in_database] if kind == "PostgreSQL" else []
                one, other = (statistics.median(rates) for rates in found.values())
                told = f"{one:,.0f} rows/s, {other:,.0f} rows/s: {other / one:.2f} times"
                print(f"{producers} producers, {ROWS_A_BATCH} rows a batch: {told}")
                shares = (f"{who} {statistics.median(its):,.0f}" for who, its in used_us.items())
                print(f"  µs of the processor for a batch, what a producer does included: {', '.join(shares)}", flush=True)
            seen = {}
            for kind, opened in kinds.items():
                with closing(opened()) as store:
                    seen[kind] = views(store, options.view_rows)
            for i, what in enumerate(("all", "a thousandth")):
                one, other = (its[i] * 1000 for its in seen.values())
                told = f"{one:.1f} ms, {other:.1f} ms: {other / one:.2f} times"
                print(f"view of {options.view_rows:,} rows, {what}: {told}", flush=True)
    finally:
        server.remove()
    print(f"SQLite first; {told_setting()}")


if __name__ == "__main__":
    main()
