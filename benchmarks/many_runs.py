"""Very many runs: how long lists, filters and orders take, and what the endpoint needs for them; beside MLflow with fewer runs.

    python benchmarks/many_runs.py --runs 10000 --apps 2000 --peer-runs 1000

Each run has a config of six fields and two keys with two columns of numbers each. Lists are asked for by HTTP, as the shell does,
of the page size that a table shows; each figure is the median of several requests. The memory is what the endpoint has resident.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from setting import Endpoint, installed, number

from streamvis.records import Batch, Start
from streamvis.store import SqliteStore
from streamvis.transport import Transport
from streamvis.wire.arrow import encode_rows

REPEATED = 7
SHOWN = 100
PEERS = {"MLflow": ["mlflow-skinny", "sqlalchemy", "alembic"]}

PEER = """
import json, statistics, sys, time
import mlflow
from mlflow.entities import Metric, Param, RunStatus
folder, runs = sys.argv[1], int(sys.argv[2])
client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
experiment = client.create_experiment("app", artifact_location=folder)
began = time.perf_counter()
for i in range(runs):
    run = client.create_run(experiment).info.run_id
    params = {"lr": [0.1, 0.01, 0.001][i % 3], "seed": i, "model": "mlp", "depth": i % 5, "width": 64, "data": "digits"}
    metrics = {"loss": 1 / (1 + i), "accuracy": i / runs, "val_loss": 2 / (1 + i), "val_accuracy": i / runs}
    client.log_batch(run, [Metric(k, v, 0, 3) for k, v in metrics.items()], [Param(k, str(v)) for k, v in params.items()])
    client.set_terminated(run, RunStatus.to_string(RunStatus.FINISHED))
filled_s = time.perf_counter() - began
asked = {
    "list": {},
    "filter": {"filter_string": "params.lr = '0.01' and metrics.accuracy > 0.5"},
    "order": {"order_by": ["metrics.val_loss ASC"]},
}
found = {}
for name, more in asked.items():
    took = []
    for _ in range(7):
        began = time.perf_counter()
        client.search_runs([experiment], max_results=100, **more)
        took.append(time.perf_counter() - began)
    found[name] = statistics.median(took)
print(json.dumps({"filled_s": filled_s, **found}))
"""


def main() -> None:
    """Print the tables."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--runs", type=int, default=10_000)
    arguments.add_argument("--apps", type=int, default=2_000)
    arguments.add_argument("--peer-runs", type=int, default=1_000)
    given = arguments.parse_args()
    for runs in sorted({given.peer_runs, given.runs}):
        ours(runs, given.apps)
    for peer, packages in PEERS.items():
        found = installed(peer, packages) if given.peer_runs else None
        if found is not None:
            beside(peer, *found, given.peer_runs)


def ours(runs: int, apps: int) -> None:
    """Times and memory of our endpoint with so many runs in one app, and one in each of the others."""
    endpoint = Endpoint()
    folder = Path(endpoint.folder.name)
    endpoint.process.terminate()
    endpoint.process.wait(20)
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
    print(f"| on disk | {endpoint.size_bytes() / 2**20:,.0f} MiB |")
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


def beside(peer: str, python: str, its_version: str, runs: int) -> None:
    """Times of a peer's own search in its SQLite store, in a process of its own; no HTTP is between."""
    with tempfile.TemporaryDirectory(prefix="streamvis-bench-") as folder:
        done = subprocess.run([python, "-c", PEER, folder, str(runs)], capture_output=True, text=True, timeout=900)
        if done.returncode:
            print(f"{peer} is left out: {done.stderr[-500:]}", file=sys.stderr)
            return
        found = json.loads(done.stdout.splitlines()[-1])
    print(f"\n| {runs:,} runs, {peer} {its_version}, SQLite, without HTTP | median of {REPEATED} |")
    print("|---|---|")
    print(f"| filling the store | {number(found['filled_s'])} s |")
    rows = {"list": f"first {SHOWN} runs", "filter": "a filter by params and metrics", "order": "an order by a metric"}
    for name, told in rows.items():
        print(f"| {told} | {number(1000 * found[name])} ms |")


if __name__ == "__main__":
    main()
