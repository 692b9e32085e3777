"""Very many runs: how long lists, filters and orders take, and what the endpoint needs for them.

    python benchmarks/many_runs.py --runs 10000 --apps 2000

Each run has a config of six fields and two keys with two columns of numbers each. Lists are asked for by HTTP, as the shell does,
of the page size that a table shows; each figure is the median of several requests. The memory is what the endpoint has resident.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from setting import Endpoint, folder_bytes, number

from streamvis.records import Batch, Start
from streamvis.store import SqliteStore
from streamvis.transport import Transport
from streamvis.wire.arrow import encode_rows

REPEATED = 7
SHOWN = 100


def main() -> None:
    """Print the tables."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--runs", type=int, default=10_000)
    arguments.add_argument("--apps", type=int, default=2_000)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="streamvis-bench-") as folder:
        measure(Path(folder), given.runs, given.apps)


def measure(folder: Path, runs: int, apps: int) -> None:
    """Times and memory of an endpoint with so many runs in one app, and one in each of the others."""
    began = time.perf_counter()
    fill(folder, runs, apps)
    filled_s = time.perf_counter() - began
    endpoint = Endpoint("--data", str(folder))
    transport = Transport(endpoint.url)
    transport.request("GET", "/healthz")
    rested = endpoint.process.memory_info().rss
    columns = {"column": ["train.loss.last", "val.accuracy.max", "config.lr"], "limit": SHOWN, "app": "app"}
    asked: dict[str, tuple[str, dict[str, Any]]] = {
        "all apps": ("/api/v1/apps", {}),
        f"first {SHOWN} runs": ("/api/v1/runs", {"app": "app", "limit": SHOWN}),
        f"first {SHOWN} runs of all apps": ("/api/v1/runs", {"limit": SHOWN}),
        f"{SHOWN} runs, two summaries and a config value": ("/api/v1/runs", columns),
        "a filter by config": ("/api/v1/runs", columns | {"where": "config.lr == 0.01 and config.seed > 100"}),
        "a filter by summaries": ("/api/v1/runs", columns | {"where": "train.loss.last < 0.5 and val.accuracy.max > 0.5"}),
        "an order by a summary": ("/api/v1/runs", columns | {"order": "-val.accuracy.max"}),
        "words": ("/api/v1/runs", columns | {"search": "mlp 0.01"}),
        "all runs, two summaries and a filter": (
            "/api/v1/runs", columns | {"limit": 10_000, "where": "train.loss.last < 2"},
        ),
        "what can be named": ("/api/v1/runs/names", {"app": "app"}),
    }  # fmt: skip
    print(f"\n| {runs:,} runs in an app, {apps:,} apps, Streamvis {version('streamvis')} | median of {REPEATED} |")
    print("|---|---|")
    print(f"| filling the store | {number(filled_s)} s |")
    for name, (path, params) in asked.items():
        print(f"| {name} | {number(1000 * median_s(lambda p=path, q=params: get(transport, p, q)))} ms |")
    used = endpoint.process.memory_info().rss
    print(f"| memory of the endpoint before, after | {rested / 2**20:,.0f}, {used / 2**20:,.0f} MiB |")
    print(f"| on disk | {folder_bytes(folder) / 2**20:,.0f} MiB |")
    endpoint.stop()


def fill(folder: Path, runs: int, apps: int) -> None:
    """Runs with a config and rows, summaries included, straight into the store."""
    store = SqliteStore(folder)
    chance = np.random.default_rng(0)
    for first in range(0, runs + apps, 500):
        batches = []
        for i in range(first, min(first + 500, runs + apps)):
            app = "app" if i < runs else f"app {i - runs}"
            config = {"lr": [0.1, 0.01, 0.001][i % 3], "seed": i, "model": "mlp", "depth": i % 5, "width": 64, "data": "digits"}
            rows = [
                encode_rows(key, range(20), [0.0] * 20, {"loss": chance.random(20), "accuracy": chance.random(20)})
                for key in ("train", "val")
            ]
            batches.append(Batch(f"run-{i}", app, "p", 0, [Start(json.dumps(config), float(i)), *rows]))
        store.append(batches)
    while store.tidy():
        pass
    store.close()


def get(transport: Transport, path: str, params: dict[str, Any]) -> None:
    """Ask, and wait for the whole answer."""
    answer = transport.request("GET", path, params=params, timeout_s=60)
    assert answer.status == 200, answer.body[:500]


def median_s(work: Callable[[], None]) -> float:
    """How long it takes in the middle of several times."""
    took = []
    for _ in range(REPEATED):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return statistics.median(took)


if __name__ == "__main__":
    main()
