"""The endpoint as a program: the data folder, the port, and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from streamvis.addresses.access import Hosts, Tokens
from streamvis.addresses.database import DatabaseAddress
from streamvis.addresses.server import local_host
from streamvis.endpoint.alert_file import JOURNAL, AlertFile
from streamvis.endpoint.app import VANISH_AFTER_S, create_app
from streamvis.endpoint.connections import ConnectionLimits, Connections, Requests
from streamvis.endpoint.webhook import Webhook
from streamvis.errors import PortTaken, StreamvisError
from streamvis.open_files import room_for_connections
from streamvis.store import DataFolder, KeepValues, SqliteStore, end_copying
from streamvis.store.postgresql import importing

if TYPE_CHECKING:
    from streamvis.store.postgresql.store import PostgresStore

__all__ = ["run_endpoint"]

_log = logging.getLogger("streamvis")

_GRACE_S = 2
_UNREAD_MS = 60_000


def run_endpoint(
    data: Path | DatabaseAddress,
    host: str,
    port: int,
    *,
    tokens: Tokens = Tokens(),  # noqa: B008  # frozen
    allowed_hosts: Sequence[str] = (),
    certificate: tuple[Path, Path] | None = None,
    port_option: str = "--port",
    vanish_after_s: float = VANISH_AFTER_S,
    pages_note: Path | None = None,
    keep_values: Sequence[str] = (),
    alert_webhook: str | None = None,
    limits: ConnectionLimits = ConnectionLimits(),  # noqa: B008  # frozen
    allow_async_commit: bool = False,
    on_ready: Callable[[str], None],
) -> None:
    """Serve a data folder, or a database, until SIGINT or SIGTERM; `on_ready` gets the address once requests are answered.

    `certificate` holds the files of a certificate and its key, for TLS. A run of whose producers nothing is heard for
    `vanish_after_s` is shown as vanished. `keep_values` bounds the past of values (see
    `KeepValues.read`). Alerts are posted to `alert_webhook`. The file `pages_note` holds the address of the
    page for any run, once there is one. The `limits` of connections are lower where the process may not open as many files.
    Raises StoreError where what keeps the runs cannot be used, and PortTaken, which names `port_option` as the one to choose
    another port with.
    """
    held = None if isinstance(data, DatabaseAddress) else DataFolder(data)
    try:
        keep = KeepValues.read(keep_values)
        listener = _listen(host, port, port_option)
        if isinstance(data, DatabaseAddress):
            store = _database_store(data, keep, allow_async_commit)
            make_journal = store.alerts
        else:
            folder = data.absolute()
            store = SqliteStore(folder, keep_values=keep)
            make_journal = partial(AlertFile, folder / JOURNAL)
        end_copying(store)
        url = f"{'https' if certificate else 'http'}://{local_host(host)}:{listener.getsockname()[1]}"

        def page_of(run: str) -> str:
            return _page_of(pages_note, run)

        def webhook(address: str) -> Webhook:
            return Webhook(address, make_journal(), page_of=page_of)

        app = create_app(
            store,
            version=version("streamvis"),
            tokens=tokens,
            hosts=Hosts.of(host, allowed_hosts),
            vanish_after_s=vanish_after_s,
            page_of=page_of,
            make_webhook=partial(webhook, alert_webhook) if alert_webhook else None,
        )
        if held is not None:
            held.announce(url)
        connections = Connections(replace(limits, most_open=room_for_connections(limits.most_open)))
        try:
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                runner.run(_serve(app, listener, certificate, connections, lambda: on_ready(url)))
        finally:
            store.close()
    finally:
        if held is not None:
            held.release()


def _database_store(address: DatabaseAddress, keep: KeepValues, allow_async_commit: bool) -> PostgresStore:
    with importing():
        from streamvis.store.postgresql.store import PostgresStore
    store = PostgresStore(address, may_lose=allow_async_commit, keep_values=keep)
    _log.warning("The runs are in %s. %s", address, store.durability.told)
    if store.is_pooled:
        _log.warning("A connection pooler is in use: this endpoint polls for commits of other endpoints once a second.")
    return store


def _page_of(note: Path | None, run: str) -> str:
    try:
        page = note.read_text() if note is not None else ""
        return f"{page}?run={quote(run)}" if page and run else page
    except OSError:
        return ""  # the page server has not begun yet


def _listen(host: str, port: int, port_option: str) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=512)
        # Connections take this over. Without it the end of each answer waits for the other side's delayed acknowledgement: 40 ms.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            # Who asks and does not read the answer is disconnected, and the answer is dropped.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNREAD_MS)
        return listener
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(host, port, option=port_option) from error
        raise StreamvisError(f"Cannot listen on {host}:{port}: {error.strerror or error}.") from error


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where there is one, else what Python has."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _serve(
    app: FastAPI,
    listener: socket.socket,
    certificate: tuple[Path, Path] | None,
    connections: Connections,
    on_ready: Callable[[], None],
) -> None:
    certfile, keyfile = certificate or (None, None)
    config = uvicorn.Config(
        Requests(app),
        http=connections.protocol(AutoHTTPProtocol),  # pyright: ignore[reportArgumentType]  # uvicorn only calls it
        ws="none",
        timeout_keep_alive=connections.limits.idle_s,
        access_log=False,
        log_config=None,  # records reach the program's own log
        log_level="warning",
        lifespan="on",
        timeout_graceful_shutdown=_GRACE_S,
        server_header=False,
        ssl_certfile=certfile,
        ssl_keyfile=keyfile,
    )
    server = _Server(config, on_ready)

    def end() -> None:
        app.state.endpoint.news.close()
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, end)
    await server.serve(sockets=[listener])


class _Server(uvicorn.Server):
    """uvicorn, but the signals are ours: a request to end is not an error, and long polls are answered first."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()
