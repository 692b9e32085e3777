"""Counts in texts for people. Pure."""

from __future__ import annotations

__all__ = ["agreeing", "counted"]


def counted(count: int, noun: str) -> str:
    """A number with what is counted, whose plural ends with an s: "1 record", "2,000 records"."""
    return f"{count:,} {noun}{agreeing(count, '', 's')}"


def agreeing(count: int, one: str, many: str) -> str:
    """The words that agree with the number, such as "is" or "are"."""
    return one if count == 1 else many
