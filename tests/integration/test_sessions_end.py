"""Sessions that ended leave nothing in the page server: some of what `benchmarks/soak.py` opens and closes, and the feeds."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import holdings
import soak

from streamvis import Client
from streamvis.page.feeds import feed as feeds_of_pages
from streamvis.page.feeds.reader import EndpointReader
from streamvis.page.feeds.table import Feeds
from streamvis.selection import Selection
from support.conditions import wait_until

ROUNDS = 2
COUNT_EVERY_S = 3.0
"""To count, the page server looks at each of its objects."""
SHARED = 6
"""So many connections and threads to the endpoint may be there after a round that were not there before: sessions share them."""


def test_closed_sessions_of_all_kinds_leave_no_object_task_or_connection(start_endpoint, start_pages, tmp_path):
    endpoint, answer = start_endpoint(), tmp_path / "counts.json"
    script = tmp_path / "long.py"
    script.write_text(soak.SCRIPT.format(folder=str(Path(soak.__file__).parent), answer=str(answer)))
    pages = start_pages(script, url=endpoint.url)

    def count() -> dict[str, float]:
        return holdings.ask(pages.pid, answer)

    def have_ended() -> dict[str, float] | None:
        counts = count()
        left = {name: counts[name] for name in soak.ENDING if name != "feeds" and counts[name]}
        assert not left
        return counts

    with Client(endpoint.url, "long") as client, Client(endpoint.url, "past") as past:
        site = soak.Site(client, past, f"{pages.url}/long", pages.pid, answer)
        asyncio.run(site.open_and_close(len(soak.KINDS)))
        before = wait_until(
            lambda: (now := count())["Bokeh's connections"] == 0 and now, every_s=1.0, what="the first tabs are gone"
        )
        assert before["Bokeh's sessions"] == before["documents"] == len(soak.KINDS)
        for _ in range(ROUNDS):
            asyncio.run(site.open_and_close(len(soak.KINDS)))
        after = wait_until(have_ended, within_s=60, every_s=COUNT_EVERY_S, what="all sessions end")
    assert after["tasks"] <= before["tasks"]
    for name in ("connections", "files", "threads"):
        assert after[name] <= before[name] + SHARED < before[name] + ROUNDS * len(soak.KINDS)


def test_a_feed_ends_after_its_last_session_left_and_the_next_session_has_another(start_endpoint, monkeypatch):
    monkeypatch.setattr(feeds_of_pages, "_POLL_S", 0.2)
    monkeypatch.setattr(feeds_of_pages, "_LINGER_S", 0.2)
    endpoint, feeds, who = start_endpoint(), Feeds(), object()
    reader = EndpointReader(endpoint.url)
    with Client(endpoint.url, "app") as client:
        client.init(run="job")
        client.flush()

        def listened() -> list[feeds_of_pages.Feed]:
            return [feeds.choice(reader, Selection("app"), who, int), feeds.run(reader, "job", who, int)]

        first = listened()
        assert listened() == first
        for one in first:
            assert one.known.wait(10)
            one.leave(who)
        threads, gone = [one._thread for one in first], [weakref.ref(one) for one in first]
        wait_until(lambda: not any(thread.is_alive() for thread in threads), what="the threads end")
        del first, one
        threads.clear()
        gc.collect()
        assert [ref() for ref in gone] == [None, None]
        for one in listened():
            assert one.known.wait(10)
            one.leave(who)


@pytest.mark.parametrize(
    ("counts", "fault"),
    [
        ([0.0] * 7, None),
        ([100.0, 130.0, 131.0, 129.0, 131.0, 130.0, 130.5], None),
        ([100.0, 110.0, 120.0, 130.0, 140.0, 150.0, 160.0], "memory (MiB) grows: 20.0 in 200 sessions"),
    ],
)
def test_the_soak_tells_memory_that_grows_from_memory_that_was_needed_once(counts, fault):
    series = [{**dict.fromkeys(soak.ENDING, 0), "memory (MiB)": value} for value in counts]
    assert soak.faults(series) == ([fault] if fault else [])
    assert soak.faults([*series[:-1], {**series[-1], "sessions": 3}])[0] == "3 sessions are left"
