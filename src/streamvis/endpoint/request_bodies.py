"""Reading the bodies of requests, none of which may be too large, or come too slowly."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from fastapi import Request

from streamvis.errors import StreamvisError
from streamvis.wire.jsonform import load_json
from streamvis.wire.limits import MAX_JSON_BYTES

__all__ = ["BodyTooLarge", "BodyTooSlow", "UnsupportedMedia", "read_body", "read_object"]

_GRACE_S = 30.0
_LEAST_BYTES_PER_S = 1024


class BodyTooLarge(StreamvisError):
    """A body over the limit."""


class UnsupportedMedia(StreamvisError):
    """A content type that is neither JSON nor Arrow, or a body that was compressed."""


class BodyTooSlow(StreamvisError):
    """A body that took too long to come."""


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The body. Raises BodyTooLarge as soon as it is, BodyTooSlow where after half a minute less than a KiB a second came, and
    UnsupportedMedia where it was compressed."""
    if (coding := request.headers.get("content-encoding", "identity").strip().lower()) != "identity":
        raise UnsupportedMedia(f"The content encoding is {coding}. Send the body as it is, without one.")
    told = request.headers.get("content-length", "")
    if told.isdecimal() and int(told) > max_bytes:
        raise _too_large(max_bytes)
    parts, size = [], 0
    try:
        async with asyncio.timeout(_GRACE_S) as deadline:
            began = deadline.when()
            async for part in request.stream():
                size += len(part)
                if size > max_bytes:
                    raise _too_large(max_bytes)
                parts.append(part)
                deadline.reschedule(began + size / _LEAST_BYTES_PER_S)
    except TimeoutError:
        raise BodyTooSlow(f"After {size:,} bytes of the body nothing more came for too long. Nothing was stored.") from None
    return b"".join(parts)


async def read_object(request: Request, *, default: bytes = b"") -> Mapping[str, Any]:
    """The JSON object in the body, or in `default` where there is no body. Raises InvalidData too."""
    return load_json(await read_body(request, MAX_JSON_BYTES) or default)


def _too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is over the limit of {max_bytes:,} bytes. Send smaller batches.")
