"""The page server as a program: Bokeh's server with a page for each script, and an index of pages, apps and runs at `/`."""

from __future__ import annotations

import asyncio
import datetime as dt
import errno
import signal
import socket
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

from bokeh.server.server import Server as BokehServer
from bokeh.settings import settings
from tornado.ioloop import IOLoop
from tornado.template import Template
from tornado.web import RequestHandler

from streamvis.errors import PageScriptError, PortTaken, StreamvisError
from streamvis.page.feed import FEEDS
from streamvis.page.scripts import PageScript, add_to_path, page_application
from streamvis.page.server import LOOPBACK_ORIGINS

__all__ = ["run_pages"]


def run_pages(
    scripts: Sequence[PageScript],
    *,
    url: str,
    host: str,
    port: int,
    app: str | None,
    token: str | None,
    allowed_hosts: Sequence[str] = (),
    on_ready: Callable[[str], None],
) -> None:
    """Serve the scripts until SIGINT or SIGTERM; `on_ready` gets the address when pages can be opened.

    Raises PortTaken, or PageScriptError when two scripts have one name.
    """
    names = [script.name for script in scripts]
    for script in scripts:
        if names.count(script.name) > 1:
            raise PageScriptError(f"Two page scripts are named {script.name}; their pages would have the same address.")
        add_to_path(script)
    # Read at every connection; the server's own option takes no wildcard for the port.
    settings.allowed_ws_origin = _origins(host, allowed_hosts)
    loop = IOLoop.current()
    index = {"scripts": scripts, "reader": FEEDS.reader(url, token)}
    try:
        server = BokehServer(
            {f"/{script.name}": page_application(script, url=url, app=app, token=token) for script in scripts},
            port=port,
            address=host,
            use_index=False,
            redirect_root=False,
            extra_patterns=[("/", _IndexHandler, index)],
        )
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(host, port, option="--port") from error
        raise StreamvisError(f"Cannot listen on {host}:{port}: {error.strerror or error}.") from error
    server.start()
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, lambda *_: loop.add_callback_from_signal(loop.stop))
    shown = "127.0.0.1" if host in ("0.0.0.0", "") else f"[{host}]" if ":" in host else host
    on_ready(f"http://{shown}:{server.port}")
    loop.start()
    server.stop()


def _origins(host: str, allowed_hosts: Sequence[str]) -> list[str]:
    """Loopback under any port; where others may connect too, this machine's names and the ones that were given."""
    named = [f"{name}:*" if ":" not in name else name for name in allowed_hosts]
    if host in ("127.0.0.1", "localhost", "::1"):
        return [*LOOPBACK_ORIGINS, *named]
    own = {host, socket.gethostname(), socket.getfqdn()} - {"0.0.0.0", "::", ""}
    return [*LOOPBACK_ORIGINS, *(f"{name}:*" for name in sorted(own)), *named]


class _IndexHandler(RequestHandler):
    """The list of pages, apps and runs. Everything in it is text: the template escapes what it is given."""

    def initialize(self, scripts: Sequence[PageScript], reader: Any) -> None:
        self._scripts, self._reader = scripts, reader

    async def get(self) -> None:
        trouble, apps = "", {}
        try:
            apps = await asyncio.get_running_loop().run_in_executor(None, self._reader.overview)
        except StreamvisError as error:
            trouble = str(error)
        template = Template(files(__package__).joinpath("index.html").read_text(encoding="utf-8"))
        self.set_header("Cache-Control", "no-store")
        self.finish(
            template.generate(scripts=self._scripts, apps=apps, trouble=trouble, url=self._reader.url, moment=_moment)
        )


def _moment(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")
