"""The address of an endpoint, checked: apart from `transport`, since `Client` checks it before any HTTP library is there."""

from __future__ import annotations

from urllib.parse import urlsplit

from streamvis.errors import UsageError

__all__ = ["checked_url"]


def checked_url(url: str) -> str:
    """The endpoint's address without a slash at its end. Raises UsageError when it is no http(s) address."""
    parts = urlsplit(url) if isinstance(url, str) else None
    try:
        usable = parts is not None and parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(f"{url!r} is no address of an endpoint. Give one like http://localhost:8080.")
    return url.rstrip("/")
