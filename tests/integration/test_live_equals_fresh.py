"""A live page equals a fresh page, and both equal what was sent, after any history that hypothesis thinks of."""

from __future__ import annotations

import math

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from streamvis import Client
from streamvis.page.feed import Feeds, Inbox, fold
from streamvis.page.reader import EndpointReader
from support.conditions import wait_until

NUMBERS = st.one_of(st.integers(-(2**31), 2**31), st.floats(allow_nan=True, allow_infinity=False))
ROWS_A = st.fixed_dictionaries({"x": NUMBERS, "y": NUMBERS})
ROWS_B = st.fixed_dictionaries({"x": NUMBERS}, optional={"late": NUMBERS, "word": st.sampled_from(["one", "two"])})

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
            "a": [[cell(row["x"]), cell(row["y"])] for _, row in self.rows["a"]],
            "b": [[cell(row["x"]), cell(row.get("late")), row.get("word")] for _, row in self.rows["b"]],
        }


def cell(number: float | None) -> float | str:
    """A number as a browser has it, in a form that can be compared: NaN equals NaN, and what is missing is NaN."""
    return "nan" if number is None or isinstance(number, str) or math.isnan(number) else float(number)


class Reader:
    """Reads a run as a session does: the past up to where the feed delivers, then what the inbox has, folded."""

    def __init__(self, url: str, app: str) -> None:
        self.reader, self.feeds, self.app = EndpointReader(url), Feeds(), app
        self.is_hidden = False
        self.inbox = Inbox(lambda: None, limit_bytes=20_000)
        self.app_feed = self.feeds.app(self.reader, app, self, lambda: None)
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
        newest = self.app_feed.head
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
                return self.start_over(self.app_feed.head)
            self.take([piece])
            self.cursor = piece.cursor if piece.more else self.target
        if self.target is not None and (pieces := self.inbox.take()):
            self.take(pieces)
            self.cursor = self.target = pieces[-1].cursor
        return None

    def take(self, pieces) -> None:
        new_data = fold(self.run, pieces)
        for key in new_data:
            if key in self.rows:
                columns, count = new_data[key], len(new_data.steps(key))
                names = {"a": ["x", "y"], "b": ["x", "late", "word"]}[key]
                cells = [columns.get(name, [None] * count) for name in names]
                self.rows[key] += [list(row) for row in zip(*cells, strict=True)]
            else:
                self.values[key] = [int(new_data.steps(key)[0]), new_data[key]["n"]]

    def shown(self) -> dict | None:
        """What was read, in the form of `Sent.shown`."""
        return self.run and {
            "config": dict(self.run.config),
            "values": self.values,
            "a": [[cell(x), cell(y)] for x, y in self.rows["a"]],
            "b": [[cell(x), cell(late), word] for x, late, word in self.rows["b"]],
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
            live = Reader(endpoint.url, app)
            for i, (action, *details) in enumerate(actions):
                if i == killed_at:
                    endpoint.kill()
                    endpoint.restart()
                sent = act(client, live, sent, i, action, *details)
            assert client.flush(timeout_s=30)
            live.is_hidden = False
            wait_for(live, sent)
            fresh = Reader(endpoint.url, app)
            wait_for(fresh, sent)
            live.close()
            fresh.close()

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
        live.start_over(live.app_feed.head)
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
