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

EMOJI, LONG = "👩‍🚀 Größe 🧪", "very/" * 57 + "long name"
ROWS = 2_000
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


def send_all_kinds(client):
    steps = np.arange(ROWS)
    for name, scale in (("train", 1.0), ("val", 2.0)):
        client.sendl(0, name, {"step": steps, "loss": scale / (1 + steps), "acc": steps / ROWS})
    client.sendl(1, "odd", {EMOJI: steps, LONG: steps, "<script>alert(1)</script>": steps, "flag": steps % 2 == 0})
    client.sendl(2, "log", {"line": ["one", "<b>two</b>", "three"]})
    client.send(3, "samples", {"image": np.zeros((3, 8, 8)), "label": ["a", "<i>", "c"]})
    client.send(3, "confusion", {"matrix": np.eye(3)})
    client.send(3, "weights", {"w": np.linspace(-1, 1, 100)})
    client.send(3, "cloud", {"x": np.arange(5.0), "y": np.arange(5.0)})
    client.send(3, "cells", {"<img src=x onerror=alert(1)>": ["a", "b"], "n": np.arange(2)})
    client.send(3, "sound", {"samples": np.zeros(100), "rate": 8000})
    client.send(3, "nested", {"a": {"b": {"c": 1}}})
    client.send(3, "empty", {"a": np.array([])})


def test_a_run_with_everything_is_shown_whole_and_its_names_are_text(show):
    tab = show("all kinds", send_all_kinds, viewport={"width": 1600, "height": 3000})
    wait_until(lambda: len(cards(tab)) == 15, within_s=30, what="15 cards", pause=tab._pause_s)
    assert {"metrics/loss", "metrics/acc", f"odd/{EMOJI}", LONG, "text/log line", "tables/odd"} <= cards(tab)
    await_fit(tab, 5)
    assert tab.evaluate("() => document.querySelectorAll('script[src=x], img[src=x]').length") == 0
    assert tab.page.get_by_text("<b>two</b>").count() == 1
    assert tab.page.locator("img").count() >= 3

    assert tab.evaluate("() => getComputedStyle(document.documentElement).colorScheme") == "light"
    tab.page.click("#streamvis-theme")
    assert tab.evaluate("() => getComputedStyle(document.documentElement).colorScheme") == "dark"
    assert tab.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(15, 18, 22)"


def test_of_five_thousand_columns_only_the_charts_in_view_exist(show):
    def send(client):
        for first in range(0, 5000, 500):
            client.sendl(
                0, f"k{first:04}", {"step": [0, 1, 2], **{f"c{i:04}": [0.0, 1.0, 2.0] for i in range(first, first + 500)}}
            )

    tab = show("wide", send, viewport={"width": 1366, "height": 900})
    wait_until(lambda: len(cards(tab)) >= 8, within_s=40, what="cards", pause=tab._pause_s)
    assert "k0000/c0000" in cards(tab) and tab.evaluate(_BOARD)["total"] == 5000
    assert len(figures(tab)) <= 40
    tab.page.mouse.wheel(0, 60_000)
    wait_until(lambda: cards(tab) and "k0000/c0000" not in cards(tab), within_s=30, what="others", pause=tab._pause_s)
    wait_until(lambda: 8 <= len(figures(tab)) <= 40, within_s=30, what="the first ones are gone", pause=tab._pause_s)
    tab.page.get_by_placeholder("Search charts").fill("C4321")
    await_cards(tab, ["k4000/c4321"])
    await_fit(tab, 1)


def test_a_run_with_one_row_and_one_with_nothing_are_shown(show):
    tab = show("one row", lambda client: client.sendl(0, "k", {"y": 1.5}))
    await_cards(tab, ["k/y"])
    wait_until(lambda: [one["last"] for one in figures(tab)] == [0], within_s=20, what="its row", pause=tab._pause_s)
    assert tab.page.get_by_text("0.1").count() >= 1
    tab = show("nothing", lambda client: None)
    tab.page.get_by_text("This run has sent nothing yet").wait_for()
    assert not figures(tab)


def test_settings_stand_in_the_address_and_a_link_shows_the_same(show, open_page):
    steps = np.arange(ROWS)
    tab = show("settings", lambda client: client.sendl(0, "k", {"a": steps + 1.0, "b": steps + 2.0, "epoch": steps // 10}))
    await_cards(tab, ["k/a", "k/b"])
    tab.page.get_by_placeholder("Search charts").fill("k")
    tab.page.get_by_label("Log y").check()
    tab.page.get_by_label("Size").select_option("l")
    tab.page.locator(".bar select").first.select_option("epoch")
    wait_until(lambda: "log=1" in tab.page.url and "size=l" in tab.page.url, within_s=10, what="the address", pause=tab._pause_s)
    assert "q=k" in tab.page.url and "x=epoch" in tab.page.url and "app=settings" in tab.page.url
    for one in (tab, open_page(tab.page.url)):
        await_cards(one, ["k/a", "k/b"])
        await_fit(one, 2)
        scale = "() => Array.from(Bokeh.documents[0]._all_models.values()).find((m) => m.type == 'Figure').y_scale.type"
        assert one.evaluate(scale) == "LogScale" and {figure["last"] for figure in figures(one)} == {(ROWS - 1) // 10}
        assert one.page.get_by_label("Size").input_value() == "l"
        assert one.page.get_by_placeholder("Search charts").input_value() == "k"


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
