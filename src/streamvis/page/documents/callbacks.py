"""Callbacks of a document, under its lock. Bokeh awaits what one returns, where it can be awaited, which its types do not say."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import cast

from bokeh.document import Document
from bokeh.io.doc import patch_curdoc

__all__ = ["call_later", "call_next", "current"]


@contextmanager
def current(doc: Document) -> Generator[None]:
    """Within this, it is the document that is being made or changed, as in every callback of Bokeh.

    Bokeh's `patch_curdoc` does not put things back after an exception, so none leaves it.
    """
    raised = None
    with patch_curdoc(doc):
        try:
            yield
        except BaseException as error:  # noqa: BLE001  # raised again right below
            raised = error
    if raised is not None:
        raise raised


def call_next(doc: Document, function: Callable[[], object]) -> None:
    """Call the function at the next turn of the event loop."""
    doc.add_next_tick_callback(cast(Callable[[], None], function))


def call_later(doc: Document, function: Callable[[], object], *, after_ms: int) -> None:
    """Call the function once, after so long."""
    doc.add_timeout_callback(cast(Callable[[], None], function), after_ms)
