"""Pages in frames of another site, and in browsers that lack what others have."""

from __future__ import annotations

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Error as PlaywrightError

from streamvis import Client
from support.conditions import wait_until

TOKEN = "token-of-the-viewers-1234567890"
PAGE = """
from bokeh.models import ColumnDataSource
app = "framed"
def init_page(doc, config):
    doc.add_root(ColumnDataSource({"x": []}, name="main_plot"))
def update_page(doc, new_data):
    if "k" in new_data:
        doc.get_model_by_name("main_plot").stream({"x": new_data["k"]["x"]})
"""
SEEN = "() => window.Bokeh?.documents?.[0]?.get_model_by_name('main_plot')?.data?.x?.length ?? 0"

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


@pytest.fixture
def site(tmp_path):
    """Another site: localhost, where pages are at 127.0.0.1. `site(html)` is the address of a page with that in it."""
    folder = tmp_path / "site"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def address(html):
            (folder / "wiki.html").write_text(f"<!doctype html><title>Wiki</title><p>Our runs</p>{html}")
            return f"http://localhost:{server.server_port}/wiki.html"

        yield address
        server.shutdown()


@pytest.fixture
def endpoint(start_endpoint):
    return start_endpoint()


@pytest.fixture
def client(endpoint):
    with Client(endpoint.url, "framed") as made:
        made.init()
        made.sendl(0, "k", {"x": 0})
        made.flush()
        yield made


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "framed.py"
    path.write_text(PAGE)
    return path


def in_frame(tab, script):
    """What the script gives in the frame that shows a page server's page. One that is reloading is an AssertionError: not yet."""
    frame = next((frame for frame in tab.page.frames if frame.url.startswith("http://127.0.0.1:")), None)
    assert frame, "the frame is not there yet"
    try:
        return frame.evaluate(script)
    except PlaywrightError as error:
        assert "navigation" not in str(error) and "context was destroyed" not in str(error), "the frame is reloading"
        raise


def origin(address):
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"


def test_a_frame_of_a_site_that_was_named_shows_pages_with_a_token_and_lives(
    site, endpoint, client, page, start_pages, open_page
):
    where = site("")
    pages = start_pages(page, url=endpoint.url, args=["--allow-frame", origin(where)], env={"STREAMVIS_PAGE_TOKEN": TOKEN})
    tab = open_page(site(f'<iframe src="{pages.url}/framed?token={TOKEN}" width=800 height=500></iframe>'))
    tab.expect_errors()  # while the page server is away
    wait_until(lambda: in_frame(tab, SEEN) == 1, what="the data in the frame", pause=tab._pause_s)
    assert "token=" not in in_frame(tab, "location.href")
    client.sendl(1, "k", {"x": 1})
    wait_until(lambda: in_frame(tab, SEEN) == 2, what="new data in the frame", pause=tab._pause_s)
    client.init()
    client.sendl(0, "k", {"x": [5, 6, 7]})
    wait_until(lambda: in_frame(tab, SEEN) == 3, what="the next run in the frame", pause=tab._pause_s)
    (cookie,) = [one for one in tab.page.context.cookies(pages.url) if one["name"].startswith("streamvis-")]
    assert cookie["secure"] and cookie["httpOnly"] and cookie["sameSite"] == "None"
    alone = open_page(f"{pages.url}/framed?token={TOKEN}")
    alone.wait_for_source("main_plot", lambda columns: columns["x"] == [5, 6, 7])


def test_the_shell_in_a_frame_of_a_site_that_was_named_shows_its_page_and_offers_no_changes_there(
    site, endpoint, client, page, start_pages, open_page
):
    pages = start_pages(page, url=endpoint.url, args=["--allow-frame", origin(site(""))])
    tab = open_page(site(f'<iframe src="{pages.root}/framed" width=1250 height=500></iframe>'))
    listed = "document.querySelectorAll('.rows .run').length"

    def page_and_list():
        shell, *views = [frame for frame in tab.page.frames if frame.url.startswith(pages.root)]
        return [view.evaluate(SEEN) for view in views] == [1] and shell.evaluate(listed) == 1

    wait_until(page_and_list, within_s=40, what="the page and the run list in the frame", pause=tab._pause_s)
    assert in_frame(tab, "document.querySelectorAll('.more').length") == 0
    alone = open_page(f"{pages.root}/framed")
    wait_until(lambda: alone.evaluate(listed) == 1, within_s=40, what="the run list", pause=alone._pause_s)
    assert alone.evaluate("document.querySelectorAll('.more').length") == 1


def test_a_site_that_was_not_named_shows_nothing_and_the_door_says_what_is_missing(site, endpoint, page, start_pages, open_page):
    closed = start_pages(page, url=endpoint.url, env={"STREAMVIS_PAGE_TOKEN": TOKEN})
    tab = open_page(site(f'<iframe src="{closed.url}/framed?token={TOKEN}"></iframe>'))
    tab.expect_errors()
    wait_until(lambda: "needs a token" in in_frame(tab, "document.body.innerText"), what="the door", pause=tab._pause_s)
    said = in_frame(tab, "document.body.innerText")
    assert f"--allow-frame {origin(tab.page.url)}" in said.replace("\n", " ")
    named = ["--allow-frame", "https://wiki.example.org"]
    other = start_pages(page, url=endpoint.url, args=named, env={"STREAMVIS_PAGE_TOKEN": TOKEN})
    tab = open_page(site(f'<iframe src="{other.url}/framed?token={TOKEN}"></iframe>'))
    tab.expect_errors()
    wait_until(lambda: any("frame-ancestors" in error for error in tab.errors), what="the browser's refusal", pause=tab._pause_s)


WITHOUT = """
for (const name of ["sessionStorage", "localStorage", "indexedDB"])
  Object.defineProperty(window, name, {get() { throw new DOMException("denied", "SecurityError") }, configurable: true})
for (const name of ["pushState", "replaceState"]) history[name] = () => { throw new DOMException("denied", "SecurityError") }
Object.defineProperty(document, "cookie", {get() { throw new DOMException("denied", "SecurityError") }, set() {
  throw new DOMException("denied", "SecurityError") }, configurable: true})
delete AbortSignal.timeout
"""


def test_a_page_follows_runs_and_restarts_in_a_browser_without_storage_history_and_cookies(
    endpoint, client, page, start_pages, open_page
):
    pages = start_pages(page, url=endpoint.url)
    tab = open_page("about:blank")
    tab.expect_errors()  # while the page server is away
    tab.page.add_init_script(WITHOUT)
    tab.page.goto(f"{pages.url}/framed")
    tab.wait_for_source("main_plot", lambda columns: columns["x"] == [0])
    client.init()
    client.sendl(0, "k", {"x": [3, 4]})
    tab.wait_for_source("main_plot", lambda columns: columns["x"] == [3, 4])
    pages.restart()
    client.sendl(1, "k", {"x": 5})
    tab.wait_for_source("main_plot", lambda columns: columns["x"] == [3, 4, 5], within_s=40)
    assert not [error for error in tab.errors if "thrown" in error]


def test_the_door_says_that_a_browser_keeps_no_cookies(endpoint, page, start_pages, open_page):
    pages = start_pages(page, url=endpoint.url, env={"STREAMVIS_PAGE_TOKEN": TOKEN})
    tab = open_page(f"{pages.url}/framed")
    tab.expect_errors()
    assert not tab.page.get_by_text("keeps no cookies").is_visible()
    tab.page.add_init_script(WITHOUT)
    tab.page.reload()
    assert tab.page.get_by_text("keeps no cookies").is_visible()
