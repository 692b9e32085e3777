"""What the routes of one endpoint work with. Routes are built once for a process; each request brings its endpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from streamvis.endpoint.news import News
from streamvis.endpoint.presence import Presence
from streamvis.endpoint.webhook import Webhook
from streamvis.endpoint.writer import Writer
from streamvis.store import Store

__all__ = ["Endpoint", "Served"]


@dataclass(slots=True)
class Endpoint:
    """A store that is served. `page_of` gives the address of a run's page.

    `news`, `writer` and `webhook` belong to an event loop: they are there from the application's start to its end.
    """

    store: Store
    presence: Presence
    version: str
    page_of: Callable[[str], str]
    news: News = field(init=False)
    writer: Writer = field(init=False)
    webhook: Webhook | None = field(init=False, default=None)


async def _of(request: Request) -> Endpoint:
    return request.app.state.endpoint


Served = Annotated[Endpoint, Depends(_of)]
"""A route's endpoint."""
