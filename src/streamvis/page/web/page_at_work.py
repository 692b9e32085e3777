"""Which page the event loop works for at a moment, told by what the functions that it is in have at hand.

Not only an author's code keeps the loop busy: Bokeh walks, copies and encodes what the author made, long after the author's
function has returned. But whatever it does, it does for a document, a session or a request of one page, and some function of the
stack holds that. Nothing has to be noted beforehand, so no work is missed. Safe to call from another thread.
"""

from __future__ import annotations

from types import FrameType
from typing import Any

from bokeh.application.application import SessionContext
from bokeh.document import Document
from bokeh.server.connection import ServerConnection
from bokeh.server.contexts import ApplicationContext
from bokeh.server.session import ServerSession
from tornado.web import RequestHandler

__all__ = ["page_at_work"]


def page_at_work(frame: FrameType | None) -> str | None:
    """The address, such as "/page", of the page that this stack works for; None where it works for none."""
    while frame is not None:
        for value in list(frame.f_locals.values()):
            context = _context_of(value)
            if context is not None and context.url is not None:
                return context.url
        frame = frame.f_back
    return None


def _context_of(value: Any) -> ApplicationContext | None:
    """The application that an object belongs to, where it is one that belongs to one."""
    if isinstance(value, ApplicationContext):
        return value
    if isinstance(value, (RequestHandler, ServerConnection)):
        return getattr(value, "application_context", None)
    if isinstance(value, ServerSession):
        # A session that has ended has no document.
        value = getattr(value, "document", None) if not value.destroyed else None
    if isinstance(value, Document):
        value = value.session_context
    return value.server_context.application_context if isinstance(value, SessionContext) else None
