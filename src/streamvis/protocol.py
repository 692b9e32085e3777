"""What a producer needs to know of the REST protocol: its version, a media type, and the answer to a batch.

Apart from the other records, so that a producer can send its first batch without loading those.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ARROW", "PROTOCOL", "Ack", "Refusal"]

ARROW = "application/vnd.apache.arrow.stream"
"""Media type of a body of Arrow IPC streams."""
PROTOCOL = 1
"""Version of the REST protocol; both sides say theirs in the header `Streamvis-Protocol`."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A key whose records were not stored, and why."""

    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class Ack:
    """The answer to a batch, made only after the commit. `seq` is the batch's place in the run's log.

    The producer is asked to gather for `pace_s` seconds before its next batch. `page` is the address of the run's page, in the
    answer to a start, where the endpoint knows it.
    """

    seq: int
    duplicate: bool = False
    refused: tuple[Refusal, ...] = ()
    warnings: tuple[str, ...] = ()
    pace_s: float = 0.0
    page: str = ""
