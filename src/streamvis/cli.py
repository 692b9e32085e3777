"""The programs: `streamvis serve`, `demo`, `rest` and `page`. The only place that wires the parts together.

`rest` and `page` are one process each. `serve` and `demo` start those as children, watch them, and restart what dies (see
`commands.supervisor`). Each program prints one line with its address when it is ready; a problem that the user can fix is a
message on stderr and exit status 1.
"""

from __future__ import annotations

import atexit
import gc
import logging
import os
import sys
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from importlib.util import find_spec
from pathlib import Path

import click

from streamvis.addresses.access import READ_TOKEN, WRITE_TOKEN, Tokens, door_key, is_loopback, kept_token
from streamvis.addresses.database import DatabaseAddress
from streamvis.addresses.endpoint import checked_token
from streamvis.commands import cli_options
from streamvis.commands.data import backup, check, copy, migrate, restore, sync
from streamvis.commands.init import init
from streamvis.commands.notebook import notebook
from streamvis.commands.runs import COMMANDS
from streamvis.commands.snapshot import snapshot
from streamvis.commands.supervisor import Child, Supervisor, end_with_parent
from streamvis.commands.two_servers import PAGE_READY, REST_READY, WRITER_KEY, Both, say, say_other_hosts, say_tokens, say_tunnel
from streamvis.errors import StreamvisError, UsageError
from streamvis.log_lines import LogFormatter, one_line

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="streamvis", message="streamvis %(version)s")
def cli() -> None:
    """Watch a running process in the browser, on a page for any run or on your own Bokeh page.

    \b
    - streamvis serve: run the endpoint, and a page that shows all data of any run
    - streamvis init: create your own page, and a producer to start from
    - streamvis serve page.py: run the endpoint and your page
    - streamvis demo: train a neural network, live in your browser
    """


@cli.command()
@cli_options.host()
@cli_options.port(cli_options.REST_PORT, "endpoint")
@cli_options.store
@cli_options.schema
@cli_options.allow_async_commit
@cli_options.token
@cli_options.read_token
@cli_options.allow_host
@cli_options.tls_cert
@cli_options.tls_key
@cli_options.keep_values
@cli_options.alert_webhook
@cli_options.vanish_after
@cli_options.pages_note
@cli_options.port_option
@cli_options.with_parent
def rest(
    host: str,
    port: int,
    data: Path | DatabaseAddress | None,
    schema: str | None,
    allow_async_commit: bool,
    token: str | None,
    read_token: str | None,
    allowed_hosts: tuple[str, ...],
    tls_cert: Path | None,
    tls_key: Path | None,
    keep_values: tuple[str, ...],
    alert_webhook: str | None,
    vanish_after_s: float,
    pages_note: Path | None,
    port_option: str,
    with_parent: bool,
) -> None:
    """Run only the endpoint: the REST server that stores the data of producers.

    Producers use its address in Client("http://HOST:PORT", "app"); the API is documented at /docs. If other machines can connect,
    a token is required, which producers take from the environment variable STREAMVIS_TOKEN.
    """
    with _importing():
        from streamvis.endpoint import run_endpoint

    if with_parent:
        end_with_parent()
    place = cli_options.store_at(data, schema)
    tokens = _tokens(host, place, token, read_token)

    def ready(url: str) -> None:
        say(f"{REST_READY}{url}")
        if not with_parent:
            say_other_hosts(host, url)
            say_tokens(place, tokens, is_kept=not token)

    run_endpoint(
        place,
        host,
        port,
        tokens=tokens,
        allowed_hosts=allowed_hosts,
        certificate=cli_options.certificate_of(tls_cert, tls_key),
        port_option=port_option,
        keep_values=keep_values,
        vanish_after_s=vanish_after_s,
        pages_note=pages_note,
        allow_async_commit=allow_async_commit,
        alert_webhook=cli_options.webhook_of(alert_webhook),
        on_ready=ready,
    )


@cli.command()
@cli_options.scripts
@cli_options.url
@cli_options.host()
@cli_options.port(cli_options.PAGE_PORT, "page server")
@cli_options.app
@cli_options.page_token
@cli_options.allow_host
@cli_options.allow_frame
@cli_options.prefix
@cli_options.trust_proxy
@cli_options.tls_cert
@cli_options.tls_key
@cli_options.no_reload
@cli_options.hang_note
@cli_options.hang_s
@cli_options.with_parent
def page(
    scripts: tuple[Path, ...],
    url: str,
    host: str,
    port: int,
    app: str | None,
    page_token: str | None,
    allowed_hosts: tuple[str, ...],
    frames: tuple[str, ...],
    prefix: str,
    proxies: tuple[str, ...],
    tls_cert: Path | None,
    tls_key: Path | None,
    no_reload: bool,
    hang_note: Path | None,
    hang_s: float,
    with_parent: bool,
) -> None:
    """Run only the page server: each script is a page at its own address, and / lists all runs.

    A script needs a function init_page(doc, config), and may have update_page(doc, new_data). A folder with a main.py is also a
    page. The address of a page ends with the name of its file, or with NAME if NAME=PAGE.py is given. The page `runs`, which
    shows any run, is always available. If the endpoint requires a token, it is taken from the environment variable
    STREAMVIS_TOKEN.
    """
    with _importing():
        from streamvis.page.scripts.script import pages_of
        from streamvis.page.web.authorization import checked_origin
        from streamvis.page.web.paths import Mount
        from streamvis.page.web.process import run_pages
        from streamvis.shell import shell_routes
        from streamvis.transport import checked_url

    if with_parent:
        end_with_parent()
    page_token = checked_token(page_token)
    token = os.environ.get("STREAMVIS_TOKEN") or None
    opening = [page_token, token]
    if page_token is None and not is_loopback(host):
        folder = cli_options.data_folder(None)
        page_token = kept_token(folder, READ_TOKEN)
        opening += [page_token, kept_token(folder, WRITE_TOKEN) if (folder / WRITE_TOKEN).exists() else None]
    writer = bytes.fromhex(os.environ.get(WRITER_KEY, "")) or (door_key(token) if token else None)
    keys = [door_key(one) for one in dict.fromkeys(opening) if one] + [writer]

    def ready(address: str) -> None:
        say(f"{PAGE_READY}{address}")
        if with_parent:
            return
        query = f"?token={page_token}" if page_token else ""
        if query:
            say(f"Open {address}/{query}")
        say_other_hosts(host, f"{address}/{query}")
        say_tunnel(host, f"{address}/{query}")

    run_pages(
        pages_of(scripts),
        url=checked_url(url),
        host=host,
        port=port,
        app=app,
        token=token,
        routes=shell_routes,
        door_keys=[key for key in keys if key] if page_token else (),
        writer_key=writer,
        allowed_hosts=allowed_hosts,
        frames=[checked_origin(origin) for origin in frames],
        mount=Mount.of(prefix, proxies),
        certificate=cli_options.certificate_of(tls_cert, tls_key),
        hang_note=hang_note,
        hang_s=hang_s,
        reloads=not no_reload,
        on_ready=ready,
    )


@cli.command()
@cli_options.scripts
@cli_options.host()
@cli_options.port(cli_options.PAGE_PORT, "page server")
@cli_options.rest_port
@cli_options.store
@cli_options.schema
@cli_options.allow_async_commit
@cli_options.app
@cli_options.token
@cli_options.read_token
@cli_options.allow_host
@cli_options.allow_frame
@cli_options.prefix
@cli_options.trust_proxy
@cli_options.tls_cert
@cli_options.tls_key
@cli_options.keep_values
@cli_options.alert_webhook
@cli_options.no_reload
@cli_options.no_browser
def serve(
    scripts: tuple[Path, ...],
    host: str,
    port: int,
    rest_port: int,
    data: Path | DatabaseAddress | None,
    schema: str | None,
    allow_async_commit: bool,
    app: str | None,
    token: str | None,
    read_token: str | None,
    allowed_hosts: tuple[str, ...],
    frames: tuple[str, ...],
    prefix: str,
    proxies: tuple[str, ...],
    tls_cert: Path | None,
    tls_key: Path | None,
    keep_values: tuple[str, ...],
    alert_webhook: str | None,
    no_reload: bool,
    no_browser: bool,
) -> None:
    """Run the endpoint and the page server, and restart either if it ends unexpectedly.

    Without a script, it shows any run on the page `runs`, which is also available together with scripts.
    """
    from streamvis.page.scripts.script import pages_of
    from streamvis.page.web.authorization import checked_origin
    from streamvis.page.web.paths import Mount, page_path

    pages = pages_of(scripts)
    place = cli_options.store_at(data, schema)
    both = Both(scripts, host, port, rest_port, place, app, _tokens(host, place, token, read_token), allowed_hosts)
    both.rest_options = ["--allow-async-commit"] if allow_async_commit else []
    both.rest_options += [part for text in keep_values for part in ("--keep-values", text)]
    both.certificate = cli_options.certificate_of(tls_cert, tls_key)
    both.alert_webhook = cli_options.webhook_of(alert_webhook)
    both.first = page_path(pages[0].name) if len(scripts) < 2 else "/"
    for origin in frames:
        both.page_options += ["--allow-frame", checked_origin(origin)]
    both.page_options += ["--prefix", Mount.of(prefix, proxies).prefix]
    both.page_options += [part for proxy in proxies for part in ("--trust-proxy", proxy)]
    both.page_options += ["--no-reload"] if no_reload else []
    with Supervisor() as supervisor:
        url, page_address = both.start(supervisor)
        (to_send, to_open), *others = both.to_tell(url, page_address)
        say(f"Open {to_open} in a browser. Producers send to {to_send}. Ctrl-C ends both.")
        for to_send, to_open in others:
            say(f"If that name cannot be resolved, open {to_open} and send to {to_send}")
        say_tokens(place, both.tokens, is_kept=not token)
        say_tunnel(host, page_address)
        _open_browser(page_address, no_browser)
        supervisor.watch()


@cli.command()
@cli_options.host()
@cli_options.port(cli_options.PAGE_PORT, "page server")
@cli_options.rest_port
@cli_options.data
@cli_options.token
@cli_options.read_token
@cli_options.no_browser
def demo(
    host: str, port: int, rest_port: int, data: Path | None, token: str | None, read_token: str | None, no_browser: bool
) -> None:
    """Train a small neural network on handwritten digits, and watch it in the browser.

    Runs the endpoint, the page server and the training."""
    if find_spec("sklearn") is None:
        raise UsageError("The demo needs scikit-learn. Install it with: pip install 'streamvis[demo]'")
    folder = cli_options.data_folder(data)
    with as_file(files("streamvis.demo") / "page.py") as script, Supervisor() as supervisor:
        both = Both((script,), host, port, rest_port, folder, None, _tokens(host, folder, token, read_token), ())
        both.first = f"/{script.stem}"
        url, page_address = both.start(supervisor)
        producer = [sys.executable, "-P", "-m", "streamvis.demo.train", url]
        supervisor.start(Child("training", producer, ready=None, restarts=False, environment=both.environment))
        (_, to_open), *others = both.to_tell(url, page_address)
        say(f"Open {to_open} in a browser to watch a network learn to classify digits. Ctrl-C ends the demo.")
        for _, to_open in others:
            say(f"If that name cannot be resolved, open {to_open}")
        say_tunnel(host, page_address)
        _open_browser(page_address, no_browser)
        supervisor.watch()


for command in (init, backup, restore, check, copy, migrate, sync, notebook, snapshot, *COMMANDS):
    cli.add_command(command)


def main() -> None:
    """The program `streamvis`."""
    handler = logging.StreamHandler()
    handler.setFormatter(LogFormatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    atexit.register(gc.freeze)  # the interpreter would collect all that is left, and the system frees it anyway
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except StreamvisError as error:
        click.echo("\n".join(map(one_line, f"streamvis: {error}".split("\n"))), err=True)
        sys.exit(1)


@contextmanager
def _importing() -> Iterator[None]:
    """Libraries hold no garbage: the collector does not search them, neither during their import, nor at any time later."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _tokens(host: str, place: Path | DatabaseAddress, token: str | None, read_token: str | None) -> Tokens:
    """The tokens to ask for: those that were given, else those that the data folder keeps, where others can connect."""
    token, read_token = checked_token(token), checked_token(read_token)
    if not token and read_token:
        raise UsageError("--read-token needs --token too: without a write token, everything would be open.")
    if not token and is_loopback(host):
        return Tokens()
    if isinstance(place, DatabaseAddress):
        if token and read_token:
            return Tokens(token, read_token)
        raise UsageError("All endpoints of a database need the same tokens: give --token and --read-token, or their variables.")
    return Tokens(token or kept_token(place, WRITE_TOKEN), read_token or kept_token(place, READ_TOKEN))


def _open_browser(address: str, no_browser: bool) -> None:
    """Open the address where there is a screen to show it on."""
    has_screen = sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if not no_browser and has_screen:
        webbrowser.open(address)


if __name__ == "__main__":
    main()
