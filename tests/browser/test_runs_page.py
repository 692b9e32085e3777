"""The default page in a real browser: any run, with everything that it has, as it is drawn there."""

from __future__ import annotations

import csv
import io
import urllib.error
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

    address = f'{site[1].removesuffix("/view")}/rows.csv?run={tab.run}&series={quote("""["k", "a"]""")}'
    frame.hover()
    with tab.page.expect_download() as download:
        tab.page.get_by_title("Download all rows as CSV").click()
    assert download.value.url.split("/rows.csv")[0] == site[1].removesuffix("/view")
    with urllib.request.urlopen(address, timeout=30) as answer:
        found = list(csv.DictReader(io.StringIO(answer.read().decode())))
    assert download.value.path().read_text().splitlines()[0] == "step,time,key,a"
    assert [float(row["a"]) for row in found] == (steps / 3).tolist()

    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(address.replace(tab.run, "no-such-run"), timeout=30)
    assert refused.value.code == 404 and "There is no run 'no-such-run'" in refused.value.read().decode()


def test_behind_an_enlarged_card_the_page_is_dark_until_a_click_beside_it(show, open_page):
    steps = np.arange(40)
    tab = show("dark", lambda client: [client.sendl(0, f"k{i}", {"step": steps, "db": -steps}) for i in range(30)])
    page, cover = tab.page, tab.page.locator(".cover")
    page.locator(".bk-Figure").first.hover()
    page.get_by_title("Enlarge").click()
    cover.wait_for(state="visible")
    page.mouse.move(683, 384)
    page.mouse.wheel(0, 500)
    page.mouse.click(6, 384)
    cover.wait_for(state="hidden")
    assert "big=" not in page.url

    there = open_page(f"{page.url}&big=metrics%2Fk7%2Fdb")
    shade = there.page.locator(".cover")
    shade.wait_for(state="visible")
    there.page.mouse.wheel(0, 500)
    there.page.keyboard.press("Escape")
    shade.wait_for(state="hidden")
    wait_until(lambda: "big=" not in there.page.url, what="the card is back", pause=there._pause_s)

    none = open_page(f"{page.url}&big=metrics%2Fabsent")
    none.page.locator(".bk-Figure").first.wait_for()
    assert not none.page.locator(".cover").is_visible()


# Of each legend: how many names stand beside each other, and by how many pixels its names reach beyond the figure.
_LEGENDS = """() => Array.from(window.Bokeh?.documents[0]?._all_models.values() ?? [])
    .filter((model) => model.type == "Legend" && Bokeh.index.find_one(model)?.el.isConnected && model.items.length)
    .map((model) => {
        const view = Bokeh.index.find_one(model), figure = view.parent.el.getBoundingClientRect()
        const parts = Array.from((view.el.shadowRoot ?? view.el).querySelectorAll("*"))
        return [model.ncols, Math.max(...parts.map((part) => part.getBoundingClientRect().right)) - figure.right]
    })"""


def test_the_names_in_a_legend_fit_into_a_narrow_card_and_stand_side_by_side_in_a_wide_one(site, open_page):
    ids = []
    for name in ("spectrometer-17", "interferometer", "magnetometer-ii"):
        with Client(site[0], "legends") as client:
            ids.append(client.init(name=name))
            client.sendl(0, "k", {"step": np.arange(9), "a": np.arange(9.0), "b": np.arange(9.0), "c": np.arange(9.0)})
            assert client.flush(timeout_s=30)
    tab = open_page(f"{site[1]}/runs?{'&'.join(f'run={one}' for one in ids)}", viewport={"width": 1366, "height": 768})

    def legends(*columns):
        def fit():
            found = tab.evaluate(_LEGENDS)
            assert [ncols for ncols, _ in found] == list(columns) and all(over <= 0 for _, over in found), f"they are {found}"
            return True

        wait_until(fit, within_s=20, what=f"legends of {columns} columns", pause=tab._pause_s)

    legends(2, 2, 2)
    tab.page.locator(".bk-Figure").first.hover()
    tab.page.get_by_title("Enlarge").click()
    legends(3, 2, 2)
    tab.page.keyboard.press("Escape")
    legends(2, 2, 2)
    tab.page.set_viewport_size({"width": 2560, "height": 1440})
    legends(3, 3, 3)


def test_a_long_config_scrolls_in_a_box_of_limited_height(site, open_page):
    with Client(site[0], "long config") as client:
        client.init({f"option_{i}": "a value of several words" for i in range(190)})
        client.sendl(0, "k", {"y": 1.0})
        assert client.flush(timeout_s=30)
    tab = open_page(f"{site[1]}/runs?app=long+config")
    last = tab.page.get_by_text("option_189")
    last.wait_for()
    box = last.locator("xpath=ancestor::div[contains(@class, 'box')]")
    height, inside = box.evaluate(
        "(box) => { const host = box.getRootNode().host; return [host.offsetHeight, host.scrollHeight] }"
    )
    assert height == 900 and inside > 2000
    last.scroll_into_view_if_needed()
    assert last.bounding_box()["y"] < 900


# Of each chart: where its ticks of y are, as shares of the axis, and how high the axis is.
_TICKS = """() => Array.from(window.Bokeh?.documents[0]?._all_models.values() ?? [])
    .filter((model) => model.type == "Figure" && Bokeh.index.find_one(model)?.el.isConnected).map((plot) => {
        const {start, end} = plot.y_range, {major} = plot.left[0].ticker.get_ticks(start, end, plot.y_range, 0)
        const share = (y) => (Math.log(y) - Math.log(start)) / (Math.log(end) - Math.log(start))
        return [plot.title.text, major, major.map(share), plot.inner_height, start]
    })"""


@pytest.mark.parametrize(("size", "least"), [("s", 2), ("m", 3), ("l", 3)])
def test_a_logarithmic_axis_has_readable_ticks_in_both_halves_at_any_span(show, size, least):
    ends = {"a": (0.07, 0.62), "b": (3.0, 7.5), "c": (8.0, 260.0), "d": (0.002, 150.0), "e": (4e-9, 7.0), "f": (1.0, 1.3e12)}
    rows = {name: np.geomspace(low, high, 50) for name, (low, high) in ends.items()}
    tab = show("logarithmic", lambda client: client.sendl(0, "k", {"step": np.arange(50), **rows}), f"&log=1&size={size}")

    def readable():
        found = tab.evaluate(_TICKS)
        assert found and {name for name, *_ in found} <= set(ends), f"the charts are {found}"
        for name, ticks, shares, height, start in found:
            assert start < ends[name][0] * 1.001 and len(ticks) >= least, f"{name} has {ticks} from {start}"
            assert min(shares) < 0.5 < max(shares) and np.diff(shares).min() * height >= 25, f"{name} has {ticks}, {shares}"
        return True

    wait_until(readable, within_s=20, what="ticks on all charts", pause=tab._pause_s)


# Where the board's cards are, from the window's left and top edge.
_BOXES = """() => { const models = Array.from(window.Bokeh?.documents[0]?._all_models.values() ?? [])
    const control = models.find((m) => "layout" in m.attributes && "settings" in m.attributes)
    return (JSON.parse(control?.layout ?? "{}").cards ?? []).map(({id}) => {
      const frame = models.find((m) => m.type == "Pane" && m.elements[0]?.id == id)
      const box = frame && Bokeh.index.find_one(frame)?.el.getBoundingClientRect()
      return box == null || box.width == 0 ? null : [box.left, box.top, box.right, box.bottom] }) }"""
# The titles of the figures that the page draws: Bokeh keeps models that were let go of for a while, but not their views.
_TITLES = """() => Array.from(Bokeh.documents[0]._all_models.values())
    .filter((model) => model.type == "Figure" && Bokeh.index.find_one(model) != null).map((model) => model.title.text)"""
_KINDS = {
    "sound": {"samples": np.sin(np.arange(8000) * 0.2).astype(np.float32), "rate": 8000},
    "spread": {"w": np.arange(100.0)},
    "pictures": {"image": np.zeros((3, 8, 8))},
    "confusion": {"count": np.eye(4)},
    "cloud": {"x": np.arange(5.0), "y": np.arange(5.0)},
    "ranking": {"name": ["first", "second"], "score": [0.25, 0.5]},
    "report": {"text": "all is well"},
    "state": {"info": {"deep": {"deeper": "deepest"}}},
}


def boxes(tab, count):
    """The boxes of the board's cards, once there are so many."""

    def found():
        its = tab.evaluate(_BOXES)
        assert len(its) == count and None not in its, f"the boxes are {its}"
        return its

    return wait_until(found, within_s=30, what=f"{count} cards", pause=tab._pause_s)


def test_a_run_with_every_kind_of_value_shows_each_as_what_it_is(show):
    def send(client):
        for key, data in _KINDS.items():
            client.send(0, key, data)
        client.sendl(0, "log", {"line": "a line of a log"})

    tab = show("kinds", send, viewport={"width": 1366, "height": 2600})
    await_cards(tab, [*(f"values/{key}" for key in _KINDS), "text/log line"])
    for text in ("first", "0.5", "all is well", "a line of a log"):
        tab.page.get_by_text(text).first.wait_for()
    tab.page.get_by_text("deepest").wait_for(state="attached")
    tab.page.locator("audio").wait_for(state="attached")
    wait_until(lambda: tab.page.locator("img").count() == 3, within_s=20, what="three images", pause=tab._pause_s)
    wait_until(lambda: len(tab.evaluate(_TITLES)) == 4, within_s=20, what="histograms, matrix and points", pause=tab._pause_s)
    assert tab.page.get_by_text("cannot show").count() == 0


def test_a_page_of_several_runs_shows_panels_of_all_of_them(site, open_page):
    for i in range(3):
        with Client(site[0], "three") as client:
            client.init({"lr": 0.1 if i else 0.01}, name=f"run {i}")
            for step in range(50):
                client.sendl(step, "train", {"loss": 1 / (step + 1 + i)})
            client.send(0, "scores", {"name": ["a", "b"], "score": [0.5, float(i)]})
    count = "(type) => Array.from(window.Bokeh?.documents[0]?._all_models.values() ?? []).filter((m) => m.type == type).length"
    for _ in range(3):
        tab = open_page(f"{site[1]}/runs?app=three&group=config.lr")
        drawn = lambda tab=tab: (tab.evaluate(count, "DataTable"), tab.evaluate(count, "Line"))  # noqa: E731
        wait_until(lambda drawn=drawn: drawn() == (3, 2), within_s=20, what="a table of each run", pause=tab._pause_s)


def test_the_first_charts_and_their_data_are_there_before_the_browser_has_its_scripts(show, open_page):
    tab = show("ahead", lambda client: [client.sendl(step, "k", {"a": 1.5, "b": 2.5}) for step in range(3)])
    page, held, frames = tab.page.context.new_page(), [], []
    page.route("**/bokeh.min.js*", lambda route: held.append(route))
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: frames.append(frame)))
    page.goto(tab.page.url, wait_until="commit")
    wait_until(lambda: held, within_s=20, what="the page asks for its scripts", pause=tab._pause_s)
    # One that was opened later has all by now.
    await_fit(open_page(tab.page.url), 2)
    held[0].continue_()
    whole = wait_until(
        lambda: [frame for frame in frames if isinstance(frame, str) and '"roots"' in frame],
        within_s=20,
        what="the document",
        pause=tab._pause_s,
    )
    assert whole[0].count('"name":"Figure"') == 2 and '"type":"ndarray"' in whole[0]


def test_of_five_thousand_columns_only_what_is_near_the_view_is_drawn(show):
    names = [f"block{i // 50}/layer{i}" for i in range(5000)]
    tab = show("wide", lambda client: client.sendl(0, "layers", dict.fromkeys(names, 0.5)), "&q=layer")
    total = tab.page.get_by_text("5000 of 5000")
    total.wait_for()
    counts = []
    for place in (0, 0.5, 1.0, 0):
        tab.evaluate("place => scrollTo(0, place * document.documentElement.scrollHeight)", place)
        wait_until(
            lambda: any(box and 0 < box[1] < 700 for box in tab.evaluate(_BOXES)),
            within_s=30,
            what=f"charts at {place} of the page",
            pause=tab._pause_s,
        )
        counts.append(len(tab.evaluate(_TITLES)))
    search = tab.page.get_by_placeholder("Search charts")
    for words, found in (("layer4711", 1), ("block7/ layer35", 10)):
        search.fill(words)
        tab.page.get_by_text(f"{found} of 5000").wait_for()

        def are_drawn(words=words, found=found):
            drawn = tab.evaluate(_TITLES)
            assert 1 <= len(drawn) <= found and all(words.split()[-1] in title for title in drawn), f"{drawn} are drawn"
            return True

        wait_until(are_drawn, within_s=20, what="those found", pause=tab._pause_s)
    assert 6 <= min(counts) and max(counts) <= 30


def test_the_address_shows_a_second_tab_what_the_first_one_shows(show, open_page):
    def send(client):
        for step in range(3):
            client.sendl(step, "k", {"loss": 1.5, "gain": 2.5, "other": 3.5})

    tab = show("address", send)
    await_cards(tab, ["k/loss", "k/gain", "k/other"])
    tab.page.get_by_placeholder("Search charts").fill("a")
    tab.page.get_by_label("Log y").check()
    tab.page.get_by_label("Size").select_option("Large")
    tab.page.locator("select").first.select_option("elapsed")
    await_cards(tab, ["k/gain"])
    tab.page.wait_for_url(lambda url: all(part in url for part in ("q=a", "log=1", "size=l", "x=elapsed")))
    other = open_page(tab.page.url)
    await_cards(other, ["k/gain"])
    plots = "() => Bokeh.documents[0]._all_models.values().filter((m) => m.type == 'Figure' && Bokeh.index.find_one(m))"
    told = f"{plots}.map((m) => [m.title.text, m.y_scale.type, m.renderers[0].glyph.x.field]).toArray()"
    expected = [["gain", "LogScale", "elapsed"]]
    for each in (tab, other):
        wait_until(lambda each=each: each.evaluate(told) == expected, within_s=20, what=f"{expected}", pause=each._pause_s)
    assert other.page.get_by_label("Size").input_value() == "l" and other.page.get_by_label("Log y").is_checked()


def test_the_board_fills_the_window_in_light_and_dark_whatever_names_are(show):
    names = ["🦊🚀 loss", "x" * 300, "<b>bold</b>", "$$x^2$$", *(f"c{i}" for i in range(6))]
    tab = show("names", lambda client: client.sendl(0, "a key 🙂" + "y" * 300, dict.fromkeys(names, 0.5)))
    backgrounds = []
    for width, height, scheme in ((1366, 1200, "light"), (2560, 800, "dark"), (390, 3000, "light")):
        tab.page.set_viewport_size({"width": width, "height": height})
        if backgrounds:
            tab.page.emulate_media(color_scheme=scheme)
            tab.page.reload()
        found = boxes(tab, len(names))
        assert tab.evaluate("() => document.documentElement.scrollWidth <= innerWidth"), f"{width}: it scrolls sideways"
        assert width - 25 <= max(right for _, _, right, _ in found) <= width, f"{width}: {found}"
        for i, (left, top, right, bottom) in enumerate(found):
            for other in found[:i]:
                assert right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top, f"{width}: cards overlap"
        backgrounds.append(tab.evaluate("() => getComputedStyle(document.body).backgroundColor"))
    assert backgrounds[0] == backgrounds[2] != backgrounds[1]
