"""The endpoint and the page server together, as `serve` and `demo` start them, and what they say of where they are."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import click

from streamvis.addresses.access import READ_TOKEN, WRITE_TOKEN, Tokens, door_key, is_loopback, to_copy
from streamvis.addresses.database import DatabaseAddress
from streamvis.addresses.server import at_host, is_everywhere, local_host, outer_hosts, tunnel
from streamvis.commands import cli_options
from streamvis.commands.supervisor import Child, StartFailed, Supervisor
from streamvis.errors import EndpointError, UsageError

__all__ = ["PAGE_READY", "REST_READY", "WRITER_KEY", "Both", "say", "say_other_hosts", "say_tokens", "say_tunnel"]

REST_READY = "Streamvis endpoint ready at "
PAGE_READY = "Streamvis pages ready at "
_ANY_RUN = "/runs"
"""The page that shows any run, where there are several others."""
_GIVEN_AS_ARGUMENTS = ("ALLOW_HOST", "APP", "KEEP_VALUES", "NO_RELOAD", "PREFIX", "SCHEMA", "TLS_CERT", "TLS_KEY")
"""Their variables are not for the children, which get what was decided here."""
WRITER_KEY = "STREAMVIS_WRITER_KEY"
"""The variable that lets the page server know who may write, and so may open pages, without the token itself."""


@dataclass(slots=True)
class Both:
    """The endpoint, and the page server on it. Their tokens reach them by the environment, which other users cannot see."""

    scripts: tuple[Path, ...]
    host: str
    port: int
    rest_port: int
    place: Path | DatabaseAddress
    app: str | None
    tokens: Tokens
    allowed_hosts: tuple[str, ...]
    certificate: tuple[Path, Path] | None = None
    alert_webhook: str | None = None
    page_options: list[str] = field(default_factory=list)
    rest_options: list[str] = field(default_factory=list)
    first: str = "/"
    """The path to open."""

    @property
    def environment(self) -> dict[str, str]:
        """What a program of ours needs to send to this endpoint."""
        found = {"STREAMVIS_TOKEN": self.tokens.write or ""}
        return found | ({"STREAMVIS_CA_FILE": str(self.certificate[0])} if self.certificate else {})

    def start(self, supervisor: Supervisor) -> tuple[str, str]:
        """Start the endpoint and the page server. Returns the endpoint's address, and the one to open."""
        program = [sys.executable, "-P", "-m", "streamvis.cli"]
        shared = ["--with-parent", "--host", self.host]
        shared += [part for name in self.allowed_hosts for part in ("--allow-host", name)]
        if self.certificate:
            shared += ["--tls-cert", str(self.certificate[0]), "--tls-key", str(self.certificate[1])]
        where = Path(supervisor.folder) / "pages"
        cleared = {f"STREAMVIS_{name}": "" for name in _GIVEN_AS_ARGUMENTS}
        kept = ["--pages-note", str(where), *self.rest_options]
        # Not in the command: the address of a webhook may be a secret, and that of a database holds a password.
        read = {"STREAMVIS_READ_TOKEN": self.tokens.read or "", "STREAMVIS_ALERT_WEBHOOK": self.alert_webhook or ""}
        if isinstance(self.place, DatabaseAddress):
            read["STREAMVIS_DATA"] = self.place.secret
        else:
            kept += ["--data", str(self.place)]
        endpoint = Child(
            "endpoint",
            [*program, "rest", *shared, *kept, "--port-option", "--rest-port", "--port"],
            ready=REST_READY,
            port=self.rest_port,
            environment=cleared | self.environment | read,
        )
        supervisor.begin(endpoint)
        # Both start at once, unless the endpoint chooses its port itself.
        url = f"{self._scheme}://{local_host(self.host)}:{self.rest_port}" if self.rest_port else self._wait(supervisor, endpoint)
        note = Path(supervisor.folder) / "hung"
        pages = [*program, "page", *map(str, self.scripts), "--url", url, "--hang-note", str(note), *shared]
        pages += [*self.page_options, *self._app_options]
        # Pages only read, and who may open them may read.
        tokens = {"STREAMVIS_TOKEN": self.tokens.read or "", "STREAMVIS_PAGE_TOKEN": self.tokens.read or ""}
        tokens[WRITER_KEY] = door_key(self.tokens.write).hex() if self.tokens.write else ""
        server = Child(
            "page server",
            [*pages, "--port"],
            ready=PAGE_READY,
            port=self.port,
            environment=cleared | self.environment | tokens,
        )
        supervisor.begin(server)
        if self.rest_port:
            url = self._wait(supervisor, endpoint)
        address = supervisor.wait(server)
        first = f"{address}{self.first}"
        (_, told), *_ = self.to_tell(url, f"{address}{_ANY_RUN if self.first == '/' else self.first}")
        where.write_text(told)
        return url, f"{first}?token={self.tokens.read}" if self.tokens.read else first

    @property
    def _scheme(self) -> str:
        return "https" if self.certificate else "http"

    def _wait(self, supervisor: Supervisor, endpoint: Child) -> str:
        """The endpoint's address, when it is ready."""
        try:
            return supervisor.wait(endpoint)
        except StartFailed:
            self._point_to_other_endpoint()
            raise

    def to_tell(self, url: str, page_address: str) -> list[tuple[str, str]]:
        """The endpoint's address and the one to open, as other machines reach them where they can: by name, then by number."""
        port = urlsplit(url).port
        hosts = outer_hosts(port) if port is not None and is_everywhere(self.host) else []
        return [(at_host(url, host), at_host(page_address, host)) for host in hosts] or [(url, page_address)]

    @property
    def _app_options(self) -> list[str]:
        return ["--app", self.app] if self.app is not None else []

    def _point_to_other_endpoint(self) -> None:
        """Raise a UsageError with the command that shows these pages, where another endpoint holds the folder."""
        from streamvis.store import endpoint_of

        if isinstance(self.place, DatabaseAddress):
            return
        url = endpoint_of(self.place)
        if url is None:
            return
        port = 0 if self.port == cli_options.PAGE_PORT else self.port
        words = ["streamvis", "page", *map(str, self.scripts), "--url", url, "--port", str(port), *self._app_options]
        words += ["--host", self.host] if not is_loopback(self.host) else []
        lines = [shlex.join(words)]
        if self.certificate:
            lines.insert(0, f"export STREAMVIS_CA_FILE={shlex.quote(str(self.certificate[0]))}")
        if _needs_token(url):
            lines.insert(0, to_copy(self.place.absolute() / READ_TOKEN))
        raise UsageError("To show these pages from that endpoint, run:\n  " + "\n  ".join(lines))


def say_other_hosts(host: str, address: str) -> None:
    """Name the addresses by which other machines reach what listens at `address` on this one, where they can."""
    port = urlsplit(address).port
    hosts = outer_hosts(port) if port is not None and is_everywhere(host) else []
    if hosts:
        say(f"From other machines: {' or '.join(at_host(address, one) for one in hosts)}")


def say_tunnel(host: str, address: str) -> None:
    """Say how what listens at `address` is opened on another machine, in an SSH session and in a job of Slurm."""
    port = urlsplit(address).port
    if port is not None and (command := tunnel(port, host, os.environ)) is not None:
        say(f"On your own machine:  {command}")
        say(f"Then open             {at_host(address, 'localhost')}")


def say_tokens(place: Path | DatabaseAddress, tokens: Tokens, *, is_kept: bool) -> None:
    """Say where the tokens are, and what to copy into a producer's shell."""
    if not tokens.write or not is_kept or isinstance(place, DatabaseAddress):
        return
    kept, read = place.absolute() / WRITE_TOKEN, place.absolute() / READ_TOKEN
    say(f"Producers need the token in {kept}. In their shell: {to_copy(kept)}")
    say(f"To open pages and to read, the one in {read} is enough.")


def say(line: str) -> None:
    """Print a line of the program's own."""
    click.echo(line)


def _needs_token(url: str) -> bool:
    from streamvis.transport import Transport, path

    try:
        return Transport(url).request("GET", path("apps")).status == 401
    except EndpointError:
        return False
