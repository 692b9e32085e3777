"""What a client was made with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from streamvis.client.folders import SpoolPlace

__all__ = ["Settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """What all producers of a client share. `url` is None without an endpoint; `make_transport` is called in the sender's thread.

    At most `max_spool_bytes` wait on the disk, in a folder of `place`; about `max_memory_bytes` in memory.
    """

    url: str | None
    app: str
    place: SpoolPlace
    make_transport: Callable[[], Any]
    durable: bool = False
    max_memory_bytes: int = 64 * 2**20
    max_spool_bytes: int = 2 * 2**30
