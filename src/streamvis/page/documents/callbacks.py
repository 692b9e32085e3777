"""Callbacks of a document, under its lock. Bokeh awaits what one returns, where it can be awaited, which its types do not say."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from bokeh.document import Document

__all__ = ["call_later", "call_next"]


def call_next(doc: Document, function: Callable[[], object]) -> None:
    """Call the function at the next turn of the event loop."""
    doc.add_next_tick_callback(cast(Callable[[], None], function))


def call_later(doc: Document, function: Callable[[], object], *, after_ms: int) -> None:
    """Call the function once, after so long."""
    doc.add_timeout_callback(cast(Callable[[], None], function), after_ms)
