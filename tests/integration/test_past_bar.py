"""What the time bar knows of a run's past: its attempts, and what can be its scale."""

from __future__ import annotations

import json

import pytest

from streamvis.shell.past import past_of, scale_of, time_of
from streamvis.testing import rows
from streamvis.transport import path

PAGE = """
def init_page(doc, config):
    pass
"""


@pytest.fixture
def page(tmp_path, streamvis_page):
    (tmp_path / "page.py").write_text(PAGE)
    its = [rows(step, "train", {"epoch": step // 10, "loss": float(-step), "name": "x"}) for step in range(40)]
    return streamvis_page(tmp_path / "page.py", records=its)


def test_a_column_that_never_falls_can_be_the_scale_and_so_can_time(page):
    found = scale_of(page.reader, page.run, "train", "epoch")
    assert found["rises"] and not found["is_time"]
    assert (found["steps"][0], found["x"][0], found["steps"][-1], found["x"][-1]) == (0, 0.0, 39, 3.0)
    time = time_of(page.reader, page.run)
    assert time["is_time"] and time["x"][0] > 1.6e9


def test_a_column_that_falls_and_a_key_that_is_not_there_cannot(page):
    assert scale_of(page.reader, page.run, "train", "loss")["rises"] is False
    assert scale_of(page.reader, page.run, "none", "x") == {"steps": [], "x": [], "rises": False, "is_time": False}


def test_the_attempts_that_resumed_are_in_what_the_endpoint_says_of_a_run(page):
    page.resume(at=30)
    page.sendl(30, "train", {"epoch": 3, "loss": 1.0})
    page.resume(at=20)
    about = json.loads(page.reader.ask("GET", path("runs", page.run)).body)
    assert [attempt["resume_at"] for attempt in about["attempts"]] == [30, 20]
    assert about["last_step"] == 19


def test_the_newest_alerts_are_marked_with_step_title_and_level(page):
    assert past_of(page.reader, page.run)["alerts"] == []
    for step, level in ((7, "error"), (12, "info")):
        page.sendl(step, "alerts", {"title": f"at {step}", "text": "why", "level": level})
    found = [(one["step"], one["title"], one["level"]) for one in past_of(page.reader, page.run)["alerts"]]
    assert found == [(7, "at 7", "error"), (12, "at 12", "info")]
    page.sendl(13, "alerts", {"title": [f"{i}" for i in range(150)], "text": [""] * 150, "level": ["info"] * 150})
    assert [one["title"] for one in past_of(page.reader, page.run)["alerts"]] == [f"{i}" for i in range(50, 150)]
    count = 11_000
    page.sendl(14, "alerts", {"title": [f"{i}" for i in range(count)], "text": [""] * count, "level": ["loud"] * count})
    page.sendl(15, "alerts", {"text": "no alert"})
    found = past_of(page.reader, page.run)["alerts"]
    assert [one["title"] for one in found] == [f"{i}" for i in range(count - 100, count)]
    assert {(one["step"], one["level"]) for one in found} == {(14, "info")} and found[0]["time"] > 1.6e9


def test_a_title_that_is_not_a_text_is_shown_as_one_and_hides_no_other_alert(page):
    for step, columns in enumerate([{"title": 5}, {"title": "text", "level": "error"}, {"title": [1, 2]}, {"level": 3}]):
        page.sendl(step, "alerts", {name: [cell] for name, cell in columns.items()})
        found = [(one["title"], one["level"]) for one in past_of(page.reader, page.run)["alerts"]]
        assert found == [("5", "info"), ("text", "error"), ("[1, 2]", "info")][: step + 1]


def test_time_goes_by_the_key_that_spans_the_most_steps_and_never_by_alerts(tmp_path, streamvis_page):
    (tmp_path / "page.py").write_text(PAGE)
    its = [rows(step, "alerts", {"title": "t", "text": "", "level": "info", "n": 1}) for step in (0, 99)]
    its += [rows(step, "text", {"text": "x"}) for step in (0, 99)]
    its += [rows(step, "short", {"loss": 1.0}) for step in (0, 9)]
    its += [rows(step, "long", {"note": "x", "loss": 1.0}) for step in range(5, 50)]
    page = streamvis_page(tmp_path / "page.py", records=its)
    time = time_of(page.reader, page.run)
    assert time["is_time"] and (time["steps"][0], time["steps"][-1]) == (5, 49)


def test_a_run_without_a_column_that_can_be_drawn_has_no_scale_by_time(tmp_path, streamvis_page):
    (tmp_path / "page.py").write_text(PAGE)
    page = streamvis_page(tmp_path / "page.py", records=[rows(0, "text", {"text": "x"})])
    assert time_of(page.reader, page.run) == {"steps": [], "x": [], "rises": False, "is_time": True}
