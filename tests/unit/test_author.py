"""What an author's callbacks raise, in a document alone, and how it is told."""

from __future__ import annotations

import asyncio
import logging

import pytest
from bokeh.document import Document
from bokeh.events import ConnectionLost
from bokeh.models import ColumnDataSource, Slider

from streamvis.page.author.code import Failures
from streamvis.page.documents.link import BrowserLink, StreamvisLink


@pytest.fixture
def doc():
    doc = Document()
    Failures("the page").guard(doc)
    return doc


def raising(error):
    def callback(*args):
        raise error

    return callback


def told(doc) -> list[str]:
    return [notice.title for notice in doc.callbacks.failures.notices]


def test_what_hooks_of_a_session_that_ends_raise_ends_in_the_log(doc, caplog):
    doc.on_session_destroyed(lambda context: raising(SystemExit("as it went"))(context))
    with caplog.at_level(logging.ERROR):
        for callback in doc.session_destroyed_callbacks:
            callback(None)
        doc.on_event(ConnectionLost, raising(KeyboardInterrupt()))
        doc.callbacks.trigger_event(ConnectionLost())
    assert "SystemExit: as it went" in caplog.text and "KeyboardInterrupt" in caplog.text


def test_an_exception_in_a_callback_reaches_the_author_code_that_set_it_off(doc):
    slider = Slider(start=0, end=9, value=1)
    slider.on_change("value", lambda attr, old, new: raising(LookupError("too high"))())
    doc.add_root(slider)
    with pytest.raises(LookupError):
        slider.value = 3
    assert told(doc) == []
    with doc.callbacks.failures.ours():
        slider.value = 4
    assert [title.partition(" failed: ")[2] for title in told(doc)] == ["LookupError: too high"]


def test_what_streamvis_streams_reaches_the_browser_though_a_callback_of_the_author_fails(doc):
    source, seen = ColumnDataSource({"x": [0.0]}), []
    source.on_change("data", lambda attr, old, new: raising(SystemExit(3))())
    doc.add_root(source)
    doc.callbacks.on_change_dispatch_to(type("Session", (), {"_columns_streamed": lambda self, event: seen.append(event)})())
    with doc.callbacks.failures.ours():
        source.stream({"x": [1.0]})
    assert len(seen) == 1 and len(told(doc)) == 1


def test_a_callback_that_was_taken_off_is_not_called(doc):
    observed = raising(ValueError())
    doc.on_change(observed)
    doc.remove_on_change(observed)
    doc.on_message("mine", observed)
    doc.callbacks.remove_on_message("mine", observed)
    doc.title = "other"
    assert told(doc) == []


def test_text_that_an_exception_brings_along_cannot_look_like_a_line_of_the_log(caplog):
    failures = Failures("the page")
    with caplog.at_level(logging.ERROR):
        failures.run("update_page", raising(ValueError("a\x1b[31m\r\n2026-01-01 00:00:00,000 ERROR forged\x9b")))
    assert "\x1b" not in caplog.text and "\x9b" not in caplog.text and "\r" not in caplog.text
    assert not any(line.startswith("2026-01-01") for line in caplog.text.splitlines())
    assert "\\x1b[31m" in failures.notices[0].detail


def test_columns_of_unequal_length_are_named_with_their_lengths():
    source, failures = ColumnDataSource({"time": [], "loss": []}), Failures("the page")
    failures.run("update_page", lambda: source.stream({"time": [1, 2, 3], "loss": [0.5]}), ends_page=True)
    assert "'time': 3 rows, 'loss': 1 row" in failures.notices[0].text


def test_awaited_code_is_guarded_to_its_end():
    async def late(error):
        await asyncio.get_running_loop().run_in_executor(None, int)
        if error:
            raise error
        return "done"

    failures = Failures("the page")
    assert asyncio.run(failures.run("update_page", late, None)) == "done"
    assert asyncio.run(failures.run("update_page", late, asyncio.CancelledError("mine"), ends_page=True)) is None
    assert failures.has_ended and "CancelledError: mine" in failures.notices[0].title


def test_columns_that_an_assignment_left_unequal_are_said_and_a_step_between_is_not(doc):
    source = ColumnDataSource({"x": [1], "y": [1]}, name="main")
    doc.add_root(source)

    def by_and_by():
        source.data["x"] = [1, 2]
        source.data["y"] = [1, 2]

    failures = doc.callbacks.failures
    failures.run("update_page", by_and_by)
    assert told(doc) == []
    failures.run("update_page", lambda: setattr(source, "data", {"x": [1, 2, 3], "y": [1]}))
    assert "The source 'main' has columns of different lengths: 'x': 3 rows, 'y': 1 row" in told(doc)[0]
    assert not failures.has_ended


def test_the_roots_that_an_author_sees_are_the_authors(doc):
    link = BrowserLink(doc, lambda: None)
    link.attach()
    seen = []
    doc.callbacks.failures.run("update_page", lambda: seen.append(list(doc.roots)) or doc.add_root(Slider(name="mine")))
    doc.callbacks.failures.run("update_page", lambda: seen.append([root.name for root in doc.roots]))
    assert seen == [[], ["mine"]]
    assert len(doc.roots) == 2 and doc.select_one({"type": StreamvisLink}) in doc.roots
