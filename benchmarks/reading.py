"""What reading costs a store beside the time that it takes: memory for histories, and how long the write-ahead log grows.

    python benchmarks/reading.py --rows 3000000 --seconds 60

Two keys of one run have the same rows; of one x rises, of the other it is random. Each history is asked for in a process of its
own, once and four times at a time: all of the axis, a tenth of it, and a tenth on a logarithmic scale. What is printed is by how
much the most memory that the process ever took rose. Then rows are written for some time while reads overlap all the time.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from streamvis.records import Batch, HistoryQuery, Start
from streamvis.store import SqliteStore
from streamvis.wire.arrow import encode_rows

BATCH_ROWS = 20_000
BUCKETS = 2000
READERS = 4
VIEWS = {
    "all": {},
    "a tenth": {"start": 0.45, "stop": 0.55},
    "a tenth, logarithmic": {"start": 0.45, "stop": 0.55, "log": True},
}
MIB = 2**20


def fill(folder: Path, rows: int) -> None:
    """The two keys, tidied."""
    store, random = SqliteStore(folder), np.random.default_rng(0)
    store.append([Batch("run", "app", "p", 0, [Start("{}", 0.0)])])
    for number, first in enumerate(range(0, rows, BATCH_ROWS), 1):
        steps = np.arange(first, first + BATCH_ROWS)
        columns = {"y": random.normal(size=BATCH_ROWS), "z": random.normal(size=BATCH_ROWS)}
        chunks = [
            encode_rows("rises", steps, steps / 1000, {"x": steps / rows, **columns}),
            encode_rows("random", steps, steps / 1000, {"x": random.random(BATCH_ROWS), **columns}),
        ]
        store.append([Batch("run", "app", "p", number, chunks)])
    while store.tidy():
        pass
    store.close()


def most_memory(folder: Path, key: str, view: str, at_once: int) -> tuple[float, float]:
    """By how many MiB the process's most memory rises, and the seconds it takes, in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_asked, (folder, key, view, at_once))


def _asked(folder: Path, key: str, view: str, at_once: int) -> tuple[float, float]:
    store = SqliteStore(folder)
    store.history("run", "rises", HistoryQuery(x="x", start=0.5, stop=0.501, buckets=10))  # loads what is loaded once
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.monotonic()
    with ThreadPoolExecutor(at_once) as pool:
        query = HistoryQuery(x="x", columns=["y", "z"], buckets=BUCKETS, **VIEWS[view])
        asked = [pool.submit(store.history, "run", key, query) for _ in range(at_once)]
        assert all(one.result().table.num_rows for one in asked)
    took_s = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    store.close()
    return (after - before) / 1024, took_s


def longest_log(folder: Path, seconds: float) -> tuple[float, float, int, float]:
    """MiB of the log at most, MiB of rows written, how many reads there were, and the longest of them in seconds."""
    store, random = SqliteStore(folder), np.random.default_rng(0)
    ended, counts, longest = threading.Event(), [0] * READERS, [0.0] * READERS

    def read(i: int) -> None:
        while not ended.is_set():
            began = time.monotonic()
            store.rows("run", "rises", from_step=1000 * i, to_step=1000 * i + 200_000)
            counts[i] += 1
            longest[i] = max(longest[i], time.monotonic() - began)

    def tidy() -> None:
        while not ended.is_set():
            if not store.tidy():
                ended.wait(0.5)

    wal, most, written, number = folder / "streamvis.sqlite-wal", 0, 0, 10**6
    threads = [*(threading.Thread(target=read, args=(i,)) for i in range(READERS)), threading.Thread(target=tidy)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        number += 1
        rows = encode_rows("written", np.full(2000, number), np.zeros(2000), {"x": random.normal(size=(2000, 30))})
        store.append([Batch("run", "app", "p", number, [rows])])
        written += len(rows.body)
        most = max(most, wal.stat().st_size)
        time.sleep(0.02)
    ended.set()
    for thread in threads:
        thread.join()
    store.close()
    return most / MIB, written / MIB, sum(counts), max(longest)


def main() -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=3_000_000)
    parser.add_argument("--seconds", type=float, default=60)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        fill(folder, asked.rows)
        print(f"store: {(folder / 'streamvis.sqlite').stat().st_size / MIB:.0f} MiB", file=sys.stderr)
        print("| history of | x rises: MiB, s | x is random: MiB, s | x is random, 4 at once: MiB, s |\n|---|---|---|---|")
        for view in VIEWS:
            cells = [most_memory(folder, key, view, n) for key, n in (("rises", 1), ("random", 1), ("random", READERS))]
            print(f"| {view} | " + " | ".join(f"{mib:.0f}, {took_s:.1f}" for mib, took_s in cells) + " |", flush=True)
        if asked.seconds:
            log, written, reads, longest = longest_log(folder, asked.seconds)
            told = f"{written:.0f} MiB were written; {reads:,} reads, the longest {longest:.2f} s"
            print(f"\nthe log at most: {log:.0f} MiB, while {told}")


if __name__ == "__main__":
    main()
