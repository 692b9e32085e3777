"""How a server that listens is addressed: from this machine, from others, and through SSH."""

from __future__ import annotations

import contextlib
import getpass
import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

__all__ = ["at_host", "is_everywhere", "local_host", "outer_hosts", "tunnel"]

_CONNECT_S = 1.0
_ELSEWHERE = ("192.0.2.1", 9)
"""An address that belongs to no one: which of its own addresses this machine would use for it is asked, and nothing is sent."""


def is_everywhere(host: str) -> bool:
    """Whether a server that listens on `host` listens on all addresses of the machine."""
    return host in ("", "0.0.0.0", "::")


def local_host(host: str) -> str:
    """The host in a URL by which this machine reaches a server that listens on `host`."""
    if is_everywhere(host):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def outer_hosts(port: int) -> list[str]:
    """The machine's name and number at which a server that listens everywhere answers on `port`; the name may not be there."""
    found = [host for host in (socket.gethostname(), _number()) if host and _answers(host, port)]
    return list(dict.fromkeys(found))


def at_host(url: str, host: str) -> str:
    """The same URL at another host."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{host}:{parts.port}").geturl()


def tunnel(port: int, host: str, environment: Mapping[str, str]) -> str | None:
    """The `ssh` command, for a person's own machine, that forwards `port` from this SSH session or this job of Slurm.

    None where there is neither. The server listens on `host`.
    """
    command, inner = "ssh -N -L", f"{port}:{{}}:{port}"
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        return None  # a user without a name
    login, node = environment.get("SLURM_SUBMIT_HOST"), environment.get("SLURMD_NODENAME") or socket.gethostname()
    if environment.get("SLURM_JOB_ID") and login and login != node:
        if is_everywhere(host):
            return f"{command} {inner.format(node)} {user}@{login}"
        return f"{command} {inner.format('localhost')} -J {user}@{login} {user}@{node}"
    # Where the person's machine is, its port, and the address and port by which it reached this one.
    session = environment.get("SSH_CONNECTION", "").split()
    if len(session) != 4:
        return None
    _, _, here, at = session
    return f"{command} {inner.format('localhost')} {'' if at == '22' else f'-p {at} '}{user}@{here}"


def _number() -> str | None:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(_ELSEWHERE)
        return probe.getsockname()[0]
    return None


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=_CONNECT_S).close()
    except (OSError, UnicodeError):
        return False
    return True
