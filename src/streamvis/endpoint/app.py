"""The endpoint as an ASGI application: its routes, who may use them, and the tasks beside them.

What a route does is a few lines: check, ask the store in a thread, answer in JSON or Arrow. Nothing blocks the event loop but
decoding small bodies.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.concurrency import run_in_threadpool

from streamvis.addresses.access import Hosts, Tokens
from streamvis.endpoint.authorization import Guard
from streamvis.endpoint.disconnects import GivenUp
from streamvis.endpoint.news import News
from streamvis.endpoint.openapi import describe
from streamvis.endpoint.other_endpoints import watch_others
from streamvis.endpoint.presence import Presence
from streamvis.endpoint.responses import ProtocolHeader, add_error_answers
from streamvis.endpoint.routes import band as band_routes
from streamvis.endpoint.routes import deletion as deletion_routes
from streamvis.endpoint.routes import read as read_routes
from streamvis.endpoint.routes import run as run_routes
from streamvis.endpoint.routes import tail as tail_routes
from streamvis.endpoint.routes import write as write_routes
from streamvis.endpoint.served import Endpoint
from streamvis.endpoint.webhook import Webhook
from streamvis.endpoint.writer import Writer
from streamvis.errors import StoreError
from streamvis.store import SharedStore, Store

__all__ = ["VANISH_AFTER_S", "create_app"]

MAX_WAITING = 500
"""How many requests wait for news at a time. A page server has two for each run that is looked at."""
VANISH_AFTER_S = 45.0
"""How long nothing must be heard of a run's producers until it is shown as vanished. They show that they live every 10 s."""
_LOOK_AT_STORE_S = 1.0
# Those that list runs come before that of one run, whose id `names` would be.
_ROUTES = [its.routes for its in (run_routes, deletion_routes, band_routes, read_routes, tail_routes, write_routes)]


def create_app(
    store: Store,
    *,
    version: str,
    tokens: Tokens = Tokens(),  # noqa: B008  # frozen
    hosts: Hosts = Hosts(),  # noqa: B008  # frozen
    max_waiting: int = MAX_WAITING,
    vanish_after_s: float = VANISH_AFTER_S,
    page_of: Callable[[str], str] = lambda run: "",
    make_webhook: Callable[[], Webhook] | None = None,
) -> FastAPI:
    """The endpoint as an ASGI application over `store`, for who has one of the tokens, under the names `hosts` and loopback's.

    At most `max_waiting` requests wait for news at a time. `page_of` gives the address of a run's page, "" where it is not known;
    of no run (""), that of the page for any run. `make_webhook` makes what posts alerts, on the event loop.
    """
    presence = Presence(store, lambda changes: endpoint.news.announce(changes), vanish_after_s=vanish_after_s)
    endpoint = Endpoint(store, presence, version, page_of)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        endpoint.news, endpoint.writer = News(max_waiting), Writer(store)
        endpoint.webhook = make_webhook() if make_webhook is not None else None
        store.listen(endpoint.news.announce)
        tasks = [
            asyncio.create_task(endpoint.writer.keep_tidy()),
            asyncio.create_task(presence.watch()),
            asyncio.create_task(_watch_for_another_store(store, endpoint.news, presence)),
            *([asyncio.create_task(endpoint.webhook.post_all(store))] if endpoint.webhook is not None else []),
        ]
        if isinstance(store, SharedStore):
            tasks.append(asyncio.create_task(watch_others(store, endpoint.news)))
        yield
        for task in tasks:
            task.cancel()

    # No /redoc: its page loads a picture from its maker's site.
    app = FastAPIOffline(title="Streamvis", version=version, lifespan=lifespan, redoc_url=None)
    app.state.endpoint = endpoint
    app.add_middleware(GivenUp)
    app.add_middleware(Guard, tokens=tokens, hosts=hosts)
    app.add_middleware(ProtocolHeader)
    add_error_answers(app)
    for routes in _ROUTES:
        app.router.routes.extend(routes.routes)  # `include_router` would build each of them again
    describe(app, wants_token=tokens.write is not None)
    return app


async def _watch_for_another_store(store: Store, news: News, presence: Presence) -> None:
    """Wake those who wait when a backup was put back, which another process does and no commit of ours tells of."""
    known = await run_in_threadpool(lambda: store.id)
    while True:
        await asyncio.sleep(_LOOK_AT_STORE_S)
        try:
            found = await run_in_threadpool(lambda: store.id)
        except StoreError:
            continue
        if found != known:
            known = found
            await presence.begin_anew()
            news.wake_all()
