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
    from streamvis.opening import open_reader as open
    from streamvis.page.live.sources import band_source, live_source
    from streamvis.page.new_data import NewData
    from streamvis.page.runs import runs
    from streamvis.page.server import Server

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


_LOADED_WHEN_ASKED_FOR = {
    "NewData": ("streamvis.page.new_data", "NewData"),
    "Server": ("streamvis.page.server", "Server"),
    "band_source": ("streamvis.page.live.sources", "band_source"),
    "live_source": ("streamvis.page.live.sources", "live_source"),
    "open": ("streamvis.opening", "open_reader"),
    "runs": ("streamvis.page.runs", "runs"),
}


def load_ipython_extension(ipython: Any) -> None:
    """For `%load_ext streamvis`."""
    from streamvis.notebook import load

    load(ipython)


def __getattr__(name: str) -> Any:
    if name == "panels":
        return import_module("streamvis.panels")
    if name not in _LOADED_WHEN_ASKED_FOR:
        raise AttributeError(f"module 'streamvis' has no attribute {name!r}")
    module, own_name = _LOADED_WHEN_ASKED_FOR[name]
    return getattr(import_module(module), own_name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
