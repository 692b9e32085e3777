"""The default page in a real browser: any run, with everything that it has, as it is drawn there."""

from __future__ import annotations

import csv
import io
import urllib.request
from urllib.parse import quote

import numpy as np
import pytest

from streamvis import Client
from support import processes
from support.conditions import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

_FIGURES = """() => Array.from(window.Bokeh?.documents[0]?._all_models.values() ?? []).filter((model) => model.type == "Figure")
    .map((plot) => {
        const line = plot.renderers.find((one) => one.glyph.type == "Line" && one.data_source.get_column("step") != null)
        const x = line == null ? [] : Array.from(line.data_source.get_column(line.glyph.x.field) ?? [])
        return {title: plot.title.text, end: plot.x_range.end, last: x.length ? x[x.length - 1] : null}
    })"""
_BOARD = """() => { const board = Array.from(window.Bokeh?.documents[0]?._all_models.values() ?? [])
    .find((m) => "layout" in m.attributes && "settings" in m.attributes)
    return board == null ? {cards: []} : {cards: [], ...JSON.parse(board.layout)} }"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The addresses of an endpoint and of a page server for all tests of this file."""
    folder = tmp_path_factory.mktemp("runs")
    endpoint = processes.endpoint(folder / "data", log=folder / "endpoint.log")
    try:
        pages = processes.page_server(url=endpoint.url, log=folder / "pages.log")
        try:
            yield endpoint.url, pages.url
        finally:
            pages.close()
    finally:
        endpoint.close()


@pytest.fixture
def show(site, open_page):
    """`show(app, send, query="")` makes a run with what `send(client)` sends, and opens its page."""

    def show(app, send, query="", **options):
        with Client(site[0], app) as client:
            client.init({"lr": 0.1})
            send(client)
            assert client.flush(timeout_s=30)
        tab = open_page(f"{site[1]}/runs?app={quote(app)}{query}", **options)
        tab.run = client.run
        return tab

    return show


def figures(tab):
    return tab.evaluate(_FIGURES)


def cards(tab):
    return {one["name"] for one in tab.evaluate(_BOARD)["cards"]}


def await_cards(tab, names, **options):
    """Wait until exactly these cards are there."""
    wait_until(lambda: cards(tab) == set(names), what=f"the cards {names}", pause=tab._pause_s, **({"within_s": 30} | options))


def all_fit(tab, count):
    """Whether there are so many charts, and each reaches as far as its data."""
    found = [one for one in figures(tab) if one["last"] is not None]
    return len(found) == count and all(one["end"] == one["last"] for one in found)


def await_fit(tab, count):
    def fit():
        assert all_fit(tab, count), f"the charts are {figures(tab)}"
        return True

    wait_until(fit, within_s=20, what=f"{count} charts fit their data", pause=tab._pause_s)


def test_a_run_with_one_row_and_one_with_nothing_are_shown(show):
    tab = show("one row", lambda client: client.sendl(0, "k", {"y": 1.5}))
    await_cards(tab, ["metrics/k/y"])
    wait_until(lambda: [one["last"] for one in figures(tab)] == [0], within_s=20, what="its row", pause=tab._pause_s)
    assert tab.page.get_by_text("0.1").count() >= 1
    tab = show("nothing", lambda client: None)
    tab.page.get_by_text("This run has sent nothing yet").wait_for()
    assert not figures(tab)


def test_a_chart_enlarges_goes_back_with_escape_and_gives_all_its_rows(show, site):
    steps = np.arange(20_000)
    tab = show("tools", lambda client: client.sendl(0, "k", {"step": steps, "a": steps / 3, "b": steps}))
    await_cards(tab, ["k/a", "k/b"])
    await_fit(tab, 2)
    frame = tab.page.locator(".bk-Figure").first
    small = frame.bounding_box()
    frame.hover()
    tab.page.get_by_title("Enlarge").click()
    wait_until(lambda: frame.bounding_box()["width"] > 2 * small["width"], within_s=20, what="it is large", pause=tab._pause_s)
    assert "big=k%2Fa" in tab.page.url
    await_fit(tab, 2)
    tab.page.keyboard.press("Escape")
    wait_until(lambda: frame.bounding_box()["width"] == small["width"], within_s=20, what="it is small", pause=tab._pause_s)
    assert "big=" not in tab.page.url

    address = f'{site[1]}/rows.csv?run={tab.run}&series={quote("""["k", "a"]""")}'
    frame.hover()
    with tab.page.expect_download() as download:
        tab.page.get_by_title("Download all rows as CSV").click()
    assert download.value.url.split("/rows.csv")[0] == site[1]
    with urllib.request.urlopen(address, timeout=30) as answer:
        found = list(csv.DictReader(io.StringIO(answer.read().decode())))
    assert download.value.path().read_text().splitlines()[0] == "step,time,key,a"
    assert [float(row["a"]) for row in found] == (steps / 3).tolist()
