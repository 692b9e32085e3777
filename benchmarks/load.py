"""Many producers at a steady rate with pages open: what was sent, acknowledged, stored and seen, how late, and with what memory.

    python benchmarks/load.py --minutes 10 --producers 100 --pages 20 --rate 10
    python benchmarks/load.py --minutes 10 --producers 100 --store postgresql --endpoints 2

Each producer is a process of its own, all of one run. The pages are sessions of one page server, without a browser (`tabs.py`).
A reader follows the run by the REST API. All of it runs on this machine, so times are of one clock. Where there are several
endpoints, producers begin with one after the other, the page server with the first and the reader with the last.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from installation import STORES, installation, told_setting
from pages import memory_mib, pages_of
from setting import number
from tabs import Tab

from streamvis.errors import EndpointError
from streamvis.page.feeds.reader import EndpointReader
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
    doc.add_root(Div(name="count", text="0"))

def update_page(doc, new_data):
    if "main" in new_data:
        doc.get_model_by_name("main_plot").stream(new_data["main"], rollover=5000)
        count = doc.get_model_by_name("count")
        count.text = str(int(count.text) + len(new_data["main"]["at"]))
        doc.get_model_by_name("last").text = str(int(new_data["main"]["at"].max() * 1e6))
"""

PRODUCER = """
import json, random, sys, time
from streamvis import Client

url, name, rate, spool = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
client = Client(url, "long", spool=spool)
client.init(run="load")
client.flush(timeout_s=60)
print("began", flush=True)
until = float(input())
n, due, took = 0, time.time() + random.random() / rate, []
while time.time() < until:
    time.sleep(max(0.0, due - time.time()))
    due += 1 / rate
    began = time.perf_counter()
    client.sendl(n, "main", {"at": time.time(), "producer": name, "n": n, "a": 1.5, "b": 2.5, "c": 3.5, "d": 4.5})
    took.append(time.perf_counter() - began)
    n += 1
stored = client.close()
took_ms = sorted((1e3 * one for one in took), reverse=True)[:: max(1, n // 1000)]
print(json.dumps({"sent": n, "acknowledged": n if stored else None, "took_ms": took_ms}))
"""
_LOOK_EVERY_S = 2.0
_PATIENCE_S = 120
_ALL_OF_THEM = ("acknowledged", "stored, once and in order", "received by each page")


class Reader:
    """Follows the run from another thread: which rows of each producer came, in order, and how long after they were sent."""

    def __init__(self, url: str) -> None:
        self.numbers: dict[int, list[int]] = defaultdict(list)
        self.late_s: list[float] = []
        self._url, self._is_over = url, False
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    @property
    def count(self) -> int:
        """How many rows came."""
        return sum(map(len, list(self.numbers.values())))

    def close(self) -> None:
        """Stop."""
        self._is_over = True
        self._thread.join(30)

    def _follow(self) -> None:
        reader, cursor = EndpointReader(self._url), None
        while not self._is_over:
            try:
                piece = reader.tail("load", after=cursor, wait_s=5)
            except EndpointError:
                time.sleep(0.1)
                continue
            cursor, now = piece.cursor, time.time()
            for item in piece.items:
                if isinstance(item, Rows):
                    self.late_s += (now - item.columns["at"]).tolist()
                    for name, n in zip(item.columns["producer"].tolist(), item.columns["n"].tolist(), strict=True):
                        self.numbers[name].append(n)


async def load(minutes: float, producers: int, pages: int, rate: float, *, store: str, endpoints: int) -> dict[str, Any]:
    """The load; what came of it."""
    with installation(store, endpoints) as installed, tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "producer.py"
        script.write_text(PRODUCER)
        with pages_of(installed.address(), Path(folder), PAGE) as (address, server):
            words = [(str(name), str(rate), f"{folder}/spool") for name in range(producers)]
            commands = [[sys.executable, str(script), installed.address(i), *its] for i, its in enumerate(words)]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            started = [psutil.Popen(command, **pipes) for command in commands]
            for its in started:
                await asyncio.to_thread(its.stdout.readline)
            tabs = [Tab(f"{address}?run=load") for _ in range(pages)]
            for tab in tabs:
                await tab.open(must_show=True)
            reader = Reader(installed.address(-1))
            used_s = installed.used_s()
            began, until = time.time(), time.time() + 60 * minutes
            for its in started:
                its.stdin.write(f"{until}\n")
                its.stdin.flush()
            watched = {
                "an endpoint": [one.process for one in installed.endpoints],
                "page server": [server],
                "a producer": started,
            }
            memory = await watch(watched, until)
            lines = await asyncio.gather(*(asyncio.to_thread(its.stdout.readline) for its in started))
            told = [json.loads(line) for line in lines]
            for its in started:
                its.wait(_PATIENCE_S)
            sent = [one["sent"] for one in told]
            deadline = time.time() + _PATIENCE_S
            while time.time() < deadline and any(count < sum(sent) for count in [reader.count, *map(seen_by, tabs)]):
                await asyncio.sleep(0.2)
            reader.close()
            took_s = time.time() - began
            share = {who: (now - used_s[who]) / took_s for who, now in installed.used_s().items()}
            size_bytes = installed.size_bytes()
            late_s = [came - at / 1e6 for tab in tabs for at, came in tab.seen.items() if at / 1e6 > began]
            updates = sum(tab.updates for tab in tabs) / max(1, len(tabs)) / (60 * minutes)
            seen = [seen_by(tab) for tab in tabs]
            for tab in tabs:
                await tab.close()
    right = sum(reader.numbers[name] == list(range(count)) for name, count in enumerate(sent))
    return {
        "rows sent": sum(sent),
        "acknowledged": sum(one["acknowledged"] or 0 for one in told),
        "stored, once and in order": sum(sent) if right == producers else reader.count,
        "producers all of whose rows are there": f"{right} of {producers}",
        "acknowledged rows a second": sum(one["acknowledged"] or 0 for one in told) / took_s,
        **{f"share of a core, {who}": value for who, value in share.items()},
        "bytes on disk a row": size_bytes / max(1, sum(sent)),
        "received by each page": sum(sent) if set(seen) <= {sum(sent)} else f"{min(seen):,} to {max(seen):,}",
        "a call of a producer, p50, p99, slowest (ms)": percentiles([ms for one in told for ms in one["took_ms"]], 50, 99, 100),
        "row to a reader, p50, p95, p99 (s)": percentiles(reader.late_s, 50, 95, 99),
        "newest row to a page, p50, p95, p99 (s)": percentiles(late_s, 50, 95, 99),
        "updates of a page a second": updates,
        **{f"MiB of {who}, by quarters": quarters(values) for who, values in memory.items()},
    }


async def watch(watched: dict[str, list[psutil.Popen]], until: float) -> dict[str, list[float]]:
    """The memory of these processes (the median, where they are many) every two seconds until then, while all of them live."""
    memory: dict[str, list[float]] = defaultdict(list)
    while time.time() + _LOOK_EVERY_S < until:
        await asyncio.sleep(_LOOK_EVERY_S)
        for who, processes in watched.items():
            memory[who].append(float(np.median([memory_mib(one) for one in processes])))
    return memory


def seen_by(tab: Tab) -> int:
    """How many rows a page was given."""
    return int(tab.texts["count"])


def percentiles(values: list[float], *which: float) -> str:
    """Some of them."""
    return ", ".join(number(float(value)) for value in np.percentile(values, which)) if values else "none"


def quarters(values: list[float]) -> str:
    """The median of each quarter."""
    return ", ".join(f"{np.median(part):.0f}" for part in np.array_split(values, 4))


def main() -> None:
    """Run what the command line asks for, and print a table."""
    parser = argparse.ArgumentParser(description="Many producers at a steady rate with pages open.")
    parser.add_argument("--minutes", type=float, default=10, help="for each number of producers")
    parser.add_argument("--producers", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--pages", type=int, default=20)
    parser.add_argument("--rate", type=float, default=10, help="rows a second of each producer")
    parser.add_argument("--store", choices=STORES, default="sqlite", help="postgresql: a server of its own")
    parser.add_argument("--endpoints", type=int, default=1, help="how many on one database")
    options = parser.parse_args()
    if options.store == "sqlite" and options.endpoints > 1:
        parser.error("--endpoints needs --store postgresql: a data folder has one endpoint")
    found = []
    for producers in options.producers:
        print(f"{producers} producers, {options.pages} pages, {options.minutes:g} minutes ...", file=sys.stderr, flush=True)
        its = load(options.minutes, producers, options.pages, options.rate, store=options.store, endpoints=options.endpoints)
        found.append(asyncio.run(its))
    told = f"{options.store}, {options.endpoints} endpoints, {options.rate:g} rows a second of each, {options.pages} pages"
    print(f"| {told}, {told_setting()} |", end="")
    print("".join(f" producers: {count} |" for count in options.producers))
    print("|---" * (len(found) + 1) + "|")
    for what in found[0]:
        print(f"| {what} | {' | '.join(one[what] if isinstance(one[what], str) else number(one[what]) for one in found)} |")
    whole = [all(one[what] == one["rows sent"] for what in _ALL_OF_THEM) for one in found]
    sys.exit(0 if all(whole) else 1)


if __name__ == "__main__":
    main()
