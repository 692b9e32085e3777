"""`streamvis notebook`: what a notebook, or Jupyter's launcher, needs to show pages, started only where it is missing.

An endpoint that answers is used. Where none does and its address is this machine's, one is started on this user's data folder;
the page server is started unless the endpoint has one already and none is asked for. Ends with the program that started it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from streamvis.addresses.access import Tokens, is_loopback
from streamvis.commands import cli_options
from streamvis.commands.supervisor import Child, Supervisor, end_with_parent
from streamvis.commands.two_servers import PAGE_READY, REST_READY, Both, say
from streamvis.errors import UsageError
from streamvis.notebook import health_of

__all__ = ["notebook", "proxied"]

_HOST = "127.0.0.1"


@click.command(hidden=True)
@cli_options.url
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port of the page server.")
@cli_options.data
@cli_options.with_parent
def notebook(url: str, port: int, data: Path | None, with_parent: bool) -> None:
    """Have an endpoint and a page server for a notebook, or for Jupyter's launcher."""
    folder = cli_options.data_folder(data)
    with Supervisor() as supervisor:
        if with_parent:
            end_with_parent(supervisor.remove_folder)
        if health_of(url) is None:
            url = _holder_of(folder, url) or url
        if health_of(url) is None:
            both = Both((), _HOST, port, _port_of(url), folder, None, Tokens(), ())
            both.start(supervisor)
        else:
            say(f"{REST_READY}{url}")
            command = [sys.executable, "-P", "-m", "streamvis.cli", "page", "--with-parent", "--url", url, "--port"]
            supervisor.start(Child("page server", command, ready=PAGE_READY, port=port))
        supervisor.watch()


def proxied() -> dict[str, Any]:
    """What jupyter-server-proxy asks for: it shows the run list at `streamvis/` below Jupyter, from its launcher too."""
    # The names by which browsers reach Jupyter are not known here. Jupyter itself has checked who asks, and from which page.
    own = {"Host": f"{_HOST}:{{port}}", "Origin": f"http://{_HOST}:{{port}}"}
    return {
        "command": [sys.executable, "-P", "-m", "streamvis.cli", "notebook", "--port", "{port}"],
        "timeout": 60,
        "absolute_url": False,
        "request_headers_override": own,
        "launcher_entry": {"title": "Streamvis"},
    }


def _holder_of(folder: Path, url: str) -> str | None:
    from streamvis.store import endpoint_of

    if not is_loopback(urlsplit(url).hostname or ""):
        raise UsageError(f"No endpoint answers at {url}. Start `streamvis serve` on that machine.")
    return endpoint_of(folder)


def _port_of(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)
