"""All benchmarks, all sides in one run, interleaved: `make bench`, or `python benchmarks/run.py --help`.

Each side of a comparison is a process of its own (`sides.py`) in an environment of its own, made once in a cache outside of the
repository. Round after round every side does the same work, in turn. The tables give the median over the rounds, and their span.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import urllib3
from pages import tables_of_pages
from setting import Endpoint, folder_bytes, installed, number

from streamvis import Client

HERE = Path(__file__).parent
DOCUMENT = HERE.parent / "docs" / "performance.md"
PEERS = {
    "tensorboardX": ["tensorboardX", "tensorboard", "setuptools<81"],  # TensorBoard still asks setuptools for pkg_resources
    "wandb": ["wandb"],
    "trackio": ["trackio"],
    "rerun": ["rerun-sdk"],
    "mlflow": ["mlflow"],
}
ROWS = [
    ("tight", "p50_us", "one step of 4 floats, seen by the loop, p50 (µs)"),
    ("tight", "p99_us", "the same, p99 (µs)"),
    ("paced", "p50_us", "the same, one step every 2 ms, p50 (µs)"),
    ("arrays", "p50_us", "two arrays of 10,000 floats in one call, p50 (µs)"),
    ("start", "start_ms", "import, init and first call, NumPy loaded (ms)"),
    ("durable", "steps_per_s", "steps of 4 floats a second until durable"),
    ("durable", "bytes", "bytes on disk per float, right after that"),
    ("answer", "answer_ms", "four scalars of a run of 1,000,000 steps, answered to its page (ms)"),
    ("answer", "points", "points in that answer"),
]
ANSWERING = ("streamvis", "tensorboardX", "trackio")
LIMIT_S = 600


def run_side(python: str, name: str, work: str, url: str) -> dict[str, float] | None:
    """One side does some work once; None when it cannot."""
    with tempfile.TemporaryDirectory(prefix="streamvis-bench-") as folder:
        command = [python, str(HERE / "sides.py"), name, work, folder, url]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, cwd=folder, check=False)
        except subprocess.TimeoutExpired:
            return None
        line = next((line for line in done.stdout.splitlines() if line.startswith("figures ")), None)
        if line is None:
            return None
        found = json.loads(line.removeprefix("figures "))
        if work == "durable" and name != "streamvis":  # its data lie with the endpoint, see `long_run`
            from sides import DURABLE_STEPS

            found["bytes"] = folder_bytes(Path(folder)) / (4 * DURABLE_STEPS[name])
        return found


def compare(sides: dict[str, str], url: str, rounds: int) -> dict[tuple[str, str, str], list[float]]:
    """All sides in turn, round after round: figures by work, figure and side."""
    found: dict[tuple[str, str, str], list[float]] = {}
    for turn in range(rounds):
        for work in ("tight", "paced", "arrays", "start", "durable"):
            for name, python in sides.items():
                if work == "arrays" and name not in ("plain", "streamvis", "rerun") or work == "durable" and name == "plain":
                    continue
                figures = run_side(python, name, work, url) or {}
                print(f"round {turn + 1} of {rounds}: {work:8} {name:13} {figures or 'failed'}", flush=True)
                for figure, value in figures.items():
                    found.setdefault((work, figure, name), []).append(value)
    for name in ANSWERING:  # once: logging a million steps takes the others minutes
        if name in sides:
            figures = run_side(sides[name], name, "answer", url) or {}
            print(f"answer        {name:13} {figures or 'failed'}", flush=True)
            found |= {("answer", figure, name): [value] for figure, value in figures.items()}
    return found


def long_run(rows: int, views: int) -> dict[str, Any]:
    """A run of so many rows of x and four walks: how fast it comes in, what it takes, how fast views of it are answered."""
    endpoint = Endpoint()
    try:
        random, last, at = np.random.default_rng(0), np.zeros((4, 1)), 100_000
        began = time.perf_counter()
        with Client(endpoint.url, "long") as client:
            run = client.init()
            for start in range(0, rows, at):
                walks = random.normal(size=(4, at)).cumsum(axis=1) + last
                last = walks[:, -1:]
                columns = {"x": np.arange(start, start + at) / 10, **dict(zip("abcd", walks, strict=True))}
                client.sendl(start, "main", columns)
            while not client.flush():
                pass
        found: dict[str, Any] = {"rows_per_s": rows / (time.perf_counter() - began)}
        found["merge_s"] = endpoint.wait_until_idle()
        http = urllib3.PoolManager()
        for name, columns in (("one column", ["a"]), ("four columns", list("abcd"))):
            for share in (1, 10, 1000):
                times = []
                for _ in range(views):
                    low = random.uniform(0, rows / 10 * (1 - 1 / share))
                    query = {"key": "main", "x": "x", "from": low, "to": low + rows / 10 / share, "buckets": 1000}
                    fields = [*query.items(), *(("columns", column) for column in columns)]
                    asked = time.perf_counter()
                    answer = http.request(
                        "GET",
                        f"{endpoint.url}/api/v1/runs/{run}/history",
                        fields=fields,
                        headers={"Accept": "application/vnd.apache.arrow.stream"},
                    )
                    times.append((time.perf_counter() - asked) * 1e3)
                    assert answer.status == 200, answer.data
                found[f"{name}, 1/{share} of the run"] = statistics.median(times)
        found["memory_mb"] = endpoint.process.memory_info().rss / 2**20
        endpoint.stop()
        found["bytes_per_float"] = endpoint.size_bytes() / (5 * rows)
        return found
    finally:
        if endpoint.process.is_running():
            endpoint.stop()
        endpoint.folder.cleanup()


def table_of_comparison(found: dict[tuple[str, str, str], list[float]], sides: dict[str, str]) -> list[str]:
    """The comparison as Markdown: medians, the span of the rounds, and each side's ratio to Streamvis."""
    lines = ["| what | " + " | ".join(sides) + " |", "|---" * (len(sides) + 1) + "|"]
    for work, figure, what in ROWS:
        ours = found.get((work, figure, "streamvis"))
        cells = []
        for name in sides:
            values = found.get((work, figure, name))
            if not values:
                cells.append("–")
                continue
            ratio = f", × {statistics.median(values) / statistics.median(ours):.3g}" if ours and name != "streamvis" else ""
            cells.append(f"{number(statistics.median(values))} ({number(min(values))} to {number(max(values))}{ratio})")
        lines.append(f"| {what} | " + " | ".join(cells) + " |")
    return lines


def table_of_long_runs(found: dict[int, dict[str, Any]]) -> list[str]:
    """The long runs as Markdown."""
    names = {
        "rows_per_s": "rows a second, until durable (x and 4 columns)",
        "merge_s": "processor seconds of the endpoint, merging and summaries included",
        "bytes_per_float": "bytes on disk per float (of 5; steps, times and summaries included)",
        "memory_mb": "memory of the endpoint at the end (MiB)",
    }
    lines = ["| what | " + " | ".join(f"{rows:,} rows" for rows in found) + " |", "|---" * (len(found) + 1) + "|"]
    for name in next(iter(found.values())):
        what = names.get(name, f"a view in 1,000 buckets, {name} (ms)")
        lines.append(f"| {what} | " + " | ".join(number(figures[name]) for figures in found.values()) + " |")
    return lines


def join(numbers: list[int]) -> str:
    """As on the command line."""
    return " ".join(map(str, numbers))


def main() -> None:
    """Run what the command line asks for, print the tables, and write them where asked."""
    parser = argparse.ArgumentParser(description="Streamvis beside its peers, in one run.")
    parser.add_argument("--rounds", type=int, default=3, help="how often every side does each work")
    parser.add_argument("--rows", type=int, nargs="*", default=[1_000_000, 10_000_000], help="lengths of the long runs")
    parser.add_argument("--page-rows", type=int, nargs="*", default=[1_000, 100_000, 10_000_000], help="lengths of a page's run")
    parser.add_argument("--tabs", type=int, default=50, help="how many sessions at once on one page process")
    parser.add_argument("--views", type=int, default=7, help="how many views of each kind are asked for")
    parser.add_argument("--no-peers", action="store_true", help="only Streamvis and the bound")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md")
    options = parser.parse_args()
    sides, versions, left_out = {"plain": sys.executable, "streamvis": sys.executable}, {"streamvis": version("streamvis")}, []
    for peer, packages in {} if options.no_peers else PEERS.items():
        if found := installed(peer, packages):
            sides[peer], versions[peer] = found
        else:
            left_out.append(peer)
    endpoint = Endpoint()
    try:
        compared = compare(sides, endpoint.url, options.rounds)
    finally:
        endpoint.stop()
        endpoint.folder.cleanup()
    pages = tables_of_pages(options.page_rows, options.tabs, with_peers=not options.no_peers)
    long = {rows: long_run(rows, options.views) for rows in options.rows}
    machine = (
        f"{os.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB, {platform.system()}, "
        f"Python {platform.python_version()}, NumPy {np.__version__}"
    )
    text = (HERE / "performance.md.in").read_text(encoding="utf-8")
    filled = {
        "machine": machine,
        "versions": ", ".join(f"{name} {its}" for name, its in versions.items()),
        "left_out": f"Left out, because it could not be installed: {', '.join(left_out)}." if left_out else "",
        "command": f"make bench ARGS='--rounds {options.rounds} --rows {join(options.rows)} "
        f"--page-rows {join(options.page_rows)}'",
        "comparison": "\n".join(table_of_comparison(compared, sides)),
        "long": "\n".join(table_of_long_runs(long)) if long else "",
        "pages": pages,
    }
    for name, its in filled.items():
        text = text.replace(f"@{name}@", its)
    print(text)
    if options.write:
        DOCUMENT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
