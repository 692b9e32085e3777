"""Runs that vanish, in process: what is kept of a run ends with the run."""

from __future__ import annotations

import asyncio

import pytest

from streamvis.endpoint.presence import Presence
from streamvis.records import Batch, Start
from streamvis.store import SqliteStore

VANISH_AFTER_S = 0.05


@pytest.fixture
def store(tmp_path):
    made = SqliteStore(tmp_path)
    yield made
    made.close()


def begun(run):
    return Batch(run, "app", "producer", 1, [Start("{}", 1.0)])


async def watched(presence, is_over):
    """Let the presence look at its runs until it is over."""
    async with asyncio.timeout(10):
        task = asyncio.create_task(presence.watch())
        while not is_over():
            await asyncio.wait([task], timeout=VANISH_AFTER_S / 10)
        task.cancel()


@pytest.mark.parametrize("order", ["deleted and then heard of", "heard of and then deleted"])
def test_nothing_is_kept_of_a_run_that_was_deleted_meanwhile(store, order):
    presence = Presence(store, lambda changes: None, vanish_after_s=VANISH_AFTER_S)
    batch, other = begun("short"), begun("other")
    store.append([batch, other])

    async def story():
        # Another process deletes the run, or this one does while a sign of life is on its way.
        if order.startswith("deleted"):
            store.delete("short")
        presence.stored(batch)
        presence.stored(other)
        if order.startswith("heard"):
            store.delete("short")
        await watched(presence, lambda: presence.is_gone("other"))
        await watched(presence, lambda: not presence.is_gone("short"))

    asyncio.run(story())
    assert presence.expected == {"other"}
