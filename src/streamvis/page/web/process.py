"""The page server as a program: Bokeh's server with a page for each script, and what its caller puts around them."""

from __future__ import annotations

import errno
import logging
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bokeh.server.server import BaseServer
from bokeh.settings import settings
from tornado.httputil import HTTPServerRequest
from tornado.ioloop import IOLoop
from tornado.netutil import bind_sockets

from streamvis.addresses.access import Hosts
from streamvis.addresses.server import local_host
from streamvis.errors import PageScriptError, PortTaken, StreamvisError
from streamvis.open_files import room_for_connections
from streamvis.page.feeds.reader import EndpointReader
from streamvis.page.scripts.application import page_application
from streamvis.page.scripts.file_watcher import Watch
from streamvis.page.scripts.script import PageScript, add_to_path
from streamvis.page.shared import SHARED
from streamvis.page.web.application import WebApplication
from streamvis.page.web.authorization import Door, cookie_name, guarded
from streamvis.page.web.closed_sessions import EndingLimits, end_gradually
from streamvis.page.web.connections import ConnectionLimits, LimitedServer
from streamvis.page.web.csv_export import RowsHandler
from streamvis.page.web.paths import Mount, Mounted
from streamvis.page.web.watchdog import held_back, watch

__all__ = ["Routes", "Site", "run_pages"]

_log = logging.getLogger("streamvis.page")


@dataclass(frozen=True, slots=True)
class Site:
    """What is around the pages has to know of them: the scripts, the app for those that name none, who may come in, and a reader
    of the endpoint."""

    scripts: Sequence[PageScript]
    app: str | None
    door: Door
    reader: EndpointReader

    def writer(self, request: HTTPServerRequest) -> EndpointReader | None:
        """What changes runs at the endpoint for whoever asks; None where they may not."""
        if not self.door.has_tokens:
            return self.reader
        token = self.door.write_token(request)
        return SHARED.reader(self.reader.url, token) if token is not None else None


Routes = Callable[[Site], Sequence[tuple[Any, ...]]]
"""Gives the routes around the pages, as Tornado takes them."""


def run_pages(
    scripts: Sequence[PageScript],
    *,
    url: str,
    host: str,
    port: int,
    app: str | None,
    token: str | None,
    routes: Routes = lambda site: (),
    door_keys: Sequence[bytes] = (),
    writer_key: bytes | None = None,
    allowed_hosts: Sequence[str] = (),
    frames: Sequence[str] = (),
    mount: Mount = Mount(),  # noqa: B008  # frozen
    certificate: tuple[Path, Path] | None = None,
    hang_note: Path | None = None,
    hang_s: float = 20.0,
    reloads: bool = True,
    limits: ConnectionLimits = ConnectionLimits(),  # noqa: B008  # frozen
    endings: EndingLimits = EndingLimits(),  # noqa: B008  # frozen
    on_ready: Callable[[str], None],
) -> None:
    """Serve the scripts until SIGINT or SIGTERM; `on_ready` gets the address of the root when pages can be opened.

    `routes` are around the pages. `token` is for the endpoint at `url`; with `door_keys`, a token of one of them is needed to
    open pages, also in frames of the origins `frames`, and who has that of `writer_key` may change runs. `mount` is what stands
    in front of this server. `certificate` holds the files of a certificate and its key, for TLS. With `hang_note` the process
    ends itself when an author's code holds up its event loop for `hang_s` seconds (see `watchdog`): whoever gives that restarts
    it. With `reloads`, open pages change when their files are saved. The `limits` of connections are lower where the process may
    not open as many files. Raises PortTaken, or PageScriptError when two scripts have one name.
    """
    names = [script.name for script in scripts]
    for script in scripts:
        if names.count(script.name) > 1:
            told = f"Two page scripts are named {script.name}; their pages would have the same address."
            path = script.path.parent if script.is_folder else script.path
            raise PageScriptError(f"{told} Name one of them: other_name={path}")
        add_to_path(script)
    # The door has looked at the origin before, and knows more: Bokeh cannot say "the server's own, whatever its name".
    settings.allowed_ws_origin = ["*"]
    # That a tab was closed while something was on the way to it is nothing that anybody has to know.
    logging.getLogger("bokeh.server.views.ws").addFilter(lambda record: not record.getMessage().startswith("Failed sending"))
    loop = IOLoop.current()
    held = held_back(hang_note, {script.name: script.path for script in scripts}) if hang_note else {}
    sockets = _bound(host, port)
    port = sockets[0].getsockname()[1]
    door = Door(door_keys, cookie_name(port), Hosts.of(host, allowed_hosts), mount, tuple(frames), writer_key)
    reader = SHARED.reader(url, token)
    edits = Watch(loop) if reloads else None
    application = WebApplication(
        {
            script.name: page_application(script, url=url, app=app, token=token, held_back=held.get(script.name), watch=edits)
            for script in scripts
        },
        mount=mount,
        frames=tuple(frames),
        check_unused_sessions_milliseconds=round(1000 * endings.check_s),
        unused_session_lifetime_milliseconds=round(1000 * endings.lifetime_s),
        use_index=False,
        redirect_root=False,
        extra_patterns=[("/rows.csv", RowsHandler, {"reader": reader}), *routes(Site(scripts, app, door, reader))],
        # Bokeh writes what else the browser sent into the page, for authors to read. These let in who has them.
        exclude_headers=["Authorization", "Cookie"],
        exclude_cookies=[cookie_name(port)],
    )
    front = Mounted(guarded(application, door), mount)
    limits = replace(limits, most_open=room_for_connections(limits.most_open))
    http_server = LimitedServer(front, limits=limits, ssl_options=_tls(certificate))
    http_server.add_sockets(sockets)
    server = BaseServer(loop, application, http_server)
    checks = end_gradually(application, SHARED.heap, limits=endings)
    server.start()
    if hang_note:
        watch(hang_note, loop, hang_s=hang_s)
    is_ending = threading.Event()

    def end(*_: object) -> None:
        is_ending.set()
        loop.add_callback_from_signal(loop.stop)

    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, end)
    on_ready(f"{'https' if certificate else 'http'}://{local_host(host)}:{port}{mount.prefix}")
    while not is_ending.is_set():
        try:
            loop.start()
        except (SystemExit, KeyboardInterrupt):
            # In a task or a callback that an author's code gave to the loop by itself: asyncio lets these two through.
            _log.exception("something on the event loop asked the page server to end; it continues")
    if edits is not None:
        edits.end()
    checks.stop()
    server.stop()


def _bound(host: str, port: int) -> list[socket.socket]:
    try:
        return bind_sockets(port, host)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(host, port, option="--port") from error
        raise StreamvisError(f"Cannot listen on {host}:{port}: {error.strerror or error}.") from error


def _tls(certificate: tuple[Path, Path] | None) -> ssl.SSLContext | None:
    if certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    return context
