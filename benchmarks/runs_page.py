"""How long the page for any run takes to open: with many long curves, and with thousands of columns.

    python benchmarks/runs_page.py --rows 1000000 --charts 20 --columns 5000 --rounds 5

The time runs from going to the address until every chart that is in view shows its data up to the newest row, in a real Chromium
of 1366 x 768 pixels whose cache is warm. Memory is that of the page server, and of the page's JavaScript.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pages import CHROMIUM, memory_mib, pages_of, running, tab_mib
from playwright.sync_api import sync_playwright
from setting import Endpoint

from streamvis import Client

# The charts that exist, and how many of those show everything up to the last step.
SHOWN = """last => {
  const figures = [...(Bokeh.documents[0]?._all_models.values() ?? [])].filter((model) => model.type == "Figure")
  const inside = figures.filter((model) => { const box = Bokeh.index.find_one(model)?.el.getBoundingClientRect()
    return box != null && box.bottom > 0 && box.top < innerHeight && box.width > 0 })
  return [inside.length, inside.filter((model) => Math.abs(model.x_range.end - last) < 1).length]
}"""
LIMIT_S = 120


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
        for step in range(30):
            client.sendl(step, "layers", {f"block{i // 50}/layer{i}": float(np.sin(step / 5 + i)) for i in range(columns)})


@dataclass(frozen=True, slots=True)
class Opened:
    """Seconds until the first chart and all in view show their data, those that the page's main thread worked, and its MiB."""

    first_s: float
    all_s: float
    busy_s: float
    held_mib: float


def opened(browser, address: str, last: float, in_view: int) -> Opened:
    """Open a page, and wait for so many charts."""
    page = browser.new_page(viewport={"width": 1366, "height": 768})
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


def main() -> None:
    """Measure, and print a table."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--charts", type=int, default=20)
    options.add_argument("--columns", type=int, default=5000)
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args()
    endpoint = Endpoint()
    args = [*CHROMIUM, *(["--no-sandbox"] if os.getuid() == 0 else [])]
    with running(endpoint), tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        send_long(endpoint.url, rows=given.rows, charts=given.charts)
        send_wide(endpoint.url, columns=given.columns)
        endpoint.wait_until_idle()
        print(f"{given.charts} charts of {given.rows:,} rows, {given.columns:,} columns, load {os.getloadavg()[0]:.1f}")
        with pages_of(endpoint.url, Path(folder)) as (other, process):
            address = other.rpartition("/")[0]
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=args)
            found: list[Opened] = []
            for app, x, last, in_view in (("long", "n", given.rows - 1, 6), ("wide", "step", 29, 9)):
                used_s = []
                for _ in range(given.rounds + 1):
                    before_s = [sum(its.cpu_times()[:2]) for its in (process, endpoint.process)]
                    found.append(opened(browser, f"{address}/runs?app={app}&x={x}", last, in_view))
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
