"""The benchmark of pages goes on when a page paints late or never, and says so."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import TimeoutError as PlaywrightTimeout

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import pages


class LatePage:
    """A page that paints only the first `painted` rows that it is sent, each 5 ms after it has them."""

    def __init__(self, painted: int) -> None:
        self.painted, self.marks = painted, {}

    def send(self, step: int, row: list[float]) -> None:
        now = time.time() * 1e3
        self.marks[str(step)] = {"data": now, "paint": now + 5} if len(self.marks) < self.painted else {"data": now}

    def wait_for_function(self, expression: str, timeout: float) -> None:
        raise PlaywrightTimeout(f"Timeout {timeout} ms exceeded.")

    def evaluate(self, expression: str) -> dict:
        return self.marks


@pytest.mark.parametrize("painted", [0, 2])
def test_a_page_that_does_not_paint_in_time_gives_the_figures_that_there_are(painted, monkeypatch):
    monkeypatch.setattr(pages, "UPDATES", 3)
    monkeypatch.setattr(pages.time, "sleep", lambda s: None)
    tab = LatePage(painted)
    found = pages.latency(tab, tab.send, 100)
    assert found["the newest row not painted after (s)"] == pages.PAINTED_S
    assert ("to paint, p50 (ms)" in found) == bool(painted)
    assert "to data, p95 (ms)" in found


def test_a_peer_that_cannot_be_measured_is_left_out_and_the_others_are_in_the_table(capsys):
    found = {"plain Bokeh": {}, "Streamvis": {1000: {"opening (s)": 0.5}}}
    for length, error in {1000: None, 5000: PlaywrightError("the page crashed"), 9000: OSError("no port")}.items():
        with pages.left_out(f"plain Bokeh with {length:,} rows"):
            if error:
                raise error
            found["plain Bokeh"][length] = {"opening (s)": 0.25}
    assert capsys.readouterr().out.count("is left out: ") == 2
    assert pages.table(found)[-1] == "| opening (s) | 0.25 | 0.5 |"
