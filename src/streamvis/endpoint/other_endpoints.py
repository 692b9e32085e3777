"""What an endpoint does where others use the same store: it looks for what they changed, should no message tell of it."""

from __future__ import annotations

import asyncio

from starlette.concurrency import run_in_threadpool

from streamvis.endpoint.news import News
from streamvis.errors import StreamvisError
from streamvis.records import Cursor
from streamvis.store import Changes, SharedStore

__all__ = ["watch_others"]

_LOOK_S = 1.0


async def watch_others(store: SharedStore, news: News) -> None:
    """Tell those who wait of what is new in the store each second, until cancelled. Costs a look at what somebody waits for."""
    runs: dict[str, Cursor] = {}
    apps: dict[str, Cursor] = {}
    while True:
        await asyncio.sleep(_LOOK_S)
        waiting = news.awaited()
        if not waiting:
            continue
        names = [name for kind, name in waiting if kind == "run"]
        lists = {name if kind == "app" else None for kind, name in waiting if kind != "run"}

        def look(names: list[str] = names, lists: set[str | None] = lists) -> tuple[dict[str, Cursor], dict[str, Cursor]]:
            return dict(store.heads(names)) if names else {}, {name or "": store.app_head(name).cursor for name in lists}

        try:
            now_runs, now_apps = await run_in_threadpool(look)
        except StreamvisError:  # of the store, or of a name that somebody waits for and the database does not take
            continue
        changed = frozenset(name for name in names if now_runs.get(name) != runs.get(name))
        listed = frozenset(name for name in now_apps if now_apps[name] != apps.get(name))
        runs, apps = now_runs, now_apps
        if changed or listed:
            news.announce(Changes(changed, listed))
