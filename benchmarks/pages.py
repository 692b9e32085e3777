"""What a viewer sees, in a real browser: from `send` to the browser's data and to paint, opening a page late, zooming, memory.

    python benchmarks/pages.py --rows 1000 100000 10000000 --rounds 3

One run grows to each length in turn, and at each length its page is opened anew. Plain Bokeh and visdom show the same four lines
beside it, at the lengths that they can hold. Times are of one clock: all processes run on this machine. `Date.now()` of a browser
is exact to a millisecond.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from playwright.sync_api import Browser, Page, sync_playwright
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import TimeoutError as PlaywrightTimeout
from setting import Endpoint, chromium, installed, number
from tabs import Tab

from streamvis import Client

HERE = Path(__file__).parent
COLUMNS = ["a", "b", "c", "d"]
UPDATES = 60
PAINTED_S = 60.0
"""How long the newest of them may take to be painted."""
BOKEH_LIMIT, VISDOM_LIMIT, VISDOM_LEAST = 1_000_000, 10_000, 100
"""Beyond so many rows the others are not asked: a page of a million rows takes Bokeh most of a minute to open."""

PAGE = """
from bokeh.plotting import figure
from streamvis import live_source

def init_page(doc, config):
    source = live_source("main", x="step", columns=["a", "b", "c", "d"], name="main_plot")
    plot = figure(width=1200, height=500)
    for name, color in zip("abcd", ("navy", "teal", "orange", "crimson")):
        plot.line("step", name, source=source, color=color)
    doc.add_root(plot)

def update_page(doc, new_data):
    pass
"""

STREAMING = """
from bokeh.models import ColumnDataSource, Div
from bokeh.plotting import figure

def init_page(doc, config):
    source = ColumnDataSource({"step": [], "a": [], "b": [], "c": [], "d": []}, name="main_plot")
    plot = figure(width=1200, height=500)
    for name in "abcd":
        plot.line("step", name, source=source)
    doc.add_root(plot)
    doc.add_root(Div(name="last"))

def update_page(doc, new_data):
    doc.get_model_by_name("main_plot").stream(new_data["main"], rollover=5000)
    doc.get_model_by_name("last").text = str(int(new_data.steps("main")[-1]))
"""

# Marks when the row `x` is in the page's data, and when the frame that shows it is on the screen.
WATCH_BOKEH = """() => {
  const source = Bokeh.documents[0].get_model_by_name("main_plot"), marks = window.marks = {}, waiting = []
  const painted = () => { const t = Date.now(); for (const x of waiting.splice(0)) marks[x].paint ??= t }
  Bokeh.index.roots[0].repainted.connect(() => requestAnimationFrame(() => setTimeout(painted, 0)))
  const look = () => { const x = source.data.step[source.data.step.length - 1]
    if (x != null && !(x in marks)) { marks[x] = {data: Date.now()}; waiting.push(x) } }
  source.change.connect(look); source.properties.data.change.connect(look); source.streaming.connect(look) }"""
WATCH_PLOTLY = """() => {
  const marks = window.marks = {}
  const look = () => { const plot = document.querySelector(".js-plotly-plot"), x = plot?.data?.[0]?.x
    if (!x?.length || x[x.length - 1] in marks) return
    const mark = marks[x[x.length - 1]] = {data: Date.now()}
    requestAnimationFrame(() => setTimeout(() => { mark.paint = Date.now() }, 0)) }
  new MutationObserver(look).observe(document.body, {subtree: true, childList: true, attributes: true}); look() }"""


# Sets the range, and gives after how many milliseconds its detail was in the page's data.
ZOOM = """([low, high]) => new Promise((done, fail) => {
  const source = Bokeh.documents[0].get_model_by_name("main_plot"), began = performance.now()
  const look = () => { source.properties.data.change.disconnect(look); done(performance.now() - began) }
  source.properties.data.change.connect(look)
  setTimeout(() => fail(new Error("no detail came")), 20000)
  Bokeh.index.roots[0].model.x_range.setv({start: low, end: high}) })"""


def percentiles(values: list[float]) -> dict[str, float]:
    """Median and 95th percentile."""
    return {"p50": float(np.median(values)), "p95": float(np.percentile(values, 95))}


def latency(tab: Page, send: Callable[[int, list[float]], None], first: int) -> dict[str, float]:
    """From the call of `send` to the browser's data and to paint, in milliseconds; steps begin at `first`.

    Where the newest row is not painted in time, the figures are of those that were.
    """
    random, sent = np.random.default_rng(first), {}
    for step in range(first, first + UPDATES):
        time.sleep(random.uniform(0.08, 0.2))
        row = random.normal(size=4).tolist()
        sent[step] = time.time() * 1e3
        send(step, row)
    found = {}
    try:
        tab.wait_for_function(f"marks[{first + UPDATES - 1}]?.paint", timeout=PAINTED_S * 1e3)
    except PlaywrightTimeout:
        found["the newest row not painted after (s)"] = PAINTED_S
    marks = {int(float(x)): mark for x, mark in tab.evaluate("marks").items()}
    for what in ("data", "paint"):
        taken = [marks[step][what] - at for step, at in sent.items() if step in marks and what in marks[step]]
        if taken:
            found |= {f"to {what}, {name} (ms)": value for name, value in percentiles(taken).items()}
    return found


@contextmanager
def left_out(what: str) -> Iterator[None]:
    """Go on without the figures of a peer that cannot do what is asked of it, and say so."""
    try:
        yield
    except (OSError, subprocess.SubprocessError, PlaywrightError) as error:
        print(f"{what} is left out: {error}", flush=True)


def opened(browser: Browser, address: str, ready: str) -> tuple[Page, float]:
    """A new page, and after how many seconds `ready` was true and painted."""
    tab = browser.new_context(viewport={"width": 1366, "height": 768}).new_page()
    began = time.perf_counter()
    tab.goto(address, wait_until="commit")
    tab.wait_for_function(ready, polling=10, timeout=300_000)
    tab.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done, 0)))")
    return tab, time.perf_counter() - began


@contextmanager
def pages_of(url: str, folder: Path, script: str = PAGE) -> Iterator[tuple[str, psutil.Popen]]:
    """A page server of our own: the address of its page, and its process."""
    (folder / "long.py").write_text(script)
    command = [sys.executable, "-m", "streamvis.cli", "page", str(folder / "long.py"), "--url", url, "--port", "0"]
    process = psutil.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().split()[-1] + "/view/long", process
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def running(endpoint: Endpoint) -> Iterator[None]:
    """End the endpoint after that, and forget its data."""
    try:
        yield
    finally:
        endpoint.stop()
        endpoint.folder.cleanup()


def memory_mib(process: psutil.Process) -> float:
    """What a process holds."""
    return process.memory_info().rss / 2**20


def tab_mib(tab: Page) -> float:
    """What the page's own objects take, garbage not counted."""
    session = tab.context.new_cdp_session(tab)
    session.send("HeapProfiler.collectGarbage")
    return session.send("Runtime.getHeapUsage")["usedSize"] / 2**20


def forget_file_cache() -> bool:
    """Have the machine read files from the disk again; False where we may not say so."""
    try:
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("3")
        return True
    except OSError:
        return False


def ours(browser: Browser, lengths: list[int]) -> dict[int, dict[str, float]]:
    """One run that grows to each of the lengths."""
    found: dict[int, dict[str, float]] = {}
    endpoint, rows = Endpoint(), 0
    drawn = f"globalThis.Bokeh?.documents[0]?.get_model_by_name('main_plot')?.data?.step?.length > {UPDATES}"
    with running(endpoint), tempfile.TemporaryDirectory() as folder, Client(endpoint.url, "long") as client:
        client.init()
        random, last = np.random.default_rng(0), np.zeros((4, 1))
        for length in lengths:
            began, before = time.perf_counter(), rows
            while rows < length:
                count = min(100_000, length - rows)
                walks = random.normal(size=(4, count)).cumsum(axis=1) + last
                last, steps = walks[:, -1:], np.arange(rows, rows + count)
                # One call for many rows has one step; a column of steps is what a long run of single steps would have.
                client.sendl(rows, "main", {"step": steps, **dict(zip(COLUMNS, walks, strict=True))})
                rows += count
                settle(client)
            figures = found[length] = {"incoming rows a second": (rows - before) / (time.perf_counter() - began)}
            endpoint.wait_until_idle()
            with pages_of(endpoint.url, Path(folder)) as (address, server):
                first, _ = opened(browser, address, drawn)  # the page server's own first time is not the run's
                first.context.close()
                tab, figures["opening, file cache warm (s)"] = opened(browser, address, drawn)
                if forget_file_cache():
                    cold, figures["opening, file cache cold (s)"] = opened(browser, address, drawn)
                    cold.context.close()
                tab.evaluate(WATCH_BOKEH)

                def send(step: int, row: list[float]) -> None:
                    client.sendl(step, "main", {"step": step, **dict(zip(COLUMNS, row, strict=True))})

                figures |= latency(tab, send, rows)
                rows += UPDATES
                figures["rows in the browser"] = tab.evaluate(
                    "Bokeh.documents[0].get_model_by_name('main_plot').data.step.length"
                )
                figures |= zooms(tab, rows)
                figures["memory of the endpoint (MiB)"] = memory_mib(endpoint.process)
                figures["memory of the page server (MiB)"] = memory_mib(server)
                figures["memory of the page in the browser (MiB)"] = tab_mib(tab)
                tab.context.close()
            print(f"{length:,} rows: {figures}", flush=True)
    return found


def settle(client: Client) -> None:
    """Wait until all is stored: nothing here is measured while a spool is emptied."""
    while not client.flush(60):
        print("the endpoint is slow", flush=True)


def zooms(tab: Page, rows: int) -> dict[str, float]:
    """From a change of the range to its detail in the page's data, over ranges of all sizes."""
    taken = []
    random = np.random.default_rng(1)
    for _ in range(15):
        size = rows * 10 ** random.uniform(-3, -0.3)
        low = random.uniform(0, rows - size)
        taken.append(
            tab.evaluate(
                ZOOM,
                [low, low + size],
            )
        )
    return {f"a zoom answered, {name} (ms)": value for name, value in percentiles(taken).items()}


async def many_tabs(count: int, updates: int) -> dict[str, float]:
    """So many sessions on one page process that get five updates a second, from `send` to the session's own socket."""
    endpoint = Endpoint()
    with running(endpoint), tempfile.TemporaryDirectory() as folder, Client(endpoint.url, "long") as client:
        client.init()
        with pages_of(endpoint.url, Path(folder), STREAMING) as (address, server):
            tabs = [Tab(address) for _ in range(count)]
            began = time.perf_counter()
            await asyncio.gather(*(tab.open() for tab in tabs))
            found, sent = {"opened after (s)": time.perf_counter() - began}, {}
            used = sum(server.cpu_times()[:2])
            for step in range(updates):
                sent[step] = time.time()
                client.sendl(step, "main", {"step": step, **dict.fromkeys(COLUMNS, float(step))})
                await asyncio.sleep(0.2)
            deadline = time.monotonic() + 30
            while any(updates - 1 not in tab.seen for tab in tabs) and time.monotonic() < deadline:
                await asyncio.sleep(0.1)
            # Rows that came together are shown together: each counts until a row at least as new was there.
            taken = [min(at for seen, at in tab.seen.items() if seen >= step) - sent[step] for tab in tabs for step in sent]
            found |= {f"to a session, {name} (ms)": value * 1e3 for name, value in percentiles(taken).items()}
            found["of a core, page server"] = (sum(server.cpu_times()[:2]) - used) / (0.2 * updates)
            found["memory of the page server (MiB)"] = memory_mib(server)
            await asyncio.gather(*(tab.close() for tab in tabs))
    return found


PLAIN = """
import json, socketserver, sys, threading
from bokeh.models import ColumnDataSource
from bokeh.plotting import curdoc, figure
import numpy as np
rows, port = int(sys.argv[1]), int(sys.argv[2])
walks = np.random.default_rng(0).normal(size=(4, rows)).cumsum(axis=1)
source = ColumnDataSource({"step": np.arange(rows).astype(float), **dict(zip("abcd", walks))}, name="main_plot")
plot = figure(width=1200, height=500)
for name, color in zip("abcd", ("navy", "teal", "orange", "crimson")):
    plot.line("step", name, source=source, color=color)
doc = curdoc()
doc.add_root(plot)

class Rows(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            new = json.loads(line)
            doc.add_next_tick_callback(lambda new=new: source.stream(new))

socketserver.ThreadingTCPServer.allow_reuse_address = True
server = socketserver.ThreadingTCPServer(("127.0.0.1", port), Rows)
threading.Thread(target=server.serve_forever, daemon=True).start()
doc.on_session_destroyed(lambda _: (server.shutdown(), server.server_close()))
"""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def plain_bokeh(browser: Browser, lengths: list[int]) -> dict[int, dict[str, float]]:
    """The same page in plain Bokeh: the source holds all rows, and a thread of the script hands on what comes by a socket."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "plain.py"
        script.write_text(PLAIN)
        for length in lengths:
            with left_out(f"plain Bokeh with {length:,} rows"):
                found[length] = plain_bokeh_of(browser, length, script)
                print(f"plain Bokeh, {length:,} rows: {found[length]}", flush=True)
    return found


def plain_bokeh_of(browser: Browser, length: int, script: Path) -> dict[str, float]:
    """The figures of one length."""
    port, feed = free_port(), free_port()
    arguments = ["--port", str(port), "--args", str(length), str(feed)]
    command = [sys.executable, "-m", "bokeh", "serve", str(script), *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for_port(port)
            tab, open_s = opened(
                browser,
                f"http://localhost:{port}/plain",
                f"globalThis.Bokeh?.documents[0]?.get_model_by_name('main_plot')?.data?.step?.length >= {length}",
            )
            tab.evaluate(WATCH_BOKEH)
            with socket.create_connection(("127.0.0.1", feed)) as rows:

                def send(step: int, row: list[float]) -> None:
                    new = {"step": [step], **{name: [value] for name, value in zip(COLUMNS, row, strict=True)}}
                    rows.sendall(json.dumps(new).encode() + b"\n")

                found = {"opening, file cache warm (s)": open_s, **latency(tab, send, length)}
            found["memory of the page in the browser (MiB)"] = tab_mib(tab)
            tab.context.close()
            return found
        finally:
            process.terminate()


VISDOM = """
import json, sys
import numpy as np, visdom
port, rows = int(sys.argv[1]), int(sys.argv[2])
vis = visdom.Visdom(port=port, env="main", use_incoming_socket=False, raise_exceptions=True)
walks = np.random.default_rng(0).normal(size=(4, rows)).cumsum(axis=1).T
win = vis.line(X=np.arange(rows), Y=walks)
print("ready", flush=True)
for line in sys.stdin:
    step, row = json.loads(line)
    vis.line(X=np.array([[step] * 4]), Y=np.array([row]), win=win, update="append")
"""


# What visdom's server fetches from networks for content at its first start, as npm has it: (package, file, its name there).
VISDOM_SCRIPTS = [
    ("jquery@3.1.1", "dist/jquery.min.js", "jquery.min.js"),
    ("bootstrap@3.3.7", "dist/js/bootstrap.min.js", "bootstrap.min.js"),
    ("react@16.2.0", "umd/react.production.min.js", "react-react.min.js"),
    ("react-dom@16.2.0", "umd/react-dom.production.min.js", "react-dom.min.js"),
    ("react-modal@3.1.10", "dist/react-modal.min.js", "react-modal.min.js"),
    ("plotly.js-dist-min@2.11.1", "plotly.min.js", "plotly-plotly.min.js"),
    ("sjcl@1.0.7", "sjcl.js", "sjcl.js"),
    ("d3@3.5.17", "d3.min.js", "d3.v3.min.js"),
    ("d3-selection-multi@1.0.1", "build/d3-selection-multi.js", "d3-selection-multi.v1.js"),
    ("save-svg-as-png@1.4.17", "lib/saveSvgAsPng.js", "saveSvgAsPng.js"),
    ("layout-bin-packer@1.4.0", "dist/layout-bin-packer.js", "layout_bin_packer.js"),
]


def fetch_visdom_scripts(python: str) -> None:
    """Put those files where visdom's server looks for them. Raises OSError or CalledProcessError where npm cannot give them."""
    ask = [python, "-c", "import visdom; print(visdom.__path__[0])"]
    scripts = Path(subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()) / "static" / "js"
    with tempfile.TemporaryDirectory() as folder:
        for package, file, name in VISDOM_SCRIPTS:
            if not (scripts / name).exists():
                packed = subprocess.run(["npm", "pack", "-s", package], cwd=folder, capture_output=True, text=True, check=True)
                with tarfile.open(Path(folder) / packed.stdout.split()[-1]) as archive:
                    (scripts / name).write_bytes(archive.extractfile(f"package/{file}").read())


def visdom(browser: Browser, lengths: list[int], python: str) -> dict[int, dict[str, float]]:
    """visdom, whose page keeps all rows too; the producer is a process of its own, as its library demands."""
    found = {}
    for length in lengths:
        with left_out(f"visdom with {length:,} rows"):
            found[length] = visdom_of(browser, length, python)
            print(f"visdom, {length:,} rows: {found[length]}", flush=True)
    return found


def visdom_of(browser: Browser, length: int, python: str) -> dict[str, float]:
    """The figures of one length."""
    port, folder = free_port(), tempfile.mkdtemp()
    # Its `main`, which fetches nothing.
    start = "import sys; from visdom.server.run_server import main; sys.argv[0] = 'visdom'; main()"
    command = [python, "-c", start, "-port", str(port), "-env_path", folder, "--hostname", "127.0.0.1"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    producer = None
    try:
        wait_for_port(port)
        producer = subprocess.Popen(
            [python, "-c", VISDOM, str(port), str(length)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        producer.stdout.readline()
        tab, open_s = opened(
            browser, f"http://127.0.0.1:{port}/env/main", "document.querySelector('.js-plotly-plot')?.data?.[0]?.x?.length"
        )
        tab.evaluate(WATCH_PLOTLY)

        def send(step: int, row: list[float]) -> None:
            producer.stdin.write(json.dumps([step, row]) + "\n")
            producer.stdin.flush()

        found = {"opening, file cache warm (s)": open_s, **latency(tab, send, length)}
        tab.context.close()
        return found
    finally:
        for process in filter(None, (producer, server)):
            process.terminate()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def wait_for_port(port: int) -> None:
    """Wait until somebody listens there."""
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def table(found: dict[str, dict[int, dict[str, float]]]) -> list[str]:
    """All sides at all lengths, as Markdown."""
    heads = [(side, length) for side, lengths in found.items() for length in lengths]
    names = list(dict.fromkeys(name for lengths in found.values() for figures in lengths.values() for name in figures))
    lines = [
        "| what | " + " | ".join(f"{side}, {length:,} rows" for side, length in heads) + " |",
        "|---" * (len(heads) + 1) + "|",
    ]
    for name in names:
        cells = [found[side][length].get(name) for side, length in heads]
        lines.append(f"| {name} | " + " | ".join("–" if cell is None else number(cell) for cell in cells) + " |")
    return lines


def tables_of_pages(lengths: list[int], tabs: int, *, with_peers: bool = True) -> str:
    """Measure, and give the tables as Markdown."""
    found: dict[str, Any] = {}
    with sync_playwright() as playwright:
        browser = chromium(playwright)
        found["Streamvis"] = ours(browser, lengths)
        if with_peers:
            found["plain Bokeh"] = plain_bokeh(browser, [rows for rows in lengths if rows <= BOKEH_LIMIT])
            if its := installed("visdom", ["visdom", "setuptools<81", "tornado<6.5"]):
                with left_out("visdom"):
                    fetch_visdom_scripts(its[0])
                    few = [VISDOM_LEAST, *(rows for rows in lengths if rows <= VISDOM_LIMIT)]
                    found[f"visdom {its[1]}"] = visdom(browser, few, its[0])
        browser.close()
    at_once = asyncio.run(many_tabs(tabs, 100))
    lines = [*table(found), "", f"| {tabs} sessions on one page process, five updates a second | |", "|---|---|"]
    return "\n".join([*lines, *(f"| {name} | {number(its)} |" for name, its in at_once.items())])


def main() -> None:
    """Measure what the command line asks for, and print the tables."""
    parser = argparse.ArgumentParser(description="What a viewer sees, beside plain Bokeh and visdom.")
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 100_000, 10_000_000], help="lengths of the run")
    parser.add_argument("--tabs", type=int, default=50, help="how many sessions at once, five updates a second")
    parser.add_argument("--no-peers", action="store_true", help="only Streamvis")
    options = parser.parse_args()
    print(tables_of_pages(options.rows, options.tabs, with_peers=not options.no_peers))


if __name__ == "__main__":
    main()
