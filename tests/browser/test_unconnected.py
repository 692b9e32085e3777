"""A page that gets no connection says so, with what the page server saw and what to do about it."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest

from support.conditions import wait_until

PAGE = "def init_page(doc, config):\n    pass\ndef update_page(doc, new_data):\n    pass\n"
UPGRADE = 'proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";'

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


def said(tab, name):
    return tab.evaluate(f"document.querySelector('#{name}')?.innerText ?? ''")


def waits(tab):
    """Whether the page has its connection: then it says that it waits for a run."""
    notices = "document.querySelector('#streamvis-notices')?.shadowRoot?.textContent ?? ''"
    return "Waiting for a run" in tab.evaluate(notices)


@pytest.fixture
def open_hurried(open_page):
    """`open_hurried(address)` opens a tab whose timers a test moves on: with each look, the page is seconds older."""

    def open_tab(address):
        tab = open_page("about:blank", is_new=True)
        tab.page.clock.install()
        tab.page.goto(address)
        return tab

    return open_tab


def expect_notice(tab, text):
    """Let the page grow older until the notice says the text, and return what it says."""

    def told():
        tab.page.clock.fast_forward(2000)
        found = said(tab, "streamvis-unconnected")
        return text in found and found

    return wait_until(told, within_s=30, what=f"the notice {text!r}", every_s=0.2, pause=tab._pause_s)


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "alone.py"
    path.write_text(PAGE)
    return path


def test_a_page_whose_origin_is_refused_says_what_was_seen_and_the_option_that_allows_it(
    page, start_pages, start_nginx, open_hurried
):
    pages = start_pages(page, url="http://127.0.0.1:9")
    # $host drops the port, so the browser's origin is another one than the server sees.
    address = start_nginx(f"location / {{ proxy_pass {pages.root}; proxy_set_header Host $host; {UPGRADE} }}")
    tab = open_hurried(f"{address}/view/alone")
    tab.expect_errors()
    told = expect_notice(tab, "refuses the connection")
    allowed = urlsplit(address).netloc
    assert f"for the host 127.0.0.1 from a page of {address}" in told and "$http_host" in told
    assert told.rstrip().endswith(f"--allow-host {allowed}")
    pages.restart([*pages._without_port, "--allow-host", allowed])
    tab.page.reload()
    wait_until(lambda: waits(tab), within_s=30, what="the page with the option that was told", pause=tab._pause_s)
    tab.page.clock.fast_forward(5000)
    assert said(tab, "streamvis-unconnected") == ""


def test_a_page_behind_a_proxy_that_passes_no_websockets_on_says_so(page, start_pages, start_nginx, open_hurried):
    pages = start_pages(page, url="http://127.0.0.1:9")
    address = start_nginx(f"location / {{ proxy_pass {pages.root}; proxy_set_header Host $http_host; }}")
    tab = open_hurried(f"{address}/view/alone")
    tab.expect_errors()
    told = expect_notice(tab, "no connection")
    assert f"for the host {urlsplit(address).netloc} from a page of {address}" in told and "$http_upgrade" in told


def test_a_page_that_the_browser_kept_for_too_long_reloads(page, start_pages, open_page):
    pages = start_pages(page, url="http://127.0.0.1:9")
    tab = open_page("about:blank", is_new=True)
    tab.expect_errors()  # the connection that is refused
    tab.page.clock.install()
    kept = []

    def keep(route):
        """Answers once with the page as it was ten minutes ago, whose token is not valid any more."""
        answer = route.fetch()
        text = re.sub(r"MADE_MS = (\d+)", lambda made: f"MADE_MS = {int(made[1]) - 600_000}", answer.text())
        kept.append(re.sub(r'"token": ?"[^"]+"', '"token":"of-ten-minutes-ago"', text))
        route.fulfill(response=answer, body=kept[-1])

    tab.page.route("**/alone", keep, times=1)
    tab.page.goto(f"{pages.url}/alone")
    assert "of-ten-minutes-ago" in kept[0]

    def is_back():
        tab.page.clock.fast_forward(2000)
        return waits(tab)

    wait_until(is_back, within_s=30, what="the page that reloaded", every_s=0.2, pause=tab._pause_s)


def test_a_page_that_is_connected_says_nothing_of_it(page, start_pages, open_hurried):
    tab = open_hurried(f"{start_pages(page, url='http://127.0.0.1:9').url}/alone")
    wait_until(lambda: waits(tab), within_s=30, what="the page", pause=tab._pause_s)
    for _ in range(3):
        tab.page.clock.fast_forward(5000)
    assert said(tab, "streamvis-unconnected") == ""
