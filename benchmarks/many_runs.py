"""Very many runs: how long lists, filters and orders take, in the browser too, and what the servers need for them.

    python benchmarks/many_runs.py --runs 10000 --apps 2000 --compared 1000 --rounds 5

First, 1,000 runs of 100 rows and four columns each, made with Streamvis, Trackio and TensorBoard in turn. Each one's page is
opened in a real Chromium until the names of runs stand there, then ten of the runs are searched by name; round after round, all
sides in turn, each in a browser context of its own, so with nothing cached. Then Streamvis alone with many more runs, straight
into its store: each run has a config of six fields and two keys with two columns of numbers each. Each figure is a median. The
memory is what the servers have resident.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from pages import memory_mib, pages_of, running
from playwright.sync_api import Browser, Page, sync_playwright
from run import PEERS
from setting import Endpoint, chromium, folder_bytes, installed, number

from streamvis.records import Batch, Finish, Start
from streamvis.store import SqliteStore
from streamvis.transport import Transport
from streamvis.wire.arrow import encode_rows

HERE = Path(__file__).parent
REPEATED = 7
SHOWN = 100


# The names of runs that stand in a list at the left of a page, whatever it is made of.
NAMES = """() => {
  const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  for (let node = walker.nextNode(); node != null; node = walker.nextNode()) {
    if (!/^\\s*run-\\d{5}\\s*$/.test(node.data)) continue
    const box = node.parentElement.getBoundingClientRect()
    if (box.height > 0 && box.left < 300) found.push(node.data.trim())
  }
  return found
}"""
FILTERS = {"streamvis": "Search, or filter", "trackio": "Type to filter", "tensorboard": "Filter runs"}
LIMIT_S = 60


@dataclass(frozen=True, slots=True)
class Side:
    """A library, of which so many runs are made: how long that took, the address of its page, and its servers."""

    name: str
    runs: int
    made_s: float
    address: str
    servers: list[psutil.Process]

    @property
    def few(self) -> str:
        """What the names of the last ten runs begin with."""
        return f"run-{self.runs - 10:05}"[:-1]

    @property
    def memory_mib(self) -> float:
        """What its servers hold."""
        return sum(memory_mib(process) for server in self.servers for process in (server, *server.children(recursive=True)))


def main() -> None:
    """Print the tables."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--runs", type=int, default=10_000)
    arguments.add_argument("--apps", type=int, default=2_000)
    arguments.add_argument("--compared", type=int, default=1_000, help="runs of each library; 0: compare nothing")
    arguments.add_argument("--rounds", type=int, default=5)
    given = arguments.parse_args()
    with sync_playwright() as playwright, tempfile.TemporaryDirectory(prefix="streamvis-bench-") as folder:
        browser = chromium(playwright)
        if given.compared:
            compare(browser, Path(folder) / "compared", given.compared, given.rounds)
        measure(browser, Path(folder) / "alone", given.runs, given.apps, given.rounds)
        browser.close()


def compare(browser: Browser, folder: Path, runs: int, rounds: int) -> None:
    """Open the list of runs and search in it, with each library."""
    with ExitStack() as stack:
        sides = [stack.enter_context(ours(folder / "streamvis", runs))]
        for library in ("trackio", "tensorboard"):
            peer = "tensorboardX" if library == "tensorboard" else library
            found = installed(peer, PEERS[peer])
            if found is not None:
                sides.append(stack.enter_context(peers(library, found, folder / library, runs)))
        times: dict[str, list[tuple[float, float]]] = {side.name: [] for side in sides}
        for _ in range(rounds):
            for side in sides:
                times[side.name].append(opened_and_searched(browser, side))
        print(f"\n| {runs:,} runs, load {os.getloadavg()[0]:.1f} | {' | '.join(side.name for side in sides)} |")
        print("|---" * (1 + len(sides)) + "|")
        print(f"| creating the runs (s) | {' | '.join(number(side.made_s) for side in sides)} |")
        actions = "opening the page until names of runs are visible (s)", "searching for ten of them by name (s)"
        for i, what in enumerate(actions):
            print(f"| {what} | {' | '.join(spread([pair[i] for pair in times[side.name]]) for side in sides)} |")
        print(f"| memory of the servers after that (MiB) | {' | '.join(number(side.memory_mib) for side in sides)} |", flush=True)


def spread(times: list[float]) -> str:
    """The median, with the lowest and the highest."""
    middle, low, high = (
        f"over {LIMIT_S}" if one > LIMIT_S else number(one) for one in (statistics.median(times), min(times), max(times))
    )
    return f"{middle} ({low} to {high})"


@contextmanager
def ours(folder: Path, runs: int) -> Iterator[Side]:
    """An endpoint and a page server of Streamvis."""
    folder.mkdir(parents=True)
    endpoint = Endpoint()
    command = [sys.executable, str(HERE / "many_runs_side.py"), "streamvis", str(folder), str(runs), endpoint.url]
    with running(endpoint):
        made = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout
        endpoint.wait_until_idle()
        with pages_of(endpoint.url, folder) as (page, process):
            address = f"{page.partition('/view/')[0]}/?app=bench"
            yield Side(f"Streamvis {version('streamvis')}", runs, float(made), address, [endpoint.process, process])


@contextmanager
def peers(library: str, peer: tuple[str, str], folder: Path, runs: int) -> Iterator[Side]:
    """The server of another library."""
    folder.mkdir(parents=True)
    command = [peer[0], str(HERE / "many_runs_side.py"), library, str(folder), str(runs)]
    process = psutil.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        made_s = float(process.stdout.readline())
        server, address = process.stdout.readline().split()
        name = "TensorBoard (tensorboardX {})" if library == "tensorboard" else "Trackio {}"
        yield Side(name.format(peer[1]), runs, made_s, address, [psutil.Process(int(server))])
    finally:
        for its in (*process.children(recursive=True), process):
            its.terminate()
        process.wait(20)


def opened_and_searched(browser: Browser, side: Side) -> tuple[float, float]:
    """Seconds until names of runs stand there, and until only those that were searched do."""
    context = browser.new_context(viewport={"width": 1366, "height": 768})
    page = context.new_page()
    opened_s = timed(page, lambda: come(page, side.address), lambda: len(page.evaluate(NAMES)) >= 10)
    page.wait_for_timeout(2000)
    library = next(library for library in FILTERS if library in side.name.lower())
    box = page.locator(f'input[placeholder*="{FILTERS[library]}"]').first
    box.click()
    searched_s = timed(page, lambda: page.keyboard.type(side.few), lambda: all_fit(page.evaluate(NAMES), side.few))
    context.close()
    return opened_s, searched_s


def come(page: Page, address: str) -> None:
    """Go to an address. A server that was only just started may not answer yet."""
    while True:
        try:
            page.goto(address, wait_until="commit")
            return
        except Exception as error:  # Playwright has one class for all of its errors
            if "ERR_CONNECTION_REFUSED" not in str(error):
                raise
            page.wait_for_timeout(200)


def all_fit(names: list[str], few: str) -> bool:
    """Whether these are runs that were searched, and no others."""
    return bool(names) and all(name.startswith(few) for name in names)


def timed(page: Page, go: Callable[[], None], is_done: Callable[[], bool]) -> float:
    """Seconds from an action until something holds; infinity, where it does not within the limit."""
    began = time.perf_counter()
    go()
    while not is_done():
        if time.perf_counter() - began > LIMIT_S:
            return math.inf
        page.wait_for_timeout(20)
    return time.perf_counter() - began


def measure(browser: Browser, folder: Path, runs: int, apps: int, rounds: int) -> None:
    """Times and memory of servers with so many runs in one app, and one in each of the others."""
    folder.mkdir()
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
    about = f"{runs:,} runs in an app, {apps:,} apps, Streamvis {version('streamvis')}, load {os.getloadavg()[0]:.1f}"
    print(f"\n| {about} | median of {REPEATED} |")
    print("|---|---|")
    print(f"| filling the store | {number(filled_s)} s |")
    for name, (path, params) in asked.items():
        print(f"| {name} | {number(1000 * median_s(lambda p=path, q=params: get(transport, p, q)))} ms |")
    with pages_of(endpoint.url, folder) as (page, process):
        in_browser(browser, f"{page.partition('/view/')[0]}/", runs, rounds)
        print(f"| memory of the page server | {number(memory_mib(process))} MiB |")
    used = endpoint.process.memory_info().rss
    print(f"| memory of the endpoint before, after | {rested / 2**20:,.0f}, {used / 2**20:,.0f} MiB |")
    print(f"| on disk | {folder_bytes(folder) / 2**20:,.0f} MiB |")
    endpoint.stop()


def in_browser(browser: Browser, root: str, runs: int, rounds: int) -> None:
    """What a person does with the list of runs."""
    times: dict[str, list[float]] = {}

    def note(what: str, page: Page, go: Callable[[], Any], script: str) -> None:
        times.setdefault(what, []).append(timed(page, go, lambda: page.evaluate(script)))

    rows, counts = "document.querySelectorAll('.rows .run').length >= 15", "document.querySelector('.counts').innerText"
    scroll = "document.querySelector('.runs .scroller').scrollTop = {}"
    for _ in range(rounds):
        context = browser.new_context(viewport={"width": 1366, "height": 768})
        page = context.new_page()
        note("open `/`, all apps", page, lambda: page.goto(root, wait_until="commit"), rows)  # noqa: B023
        note("open an app", page, lambda: page.goto(f"{root}?app=app", wait_until="commit"), rows)  # noqa: B023
        page.wait_for_timeout(3000)
        last = f"document.querySelector('[aria-rowindex=\"{runs + 1}\"]') != null"
        note("jump to the last run", page, lambda: page.evaluate(scroll.format(1e9)), last)  # noqa: B023
        note("jump to the middle", page, lambda: page.evaluate(scroll.format(15 * runs)), rows)  # noqa: B023
        box, few = page.get_by_placeholder("Search, or filter"), f"{counts}.startsWith('10 runs')"
        text = f"config.seed >= {runs - 10} and config.lr < 1"
        note("filter by the config", page, lambda: box.fill(text), few)  # noqa: B023
        grouped = "document.querySelector('.row.group') != null"
        address = f"{root}?app=app&group=config.depth"
        note("open an app, grouped", page, lambda: page.goto(address, wait_until="commit"), grouped)  # noqa: B023
        context.close()
    for what, its in times.items():
        print(f"| in the browser: {what} | {spread(its)} s |")


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
            batches.append(
                Batch(f"run-{i}", app, "p", 0, [Start(json.dumps(config), float(i)), *rows, Finish("finished", i + 60.0)])
            )
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
