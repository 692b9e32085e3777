"""What the user is told, through the loggers `streamvis` and `streamvis.hints`. Telling it never raises.

A filter of the program's may raise, and so does standard error when a signal handler writes there while the program does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

__all__ = ["say", "say_once", "tell"]

log = logging.getLogger("streamvis")
hints = logging.getLogger("streamvis.hints")

_MAX_SAID = 1000


def say(text: str, *values: Any, **options: Any) -> None:
    """Log a warning."""
    _tell(log, "Streamvis: " + text, *values, **options)


def say_once() -> Callable[..., None]:
    """A function that logs a warning, each text once and not without end."""
    said: set[str] = set()

    def once(text: str, **options: Any) -> None:
        if text not in said and len(said) < _MAX_SAID:
            said.add(text)
            say("%s", text, **options)

    return once


def tell(text: str, *values: Any, stacklevel: int = 1) -> None:
    """Log advice, or what is good to know: it can be silenced apart. `stacklevel` counts from the caller of this function."""
    _tell(hints, "Streamvis: " + text, *values, stacklevel=stacklevel + 2)


def _tell(logger: logging.Logger, text: str, *values: Any, **options: Any) -> None:
    try:
        logger.warning(text, *values, **options)
    except Exception:  # noqa: BLE001 - around an author's code: the program's handlers and filters
        pass
