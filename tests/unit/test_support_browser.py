"""The browser fixture shows what Bokeh holds in the browser, and lets no error on a page go unseen."""

import asyncio
import math
import subprocess
import sys
from pathlib import Path

import pytest

from support.browser import Tab, chromium_path

pytestmark = pytest.mark.browser

# A whole Bokeh server: started with the port that it is to listen on, it says where it does.
BOKEH_SERVER = """
import datetime, sys
import numpy as np
from bokeh.models import ColumnDataSource
from bokeh.plotting import figure
from bokeh.server.server import Server
from tornado.ioloop import IOLoop

def page(doc):
    rows = ColumnDataSource({
        "float": np.array([0.5, np.nan, np.inf]),
        "int": np.array([1, 2, 3], dtype=np.int32),
        "text": ["a", "b", None],
        "list": [[1.0, 2.0], [3.0], []],
        "image": [np.arange(6.0).reshape(2, 3)] * 3,
    }, name="rows")
    growing = ColumnDataSource({"x": [0]}, name="growing")
    plot = figure()
    plot.line("int", "float", source=rows)
    plot.scatter("x", "x", source=growing)
    doc.add_root(plot)
    doc.add_periodic_callback(lambda: growing.stream({"x": [len(growing.data["x"])]}), 50)

server = Server(page, port=int(sys.argv[sys.argv.index("--port") + 1]), address="127.0.0.1", allow_websocket_origin=["*"])
server.start()
print(f"listens at http://127.0.0.1:{server.port}/", flush=True)
IOLoop.current().start()
"""


@pytest.fixture
def bokeh_url(start_service) -> str:
    ready = r"listens at (?P<url>http://\S+:(?P<port>\d+)/)"
    return start_service([sys.executable, "-c", BOKEH_SERVER], ready=ready, is_warm=True).url


def a_page(tmp_path: Path, script: str) -> str:
    path = tmp_path / "page.html"
    path.write_text(f"<!doctype html><title>t</title><script>{script}</script>")
    return path.as_uri()


def test_a_source_is_read_as_the_browser_holds_it(bokeh_url, open_page, tmp_path):
    tab = open_page(bokeh_url)
    rows = tab.wait_for_source("rows")
    assert rows["float"][0] == 0.5 and math.isnan(rows["float"][1]) and rows["float"][2] == math.inf
    assert rows["int"] == [1, 2, 3]
    assert rows["text"] == ["a", "b", None]
    assert rows["list"] == [[1.0, 2.0], [3.0], []]
    assert rows["image"] == [[[0, 1, 2], [3, 4, 5]]] * 3

    grown = tab.wait_for_source("growing", lambda columns: len(columns["x"]) > 3)
    assert grown["x"][:4] == [0, 1, 2, 3]
    assert tab.screenshot(tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")


def test_a_source_that_never_fits_fails_with_what_it_held(bokeh_url, open_page):
    tab = open_page(bokeh_url)
    tab.wait_for_source("rows")
    with pytest.raises(AssertionError, match=r"source 'rows'(?s:.*)int: 3 rows \[1, 2, 3\]"):
        tab.wait_for_source("rows", lambda columns: len(columns["int"]) > 3, within_s=1)
    with pytest.raises(AssertionError, match="no Bokeh document in the browser has a source named 'other'"):
        tab.source("other")


def test_two_tabs_are_two_browsers(bokeh_url, open_page):
    tabs = [open_page(bokeh_url), open_page(bokeh_url, viewport={"width": 400, "height": 300})]
    assert all(tab.wait_for_source("rows") for tab in tabs)
    assert tabs[1].page.viewport_size == {"width": 400, "height": 300}
    assert tabs[0].page.context != tabs[1].page.context


@pytest.mark.parametrize("script", ["console.error('lost')", "throw new Error('lost')"])
def test_an_error_on_the_page_is_a_failure(open_page, tmp_path, script):
    tab: Tab = open_page(a_page(tmp_path, script))
    tab.page.evaluate("0")
    with pytest.raises(AssertionError, match="lost"):
        tab.check()
    tab.expect_errors()
    tab.check()


def test_asking_another_machine_is_a_failure_even_when_errors_are_expected(open_page, tmp_path):
    tab: Tab = open_page(a_page(tmp_path, "fetch('http://cdn.invalid/bokeh.js').catch(() => 0)"))
    tab.expect_errors()
    tab.page.evaluate("0")
    with pytest.raises(AssertionError, match=r"http://cdn\.invalid/bokeh\.js"):
        tab.check()
    tab.requests_elsewhere.clear()


def test_a_test_after_the_browser_was_started_can_run_an_event_loop(chromium):
    async def answer() -> int:
        return 42

    assert asyncio.run(answer()) == 42


def test_a_missing_chromium_names_the_fix(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(RuntimeError, match="apt-get install chromium"):
        chromium_path()


def test_the_chromium_is_the_machines_own():
    said = subprocess.run([chromium_path(), "--version"], capture_output=True, text=True, timeout=60, check=True)
    assert "Chrom" in said.stdout


def test_what_a_test_left_in_its_browser_is_gone_in_the_next(chromium, bokeh_url):
    asyncio._set_running_loop(chromium.loop)
    try:
        context, stays = chromium.borrow()
        page = context.new_page()
        page.goto(bokeh_url)
        page.evaluate("document.cookie = 'left=1'; localStorage.left = 1")
        chromium.give_back(context, stays, {bokeh_url})
        again, stays = chromium.borrow()
        assert again is context and again.pages == [stays]
        page = again.new_page()
        page.goto(bokeh_url)
        assert page.evaluate("[document.cookie, localStorage.left ?? null]") == ["", None]
        chromium.give_back(again, stays, set())
    finally:
        asyncio._set_running_loop(None)
