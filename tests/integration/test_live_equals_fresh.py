"""A live page equals a fresh page, and both equal what was sent, after any history that hypothesis thinks of."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.conditions import wait_until
from support.tabs import Tab

from streamvis import Client

PAGE = Path(__file__).parents[1] / "pages" / "recording_page.py"

NUMBERS = st.one_of(st.integers(-(2**31), 2**31), st.floats(allow_nan=True, allow_infinity=False))
ROWS_A = st.fixed_dictionaries({"x": NUMBERS, "y": NUMBERS})
ROWS_B = st.fixed_dictionaries({"x": NUMBERS}, optional={"late": NUMBERS, "word": st.sampled_from(["one", "two"])})

ACTIONS = st.one_of(
    st.tuples(st.just("rows"), st.just("a"), st.lists(ROWS_A, min_size=1, max_size=4)),
    st.tuples(st.just("rows"), st.just("b"), st.lists(ROWS_B, min_size=1, max_size=3)),
    st.tuples(st.just("value"), st.sampled_from(["v", "w"]), st.integers(0, 5), st.integers()),
    st.tuples(st.sampled_from(["clear", "new run", "hide", "show", "look", "reopen"])),
)
FAULTS = st.sampled_from(["kill the endpoint", "kill the page server"])


class Sent:
    """What the producer sent in its newest run, kept in the plainest way."""

    def __init__(self, config: dict) -> None:
        self.config = config
        self.clear()

    def clear(self) -> None:
        self.rows: dict[str, list[dict]] = {"a": [], "b": []}
        self.values: dict[str, tuple[int, int]] = {}

    def value(self, key: str, step: int, number: int) -> None:
        if key not in self.values or step >= self.values[key][0]:
            self.values[key] = (step, number)

    def shown(self) -> dict:
        return {
            "config": self.config,
            "values": {key: list(value) for key, value in self.values.items()},
            "a": [[cell(row["x"]), cell(row["y"])] for row in self.rows["a"]],
            "b": [[cell(row["x"]), cell(row.get("late")), row.get("word")] for row in self.rows["b"]],
        }


def cell(number: float | None) -> float | str:
    """A number as a browser has it, in a form that can be compared: NaN equals NaN, and what is missing is NaN."""
    return "nan" if number is None or isinstance(number, str) or math.isnan(number) else float(number)


def shown(tab: Tab) -> dict | None:
    """What the page in the tab shows, in the form of `Sent.shown`."""
    config, values = tab.source("config"), tab.source("values")
    if not config:
        return None
    a, b = tab.source("a"), tab.source("b")
    words = [word if isinstance(word, str) else None for word in b["word"]]
    return {
        "config": json.loads(config["config"][0]),
        "values": json.loads(values["json"][0]) if values["json"] else {},
        "a": [[cell(x), cell(y)] for x, y in zip(a["x"], a["y"], strict=True)],
        "b": [[cell(x), cell(late), word] for x, late, word in zip(b["x"], b["late"], words, strict=True)],
    }


@pytest.mark.faults
@pytest.mark.timeout(300)
def test_a_live_page_equals_a_fresh_page_after_any_history(start_endpoint, start_pages):
    endpoint = start_endpoint()
    pages = start_pages(PAGE, url=endpoint.url)
    apps = iter(range(10**6))

    @settings(max_examples=25, suppress_health_check=list(HealthCheck))
    @given(st.lists(ACTIONS, max_size=25), st.lists(st.tuples(st.integers(0, 25), FAULTS), max_size=1))
    def check(actions, faults):
        app = f"app {next(apps)}"
        page_url = f"{pages.url}/recording_page"
        with Client(endpoint.url, app) as client:
            sent = Sent({"n": 0})
            client.init(sent.config)
            live = Tab(page_url, app=app)
            for i, (action, *details) in enumerate(actions):
                for _ in [fault for at, fault in faults if at == i]:
                    client.flush()
                    service = endpoint if faults[0][1] == "kill the endpoint" else pages
                    service.kill()
                    service.restart()
                sent = act(client, live, sent, i, action, *details)
            assert client.flush(timeout_s=30)
            live.is_hidden = False
            wait_for(live, sent)
            fresh = Tab(page_url, app=app)
            wait_for(fresh, sent)
            live.close()
            fresh.close()

    check()


def act(client: Client, live: Tab, sent: Sent, i: int, action: str, *details) -> Sent:
    """Carry out one action, in the product and in the model of it. Returns the model of the newest run."""
    if action == "rows":
        key, rows = details
        for row in rows:
            client.sendl(i, key, row)
        sent.rows[key].extend(rows)
    elif action == "value":
        key, step, number = details
        client.send(step, key, {"n": [number]})
        sent.value(key, step, [number])
    elif action == "clear":
        client.clear()
        sent.clear()
    elif action == "new run":
        sent = Sent({"n": i + 1})
        client.init(sent.config)
    elif action in ("hide", "show"):
        live.is_hidden = action == "hide"
    elif action == "reopen":
        live.reopen()
    else:
        live.look()
    return sent


def wait_for(tab: Tab, sent: Sent) -> None:
    """Until the tab shows exactly what was sent."""

    def equal() -> bool:
        tab.look()
        assert shown(tab) == sent.shown()
        return True

    wait_until(equal, within_s=30, what="the page shows what was sent")
