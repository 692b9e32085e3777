"""Live sources in a real browser: following, zooming in, and the way back, on runs that no browser could hold whole."""

from __future__ import annotations

import math
import re
from importlib.resources import files

import numpy as np
import pytest

from streamvis import Client
from streamvis.page.live.moved_ranges import spread
from support.conditions import wait_until

PAGE = """
from bokeh.plotting import figure
from streamvis import live_source
app = "live"
def init_page(doc, config):
    source = live_source("main", x="x", columns=["y"], max_rows=2000, name="main")
    plot = figure(name="plot", x_axis_type=config.get("axis", "linear"), width=700, height=400)
    plot.line("x", "y", source=source)
    doc.add_root(plot)
    other = figure(name="other", x_range=plot.x_range, x_axis_type=config.get("axis", "linear"), width=700, height=300)
    other.line("x", "y", source=source)
    doc.add_root(other)
def update_page(doc, new_data):
    assert "main" not in new_data
"""
COUNT, SPIKE = 1_200_000, 654_321
MANY = 700_000

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


def send(client, first, last):
    """Waves over x = row / 10, with one spike."""
    for start in range(first, last, 50_000):
        row = np.arange(start, min(last, start + 50_000))
        client.sendl(start, "main", {"x": row / 10, "y": np.where(row == SPIKE, 99.0, np.sin(row / 5000))})


def ranges(tab):
    script = """() => { const plot = window.Bokeh?.documents[0]?.get_model_by_name("plot")
        return plot == null ? [0, 0, 0, 0] : [plot.x_range.start, plot.x_range.end, plot.y_range.start, plot.y_range.end] }"""
    return tab.evaluate(script)


def zoom(tab, start, end, axis="x"):
    """What a zoom tool does."""
    script = """([axis, start, end]) => { const plot = Bokeh.documents[0].get_model_by_name("plot")
        plot[axis + "_range"].setv({start, end}) }"""
    tab.evaluate(script, [axis, start, end])


def offers_to_follow(tab):
    return tab.page.locator(".streamvis-follow:visible").count() > 0


@pytest.fixture
def live(tmp_path, start_endpoint, start_pages):
    script = tmp_path / "live.py"
    script.write_text(PAGE)
    endpoint = start_endpoint()
    return endpoint.url, f"{start_pages(script, url=endpoint.url).url}/live"


# Moves the range many times and back: how often the server was asked at once, and in all.
_DRAG = """() => {
  const doc = Bokeh.documents[0], control = [...doc.all_models].find(({type}) => type.endsWith("LiveControl"))
  const range = doc.get_model_by_name("plot").x_range, {start, end} = range
  let count = 0
  control.properties.views.change.connect(() => { count += 1 })
  const moment = performance.now()
  performance.now = () => moment  // on a busy machine, the moves of one drag would lie far apart
  for (let by = 20; by >= 0; by--) range.setv({start: start - by, end: end - by})
  delete performance.now
  const at_once = count
  return new Promise((done) => setTimeout(() => done([at_once, count]), 200))
}"""


def test_a_page_follows_a_long_run_zooms_into_its_detail_and_goes_back(live, open_page):
    url, address = live
    with Client(url, "live") as client:
        client.init()
        send(client, 0, COUNT)
        assert client.flush(timeout_s=60)
        tab = open_page(address)
        tab.wait_for_source("main", lambda columns: len(columns["x"]) > 500, within_s=30)
        wait_until(lambda: ranges(tab)[1] == (COUNT - 1) / 10, within_s=10, what="the page shows all")
        columns = tab.source("main")
        assert 99.0 in columns["y"] and columns["x"][0] == 0 and len(columns["x"]) <= 4000

        send(client, COUNT, COUNT + 100_000)
        wait_until(lambda: ranges(tab)[1] == (COUNT + 99_999) / 10, within_s=20, what="the page follows")
        assert not offers_to_follow(tab)

        for half_width in (5000.0, 100.0, 2.0):
            middle = SPIKE / 10
            zoom(tab, middle - half_width, middle + half_width)
            fits = fitting(middle - half_width, middle + half_width)
            tab.wait_for_source("main", fits, within_s=10)
            columns = tab.source("main")
            assert 99.0 in columns["y"] and len(columns["x"]) <= 4000
        assert columns["x"] == [row / 10 for row in range(int(columns["x"][0] * 10), int(columns["x"][-1] * 10) + 1)]
        assert tab.evaluate(_DRAG) == [1, 2], "a drag is asked for when it begins, and when it has ended"
        tab.wait_for_source("main", fits, within_s=10)
        view = ranges(tab)
        assert view[3] > 99 and offers_to_follow(tab)

        send(client, COUNT + 100_000, COUNT + 200_000)
        assert client.flush(timeout_s=60)
        second = open_page(address)
        wait_until(lambda: ranges(second)[1] == (COUNT + 199_999) / 10, within_s=20, what="a fresh page shows the newest")
        assert ranges(tab) == view

        tab.page.locator(".streamvis-follow:visible").first.click()
        wait_until(lambda: ranges(tab)[:2] == [0, (COUNT + 199_999) / 10], within_s=20, what="the page follows again")
        tab.wait_for_source("main", lambda columns: columns["x"][0] == 0, within_s=10)
        assert not offers_to_follow(tab)


def test_a_live_source_of_a_column_that_is_not_there_says_so_until_it_is(live, open_page):
    url, address = live
    with Client(url, "live") as client:
        client.init()
        client.sendl(0, "main", {"x": 1.0, "z": 2.0})
        tab = open_page(address)
        said = "document.querySelector('#streamvis-notices')?.shadowRoot?.textContent ?? ''"
        wait_until(lambda: "there is no column 'y'" in tab.evaluate(said), within_s=30, what="the page says what is missing")
        client.sendl(1, "main", {"x": 2.0, "y": 5.0})
        tab.wait_for_source("main", lambda columns: columns["x"] == [2] and columns["y"] == [5], within_s=10)
        wait_until(lambda: "there is no column" not in tab.evaluate(said), within_s=10, what="the page says it no more")


def fitting(start, end):
    """Whether a source has the rows of a view, in detail, and rows on both sides of it."""

    def fits(columns):
        x = np.array(columns["x"])
        inside = ((x >= start) & (x <= end)).sum()
        return len(x) and x[0] < start and x[-1] > end and inside >= min(300, (end - start) * 10 - 2)

    return fits


def test_reset_goes_back_to_following_and_y_stays_where_the_viewer_put_it(live, open_page):
    url, address = live
    with Client(url, "live") as client:
        client.init()
        send(client, 0, 50_000)
        tab = open_page(address)
        wait_until(lambda: ranges(tab)[1] == 4999.9, within_s=30, what="the page shows all")
        zoom(tab, -3.0, 3.0, axis="y")
        send(client, 50_000, 100_000)
        wait_until(lambda: ranges(tab)[1] == 9999.9, within_s=20, what="x follows")
        assert ranges(tab)[2:] == [-3.0, 3.0] and offers_to_follow(tab)
        # Toolbars show where the mouse is.
        tab.page.locator(".bk-Figure").first.hover()
        tab.page.locator(".bk-tool-icon-reset").first.click()
        wait_until(lambda: ranges(tab)[2] > -1.5, within_s=10, what="y is fitted again")
        assert not offers_to_follow(tab)


def test_a_logarithmic_axis_and_gaps_work(live, open_page):
    url, address = live
    with Client(url, "live") as client:
        client.init({"axis": "log"})
        row = np.arange(200_000)
        y = np.where((row > 100) & (row < 10_000), math.nan, row % 7)
        client.sendl(0, "main", {"x": row / 10, "y": y})
        tab = open_page(address)
        wait_until(lambda: ranges(tab)[:2] == [0.1, 19999.9], within_s=30, what="the page shows all that is above zero")
        x, y = (np.array(tab.source("main")[name], dtype=float) for name in "xy")
        assert 0.1 in x and len(x) <= 4000
        assert np.isnan(y[(x > 11) & (x < 990)]).all() and not np.isnan(y[x > 1010]).any()


def test_a_page_open_during_many_rows_holds_few_and_ends_like_a_fresh_one(live, open_page):
    url, address = live
    with Client(url, "live") as client:
        client.init()
        tab = open_page(address)
        most = 0
        for start in range(0, MANY, 100_000):
            send(client, start, start + 100_000)
            assert client.flush(timeout_s=60)
            wait_until(lambda end=start + 99_999: ranges(tab)[1] == end / 10, within_s=20, what="the page follows")
            most = max(most, len(tab.source("main")["x"]))
        assert 500 < most <= 4001
        live_columns = tab.source("main")
        fresh = open_page(address)
        fresh.wait_for_source("main", lambda columns: len(columns["x"]) > 500, within_s=20)
        fresh_columns = fresh.source("main")
        assert extremes(live_columns) == extremes(fresh_columns)
        assert max(fresh_columns["y"]) == 99.0


def extremes(columns, width=256):
    """The lowest and highest value of each piece of x, all of one width."""
    found = {}
    for x, y in zip(columns["x"], columns["y"], strict=True):
        low, high = found.get(x // width, (y, y))
        found[x // width] = (min(low, y), max(high, y))
    return found


MANY_KINDS = """
from bokeh.models import ColumnDataSource
from bokeh.plotting import figure
from streamvis import live_source
app = "live"
def init_page(doc, config):
    for key, x, columns, window in [("main", "x", ["y"], 20), ("sparse", "x", ["eval"], None), ("timed", "time", ["y"], 3600)]:
        plot = figure(name="plot" if key == "main" else "plot " + key, width=400, height=200)
        plot.line(x, columns[0], source=live_source(key, x=x, columns=columns, window=window, name=key))
        doc.add_root(plot)
    doc.add_root(figure(name="news", title="0"))
def update_page(doc, new_data):
    if "news" in new_data:
        doc.get_model_by_name("news").title.text = str(int(new_data["news"]["n"][-1]))
"""


def test_x_that_is_not_finite_or_starts_again_and_sparse_columns_show_beside_the_pages_other_news(
    tmp_path, start_endpoint, start_pages, open_page
):
    script = tmp_path / "live.py"
    script.write_text(MANY_KINDS)
    url = start_endpoint().url
    address = f"{start_pages(script, url=url).url}/live"
    news = "() => window.Bokeh?.documents[0]?.get_model_by_name('news')?.title.text"
    timed = "() => { const r = Bokeh.documents[0].get_model_by_name('plot timed').x_range; return r.end - r.start }"
    with Client(url, "live") as client:
        client.init()
        for x in range(100):
            client.sendl(x, "main", {"x": float(x), "y": 1.0})
            client.sendl(x, "sparse", {"x": x, "loss": 1.0} if x % 40 else {"x": x, "eval": float(x)})
            client.sendl(x, "timed", {"y": float(x)})
        tab = open_page(address)
        wait_until(lambda: ranges(tab)[:2] == [79.0, 99.0], within_s=30, what="the page follows the window")
        tab.wait_for_source("sparse", lambda columns: columns["eval"] == [0.0, 40.0, 80.0], within_s=10)
        client.sendl(100, "main", {"x": math.inf, "y": 2.0})
        client.sendl(100, "news", {"n": 1})
        wait_until(lambda: tab.evaluate(news) == "1", within_s=10, what="other news come")
        for x in range(50):
            client.sendl(101 + x, "main", {"x": float(x), "y": 3.0})
        client.sendl(151, "sparse", {"x": 120, "eval": math.nan})
        client.sendl(151, "timed", {"y": 0.0})
        wait_until(lambda: ranges(tab)[:2] == [29.0, 49.0], within_s=10, what="the page follows the rows stored last")
        client.sendl(152, "main", {"x": 1e9, "y": 4.0})
        client.sendl(153, "main", {"x": 50.0, "y": 5.0})
        client.sendl(154, "main", {"x": 51.0, "y": 5.0})
        wait_until(lambda: ranges(tab)[1] == 51.0, within_s=10, what="an outlier is left behind")
        tab.wait_for_source("sparse", lambda columns: len(columns["x"]) == 4, within_s=10)
        assert 0 < tab.evaluate(timed) <= 3_600_000 and len(tab.source("timed")["y"]) == 101
        fresh = open_page(address)
        wait_until(lambda: ranges(fresh)[:2] == ranges(tab)[:2] != [0, 1], within_s=30, what="a fresh page shows the same")
        wait_until(lambda: fresh.source("main")["x"] == tab.source("main")["x"], within_s=10, what="and the same rows")


COMING = """
from bokeh.layouts import column
from bokeh.models import Button
from bokeh.plotting import figure
from streamvis import live_source
app = "coming"
layout = column()
button = Button(label="Remove the first", name="button")

def init_page(doc, config):
    doc.add_root(layout)
    button.on_click(lambda: layout.children.pop(0))
    doc.add_root(button)

def update_page(doc, new_data):
    for key in new_data:
        source = live_source(key, columns=["y"], name=key)
        plot = figure(name="plot of " + key, width=500, height=200)
        plot.line("step", "y", source=source)
        layout.children.append(plot)
"""


def test_figures_that_come_and_go_in_an_open_page_fill_follow_and_zoom(tmp_path, start_endpoint, start_pages, open_page):
    script = tmp_path / "coming.py"
    script.write_text(COMING)
    endpoint = start_endpoint()

    def view(tab, key):
        found = "Bokeh.documents[0].roots()[0].children.find(plot => plot.name == 'plot of ' + key)?.x_range"
        return tab.evaluate(f"key => {{ const range = {found}; return range && [range.start, range.end] }}", key)

    def send(client, key, first, last):
        step = np.arange(first, last)
        client.sendl(first, key, {"step": step.astype(float), "y": np.sin(step / 50)})

    with Client(endpoint.url, "coming") as client:
        client.init()
        send(client, "early", 0, 1000)
        assert client.flush(timeout_s=60)
        tab = open_page(f"{start_pages(script, url=endpoint.url).url}/coming")
        tab.wait_for_source("early", lambda columns: columns["step"][-1:] == [999], within_s=30)
        wait_until(lambda: view(tab, "early") == [0, 999], within_s=10, what="the first figure follows")
        for key in ("late", "later"):
            send(client, key, 0, 500)
            tab.wait_for_source(key, lambda columns: columns["step"][-1:] == [499], within_s=20)
            wait_until(lambda key=key: view(tab, key) == [0, 499], within_s=10, what="a figure that came later follows")
        zoom = "([key, start, end]) => Bokeh.documents[0].get_model_by_name('plot of ' + key).x_range.setv({start, end})"
        tab.evaluate(zoom, ["late", 100, 110])
        tab.wait_for_source("late", lambda columns: columns["step"][0] >= 80 and columns["step"][-1] <= 130, within_s=10)
        tab.page.get_by_role("button", name="Remove the first").click()
        wait_until(lambda: view(tab, "early") is None, within_s=10, what="the first figure is gone")
        for key in ("early", "late", "later"):
            send(client, key, 1000, 1100)
        tab.wait_for_source("later", lambda columns: columns["step"][-1] == 1099, within_s=10)
        wait_until(lambda: view(tab, "later") == [0, 1099], within_s=10, what="the others follow")
        assert view(tab, "late") == [100, 110]
        wait_until(lambda: view(tab, "early") == [0, 1099], within_s=20, what="the first key's figure is made again")


WINDOWS = """
from bokeh.plotting import figure
from streamvis import live_source, panels
app = "live"
def init_page(doc, config):
    for x, axis, window in [("when", "datetime", 40), ("ms", "datetime", 40_000), ("took", "linear", 40)]:
        plot = figure(name=x, x_axis_type=axis, width=300, height=150)
        plot.line(x, "y", source=live_source("timed", x=x, columns=["y"], window=window))
        doc.add_root(plot)
    doc.add_root(panels.curves("timed", "y", x="when", window=40, name="panel", x_axis_type="datetime"))
    doc.add_root(panels.curves("timed", "y", x="time", window=0.05, name="sent"))
def update_page(doc, new_data):
    pass
"""


def test_a_window_has_the_same_length_on_every_kind_of_axis_in_a_live_page_and_a_fresh_one(
    tmp_path, start_endpoint, start_pages, open_page
):
    script = tmp_path / "live.py"
    script.write_text(WINDOWS)
    url = start_endpoint().url
    address = f"{start_pages(script, url=url).url}/live"
    start = np.datetime64("2024-05-01T12:00:00", "ms")

    def send(client, first, last):
        for i in range(first, last):
            took = np.timedelta64(i * 500, "ms")
            client.sendl(i, "timed", {"when": [start + took], "ms": 1.7e12 + i * 500.0, "took": [took], "y": math.sin(i)})
        assert client.flush(timeout_s=30)

    def spans(tab):
        return tab.evaluate("""() => ["when", "ms", "took", "panel", "sent"].map(name => {
            const range = window.Bokeh?.documents[0]?.get_model_by_name(name)?.x_range
            return range == null ? [0, 0] : [range.start, range.end] })""")

    def lengths(tab):
        return [end - start for start, end in spans(tab)[:4]]

    with Client(url, "live") as client:
        client.init()
        send(client, 0, 10)
        tab = open_page(address)
        wait_until(lambda: lengths(tab) == [4500] * 4, within_s=30, what="the page shows the run, shorter than the window")
        send(client, 10, 300)
        wait_until(lambda: spans(tab)[1][1] == 1.7e12 + 149_500, within_s=10, what="the page follows")
        wait_until(lambda: lengths(tab) == [40_000] * 4, within_s=10, what="the page shows the window alone")
        fresh = open_page(address)
        wait_until(lambda: spans(fresh) == spans(tab), within_s=20, what="a fresh page shows the same")


FACTORS = """
from bokeh.plotting import figure
from streamvis import live_source
app = "live"
def init_page(doc, config):
    kinds = ["cat", "dog", "emu"]
    flat = figure(name="flat", y_range=kinds, width=400, height=200)
    flat.scatter("step", "kind", source=live_source("seen", columns=["kind"], name="flat source"))
    doc.add_root(flat)
    high = figure(name="high", x_range=kinds, width=400, height=200)
    high.scatter("kind", "weight", source=live_source("seen", columns=["kind", "weight"], name="high source"))
    doc.add_root(high)
def update_page(doc, new_data):
    pass
"""


def test_a_range_of_numbers_follows_beside_one_of_factors(tmp_path, start_endpoint, start_pages, open_page):
    script = tmp_path / "live.py"
    script.write_text(FACTORS)
    url = start_endpoint().url
    address = f"{start_pages(script, url=url).url}/live"

    def send(client, first, last):
        for step in range(first, last):
            client.sendl(step, "seen", {"kind": ["cat", "dog", "emu"][step % 3], "weight": step / 10})
        assert client.flush(timeout_s=30)

    def shown(tab):
        return tab.evaluate("""() => {
            const [flat, high] = ["flat", "high"].map(name => window.Bokeh?.documents[0]?.get_model_by_name(name))
            return flat == null ? null : [flat.x_range.start, flat.x_range.end, Math.round(high.y_range.end * 1000) / 1000] }""")

    with Client(url, "live") as client:
        client.init()
        send(client, 0, 61)
        tab = open_page(address)
        wait_until(lambda: shown(tab) == [0, 60, 6.3], within_s=30, what="a fresh page shows all rows")
        send(client, 61, 121)
        wait_until(lambda: shown(tab) == [0, 120, 12.6], within_s=10, what="a live page follows")
        assert len(tab.source("high source")["kind"]) == len(tab.source("flat source")["kind"]) == 121
        tab.evaluate("() => Bokeh.documents[0].get_model_by_name('flat').x_range.setv({start: 10, end: 20})")
        send(client, 121, 151)
        wait_until(lambda: shown(tab) == [10, 20, 15.75], within_s=10, what="what a person set stays")
        tab.page.locator(".streamvis-follow:visible").click()
        wait_until(lambda: shown(tab) == [0, 150, 15.75], within_s=10, what="it follows again")


OWN_RANGES = """
from bokeh.models import DataRange1d
from bokeh.plotting import figure
from streamvis import live_source, panels
app = "live"
def init_page(doc, config):
    source = live_source("main", x="x", columns=["y"], name="main")
    def add(name, **options):
        plot = figure(name=name, width=300, height=150, **options)
        plot.line("x", "y", source=source)
        doc.add_root(plot)
        return plot
    add("from zero").y_range.start = 0
    add("flipped").x_range.flipped = True
    add("cut", x_range=DataRange1d(end=20, bounds=(0, 50)))
    add("short", x_range=DataRange1d(max_interval=30, range_padding=0))
    doc.add_root(panels.curves("main", "y", x="x", name="panel", y_range=DataRange1d(end=1000)))
def update_page(doc, new_data):
    pass
"""


def test_a_range_that_follows_keeps_to_what_its_author_set(tmp_path, start_endpoint, start_pages, open_page):
    script = tmp_path / "live.py"
    script.write_text(OWN_RANGES)
    url = start_endpoint().url
    address = f"{start_pages(script, url=url).url}/live"

    def shown(tab):
        return tab.evaluate("""() => ["from zero", "flipped", "cut", "short", "panel"].map(name => {
            const plot = window.Bokeh?.documents[0]?.get_model_by_name(name)
            return plot == null ? [] : [plot.x_range.start, plot.x_range.end, plot.y_range.start, plot.y_range.end]
              .map(value => Math.round(value * 1000) / 1000) })""")

    def expected(last):
        top, pad = 100 + last, last * 0.05
        return [
            [0, last, 0, top * 1.05],
            [last, 0, 100 - pad, top + pad],
            [0, 20, 99, 121],
            [last - 30, last, top - 31.5, top + 1.5],
            [0, last, 55, 1000],
        ]

    with Client(url, "live") as client:
        client.init()
        tab = open_page(address)
        for first, last in ((0, 40), (40, 80)):
            x = np.arange(first, last + 1.0)
            client.sendl(first, "main", {"x": x, "y": 100 + x})
            wait_until(lambda last=last: shown(tab) == expected(last), within_s=30, what=f"what is shown follows to {last}")
        assert tab.evaluate("() => Bokeh.documents[0].get_model_by_name('cut').x_range.bounds") == [0, 50]
        fresh = open_page(address)
        wait_until(lambda: shown(fresh) == expected(80), within_s=20, what="a fresh page shows the same")

        tab.evaluate("() => Bokeh.documents[0].get_model_by_name('from zero').y_range.setv({start: 90, end: 95})")
        client.sendl(81, "main", {"x": [90.0], "y": [190.0]})
        wait_until(lambda: shown(tab)[1][0] == 90, within_s=10, what="the page follows")
        assert shown(tab)[0] == [0, 90, 90, 95]
        tab.page.locator(".streamvis-follow:visible").click()
        wait_until(lambda: shown(tab)[0] == [0, 90, 0, 199.5], within_s=10, what="y is as its author wants it again")


def test_the_first_picture_and_the_browser_agree_on_where_a_range_lies(live, open_page):
    code = files("streamvis.page.live").joinpath("view.js").read_text(encoding="utf-8")
    constants, function = (
        re.search(r"^const ASK_AFTER_MS.*$", code, re.M),
        re.search(r"^const spread = .*?^}$", code, re.M | re.S),
    )
    assert constants and function
    rng, cases = np.random.default_rng(5), []
    for _ in range(3000):
        log = bool(rng.random() < 0.4)
        low, high = sorted(
            rng.choice([1e-3, 0.5, 3.0, 40.0, 2e5] if log else [-300.0, -2.0, 0.0, 7.5, 7.5 * (1 + 1e-15), 1e4], 2)
        )
        choices = {
            "start": [-50.0, 0.0, 2.0, 900.0],
            "end": [-50.0, 2.0, 900.0],
            "flipped": [0.0, 1.0],
            "range_padding": [0, 0.5, 3],
        }
        choices |= {"default_span": [0.0, 4.0], "min_interval": [6.0], "max_interval": [3.0, 5000.0]}
        kept = {name: float(rng.choice(its)) for name, its in choices.items() if rng.random() < 0.3}
        kept.pop("end" if "start" in kept else "", None)
        if not log and "range_padding" in kept and rng.random() < 0.5:
            kept["is_absolute"] = True
        cases.append([{"is_x": bool(rng.random() < 0.5), "log": log, "kept": kept}, float(low), float(high)])
    tab = open_page(live[1])
    script = f"cases => {{ {constants[0]}\n{function[0]}\nreturn cases.map(its => spread(...its)) }}"
    for case, found in zip(cases, tab.evaluate(script, cases), strict=True):
        facts, low, high = case
        assert found == pytest.approx(spread(low, high, **facts), rel=1e-9, abs=1e-9), case
