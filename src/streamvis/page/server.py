"""`Server`: what a page script calls under plain `bokeh serve`, and what `streamvis serve` calls for the script."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable

from bokeh.application.application import SessionContext
from bokeh.document import Document
from bokeh.settings import settings

from streamvis.errors import UsageError
from streamvis.page.documents import arrays  # noqa: F401  # tells Bokeh how to send them
from streamvis.page.documents.callbacks import call_next
from streamvis.page.session import InitPage, Session, UpdatePage
from streamvis.page.shared import shared_of
from streamvis.selection import FOLLOWS, NEWEST, Selection

__all__ = ["LOOPBACK_ORIGINS", "Server", "selection_of"]

LOOPBACK_ORIGINS = ("localhost:*", "127.0.0.1:*", "[::1]:*")
"""Origins from which a page may be opened: this machine under any name and port, so that forwarded ports work."""


_LEAST_BUDGET = 100


class Server:
    """Serves one document: shows the newest run of `app` in it, or the run that the page's address names as `?run=ID`.

    `init_page` and `update_page` may be `async def`.

    Args:
        doc: the session's document, `curdoc()` in a script
        url: address of the endpoint, such as "http://localhost:8080"
        app: name of the app, or None for the newest run of all apps; `?app=` in the page's address overrides it
        init_page: called as `init_page(doc, config)` once, before the page is shown
        update_page: called as `update_page(doc, new_data)` with all the data so far, then each time there is new data; not
            needed if panels and live sources show everything
        budget: about how many earlier rows of each key `update_page` gets at most, including the lowest and highest values
            (`new_data.reduced` has the affected keys); by default all rows
        follow: which run the page shows if its address names none: "newest", switching to newer ones; "oldest", the
            oldest that is running; or "pinned", the one that was newest when the page was opened
        token: the endpoint's token, if it requires one; by default the environment variable STREAMVIS_TOKEN

    Raises UsageError for an argument of the wrong type.
    """

    def __init__(
        self,
        doc: Document,
        url: str,
        app: str | None,
        init_page: InitPage,
        update_page: UpdatePage | None = None,
        *,
        budget: int | None = None,
        follow: str = NEWEST,
        token: str | None = None,
    ) -> None:
        if not isinstance(doc, Document):
            raise UsageError(f"doc is {type(doc).__name__}, not a Bokeh document. Pass curdoc().")
        if app is not None and (not isinstance(app, str) or not app):
            raise UsageError(f"app is {app!r}. Give the name under which the producer sends, such as 'demo'.")
        for name, function in (("init_page", init_page), ("update_page", update_page)):
            if not callable(function) and (name == "init_page" or function is not None):
                raise UsageError(f"{name} is {type(function).__name__}, not a function.")
        if budget is not None and not (isinstance(budget, int) and not isinstance(budget, bool) and budget >= _LEAST_BUDGET):
            raise UsageError(f"budget is {budget!r}. Give a number of rows, {_LEAST_BUDGET} or more, or None for all.")
        if follow not in FOLLOWS:
            raise UsageError(f"follow is {follow!r}. Give one of {', '.join(FOLLOWS)}.")
        shared = shared_of(doc)
        if doc in shared.served:
            raise UsageError("This document has a Server already: a script starts one.")
        selection = selection_of(doc.session_context, app, follow)
        shared.served.add(doc)
        self._doc = doc
        self._session = Session(
            doc,
            shared.reader(url, token or os.environ.get("STREAMVIS_TOKEN") or None),
            shared,
            selection=selection,
            init_page=init_page,
            update_page=update_page,
            budget=budget,
        )

    def start(self) -> None:
        """Begin to serve the document. An `async def init_page` continues when the document is shown."""
        rest = self.begin()
        if rest is not None:
            call_next(self._doc, lambda: rest)

    def begin(self) -> Awaitable[None] | None:
        """As `start`, for callers that can await the rest of an `async def init_page`, which is returned."""
        _allow_loopback_origins()
        return self._session.start()


def selection_of(session_context: SessionContext | None, app: str | None, follow: str = NEWEST) -> Selection:
    """What the address under which the page was opened asks for; `app` and `follow` where it says nothing of them."""
    request = getattr(session_context, "request", None)
    arguments = request.arguments if request else {}
    texts = {name: [value.decode(errors="replace") for value in values] for name, values in arguments.items()}
    return Selection.read(texts, app=app, follow=follow)


def _allow_loopback_origins() -> None:
    """Let a page under `bokeh serve` open at any loopback name, unless its operator said which origins there are."""
    said = "--allow-websocket-origin" in " ".join(sys.orig_argv) or settings.allowed_ws_origin()
    if not said:
        settings.allowed_ws_origin = list(LOOPBACK_ORIGINS)
