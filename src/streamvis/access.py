"""Who may come in: the tokens of a data folder, and the host names under which a server may be addressed.

A name in the Host header must be known. Another site's page can have its own name point to this machine (DNS rebinding), and then
its scripts could read what is here; but the browser says that name. An address in numbers cannot be pointed anywhere, so all of
them are known.
"""

from __future__ import annotations

import hmac
import ipaddress
import os
import secrets
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from streamvis.errors import FolderUnusable

__all__ = ["Tokens", "is_loopback", "kept_token", "known_hosts", "matches", "names_host"]

LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens that a server asks for: who has `write` may do all, who has `read` may read. Without them nobody is asked."""

    write: str | None = None
    read: str | None = None

    def may(self, token: str | None, *, write: bool) -> bool:
        """Whether who has this token may do that."""
        if self.write is None:
            return True
        return matches(token, self.write) or (not write and matches(token, self.read))


def matches(token: str | None, right: str | None) -> bool:
    """Whether the token is the right one, in a time that does not tell how much of it is."""
    return right is not None and token is not None and hmac.compare_digest(token.encode(), right.encode())


def kept_token(folder: Path, name: str) -> str:
    """The token in the file `name` of the folder, made when there is none, and readable by its owner alone.

    Raises FolderUnusable where it cannot be kept, or others may read it.
    """
    path = folder.absolute() / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            if os.name == "posix" and path.stat().st_mode & 0o077:
                raise FolderUnusable(
                    str(folder), f"others may read the token in {path}. Delete that file; another token is made then."
                ) from None
        else:
            with os.fdopen(made, "w") as file:
                file.write(secrets.token_urlsafe(32))
        if token := path.read_text().strip():
            return token
    except OSError as error:
        raise FolderUnusable(str(folder), f"the token in {path} cannot be kept: {error.strerror}.") from error
    raise FolderUnusable(str(folder), f"there is no token in {path}. Delete that file; another token is made then.")


def is_loopback(host: str) -> bool:
    """Whether a server that listens on `host` is reached from this machine alone."""
    if host in LOOPBACK:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def known_hosts(host: str, allowed: Iterable[str]) -> frozenset[str]:
    """The names under which a server on `host` may be addressed, besides those of loopback and addresses in numbers."""
    own = {host, socket.gethostname(), socket.getfqdn()} if not is_loopback(host) else set()
    return frozenset(name.lower().rstrip(".") for name in (*own, *allowed) if name)


def names_host(header: str | None, known: frozenset[str]) -> bool:
    """Whether a Host header, with or without a port, names a server that may be addressed so."""
    if not header:
        return False
    name = header[1:].partition("]")[0] if header.startswith("[") else header.rpartition(":")[0] or header
    name = name.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost") or name in known or header.lower() in known:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
