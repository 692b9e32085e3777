"""Who may come in: the tokens of a data folder, the host names under which a server may be addressed, and whose pages may ask it.

A name in the Host header must be known. Another site's page can have its own name point to this machine (DNS rebinding), and then
its scripts could read what is here; but the browser says that name. An address in numbers cannot be pointed anywhere, so all of
them are known.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import ipaddress
import os
import re
import secrets
import shlex
import socket
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from streamvis.errors import FolderUnusable

__all__ = [
    "READ_TOKEN",
    "WRITE_TOKEN",
    "Hosts",
    "Tokens",
    "door_key",
    "is_loopback",
    "kept_token",
    "matches",
    "to_copy",
    "user_folder",
]

LOOPBACK = ("localhost", "127.0.0.1", "::1")
_SCHEME = re.compile("^https?://")
WRITE_TOKEN, READ_TOKEN = "token", "read-token"
"""The files in a data folder that keep its tokens."""
_AUTHORITY = re.compile(r"(?:\[([^\[\]]+)\]|([^\[\]:@/\\?#\s]+))(?::[0-9]*)?")


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens that a server asks for: who has `write` may do all, who has `read` may read. Without them no one is asked."""

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


def door_key(token: str) -> bytes:
    """What a page server needs to let in who has this token, and to sign their cookies. It does not tell the token."""
    return hashlib.sha256(b"streamvis cookie " + token.encode()).digest()


def kept_token(folder: Path, name: str) -> str:
    """The token in the file `name` of the folder, made when there is none, and readable by its owner alone.

    Raises FolderUnusable where it cannot be kept, or others may know it.
    """
    path = folder.absolute() / name
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            _put(path, secrets.token_urlsafe(32))
        with path.open() as file:
            status, token = os.fstat(file.fileno()), file.read().strip()
        if os.name == "posix" and (status.st_mode & 0o077 or status.st_uid != os.geteuid()):
            told = f"others may read the token in {path}. Delete that file; another token is made then."
            raise FolderUnusable(str(folder), told)
        if token:
            return token
    except OSError as error:
        raise FolderUnusable(str(folder), f"the token in {path} cannot be kept: {error.strerror}.") from error
    raise FolderUnusable(str(folder), f"there is no token in {path}. Delete that file; another token is made then.")


def user_folder() -> Path:
    """The data folder of this user, where no other is named."""
    from platformdirs import user_data_path

    return user_data_path("streamvis", appauthor=False)


def to_copy(file: Path) -> str:
    """The line for a shell by which programs that are started from it have the token in the file."""
    return f'export STREAMVIS_TOKEN="$(cat {shlex.quote(str(file))})"'


def _put(path: Path, token: str) -> None:
    """Write the file whole, at once and for its owner alone; a file that another program put there meanwhile stays."""
    made, whole = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(made, "w") as file:
            file.write(token)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(whole, path)
    finally:
        os.unlink(whole)


def is_loopback(host: str) -> bool:
    """Whether a server that listens on `host` is reached from this machine alone."""
    if host in LOOPBACK:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Hosts:
    """The names under which a server may be addressed, and the origins, in addition to its own, whose pages may ask it."""

    names: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()

    @classmethod
    def of(cls, host: str, allowed: Iterable[str]) -> Hosts:
        """Those of a server on `host`: where others can connect, the machine's own names too, and the ones that were `allowed`,
        each with a port or without. They may stand as in a browser's address, with http:// or https://."""
        origins = frozenset(_SCHEME.sub("", name.lower()).rstrip("/.") for name in allowed if name)
        own = {host, socket.gethostname(), socket.getfqdn()} if not is_loopback(host) else set()
        return cls(frozenset(name.lower().rstrip(".") for name in own if name) | {_name(one) for one in origins}, origins)

    def know(self, header: str | None) -> bool:
        """Whether a Host header, with or without a port, names a server that may be addressed so."""
        name = _name((header or "").lower())
        if not name:
            return False
        if name == "localhost" or name.endswith(".localhost") or name in self.names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def is_foreign(self, method: str, header: Callable[[str], str | None]) -> bool:
        """Whether a browser asks for a page of another site, or of another port, for which cookies make no difference.

        Opening an address, as by a link from elsewhere or in a frame, shows it to the person alone. Programs other than browsers
        say nothing of where they come from. `header` gives the request's header of a name.
        """
        origin = header("origin")
        if origin is not None:
            try:
                asking = urlsplit(origin).netloc.lower()
            except ValueError:
                return True
            return asking != (header("host") or "").lower() and asking not in self.origins
        if header("sec-fetch-site") not in ("cross-site", "same-site"):
            return False
        return method not in ("GET", "HEAD") or header("sec-fetch-mode") != "navigate"


def _name(authority: str) -> str:
    """The host of `host`, `host:port` or `[address]:port`; nothing where it has no such form."""
    parts = _AUTHORITY.fullmatch(authority)
    return (parts[1] or parts[2]).rstrip(".") if parts else ""
