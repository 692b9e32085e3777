"""Streamvis shows data from a process that is still running, on a page that its author wrote with Bokeh.

`Client` is the half for the process, `Server` with `init_page` and `update_page` the half for the page; see the README.
`run` and `log` are for a process that wants neither a client nor a step, `open` reads runs back in a script. `live_source` and
`band_source` make sources that fill themselves, `panels` has ready-made pieces of pages that do, and `runs` lists the runs of a
page's app. What a producer needs is there at once; the rest is loaded when asked for, so that a producer imports no Bokeh, no web
server and no database.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from streamvis.client import Client, log, run
from streamvis.errors import StreamvisError

if TYPE_CHECKING:
    from streamvis import panels
    from streamvis.page import NewData, Server, band_source, live_source, runs
    from streamvis.reading import open_reader as open

__all__ = [
    "Client",
    "NewData",
    "Server",
    "StreamvisError",
    "band_source",
    "live_source",
    "log",
    "open",
    "panels",
    "run",
    "runs",
]


def __getattr__(name: str) -> Any:
    if name in ("NewData", "Server", "band_source", "live_source", "runs"):
        from streamvis import page

        return getattr(page, name)
    if name == "open":
        from streamvis.reading import open_reader

        return open_reader
    if name == "panels":
        return import_module("streamvis.panels")
    raise AttributeError(f"module 'streamvis' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
