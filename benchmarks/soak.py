"""Opens and closes page sessions by the hundred, and counts what is left of them in the page server.

    python benchmarks/soak.py --sessions 500

The page says itself what its process holds: documents, tasks of the event loop, threads. Connections and memory are seen from
outside.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path

import psutil
from pages import memory_mib, pages_of, running
from setting import Endpoint
from tabs import Tab

from streamvis import Client

PAGE = """
import asyncio, gc, json, threading
from bokeh.document import Document
from bokeh.models import ColumnDataSource, Div
from bokeh.plotting import figure
from streamvis import live_source

def init_page(doc, config):
    source = live_source("main", x="x", columns=["y"], name="main_plot")
    plot = figure()
    plot.line("x", "y", source=source)
    doc.add_root(plot)
    doc.add_root(Div(name="last"))
    gc.collect()
    counts = {
        "documents": sum(isinstance(one, Document) for one in gc.get_objects()),
        "tasks": len(asyncio.all_tasks()),
        "threads": threading.active_count(),
    }
    doc.add_root(Div(name="counts", text=json.dumps(counts)))

def update_page(doc, new_data):
    pass
"""


async def soak(sessions: int, at_once: int) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    """What there was before, at its most, and some time after the last session was closed."""
    endpoint = Endpoint()
    with running(endpoint), tempfile.TemporaryDirectory() as folder, Client(endpoint.url, "long") as client:
        client.init()
        for step in range(100):
            client.sendl(step, "main", {"x": step, "y": step / 2})
        client.flush()
        with pages_of(endpoint.url, Path(folder), PAGE) as (address, server):
            await open_and_close(address, at_once)  # what a page server at work needs is there after this
            before = await settled(address, server)
            most = dict(before)
            for _ in range(0, sessions, at_once):
                tabs = await open_and_close(address, at_once, client)
                most = {name: max(value, tabs.get(name, 0)) for name, value in most.items()}
            return before, most, await settled(address, server)


async def open_and_close(address: str, count: int, client: Client | None = None) -> dict[str, float]:
    """So many tabs at once, with something new while they are open; what the last of them said."""
    tabs = [Tab(address) for _ in range(count)]
    await asyncio.gather(*(tab.open() for tab in tabs))
    if client is not None:
        client.sendl(1000, "main", {"x": 1000, "y": 1.0})
        client.flush()
    counts = json.loads(tabs[-1].texts["counts"])
    await asyncio.gather(*(tab.close() for tab in tabs))
    return counts


async def settled(address: str, server: psutil.Process) -> dict[str, float]:
    """What there is when the sessions that were closed have ended, which Bokeh sees to after up to half a minute."""
    await asyncio.sleep(40)
    counts = await open_and_close(address, 1)
    return {**counts, "connections": len(server.net_connections()), "memory (MiB)": memory_mib(server)}


def main() -> None:
    """Run what the command line asks for, and print a table."""
    parser = argparse.ArgumentParser(description="Opens and closes page sessions, and counts what is left.")
    parser.add_argument("--sessions", type=int, default=500)
    parser.add_argument("--at-once", type=int, default=25)
    options = parser.parse_args()
    before, most, after = asyncio.run(soak(options.sessions, options.at_once))
    print(f"| in the page server | before | most | after {options.sessions} sessions |\n|---|---|---|---|")
    for name in before:
        print(f"| {name} | {before[name]:.0f} | {most[name]:.0f} | {after[name]:.0f} |")
    sys.exit(0 if all(after[name] <= before[name] + 2 for name in ("documents", "tasks", "connections")) else 1)


if __name__ == "__main__":
    main()
