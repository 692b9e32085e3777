"""The shell around pages in a real Chromium: its bar, its frame, and what stays usable when a page does not."""

from __future__ import annotations

import pytest

from streamvis import Client
from support import processes
from support.conditions import wait_until

PAGE = """
from bokeh.models import ColumnDataSource
from bokeh.plotting import figure
def init_page(doc, config):
    source = ColumnDataSource({"x": []}, name="main_plot")
    plot = figure(name="plot", height=300)
    plot.line("x", "x", source=source, name="curve")
    doc.add_root(plot)
def update_page(doc, new_data):
    if "k" in new_data:
        doc.get_model_by_name("main_plot").stream({"x": new_data["k"]["x"]})
"""
FAILS = "def init_page(doc, config):\n    1 / 0\ndef update_page(doc, new_data):\n    pass\n"

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """An endpoint and a page server for all tests of this file."""
    folder = tmp_path_factory.mktemp("shell")
    for name, text in {"lines": PAGE, "fails": FAILS}.items():
        (folder / f"{name}.py").write_text(text)
    endpoint = processes.endpoint(folder / "data", log=folder / "endpoint.log")
    try:
        scripts = [folder / "lines.py", folder / "fails.py"]
        pages = processes.page_server(*scripts, url=endpoint.url, log=folder / "pages.log")
        try:
            yield endpoint, pages
        finally:
            pages.close()
    finally:
        endpoint.close()


def send(client, *values):
    for value in values:
        client.sendl(value, "k", {"x": value})
    assert client.flush()


def bar(tab):
    return tab.page.locator(".bar").inner_text()


def test_the_page_is_in_a_frame_below_a_bar_that_names_its_run_and_state(site, open_page):
    endpoint, pages = site
    with Client(endpoint.url, "named") as client:
        client.init(name="first try")
        send(client, 0, 1)
        tab = open_page(f"{pages.root}/lines?app=named")
        tab.wait_for_source("main_plot", lambda columns: columns["x"] == [0, 1])
        wait_until(lambda: "first try" in bar(tab) and "running" in bar(tab), what="the bar", pause=tab._pause_s)
        assert tab.frame.url == f"{pages.url}/lines?app=named"
        tab.page.get_by_role("button", name="Newest", exact=True).click()
        assert tab.page.url.endswith(f"run={client.run}") and "Pinned" in bar(tab)
    wait_until(lambda: "finished" in bar(tab), what="the end of the run in the bar", pause=tab._pause_s)


def test_a_page_that_fails_leaves_the_shell_usable(site, open_page):
    endpoint, pages = site
    with Client(endpoint.url, "failing") as client:
        client.init()
        send(client, 0)
        tab = open_page(f"{pages.root}/fails?app=failing")
        tab.expect_errors()
        told = "document.querySelector('#streamvis-notices')?.shadowRoot?.textContent ?? ''"
        wait_until(lambda: tab.frame and "ZeroDivisionError" in tab.frame.evaluate(told), what="the error", pause=tab._pause_s)
        tab.page.get_by_label("Page", exact=True).select_option("lines")
        tab.wait_for_source("main_plot", lambda columns: columns["x"] == [0])
        assert tab.page.url == f"{pages.root}/lines?app=failing"


def test_on_a_phone_the_bar_fits_and_the_page_fills_the_rest(site, open_page):
    endpoint, pages = site
    with Client(endpoint.url, "phone") as client:
        client.init(name="a run with a name that is longer than a phone is wide, as they often are")
        send(client, 0)
        tab = open_page(f"{pages.root}/lines?app=phone", viewport={"width": 390, "height": 844})
        tab.wait_for_source("main_plot", lambda columns: columns["x"] == [0])
        wait_until(lambda: "running" in bar(tab), what="the bar", pause=tab._pause_s)
        assert tab.evaluate("document.documentElement.scrollWidth") == 390
        box = tab.page.locator("iframe").bounding_box()
        assert box["width"] == 390 and box["y"] + box["height"] == 844
