"""How long the page for any run takes to open: with many long curves, and with thousands of columns.

    python benchmarks/runs_page.py --rows 1000000 --charts 20 --columns 5000 --compared 100000 --rounds 5

The time runs from going to the address until every chart that is in view shows its data up to the newest row, in a real Chromium
of 1366 x 768 pixels whose cache is warm. Memory is that of the page server, and of the page's JavaScript.

Then the same two runs, the long one with fewer rows, beside TensorBoard and Trackio, round after round: until the page shows
anything, and until its picture is the one that stays. The other two show their whole page; Streamvis shows the page without the
run list, where the age of the run changes every second.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import psutil
from many_runs import Side, come, spread
from pages import memory_mib, pages_of, running, tab_mib
from playwright.sync_api import Browser, BrowserContext, sync_playwright
from run import PEERS
from setting import Endpoint, chromium, installed, number

from streamvis import Client

# The charts that exist, and how many of those show everything up to the last step.
SHOWN = """last => {
  const figures = [...(Bokeh.documents[0]?._all_models.values() ?? [])].filter((model) => model.type == "Figure")
  const inside = figures.filter((model) => { const box = Bokeh.index.find_one(model)?.el.getBoundingClientRect()
    return box != null && box.bottom > 0 && box.top < innerHeight && box.width > 0 })
  return [inside.length, inside.filter((model) => Math.abs(model.x_range.end - last) < 1).length]
}"""
LIMIT_S = 120
CALM_S = 4
"""A picture that has not changed for so long stays."""
WIDE_ROWS = 30
HERE = Path(__file__).parent


def send_long(url: str, *, rows: int, charts: int) -> None:
    """Curves of a million rows each, a key for each chart."""
    random, piece = np.random.default_rng(0), 50_000
    with Client(url, "long") as client:
        client.init({"charts": charts})
        for i in range(charts):
            for at in range(0, rows, piece):
                steps = np.arange(at, min(rows, at + piece))
                values = np.sin(steps / 50_000 + i) + 0.1 * random.normal(size=len(steps))
                client.sendl(int(steps[-1]), f"key {i}", {"n": steps, "y": values})
            client.flush(timeout_s=60)


def send_wide(url: str, *, columns: int) -> None:
    """Thirty rows of thousands of columns."""
    with Client(url, "wide") as client:
        client.init({"columns": columns})
        for step in range(WIDE_ROWS):
            client.sendl(step, "layers", {f"block{i // 50}/layer{i}": float(np.sin(step / 5 + i)) for i in range(columns)})


@dataclass(frozen=True, slots=True)
class Opened:
    """Seconds until the first chart and all in view show their data, those that the page's main thread worked, and its MiB."""

    first_s: float
    all_s: float
    busy_s: float
    held_mib: float


def opened(context: BrowserContext, address: str, last: float, in_view: int) -> Opened:
    """Open a page, and wait for so many charts."""
    page = context.new_page()
    began, first_s = time.perf_counter(), None
    watch = page.context.new_cdp_session(page)
    watch.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.goto(address, wait_until="commit")
    while True:
        inside, done = page.evaluate(SHOWN, last) if page.evaluate("() => window.Bokeh?.documents?.length > 0") else (0, 0)
        if done and first_s is None:
            first_s = time.perf_counter() - began
        if inside == in_view and inside == done:
            break
        if time.perf_counter() - began > LIMIT_S:
            raise SystemExit(f"{address}: {done} of {inside} charts after {LIMIT_S} s")
        page.wait_for_timeout(50)
    took_s = time.perf_counter() - began
    held_mib = tab_mib(page)
    busy_s = next(one["value"] for one in watch.send("Performance.getMetrics")["metrics"] if one["name"] == "TaskDuration")
    page.close()
    return Opened(first_s, took_s, busy_s, held_mib)


@dataclass(frozen=True, slots=True)
class Shown:
    """Seconds until a page shows anything, and until it shows what it shows in the end; MiB of its JavaScript."""

    first_s: float
    all_s: float
    held_mib: float


def shown(browser: Browser, side: Side) -> Shown:
    """Open a page that nothing is cached of, and take pictures until they stay the same."""
    context = browser.new_context(viewport={"width": 1366, "height": 768})
    page = context.new_page()
    watch, pictures = context.new_cdp_session(page), []

    def take(frame: dict) -> None:
        watch.send("Page.screencastFrameAck", {"sessionId": frame["sessionId"]})
        picture = hashlib.sha256(frame["data"].encode()).digest()
        if not pictures or picture != pictures[-1][1]:
            pictures.append((frame["metadata"]["timestamp"], picture))

    watch.on("Page.screencastFrame", take)
    watch.send("Page.startScreencast", {"format": "jpeg", "quality": 40, "maxWidth": 683, "maxHeight": 384})
    began = time.time()
    come(page, side.address)

    def later() -> list[float]:
        # Before these, pictures are of an empty page.
        return [at for at, _ in pictures[1:] if at > began]

    while not (later() and time.time() - later()[-1] > CALM_S):
        if time.time() - began > LIMIT_S:
            raise SystemExit(f"{side.name} shows nothing that stays after {LIMIT_S} s")
        page.wait_for_timeout(100)
    watch.send("Page.stopScreencast")
    held_mib = tab_mib(page)
    context.close()
    return Shown(later()[0] - began, later()[-1] - began, held_mib)


@contextmanager
def ours(folder: Path, rows: int, columns: int) -> Iterator[Side]:
    """An endpoint and a page server of Streamvis, with the run."""
    folder.mkdir(parents=True)
    endpoint = Endpoint()
    with running(endpoint):
        side = [str(HERE / "runs_page_side.py"), "streamvis", str(folder), str(rows), str(columns), endpoint.url]
        subprocess.run([sys.executable, *side], stderr=subprocess.DEVNULL, check=True)
        endpoint.wait_until_idle()
        with pages_of(endpoint.url, folder) as (page, process):
            yield Side(
                f"Streamvis {version('streamvis')}",
                1,
                0,
                f"{page.rpartition('/')[0]}/runs?app=bench",
                [endpoint.process, process],
            )


@contextmanager
def peers(library: str, peer: tuple[str, str], folder: Path, rows: int, columns: int) -> Iterator[Side]:
    """The server of another library, with the run."""
    folder.mkdir(parents=True)
    command = [peer[0], str(HERE / "runs_page_side.py"), library, str(folder), str(rows), str(columns)]
    process = psutil.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        server, address = process.stdout.readline().split()
        process.stdout.readline()
        name = f"Trackio {peer[1]}"
        if library == "tensorboard":
            ask = [peer[0], "-c", "from importlib.metadata import version; print(version('tensorboard'))"]
            its = subprocess.run(ask, capture_output=True, check=True, text=True).stdout.strip()
            name = f"TensorBoard {its} (tensorboardX {peer[1]})"
        yield Side(name, 1, 0, address, [psutil.Process(int(server))])
    finally:
        for its in (*process.children(recursive=True), process):
            its.terminate()
        process.wait(20)


def compare(browser: Browser, folder: Path, rows: int, columns: int, rounds: int) -> None:
    """Open the pages of one run in turn, and print a table."""
    with ExitStack() as stack:
        sides = [stack.enter_context(ours(folder / "streamvis", rows, columns))]
        for library in ("trackio", "tensorboard"):
            peer = "tensorboardX" if library == "tensorboard" else library
            found = installed(peer, PEERS[peer])
            if found is not None:
                sides.append(stack.enter_context(peers(library, found, folder / library, rows, columns)))
        times = {side.name: [] for side in sides}
        for _ in range(rounds):
            for side in sides:
                times[side.name].append(shown(browser, side))
        about = f"{rows:,} rows of {columns:,} columns, load {os.getloadavg()[0]:.1f}"
        print(f"\n| {about} | {' | '.join(times)} |\n|---{'|---' * len(sides)}|")
        wanted = {"anything is shown (s)": "first_s", "all is shown (s)": "all_s", "memory of the page (MiB)": "held_mib"}
        for what, name in wanted.items():
            print(f"| {what} | {' | '.join(spread([getattr(one, name) for one in its]) for its in times.values())} |")
        print(f"| memory of the servers (MiB) | {' | '.join(number(side.memory_mib) for side in sides)} |", flush=True)


def main() -> None:
    """Measure, and print a table."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--charts", type=int, default=20)
    options.add_argument("--columns", type=int, default=5000)
    options.add_argument("--compared", type=int, default=100_000, help="rows of each library's long run; 0: compare nothing")
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args()
    if given.rows:
        measure(given)
    if given.compared:
        with sync_playwright() as playwright, tempfile.TemporaryDirectory(prefix="streamvis-bench-") as folder:
            browser = chromium(playwright)
            compare(browser, Path(folder) / "long", given.compared, given.charts, given.rounds)
            compare(browser, Path(folder) / "wide", WIDE_ROWS, given.columns, given.rounds)
            browser.close()


def measure(given: argparse.Namespace) -> None:
    """Streamvis alone: when each chart in view has its data, and which part took the time."""
    endpoint = Endpoint()
    with running(endpoint), tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        send_long(endpoint.url, rows=given.rows, charts=given.charts)
        send_wide(endpoint.url, columns=given.columns)
        endpoint.wait_until_idle()
        print(f"{given.charts} charts of {given.rows:,} rows, {given.columns:,} columns, load {os.getloadavg()[0]:.1f}")
        with pages_of(endpoint.url, Path(folder)) as (other, process):
            address = other.rpartition("/")[0]
            browser = chromium(playwright)
            context = browser.new_context(viewport={"width": 1366, "height": 768})
            found: list[Opened] = []
            for app, x, last, in_view in (("long", "n", given.rows - 1, 6), ("wide", "step", 29, 9)):
                used_s = []
                for _ in range(given.rounds + 1):
                    before_s = [sum(its.cpu_times()[:2]) for its in (process, endpoint.process)]
                    found.append(opened(context, f"{address}/runs?app={app}&x={x}", last, in_view))
                    after_s = [sum(its.cpu_times()[:2]) for its in (process, endpoint.process)]
                    used_s.append([after - before for before, after in zip(before_s, after_s, strict=True)])
                times, firsts = ([getattr(one, name) for one in found[1:]] for name in ("all_s", "first_s"))
                told = f"first chart {statistics.median(firsts):.2f} s, all {in_view} in view {statistics.median(times):.2f} s"
                told += f" ({min(times):.2f} to {max(times):.2f})"
                busy = [statistics.median(one) for one in zip(*used_s[1:], strict=True)]
                busy.append(statistics.median(one.busy_s for one in found[1:]))
                told += "; processor seconds: page server {:.2f}, endpoint {:.2f}, page {:.2f}".format(*busy)
                memory = f"page {found[-1].held_mib:.0f} MiB, page server {memory_mib(process):.0f} MiB"
                print(f"{app}: {told}; {memory}; load {os.getloadavg()[0]:.1f}", flush=True)
                found.clear()
            browser.close()


if __name__ == "__main__":
    main()
