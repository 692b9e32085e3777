"""The address of an endpoint and its token: the default, and checks. Not in `transport`, which loads HTTP libraries."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from streamvis.errors import UsageError

__all__ = ["DEFAULT_URL", "addresses_in", "checked_token", "checked_url", "default_url"]

DEFAULT_URL = "http://localhost:8080"


def default_url() -> str:
    """The endpoint's address where none is given."""
    return os.environ.get("STREAMVIS_URL") or DEFAULT_URL


def checked_url(url: str) -> str:
    """The endpoint's address without a slash at its end; of several endpoints on one database, with commas between them.

    Raises UsageError for what is not an http(s) address.
    """
    if isinstance(url, str) and "," in url:
        return ",".join(checked_url(one.strip()) for one in url.split(","))
    parts = urlsplit(url) if isinstance(url, str) else None
    try:
        usable = parts is not None and parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(f"{url!r} is not an endpoint address. Use one like http://localhost:8080.")
    return url.rstrip("/")


def addresses_in(url: str) -> list[str]:
    """Each of the addresses that were checked together."""
    return url.split(",")


def checked_token(token: Any) -> str | None:
    """The token without white space around it, as a file's line end; None where there is none.

    Raises UsageError, which does not tell the token, when no header could hold it.
    """
    token = "" if token is None else token
    if not isinstance(token, str):
        raise UsageError(f"The token is {type(token).__name__}, not text.")
    token = token.strip()
    if not all("!" <= character <= "~" for character in token):
        raise UsageError("The token has characters that cannot be sent. Use letters, digits and signs of ASCII, without spaces.")
    return token or None
