"""Many producers at a steady rate with pages open: what was sent, acknowledged, stored and seen, how late, and with what memory.

    python benchmarks/load.py --minutes 10 --producers 100 --pages 20 --rate 10

Each producer is a process of its own, all of one run. The pages are sessions of one page server, without a browser (`tabs.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from pages import memory_mib, pages_of, running
from setting import Endpoint
from tabs import Tab

from streamvis.page.reader import EndpointReader
from streamvis.records import Rows

PAGE = """
from bokeh.models import ColumnDataSource, Div
from bokeh.plotting import figure

def init_page(doc, config):
    source = ColumnDataSource({name: [] for name in ["at", "producer", "n", "a", "b", "c", "d"]}, name="main_plot")
    plot = figure(width=1200, height=500)
    for name in "abcd":
        plot.line("at", name, source=source)
    doc.add_root(plot)
    doc.add_root(Div(name="last"))

def update_page(doc, new_data):
    if "main" in new_data:
        doc.get_model_by_name("main_plot").stream(new_data["main"], rollover=5000)
        doc.get_model_by_name("last").text = str(int(new_data["main"]["at"].max() * 1e6))
"""

PRODUCER = """
import json, random, sys, time
from streamvis import Client

url, name, rate = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
client = Client(url, "long", spool=sys.argv[4])
client.init(run="load")
client.flush(timeout_s=60)
print("began", flush=True)
until = float(input())
n, due, slowest = 0, time.time() + random.random() / rate, 0.0
while time.time() < until:
    time.sleep(max(0.0, due - time.time()))
    due += 1 / rate
    began = time.perf_counter()
    client.sendl(n, "main", {"at": time.time(), "producer": name, "n": n, "a": 1.5, "b": 2.5, "c": 3.5, "d": 4.5})
    slowest = max(slowest, time.perf_counter() - began)
    n += 1
stored = client.close()
print(json.dumps({"sent": n, "acknowledged": n if stored else None, "slowest_ms": slowest * 1e3}))
"""


async def load(minutes: float, producers: int, pages: int, rate: float) -> dict[str, Any]:
    """The load; what came of it."""
    endpoint = Endpoint()
    with running(endpoint), tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "producer.py"
        script.write_text(PRODUCER)
        with pages_of(endpoint.url, Path(folder), PAGE) as (address, server):
            command = [sys.executable, str(script), endpoint.url]
            commands = [[*command, str(name), str(rate), str(Path(folder) / "spool")] for name in range(producers)]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            started = [psutil.Popen(its, **pipes) for its in commands]
            for its in started:
                await asyncio.to_thread(its.stdout.readline)
            until = time.time() + 60 * minutes
            for its in started:
                its.stdin.write(f"{until}\n")
                its.stdin.flush()
            tabs = [Tab(f"{address}?run=load") for _ in range(pages)]
            for tab in tabs:
                await tab.open()
            watched = {"endpoint": [endpoint.process], "page server": [server], "a producer": started}
            memory: dict[str, list[float]] = defaultdict(list)
            began = time.time()
            while time.time() < until:
                await asyncio.sleep(2)
                for who, processes in watched.items():
                    alive = [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
                    if alive:
                        memory[who].append(float(np.median([memory_mib(one) for one in alive])))
            lines = await asyncio.gather(*(asyncio.to_thread(its.stdout.readline) for its in started))
            told = [json.loads(line) for line in lines]
            for its in started:
                its.wait(120)
            await asyncio.sleep(3)
            taken = [came - at / 1e6 for tab in tabs for at, came in tab.seen.items() if at / 1e6 > began]
            updates = sum(tab.updates for tab in tabs) / len(tabs) / (60 * minutes)
            for tab in tabs:
                await tab.close()
            stored = Counter()
            reader, cursor, more = EndpointReader(endpoint.url), None, True
            numbers: dict[int, list[int]] = defaultdict(list)
            while more:
                piece = reader.tail("load", after=cursor)
                cursor, more = piece.cursor, piece.more
                for item in piece.items:
                    if isinstance(item, Rows):
                        for name, n in zip(item.columns["producer"].tolist(), item.columns["n"].tolist(), strict=True):
                            numbers[name].append(n)
                            stored[name] += 1
    sent = [one["sent"] for one in told]
    right = sum(numbers[name] == list(range(count)) for name, count in enumerate(sent))
    return {
        "rows sent": sum(sent),
        "acknowledged": sum(one["acknowledged"] or 0 for one in told),
        "stored": sum(stored.values()),
        "producers whose rows are all there, once and in order": f"{right} of {producers}",
        "slowest call of a producer (ms)": max(one["slowest_ms"] for one in told),
        "updates of a page a second": updates,
        "newest row to a page, p50 (ms)": float(np.percentile(taken, 50) * 1e3),
        "newest row to a page, p95 (ms)": float(np.percentile(taken, 95) * 1e3),
        **{f"memory of {who}, first to last quarter (MiB)": quarters(values) for who, values in memory.items()},
    }


def quarters(values: list[float]) -> str:
    """The median of each quarter."""
    return ", ".join(f"{np.median(part):.0f}" for part in np.array_split(values, 4))


def main() -> None:
    """Run what the command line asks for, and print a table."""
    parser = argparse.ArgumentParser(description="Many producers at a steady rate with pages open.")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--producers", type=int, default=100)
    parser.add_argument("--pages", type=int, default=20)
    parser.add_argument("--rate", type=float, default=10, help="rows a second of each producer")
    options = parser.parse_args()
    found = asyncio.run(load(options.minutes, options.producers, options.pages, options.rate))
    print("| what | |\n|---|---|")
    for what, value in found.items():
        print(f"| {what} | {value if isinstance(value, str) else f'{value:,.0f}' if value >= 100 else f'{value:.3g}'} |")
    sys.exit(0 if found["rows sent"] == found["acknowledged"] == found["stored"] else 1)


if __name__ == "__main__":
    main()
