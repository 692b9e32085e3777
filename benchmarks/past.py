"""How long a viewer waits in the past: from a move of the time bar until the page is painted as of that step.

    python benchmarks/past.py --rounds 40

The shell is open in a real Chromium of 1366 x 768 pixels, and the bar is moved to steps drawn at random, forwards and backwards,
half a second after the page was painted.
The demo's page, of 600 steps, and the default page, of a run with a million rows of four columns and 200 values of a matrix, go
there in place. A page of an author's own, which streams 100,000 rows in `update_page`, is made anew each time.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import subprocess
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

import numpy as np
import psutil
from pages import running
from playwright.sync_api import Page, sync_playwright
from setting import Endpoint, chromium, number

from streamvis import Client

OWN = """
from bokeh.models import ColumnDataSource
from bokeh.plotting import figure
def init_page(doc, config):
    source = ColumnDataSource({"step": [], "loss": []}, name="train")
    plot = figure(sizing_mode="stretch_width")
    plot.line("step", "loss", source=source)
    doc.add_root(plot)
def update_page(doc, new_data):
    if "train" in new_data:
        doc.get_model_by_name("train").stream({"step": new_data.steps("train"), "loss": new_data["train"]["loss"]})
"""
ARE_DRAWN = """() => {
  const doc = document.querySelector(".pane iframe:not(.coming)")?.contentWindow?.Bokeh?.documents[0]
  const figures = [...(doc?._all_models.values() ?? [])].filter((model) => model.type == "Figure")
  return figures.length > 0 && figures.every((model) => model.renderers.some((one) => one.data_source?.get_length() > 0))
}"""
# The page says that it has painted a step in place; one that was made anew is painted in the frame after the swap.
GO = """async (step) => {
  const {viewer} = streamvisShell, [pane] = viewer.panes, began = performance.now(), {on} = pane
  const kind = await new Promise((done) => {
    pane.on = (kind, data) => { on(kind, data); if (kind == "sought" || kind == "swapped") done(kind) }
    viewer.seek(step)
  })
  pane.on = on
  if (kind == "swapped") {
    await new Promise((done) => requestAnimationFrame(done))
    await new Promise((done) => setTimeout(done, 0))
  }
  if (new URL(pane.url).searchParams.get("at") != step) throw new Error("another step is shown")
  return performance.now() - began
}"""
READY = re.compile(r"(http://[^/\s]+)")
LIMIT_MS = 120_000
PAUSE_MS = 500
DEMO_STEPS = 600


def fill(url: str, app: str, count: int, columns: int) -> None:
    """Make a run with so many rows, and values of a matrix."""
    names = ("loss", "accuracy", "rate", "norm")[:columns]
    with Client(url, app) as client:
        client.init({})
        for step in range(count):
            client.sendl(step, "train", {name: step % 97 + i for i, name in enumerate(names)})
            if columns > 1 and step % (count // 200) == 0:
                client.send(step, "confusion", {"cells": np.full((4, 4), step)})
        client.flush(timeout_s=600)


def moves(tab: Page, address: str, count: int, rounds: int) -> list[float]:
    """Milliseconds of each move, after some that are not counted."""
    tab.goto(address)
    tab.wait_for_function(ARE_DRAWN, polling=50, timeout=LIMIT_MS)
    tab.wait_for_timeout(2000)
    dice = random.Random(7)
    took = []
    for _ in range(rounds + 3):
        took.append(tab.evaluate(GO, dice.randrange(count // 2, count)))
        tab.wait_for_timeout(PAUSE_MS)
    return took[3:]


def told(what: str, took: list[float]) -> str:
    """A line of what came out."""
    return f"{what}: p50 {number(np.percentile(took, 50))} ms, p95 {number(np.percentile(took, 95))} ms"


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    script = Path(tempfile.mkdtemp(prefix="streamvis-bench-")) / "own.py"
    script.write_text(OWN)
    demo = script.with_name("digits.py")
    demo.write_text(files("streamvis.demo").joinpath("page.py").read_text())
    endpoint = Endpoint()
    with running(endpoint), sync_playwright() as playwright:
        fill(endpoint.url, "panels", 1_000_000, 4)
        fill(endpoint.url, "own", 100_000, 1)
        train = [sys.executable, "-m", "streamvis.demo.train", endpoint.url, "--steps", str(DEMO_STEPS), "--pace-s", "0"]
        subprocess.run(train, check=True)
        endpoint.wait_until_idle()
        serve = [sys.executable, "-m", "streamvis.cli", "page", str(script), str(demo), "--url", endpoint.url, "--port", "0"]
        pages = psutil.Popen(serve, stdout=subprocess.PIPE, text=True)
        try:
            address = READY.search(pages.stdout.readline())[1]
            browser = chromium(playwright)
            tab = browser.new_context(viewport={"width": 1366, "height": 768}).new_page()
            took = moves(tab, f"{address}/digits?app=digits", DEMO_STEPS, rounds)
            print(told("the demo's page, in place", took), flush=True)
            took = moves(tab, f"{address}/runs?app=panels", 10**6, rounds)
            print(told("the default page, 10^6 rows, in place", took), flush=True)
            took = moves(tab, f"{address}/own?app=own", 10**5, rounds)
            print(told("a page of one's own, 10^5 rows, made anew", took), flush=True)
            browser.close()
        finally:
            pages.terminate()
            pages.wait(20)


if __name__ == "__main__":
    main()
