"""A live page equals a fresh page, and both equal what was sent, after any history that hypothesis thinks of."""

from __future__ import annotations

import copy
import datetime as dt
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from streamvis import Client
from streamvis.page.feeds.inbox import Inbox
from streamvis.page.feeds.reader import EndpointReader
from streamvis.page.feeds.table import Feeds
from streamvis.page.new_data import NewData
from streamvis.selection import Selection
from support.cells import NANOSECONDS
from support.conditions import wait_until

NUMBERS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=True, allow_infinity=True))
MOMENTS = st.one_of(
    st.datetimes(),
    st.sampled_from(["1970-01-01", "36812-02-20"]).map(lambda text: np.datetime64(text, "s")),
    st.integers(0, 2**62).map(lambda count: np.datetime64(count, "ns")),
)
LENGTHS = st.one_of(
    st.timedeltas(dt.timedelta(days=-(10**8)), dt.timedelta(days=10**8)),
    st.integers(0, 2**62).map(lambda count: np.timedelta64(count, "ns")),
)
ROWS_A = st.fixed_dictionaries({"x": NUMBERS, "y": NUMBERS})
ROWS_B = st.fixed_dictionaries(
    {"x": NUMBERS},
    optional={
        "late": NUMBERS,
        "word": st.sampled_from(["one", "two"]),
        "flag": st.booleans(),
        "list": st.sampled_from([{"a": [1]}, {"a": [{}]}]),
        "at": MOMENTS,
        "took": LENGTHS,
    },
)
COLUMNS = {"a": ["x", "y"], "b": ["x", "late", "word", "flag", "list", "at", "took"]}

ACTIONS = st.one_of(
    st.tuples(st.just("rows"), st.just("a"), st.lists(ROWS_A, min_size=1, max_size=4)),
    st.tuples(st.just("rows"), st.just("b"), st.lists(ROWS_B, min_size=1, max_size=3)),
    st.tuples(st.just("value"), st.sampled_from(["v", "w"]), st.integers(0, 5), st.integers(-(2**63), 2**63 - 1)),
    st.tuples(st.just("resume"), st.integers(0, 25)),
    st.tuples(st.sampled_from(["clear", "new run", "hide", "show", "catch up", "catch up", "catch up", "reopen"])),
)


class Sent:
    """What the producer sent in its newest run, kept in the plainest way."""

    def __init__(self, config: dict) -> None:
        self.config = config
        self.clear()

    def clear(self) -> None:
        self.rows: dict[str, list[tuple[int, dict]]] = {"a": [], "b": []}
        self.values: dict[tuple[str, int], list[int]] = {}

    def resume(self, at: int) -> None:
        self.rows = {key: [(step, row) for step, row in rows if step < at] for key, rows in self.rows.items()}
        self.values = {(key, step): number for (key, step), number in self.values.items() if step < at}

    def shown(self) -> dict:
        return {
            "config": self.config,
            "values": {key: [step, number] for (key, step), number in sorted(self.values.items())},
            **{key: [[cell(row.get(name)) for name in names] for _, row in self.rows[key]] for key, names in COLUMNS.items()},
        }


def cell(one: Any) -> Any:
    """A cell as a browser has it, in a form that can be compared: numbers are doubles, times and durations in whole microseconds,
    and what is missing, NaN and NaT is None."""
    if isinstance(one, dt.datetime):
        one = np.datetime64(one, "us")
    elif isinstance(one, dt.timedelta):
        one = np.timedelta64(one, "us")
    if isinstance(one, (np.datetime64, np.timedelta64)):
        unit, _ = np.datetime_data(one)
        return None if np.isnat(one) else int(one.astype(np.int64)) * NANOSECONDS[unit] // 1000
    if isinstance(one, (bool, np.bool_, str, dict)) or one is None:
        return copy.deepcopy(one)
    return None if math.isnan(one) else float(one)


def spoil(new_data: NewData) -> None:
    """What an author's code may do to what it is given."""
    for key in new_data:
        for column in new_data[key].values():
            if isinstance(column, np.ndarray):
                column[...] = column[:1]
                continue
            for part in column:
                if isinstance(part, dict):
                    part["a"].clear()
                    part["spoilt"] = True
            column.insert(0, "spoilt")


class Reader:
    """Reads a run as a session does: the past up to where the feed delivers, then what the inbox has, folded.

    It shares its feeds with other tabs, and changes all that it is given.
    """

    def __init__(self, feeds: Feeds, url: str, app: str) -> None:
        self.reader, self.feeds, self.app = EndpointReader(url), feeds, app
        self.is_hidden = False
        self.inbox = Inbox(lambda: None, limit_bytes=20_000)
        self.app_feed = self.feeds.choice(self.reader, Selection(app), self, lambda: None)
        self.run_feed = None
        self.start_over(None)

    def start_over(self, head) -> None:
        """What a browser does when the page is loaded again."""
        if self.run_feed is not None:
            self.run_feed.leave(self)
        self.inbox.reset()
        self.run_feed = head and self.feeds.run(self.reader, head.run.id, self, lambda: None)
        self.run, self.restarts = head and head.run, self.run_feed.restarts if head else 0
        self.cursor = self.target = None
        self.rows, self.values = {"a": [], "b": []}, {}

    def look(self) -> None:
        """Take what is there."""
        newest = next(iter(self.app_feed.heads), None)
        if (newest and newest.run.id) != (self.run and self.run.id) or (newest and self.run_feed.restarts != self.restarts):
            self.start_over(newest)
        if self.run is None or self.is_hidden:
            return
        if self.target is None or self.inbox.overflowed:
            self.run_feed.part(self)
            self.target = self.run_feed.join(self, self.inbox)
        while self.target is not None and self.cursor != self.target:
            piece = self.reader.tail(self.run.id, after=self.cursor, until=self.target, max_bytes=3_000)
            if piece.restart:
                return self.start_over(next(iter(self.app_feed.heads), None))
            self.take([piece])
            self.cursor = piece.cursor if piece.more else self.target
        if self.target is not None and (pieces := self.inbox.take()):
            self.take(pieces)
            self.cursor = self.target = pieces[-1].cursor
        return None

    def take(self, pieces) -> None:
        new_data = self.run_feed.folds.fold(self.run, pieces, without=frozenset())
        for key in new_data:
            if key in self.rows:
                columns, count = new_data[key], len(new_data.steps(key))
                cells = [map(cell, columns.get(name, [None] * count)) for name in COLUMNS[key]]
                self.rows[key] += [list(row) for row in zip(*cells, strict=True)]
            else:
                self.values[key] = [int(new_data.steps(key)[0]), list(new_data[key]["n"])]
        spoil(new_data)

    def shown(self) -> dict | None:
        """What was read, in the form of `Sent.shown`."""
        return self.run and {
            "config": dict(self.run.config),
            "values": self.values,
            **self.rows,
        }

    def close(self) -> None:
        self.app_feed.leave(self)
        if self.run_feed is not None:
            self.run_feed.leave(self)


@pytest.mark.faults
@pytest.mark.timeout(300)
def test_a_live_page_equals_a_fresh_page_after_any_history(start_endpoint):
    endpoint = start_endpoint()
    apps = iter(range(10**6))

    @settings(max_examples=30, suppress_health_check=list(HealthCheck))
    @given(st.lists(ACTIONS, max_size=25), st.one_of(st.none(), st.integers(0, 25)))
    @example([("value", "v", 3, 1), ("catch up",), ("value", "v", 3, 2)], None)
    @example([("value", "v", 3, 1), ("catch up",), ("value", "v", 2, 2), ("catch up",), ("clear",)], 4)
    @example([("value", "v", 3, 1), ("value", "v", 2, 2), ("catch up",), ("resume", 3), ("catch up",), ("value", "v", 4, 3)], 3)
    def check(actions, killed_at):
        app = f"app {next(apps)}"
        with Client(endpoint.url, app) as client:
            sent = Sent({"n": 0})
            client.init(sent.config)
            feeds = Feeds()
            live, tab = Reader(feeds, endpoint.url, app), Reader(feeds, endpoint.url, app)
            for i, (action, *details) in enumerate(actions):
                if i == killed_at:
                    endpoint.kill()
                    endpoint.restart()
                sent = act(client, live, sent, i, action, *details)
                tab.look()
            assert client.flush(timeout_s=30)
            live.is_hidden = False
            fresh = Reader(Feeds(), endpoint.url, app)
            for page in (live, tab, fresh):
                wait_for(page, sent)
                page.close()

    check()


def act(client: Client, live: Reader, sent: Sent, i: int, action: str, *details) -> Sent:
    """Carry out one action, in the product and in the model of it. Returns the model of the newest run."""
    if action == "rows":
        key, rows = details
        for row in rows:
            client.sendl(i, key, row)
        sent.rows[key].extend((i, row) for row in rows)
    elif action == "value":
        key, step, number = details
        client.send(step, key, {"n": [number]})
        sent.values[key, step] = [number]
    elif action == "resume":
        client.init(sent.config, run=client.run, resume_at=details[0])
        sent.resume(details[0])
    elif action == "clear":
        client.clear()
        sent.clear()
    elif action == "new run":
        sent = Sent({"n": i + 1})
        client.init(sent.config)
    elif action in ("hide", "show"):
        live.is_hidden = action == "hide"
    elif action == "reopen":
        live.start_over(next(iter(live.app_feed.heads), None))
    elif not live.is_hidden:
        # What the page has taken by now must not keep it from what comes later.
        assert client.flush(timeout_s=30)
        wait_for(live, sent)
    return sent


def wait_for(page: Reader, sent: Sent) -> None:
    """Until the page shows exactly what was sent."""

    def equal() -> bool:
        page.look()
        assert page.shown() == sent.shown()
        return True

    wait_until(equal, within_s=30, what="the page shows what was sent")
