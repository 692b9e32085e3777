"""The programs: `streamvis serve`, `demo`, `rest` and `page`. The only place that wires the parts together.

`rest` and `page` are one process each. `serve` and `demo` start those as children, watch them, and start again what dies
(see `streamvis.supervisor`). Each program prints one line with its address when it is ready, and a problem that the user can
mend is one line on stderr and exit status 1.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import webbrowser
from collections.abc import Callable
from importlib.resources import as_file, files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from streamvis.errors import StreamvisError, UsageError
from streamvis.supervisor import Child, Supervisor

__all__ = ["main"]

_REST_READY = "Streamvis endpoint ready at "
_PAGE_READY = "Streamvis pages ready at "

_SCRIPTS = click.argument(
    "scripts", nargs=-1, required=True, metavar="PAGE.py [MORE.py ...]", type=click.Path(path_type=Path)
)


def _option(*names: str, env: str, **settings: Any) -> Callable[[Any], Any]:
    return click.option(*names, envvar=f"STREAMVIS_{env}", show_envvar=True, show_default=True, **settings)


_data = _option("--data", env="DATA", type=click.Path(path_type=Path), help="Folder that keeps the runs. [default: per user]")
_app = _option("--app", env="APP", help="App to show where neither the address nor the script names one.")
_allow_host = click.option(
    "--allow-host", "allowed_hosts", multiple=True, metavar="NAME", help="Another host name under which pages may be opened."
)
_no_browser = _option("--no-browser", env="NO_BROWSER", is_flag=True, help="Do not open a browser.")
_rest_port = _option("--rest-port", env="REST_PORT", type=int, default=8080, help="Port of the endpoint; 0 for any free one.")
_with_parent = click.option("--with-parent", is_flag=True, hidden=True, help="End when standard input is closed.")


def _host(default: str = "127.0.0.1") -> Callable[[Any], Any]:
    return _option("--host", env="HOST", default=default, help="Address to listen on; 0.0.0.0 lets other machines in.")


def _port(default: int, what: str) -> Callable[[Any], Any]:
    return _option("--port", env="PORT", type=int, default=default, help=f"Port of the {what}; 0 for any free one.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="streamvis", message="streamvis %(version)s")
def cli() -> None:
    """Watch a running process on a page that you wrote with Bokeh.

    \b
    streamvis demo            a neural network learning digits, live in your browser
    streamvis serve page.py   the endpoint and your page, together
    """


@cli.command()
@_host()
@_port(8080, "endpoint")
@_data
@_with_parent
def rest(host: str, port: int, data: Path | None, with_parent: bool) -> None:
    """Run the endpoint alone: the REST server that keeps what producers send.

    Producers use its address in Client("http://HOST:PORT", "app"); GET /docs describes the API.
    """
    from streamvis.endpoint import run_endpoint

    _end_with_parent(with_parent)
    if host not in ("127.0.0.1", "localhost", "::1"):
        risk = "whoever reaches this port can read and change all runs. No token is asked for."
        click.echo(f"Listening on {host}: {risk}", err=True)
    run_endpoint(_data_folder(data), host, port, on_ready=lambda url: _say(f"{_REST_READY}{url}"))


@cli.command()
@_SCRIPTS
@_option("--url", env="URL", default="http://localhost:8080", help="Address of the endpoint.")
@_host()
@_port(5006, "page server")
@_app
@_allow_host
@_with_parent
def page(
    scripts: tuple[Path, ...],
    url: str,
    host: str,
    port: int,
    app: str | None,
    allowed_hosts: tuple[str, ...],
    with_parent: bool,
) -> None:
    """Run the page server alone: each script is a page at its own address, and / lists them.

    A script needs two functions, init_page(doc, config) and update_page(doc, new_data).
    """
    from streamvis.page.scripts import read_script
    from streamvis.page.serving import run_pages
    from streamvis.transport import checked_url

    _end_with_parent(with_parent)
    run_pages(
        [read_script(script) for script in scripts],
        url=checked_url(url),
        host=host,
        port=port,
        app=app,
        token=os.environ.get("STREAMVIS_TOKEN") or None,
        allowed_hosts=allowed_hosts,
        on_ready=lambda address: _say(f"{_PAGE_READY}{address}"),
    )


@cli.command()
@_SCRIPTS
@_host()
@_port(5006, "page server")
@_rest_port
@_data
@_app
@_allow_host
@_no_browser
def serve(
    scripts: tuple[Path, ...],
    host: str,
    port: int,
    rest_port: int,
    data: Path | None,
    app: str | None,
    allowed_hosts: tuple[str, ...],
    no_browser: bool,
) -> None:
    """Run the endpoint and the page server together, and restart either when it dies."""
    from streamvis.page.scripts import read_script

    for script in scripts:
        read_script(script)
    supervisor = Supervisor()
    with supervisor:
        url, address = _start_both(supervisor, scripts, host, port, rest_port, data, app, allowed_hosts)
        page_address = _first_page(address, scripts)
        _say(f"Open {page_address} in a browser. Producers send to {url}. Ctrl-C ends both.")
        _open_browser(page_address, no_browser)
        supervisor.watch()


@cli.command()
@_host()
@_port(5006, "page server")
@_rest_port
@_data
@_no_browser
def demo(host: str, port: int, rest_port: int, data: Path | None, no_browser: bool) -> None:
    """Watch a small neural network learn handwritten digits: endpoint, page and training, all started here."""
    if find_spec("sklearn") is None:
        raise UsageError("The demo needs scikit-learn. Install it with: pip install 'streamvis[demo]'")
    supervisor = Supervisor()
    with as_file(files("streamvis.demo") / "page.py") as script, supervisor:
        url, address = _start_both(supervisor, (script,), host, port, rest_port, data, None, ())
        producer = [sys.executable, "-m", "streamvis.demo.train", url]
        supervisor.start(Child("training", producer, ready=None, restarts=False))
        page_address = _first_page(address, (script,))
        _say(f"Open {page_address} in a browser: a network is learning digits there. Ctrl-C ends the demo.")
        _open_browser(page_address, no_browser)
        supervisor.watch()


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--url", help="Address of the endpoint. [default: where each spool was meant to go]")
@click.option("--other-hosts", is_flag=True, help="Deliver what other machines wrote too. Their producers must have ended.")
def sync(folder: Path, url: str | None, other_hosts: bool) -> None:
    """Deliver what producers left in a FOLDER of spools, such as after a kill, or from a machine without a network.

    Spools whose producers are still running are left alone. Ends with status 1 when something is left.
    """
    from streamvis.client.syncing import sync as sync_all
    from streamvis.transport import checked_url

    with click.progressbar(length=1, label="Delivering", file=sys.stderr) as bar:

        def begin(size_bytes: int) -> None:
            bar.length = max(1, size_bytes)

        synced = sync_all(
            folder,
            url=checked_url(url) if url else None,
            token=os.environ.get("STREAMVIS_TOKEN") or None,
            other_hosts=other_hosts,
            begin=begin,
            progress=bar.update,
        )
    for run in sorted(synced.runs):
        _say(f"Delivered to the run {run}; its page is at ?run={run}")
    _say(f"{synced.records:,} records delivered, {synced.refused:,} refused, {synced.left_bytes:,} bytes left.")
    for trouble in dict.fromkeys(synced.troubles):
        click.echo(trouble, err=True)
    for path in synced.busy:
        why = "Its producer is running, or it was written on another machine (--other-hosts)."
        click.echo(f"Left alone: {path}. {why}", err=True)
    if synced.left_bytes or synced.refused:
        sys.exit(1)


def main() -> None:
    """The program `streamvis`."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except StreamvisError as error:
        click.echo(f"streamvis: {error}", err=True)
        sys.exit(1)


def _start_both(
    supervisor: Supervisor,
    scripts: tuple[Path, ...],
    host: str,
    port: int,
    rest_port: int,
    data: Path | None,
    app: str | None,
    allowed_hosts: tuple[str, ...],
) -> tuple[str, str]:
    """Start the endpoint, then the page server on it. Returns their addresses."""
    program = [sys.executable, "-m", "streamvis.cli"]
    folder = _data_folder(data)
    url = supervisor.start(
        Child(
            "endpoint",
            [*program, "rest", "--with-parent", "--host", host, "--data", str(folder), "--port"],
            ready=_REST_READY,
            port=rest_port,
            port_option="--rest-port",
        )
    )
    options = [part for name in allowed_hosts for part in ("--allow-host", name)]
    if app is not None:
        options += ["--app", app]
    pages = [*program, "page", "--with-parent", *map(str, scripts), "--url", url, "--host", host, *options, "--port"]
    return url, supervisor.start(Child("page server", pages, ready=_PAGE_READY, port=port, port_option="--port"))


def _data_folder(data: Path | None) -> Path:
    if data is not None:
        return data.expanduser()
    from platformdirs import user_data_path

    return user_data_path("streamvis", appauthor=False)


def _first_page(address: str, scripts: tuple[Path, ...]) -> str:
    return f"{address}/{scripts[0].stem}" if len(scripts) == 1 else f"{address}/"


def _open_browser(address: str, no_browser: bool) -> None:
    """Open the address where there is a screen to show it on."""
    has_screen = sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if not no_browser and has_screen:
        webbrowser.open(address)


def _end_with_parent(with_parent: bool) -> None:
    """End with the program that started this one, even if that was killed: standard input is closed then."""
    def wait_for_the_end() -> None:
        # Not through sys.stdin: its buffer would be locked by this thread when the interpreter ends, which aborts it.
        while os.read(0, 1024):
            pass
        os._exit(1)

    if with_parent:
        threading.Thread(target=wait_for_the_end, name="streamvis parent", daemon=True).start()


def _say(line: str) -> None:
    click.echo(line)


if __name__ == "__main__":
    main()
