"""How long the event loop of a page server stands still: while pages with many live figures are loaded, and while sessions end.

    python benchmarks/stalls.py --figures 10 50 100 --sessions 25 100 200

A page server does everything on one event loop, so whatever it works at without a break holds up every page (`pulse.py`). The
sessions are those of plain GETs, whose tabs never connect: all of them are due at the same time, 15 s later.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable
from importlib.metadata import version
from pathlib import Path

import pulse
from pages import memory_mib, pages_of, running
from setting import Endpoint, number
from tornado.httpclient import AsyncHTTPClient

from streamvis import Client

PAGE = """
import sys
from pathlib import Path
if {folder!r} not in sys.path:
    sys.path.append({folder!r})
import pulse
pulse.feel(Path({answer!r}))
from bokeh.layouts import column
from bokeh.plotting import figure
from streamvis import live_source

def init_page(doc, config):
    figures = []
    for i in range(int(doc.session_context.request.arguments.get("figures", [b"1"])[0])):
        plot = figure(width=300, height=200)
        if b"plain" not in doc.session_context.request.arguments.get("sources", []):
            plot.line("step", "y", source=live_source(f"key {{i}}", columns=["y"]))
        else:
            plot.line([1, 2], [3, 4])
        figures.append(plot)
    doc.add_root(column(figures))

def update_page(doc, new_data):
    pass
"""
AT_ONCE = 25
DUE_S, GONE_S, CALM_S = 15.0, 120.0, 8
IDLE, PULSE_S = 0.15, 0.1
"""How much of a core an idle page server takes at most, and how long until its pulse is written down."""


def script(answer: Path) -> str:
    """The page, which keeps its pulse in `answer`."""
    return PAGE.format(folder=str(Path(__file__).parent), answer=str(answer))


async def timed(work: Awaitable[object]) -> float:
    """How many seconds something takes."""
    began = time.perf_counter()
    await work
    return time.perf_counter() - began


async def get(address: str) -> None:
    """Load a page, and never connect."""
    await AsyncHTTPClient(max_clients=1000).fetch(address, request_timeout=300)


async def figures(address: str, answer: Path, count: int) -> dict[str, float]:
    """A page with so many figures, beside the same page with figures that Streamvis has nothing to do with."""
    found = {}
    for name, sources in (("live", "live"), ("plain Bokeh's", "plain")):
        pulse.longest_s(answer)
        found[f"GET, {name} figures (s)"] = await timed(get(f"{address}?figures={count}&sources={sources}"))
        await asyncio.sleep(PULSE_S)
        found[f"longest task, {name} figures (s)"] = pulse.longest_s(answer)
    return found


async def endings(url: str, folder: Path, count: int) -> dict[str, float]:
    """So many sessions that are due together."""
    answer = folder / "pulse.json"
    answer.unlink(missing_ok=True)
    with pages_of(url, folder, script(answer)) as (address, server):
        for _ in range(0, count, AT_ONCE):
            await asyncio.gather(*(get(address) for _ in range(min(AT_ONCE, count))))
        await asyncio.sleep(PULSE_S)
        pulse.longest_s(answer)
        before, used, began = memory_mib(server), sum(server.cpu_times()[:2]), time.perf_counter()
        await asyncio.sleep(DUE_S)
        deadline, calm = time.monotonic() + GONE_S, 0
        while calm < CALM_S and time.monotonic() < deadline:
            so_far = sum(server.cpu_times()[:2])
            await asyncio.sleep(1)
            calm = calm + 1 if sum(server.cpu_times()[:2]) - so_far < IDLE else 0
        return {
            "longest task (s)": pulse.longest_s(answer),
            "all ended after (s)": time.perf_counter() - began - calm,
            "processor time (s)": sum(server.cpu_times()[:2]) - used,
            "memory before (MiB)": before,
            "memory after (MiB)": memory_mib(server),
        }


def table(head: str, found: dict[int, dict[str, float]]) -> str:
    """All counts, as Markdown."""
    names = list(next(iter(found.values()), {}))
    lines = [f"| {head} | {' | '.join(map(str, found))} |", f"|---|{'---|' * len(found)}"]
    return "\n".join(lines + [f"| {name} | {' | '.join(number(its[name]) for its in found.values())} |" for name in names])


async def measure(counts_of_figures: list[int], counts_of_sessions: list[int]) -> None:
    """Measure, and print the tables."""
    endpoint = Endpoint()
    with running(endpoint), tempfile.TemporaryDirectory() as folder, Client(endpoint.url, "long") as client:
        client.init()
        for i in range(max(counts_of_figures, default=1)):
            client.sendl(0, f"key {i}", {"y": 1.0})
        client.flush()
        drawn, ended = {}, {}
        answer = Path(folder) / "pulse.json"
        with pages_of(endpoint.url, Path(folder), script(answer)) as (address, _):
            await get(address)
            await asyncio.sleep(PULSE_S)
            for count in counts_of_figures:
                drawn[count] = await figures(address, answer, count)
        for count in counts_of_sessions:
            ended[count] = await endings(endpoint.url, Path(folder), count)
    print(f"Bokeh {version('bokeh')}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    print(table("figures in a page", drawn), table("sessions that expire together", ended), sep="\n\n")


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description="How long the event loop of a page server stands still.")
    parser.add_argument("--figures", type=int, nargs="*", default=[10, 50, 100], help="how many live figures a page has")
    parser.add_argument("--sessions", type=int, nargs="*", default=[25, 100, 200], help="how many sessions end together")
    options = parser.parse_args()
    asyncio.run(measure(options.figures, options.sessions))


if __name__ == "__main__":
    main()
