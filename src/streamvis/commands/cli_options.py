"""The options that the programs share. Each has an environment variable of its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from streamvis.addresses.access import user_folder
from streamvis.addresses.database import DatabaseAddress, is_database
from streamvis.addresses.endpoint import checked_url
from streamvis.errors import UsageError

__all__ = [
    "DATA",
    "PAGE_PORT",
    "REST_PORT",
    "alert_webhook",
    "allow_async_commit",
    "allow_frame",
    "allow_host",
    "app",
    "certificate_of",
    "data",
    "data_folder",
    "hang_note",
    "hang_s",
    "host",
    "keep_values",
    "no_browser",
    "no_reload",
    "page_token",
    "pages_note",
    "port",
    "port_option",
    "prefix",
    "read_token",
    "rest_port",
    "schema",
    "scripts",
    "store",
    "store_at",
    "tls_cert",
    "tls_key",
    "token",
    "trust_proxy",
    "url",
    "url_or_folder",
    "webhook_of",
    "with_parent",
]

PAGE_PORT, REST_PORT = 5006, 8080

scripts = click.argument("scripts", nargs=-1, metavar="[[NAME=]PAGE.py ...]", type=click.Path(path_type=Path))


def _option(*names: str, env: str, **settings: Any) -> Callable[[Any], Any]:
    return click.option(*names, envvar=f"STREAMVIS_{env}", show_envvar=True, show_default=True, **settings)


class _Data(click.ParamType):
    """A folder, or a database."""

    name = "folder"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | DatabaseAddress:
        if not isinstance(value, str):
            return value
        if is_database(value):
            return DatabaseAddress.of(value)
        if "://" in value:
            self.fail("not a data folder or a PostgreSQL address. Use a folder, or postgresql://USER@HOST/DATABASE.", param, ctx)
        return Path(value)


DATA = _Data()
"""What keeps runs, as arguments name it."""
data = _option("--data", env="DATA", type=DATA, help="Folder in which runs are stored. [default: per user]")
store = click.option(
    "--data",
    envvar="STREAMVIS_DATA",
    show_envvar=True,
    type=DATA,
    metavar="FOLDER|postgresql://...",
    help="Where runs are stored: a folder, or a PostgreSQL database. [default: a folder per user]",
)
schema = _option("--schema", env="SCHEMA", metavar="NAME", help="Schema of the database. [default: streamvis]")
allow_async_commit = click.option(
    "--allow-async-commit",
    is_flag=True,
    help="Use a database with synchronous_commit or fsync off: acknowledged data can be lost.",
)
app = _option("--app", env="APP", help="App to show if neither the address nor the script names one.")
_port = click.IntRange(0, 65535)
allow_host = click.option(
    "--allow-host",
    "allowed_hosts",
    envvar="STREAMVIS_ALLOW_HOST",
    show_envvar=True,
    multiple=True,
    metavar="NAME",
    help="Additional host name of the server.",
)
allow_frame = click.option(
    "--allow-frame", "frames", multiple=True, metavar="ORIGIN", help="Site that may show pages in frames, also with a token."
)
alert_webhook = _option("--alert-webhook", env="ALERT_WEBHOOK", metavar="URL", help="URL to which each alert is posted.")
prefix = _option("--prefix", env="PREFIX", default="", metavar="PATH", help="Path below which a proxy serves the pages.")
trust_proxy = click.option(
    "--trust-proxy", "proxies", multiple=True, metavar="ADDRESS", help="Proxy on another machine whose X-Forwarded headers count."
)
no_browser = _option("--no-browser", env="NO_BROWSER", is_flag=True, help="Do not open a browser.")
no_reload = _option("--no-reload", env="NO_RELOAD", is_flag=True, help="Do not reload open pages when their files change.")
rest_port = _option(
    "--rest-port", env="REST_PORT", type=_port, default=REST_PORT, help="Port of the endpoint; 0 for any free one."
)
hang_note = click.option("--hang-note", type=click.Path(path_type=Path), hidden=True, help="Where to write what hung.")
pages_note = click.option("--pages-note", type=click.Path(path_type=Path), hidden=True, help="Where the address of pages is.")
hang_s = _option("--hang-s", env="HANG_S", type=float, default=20.0, hidden=True, help="How long the event loop may not move.")
port_option = click.option("--port-option", default="--port", hidden=True, help="How the port is chosen where this is started.")
with_parent = click.option("--with-parent", is_flag=True, hidden=True, help="End when standard input is closed.")
_MADE = "[default: created and stored, if other machines can connect]"
token = _option("--token", env="TOKEN", help=f"Token with full access. {_MADE}")
read_token = _option("--read-token", env="READ_TOKEN", help=f"Token with read access. {_MADE}")
page_token = _option("--page-token", env="PAGE_TOKEN", help=f"Token that opens pages. {_MADE}")
url = _option("--url", env="URL", default="http://localhost:8080", help="Address of the endpoint.")
url_or_folder = _option("--url", env="URL", default="http://localhost:8080", help="Address of the endpoint, or a data folder.")
_seconds = click.FloatRange(min=0, min_open=True)
keep_values = _option(
    "--keep-values",
    env="KEEP_VALUES",
    multiple=True,
    metavar="AGE|SIZE",
    help="How long values are kept, or how many bytes of them: 30d, 20GB. A key's newest is always kept. [default: all]",
)
vanish_after = click.option("--vanish-after", "vanish_after_s", type=_seconds, default=45.0, hidden=True)
_file = click.Path(path_type=Path, exists=True, dir_okay=False)
tls_cert = _option("--tls-cert", env="TLS_CERT", type=_file, help="Certificate file, to serve https.")
tls_key = _option("--tls-key", env="TLS_KEY", type=_file, help="Key file of the certificate.")


def host(default: str = "127.0.0.1") -> Callable[[Any], Any]:
    """The address to listen on."""
    return _option("--host", env="HOST", default=default, help="Address to listen on; 0.0.0.0 lets other machines connect.")


def port(default: int, what: str) -> Callable[[Any], Any]:
    """The port of what is served."""
    return _option("--port", env="PORT", type=_port, default=default, help=f"Port of the {what}; 0 for any free one.")


def certificate_of(tls_cert: Path | None, tls_key: Path | None) -> tuple[Path, Path] | None:
    """Both files, or None without TLS. Raises UsageError when there is one of them."""
    if (tls_cert is None) != (tls_key is None):
        raise UsageError("TLS needs both --tls-cert and --tls-key.")
    return (tls_cert, tls_key) if tls_cert and tls_key else None


def webhook_of(alert_webhook: str | None) -> str | None:
    """The webhook's address. Raises UsageError where it is not one, without telling it."""
    if alert_webhook:
        try:
            checked_url(alert_webhook)
        except UsageError:
            raise UsageError("--alert-webhook is not an address. Give one such as https://chat.example.org/hooks/...") from None
    return alert_webhook or None


def store_at(data: Path | DatabaseAddress | None, schema: str | None) -> Path | DatabaseAddress:
    """What was named, else the user's own folder. Raises UsageError for a schema of a folder."""
    if isinstance(data, DatabaseAddress):
        return data.in_schema(schema)
    if schema is not None:
        raise UsageError("--schema is for a database: name it with --data postgresql://USER@HOST/DATABASE.")
    return data_folder(data)


def data_folder(data: Path | DatabaseAddress | None) -> Path:
    """The folder that was named, else the user's own. Raises UsageError for a database."""
    if isinstance(data, DatabaseAddress):
        raise UsageError("This is for a data folder, and not for a database: give --data FOLDER.")
    return data.expanduser() if data is not None else user_folder()
