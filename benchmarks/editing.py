"""How long an author waits: from saving the demo's page until it is painted anew, and for the test of an example's page.

    python benchmarks/editing.py --rounds 10

Saving: the shell is open on the demo's page in a real Chromium of 1366 x 768 pixels while the network trains. The time runs from
the write of the script until the new version has taken the place of the old one, with its data. Testing: opening the pages of the
two examples that have functions of their own with `streamvis.testing`, sending to them, and closing them.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace

import psutil
from pages import running
from playwright.sync_api import Page, sync_playwright
from setting import Endpoint, chromium

from streamvis.testing import open_page, rows, value

EXAMPLES = Path(__file__).parents[1] / "examples"
LIMIT_MS = 60_000
# The shown page has this title, and its figures have data.
SHOWN = """title => {
  const doc = document.querySelector(".pane iframe:not(.coming)")?.contentWindow?.Bokeh?.documents[0]
  const figures = [...(doc?._all_models.values() ?? [])].filter((model) => model.type == "Figure")
  return figures.some((model) => model.title?.text == title) &&
    figures.filter((model) => model.renderers.some((renderer) => renderer.data_source?.get_length() > 0)).length >= 3
}"""
PAINTED = "() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)))"


def saves(tab: Page, script: Path, rounds: int) -> list[float]:
    """Seconds from a save to the paint of what was saved, for each round after a first one."""
    text, took = script.read_text(), []
    for i in range(rounds + 1):
        title = f"Loss, version {i}"
        began = time.perf_counter()
        script.write_text(text.replace('title="Loss"', f'title="{title}"'))
        tab.wait_for_function(SHOWN, arg=title, polling=10, timeout=LIMIT_MS)
        tab.evaluate(PAINTED)
        took.append(time.perf_counter() - began)
        tab.wait_for_timeout(500)
    return took[1:]


def editing(rounds: int) -> list[float]:
    """Serve a copy of the demo's page, train, and edit the copy."""
    folder = Path(tempfile.mkdtemp(prefix="streamvis-bench-"))
    script = folder / "digits.py"
    script.write_text(files("streamvis.demo").joinpath("page.py").read_text())
    endpoint = Endpoint()
    with running(endpoint), sync_playwright() as playwright:
        serve = [sys.executable, "-m", "streamvis.cli", "page", str(script), "--url", endpoint.url, "--port", "0"]
        pages = psutil.Popen(serve, stdout=subprocess.PIPE, text=True)
        train = psutil.Popen([sys.executable, "-m", "streamvis.demo.train", endpoint.url], stdout=subprocess.DEVNULL)
        try:
            address = pages.stdout.readline().split()[-1]
            browser = chromium(playwright)
            tab = browser.new_context(viewport={"width": 1366, "height": 768}).new_page()
            tab.goto(f"{address}/digits")
            tab.wait_for_function(SHOWN, arg="Loss", polling=50, timeout=LIMIT_MS)
            return saves(tab, script, rounds)
        finally:
            for process in (train, pages):
                process.terminate()
                process.wait(20)


def recorded(name: str, count: int) -> SimpleNamespace:
    """The config and the records that an example's producer sends in so many steps."""
    spec = importlib.util.spec_from_file_location(f"producer_of_{name}", EXAMPLES / name / "producer.py")
    producer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(producer)
    sent = SimpleNamespace(config=None, records=[])

    class Recorder:
        def __init__(self, url: str, app: str) -> None:
            self.init = lambda config: setattr(sent, "config", config)
            self.send = lambda *given: sent.records.append(value(*given))
            self.sendl = lambda *given: sent.records.append(rows(*given))

        def __enter__(self) -> Recorder:
            return self

        def __exit__(self, *error: object) -> None:
            pass

    producer.Client, producer.time = Recorder, SimpleNamespace(sleep=lambda seconds: None)
    producer.main("", name, count)
    return sent


def testing(name: str, rounds: int) -> list[float]:
    """Seconds for a test of an example's page, after a first one."""
    sent, took = recorded(name, 3), []
    last = sent.records[-1]
    for _ in range(rounds + 1):
        began = time.perf_counter()
        with open_page(EXAMPLES / name / "page.py", config=sent.config, records=sent.records[:-1]) as page:
            (page.sendl if last.is_rows else page.send)(last.step, last.key, last.data)
        took.append(time.perf_counter() - began)
    return took[1:]


def told(what: str, took: list[float]) -> str:
    """A line of what came out."""
    return f"{what}: median {statistics.median(took) * 1000:.0f} ms, {min(took) * 1000:.0f} to {max(took) * 1000:.0f} ms"


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    for name in ("candlesticks", "histograms"):
        print(told(f"test of the page {name}", testing(name, rounds)), flush=True)
    print(told("from saving the demo's page to its paint", editing(rounds)), flush=True)


if __name__ == "__main__":
    main()
