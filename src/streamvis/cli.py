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
from dataclasses import dataclass
from importlib.resources import as_file, files
from importlib.util import find_spec
from pathlib import Path

import click

from streamvis import options, upkeep
from streamvis.access import Tokens, is_loopback, kept_token
from streamvis.address import checked_token
from streamvis.errors import StreamvisError, UsageError
from streamvis.supervisor import Child, Supervisor

__all__ = ["main"]

_REST_READY = "Streamvis endpoint ready at "
_PAGE_READY = "Streamvis pages ready at "
_TOKEN, _READ_TOKEN = "token", "read-token"

@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="streamvis", message="streamvis %(version)s")
def cli() -> None:
    """Watch a running process on a page that you wrote with Bokeh.

    \b
    streamvis demo            a neural network learning digits, live in your browser
    streamvis serve page.py   the endpoint and your page, together
    """


@cli.command()
@options.host()
@options.port(8080, "endpoint")
@options.data
@options.token
@options.read_token
@options.allow_host
@options.tls_cert
@options.tls_key
@options.vanish_after
@options.with_parent
def rest(
    host: str,
    port: int,
    data: Path | None,
    token: str | None,
    read_token: str | None,
    allowed_hosts: tuple[str, ...],
    tls_cert: Path | None,
    tls_key: Path | None,
    vanish_after_s: float,
    with_parent: bool,
) -> None:
    """Run the endpoint alone: the REST server that keeps what producers send.

    Producers use its address in Client("http://HOST:PORT", "app"); GET /docs describes the API. Where other machines can connect
    it asks for a token, which producers find in the environment variable STREAMVIS_TOKEN.
    """
    from streamvis.endpoint import run_endpoint

    _end_with_parent(with_parent)
    folder = options.data_folder(data)
    tokens = _tokens(host, folder, token, read_token)

    def ready(url: str) -> None:
        _say(f"{_REST_READY}{url}")
        if tokens.write and not token and not with_parent:
            _say(_where_tokens_are(folder))

    run_endpoint(
        folder,
        host,
        port,
        tokens=tokens,
        allowed_hosts=allowed_hosts,
        certificate=options.certificate_of(tls_cert, tls_key),
        vanish_after_s=vanish_after_s,
        on_ready=ready,
    )


@cli.command()
@options.scripts
@options.url
@options.host()
@options.port(5006, "page server")
@options.app
@options.page_token
@options.allow_host
@options.tls_cert
@options.tls_key
@options.hang_note
@options.hang_s
@options.with_parent
def page(
    scripts: tuple[Path, ...],
    url: str,
    host: str,
    port: int,
    app: str | None,
    page_token: str | None,
    allowed_hosts: tuple[str, ...],
    tls_cert: Path | None,
    tls_key: Path | None,
    hang_note: Path | None,
    hang_s: float,
    with_parent: bool,
) -> None:
    """Run the page server alone: each script is a page at its own address, and / lists them.

    A script needs two functions, init_page(doc, config) and update_page(doc, new_data). The endpoint's token, where it wants
    one, is taken from the environment variable STREAMVIS_TOKEN.
    """
    from streamvis.page.scripts import read_script
    from streamvis.page.serving import run_pages
    from streamvis.transport import checked_url

    _end_with_parent(with_parent)
    page_token = checked_token(page_token)
    if page_token is None and not is_loopback(host):
        page_token = kept_token(options.data_folder(None), _READ_TOKEN)

    def ready(address: str) -> None:
        _say(f"{_PAGE_READY}{address}")
        if page_token and not with_parent:
            _say(f"Open {address}/?token={page_token}")

    run_pages(
        [read_script(script) for script in scripts],
        url=checked_url(url),
        host=host,
        port=port,
        app=app,
        token=os.environ.get("STREAMVIS_TOKEN") or None,
        page_token=page_token,
        allowed_hosts=allowed_hosts,
        certificate=options.certificate_of(tls_cert, tls_key),
        hang_note=hang_note,
        hang_s=hang_s,
        on_ready=ready,
    )


@cli.command()
@options.scripts
@options.host()
@options.port(5006, "page server")
@options.rest_port
@options.data
@options.app
@options.token
@options.read_token
@options.allow_host
@options.tls_cert
@options.tls_key
@options.no_browser
def serve(
    scripts: tuple[Path, ...],
    host: str,
    port: int,
    rest_port: int,
    data: Path | None,
    app: str | None,
    token: str | None,
    read_token: str | None,
    allowed_hosts: tuple[str, ...],
    tls_cert: Path | None,
    tls_key: Path | None,
    no_browser: bool,
) -> None:
    """Run the endpoint and the page server together, and restart either when it dies."""
    from streamvis.page.scripts import read_script

    for script in scripts:
        read_script(script)
    folder = options.data_folder(data)
    both = _Both(scripts, host, port, rest_port, folder, app, _tokens(host, folder, token, read_token), allowed_hosts)
    both.certificate = options.certificate_of(tls_cert, tls_key)
    with Supervisor() as supervisor:
        url, page_address = both.start(supervisor)
        _say(f"Open {page_address} in a browser. Producers send to {url}. Ctrl-C ends both.")
        if both.tokens.write and not token:
            _say(_where_tokens_are(folder))
        _open_browser(page_address, no_browser)
        supervisor.watch()


@cli.command()
@options.host()
@options.port(5006, "page server")
@options.rest_port
@options.data
@options.token
@options.read_token
@options.no_browser
def demo(
    host: str, port: int, rest_port: int, data: Path | None, token: str | None, read_token: str | None, no_browser: bool
) -> None:
    """Watch a small neural network learn handwritten digits: endpoint, page and training, all started here."""
    if find_spec("sklearn") is None:
        raise UsageError("The demo needs scikit-learn. Install it with: pip install 'streamvis[demo]'")
    folder = options.data_folder(data)
    with as_file(files("streamvis.demo") / "page.py") as script, Supervisor() as supervisor:
        both = _Both((script,), host, port, rest_port, folder, None, _tokens(host, folder, token, read_token), ())
        url, page_address = both.start(supervisor)
        producer = [sys.executable, "-m", "streamvis.demo.train", url]
        supervisor.start(Child("training", producer, ready=None, restarts=False, environment=both.environment))
        _say(f"Open {page_address} in a browser: a network is learning digits there. Ctrl-C ends the demo.")
        _open_browser(page_address, no_browser)
        supervisor.watch()


for command in (upkeep.backup, upkeep.restore, upkeep.check, upkeep.sync):
    cli.add_command(command)


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


@dataclass(slots=True)
class _Both:
    """The endpoint, and the page server on it. Their tokens reach them by the environment, which other users cannot see."""

    scripts: tuple[Path, ...]
    host: str
    port: int
    rest_port: int
    folder: Path
    app: str | None
    tokens: Tokens
    allowed_hosts: tuple[str, ...]
    certificate: tuple[Path, Path] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What a program of ours needs to send to this endpoint."""
        found = {"STREAMVIS_TOKEN": self.tokens.write or ""}
        return found | ({"STREAMVIS_CA_FILE": str(self.certificate[0])} if self.certificate else {})

    def start(self, supervisor: Supervisor) -> tuple[str, str]:
        """Start the endpoint, then the page server. Returns the endpoint's address, and the one to open."""
        program = [sys.executable, "-m", "streamvis.cli"]
        shared = ["--with-parent", "--host", self.host]
        shared += [part for name in self.allowed_hosts for part in ("--allow-host", name)]
        if self.certificate:
            shared += ["--tls-cert", str(self.certificate[0]), "--tls-key", str(self.certificate[1])]
        read = {"STREAMVIS_READ_TOKEN": self.tokens.read or ""}
        endpoint = Child(
            "endpoint",
            [*program, "rest", *shared, "--data", str(self.folder), "--port"],
            ready=_REST_READY,
            port=self.rest_port,
            port_option="--rest-port",
            environment=self.environment | read,
        )
        url = supervisor.start(endpoint)
        note = Path(supervisor.folder) / "hung"
        pages = [*program, "page", *map(str, self.scripts), "--url", url, "--hang-note", str(note), *shared]
        pages += ["--app", self.app] if self.app is not None else []
        # Pages only read, and who may open them may read.
        tokens = {"STREAMVIS_TOKEN": self.tokens.read or "", "STREAMVIS_PAGE_TOKEN": self.tokens.read or ""}
        server = Child(
            "page server",
            [*pages, "--port"],
            ready=_PAGE_READY,
            port=self.port,
            port_option="--port",
            environment=self.environment | tokens,
        )
        address = supervisor.start(server)
        first = f"{address}/{self.scripts[0].stem}" if len(self.scripts) == 1 else f"{address}/"
        return url, f"{first}?token={self.tokens.read}" if self.tokens.read else first


def _tokens(host: str, folder: Path, token: str | None, read_token: str | None) -> Tokens:
    """The tokens to ask for: those that were given, else those that the data folder keeps, where others can connect."""
    token, read_token = checked_token(token), checked_token(read_token)
    if not token and read_token:
        raise UsageError("A token that may only read makes no sense without one that may write: give --token as well.")
    if not token and is_loopback(host):
        return Tokens()
    return Tokens(token or kept_token(folder, _TOKEN), read_token or kept_token(folder, _READ_TOKEN))


def _where_tokens_are(folder: Path) -> str:
    return f"Producers need STREAMVIS_TOKEN: it is in {folder / _TOKEN}, and one that may only read in {folder / _READ_TOKEN}."


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
