"""Opens and closes page sessions by the hundred, and counts what is left of them in the page server.

    python benchmarks/soak.py --sessions 500

The first hundred warm up: what a page server at work needs, and as much memory as so many sessions take, is there after them.
Then, after every hundred, when all have ended, the page server counts what it holds (`holdings.py`). The program ends with 1
when documents, sessions or feeds are left, or when from the middle third of the counts to the last anything grew (`LIMITS`).

Among the sessions are those of pages that fail, that wait for a run, that are told to load again for a new run, and that are
closed in the middle of a long past.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import holdings
import numpy as np
from pages import pages_of, running
from setting import Endpoint
from tabs import Tab

from streamvis import Client

SCRIPT = """
import sys
from pathlib import Path
from bokeh.models import ColumnDataSource, Div
from bokeh.plotting import curdoc, figure
from streamvis import live_source
if {folder!r} not in sys.path:
    sys.path.append({folder!r})
import holdings
holdings.tell(Path({answer!r}))
KIND = curdoc().session_context.request.arguments.get("kind", [b""])[0].decode()
if KIND == "script fails":
    1 / 0

def init_page(doc, config):
    doc.add_root(Div(name="last"))
    source = live_source("main", x="x", columns=["y"]) if KIND == "live source" else ColumnDataSource({{"x": [], "y": []}})
    source.name = "main_plot"
    plot = figure()
    plot.line("x", "y", source=source)
    doc.add_root(plot)
    if KIND == "init_page fails":
        1 / 0

def update_page(doc, new_data):
    if KIND == "update_page fails":
        1 / 0
    if KIND != "live source" and "main" in new_data:
        doc.get_model_by_name("main_plot").stream(new_data["main"], rollover=1000)
"""
KINDS = {
    "rows": "?kind=rows",
    "live source": "?kind=live%20source",
    "long past": "?app=past",
    "init_page fails": "?kind=init_page%20fails",
    "update_page fails": "?kind=update_page%20fails",
    "script fails": "?kind=script%20fails",
    "waiting": "?app=nobody",
}
"""Sessions of every kind: what stands behind the address of the page."""
PAST_ROWS = 200_000
BLOCK = 100
SETTLED_S = 120.0
"""How long sessions may take to end. Bokeh waits for 15 s whether the tab comes back, and a feed for the end of its poll."""
TRIMMED_S = 10.0
"""After that what ended sessions left free has been given back to the system."""
BOKEHS = ("documents", "models", "Bokeh's sessions", "Bokeh's connections")
ENDING = (*BOKEHS, "sessions", "inboxes", "feeds", "modules of page scripts")
"""Of these nothing is left."""
LIMITS = {"memory (MiB)": 0.02, "Python objects": 0.5, "allocated blocks of memory": 1}
"""How much there may be more for each session, from the middle third of the counts to the last; of what is not named, 0.02."""


class Site:
    """An endpoint with a run and one with a long past, and a page server for them."""

    def __init__(self, client: Client, past: Client, address: str, pid: int, answer: Path) -> None:
        self._client, self._address, self._pid, self._answer = client, address, pid, answer
        self._kinds = itertools.cycle(KINDS.values())
        client.init()
        for step in range(100):
            client.sendl(step, "main", {"x": step, "y": step / 2})
        past.init()
        past.sendl(0, "main", {"x": np.arange(PAST_ROWS), "y": np.arange(PAST_ROWS) / 2})
        for one in (client, past):
            one.flush()

    async def open_and_close(self, count: int) -> None:
        """So many tabs at once of all kinds, with something new while they are open, and at last a new run."""
        tabs = [Tab(self._address + next(self._kinds)) for _ in range(count)]
        await asyncio.gather(*(self._open(tab) for tab in tabs))
        self._client.sendl(1000, "main", {"x": 1000, "y": 1.0})
        self._client.init()
        self._client.sendl(0, "main", {"x": 0, "y": 1.0})
        self._client.flush()
        await asyncio.gather(*(tab.close() for tab in tabs))

    async def _open(self, tab: Tab) -> None:
        await tab.open()
        if tab.address.endswith(KINDS["long past"]):
            await tab.close()  # the first piece of it is being read now

    async def settled(self) -> dict[str, float]:
        """What the page server holds when the sessions that were closed have ended, or did not in time."""
        deadline = time.monotonic() + SETTLED_S
        while True:
            counts = await self._count()
            if not any(counts[name] for name in ENDING) or time.monotonic() > deadline:
                await asyncio.sleep(TRIMMED_S)
                return await self._count()
            await asyncio.sleep(1)

    async def _count(self) -> dict[str, float]:
        return await asyncio.to_thread(holdings.ask, self._pid, self._answer)


async def soak(sessions: int, at_once: int) -> list[dict[str, float]]:
    """The counts after the warm-up and then after each block of sessions."""
    endpoint = Endpoint()
    with running(endpoint), tempfile.TemporaryDirectory() as folder:
        script = SCRIPT.format(folder=str(Path(__file__).parent), answer=str(Path(folder) / "counts.json"))
        with (
            Client(endpoint.url, "long") as client,
            Client(endpoint.url, "past") as past,
            pages_of(endpoint.url, Path(folder), script) as (address, server),
        ):
            site = Site(client, past, address, server.pid, Path(folder) / "counts.json")
            series = []
            for done in range(0, sessions + BLOCK, BLOCK):
                for _ in range(0, BLOCK, at_once):
                    await site.open_and_close(at_once)
                series.append(await site.settled())
                print(f"{done} sessions: {line(series[-1])}", file=sys.stderr, flush=True)
            return series


def line(counts: dict[str, float]) -> str:
    """Counts in one line."""
    return ", ".join(f"{value:.1f} {name}" if "MiB" in name else f"{value:.0f} {name}" for name, value in counts.items())


def faults(series: Sequence[dict[str, float]]) -> list[str]:
    """What is left or grows, in words; empty when all is well."""
    found = [f"{series[-1][name]:.0f} {name} are left" for name in ENDING if series[-1][name]]
    later = series[1:]
    third = max(1, len(later) // 3)
    middle, last = later[-2 * third : -third], later[-third:]
    if middle:
        for name in series[0]:
            more = statistics.median(one[name] for one in last) - statistics.median(one[name] for one in middle)
            if more > LIMITS.get(name, 0.02) * third * BLOCK:
                found.append(f"{name} grows: {more:.1f} in {third * BLOCK} sessions")
    return found


def main() -> None:
    """Run what the command line asks for, and print a table."""
    parser = argparse.ArgumentParser(description="Opens and closes page sessions, and counts what is left.")
    parser.add_argument("--sessions", type=int, default=500, help="after the hundred of the warm-up")
    parser.add_argument("--at-once", type=int, default=25)
    options = parser.parse_args()
    series = asyncio.run(soak(options.sessions, options.at_once))
    after = [BLOCK * i for i in range(len(series))]
    print(f"| in the page server, after | {' | '.join(str(n) if n else 'warm-up' for n in after)} |\n|---|{'---|' * len(series)}")
    for name in series[0]:
        print(f"| {name} | {' | '.join(f'{one[name]:,.1f}' if 'MiB' in name else f'{one[name]:,.0f}' for one in series)} |")
    found = faults(series)
    print("\n" + ("\n".join(found) or "Nothing is left, and nothing grows."))
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
