"""The shell around pages in a real Chromium: its bar, its run list, and how one load of a page takes the place of another."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

import pytest

from streamvis import Client
from streamvis.transport import Transport
from support import processes
from support.conditions import wait_until

PAGE = """
from bokeh.models import ColumnDataSource, Div, Slider, TabPanel, Tabs
from bokeh.plotting import figure
def init_page(doc, config):
    source = ColumnDataSource({"x": []}, name="main_plot")
    plot = figure(name="plot", height=300)
    plot.line("x", "x", source=source, name="curve")
    doc.add_root(plot)
    doc.add_root(Slider(start=0, end=10, value=2))
    doc.add_root(Tabs(tabs=[TabPanel(child=Div(height=800), title=title) for title in "ab"]))
def update_page(doc, new_data):
    if "k" in new_data:
        doc.get_model_by_name("main_plot").stream({"x": new_data["k"]["x"]})
"""
MANY = """
from bokeh.models import Div
def init_page(doc, config, runs):
    shown = sorted([run.name, run.group, run.config["net"]] for run in runs)
    doc.add_root(Div(name="shown", text=repr(shown), render_as_text=True))
"""
IMPORTS = "import there_is_none\ndef init_page(doc, config):\n    pass\n"
FAILS = "def init_page(doc, config):\n    1 / 0\ndef update_page(doc, new_data):\n    pass\n"

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """An endpoint and a page server for all tests of this file."""
    folder = tmp_path_factory.mktemp("shell")
    for name, text in {"lines": PAGE, "fails": FAILS, "many": MANY, "imports": IMPORTS}.items():
        (folder / f"{name}.py").write_text(text)
    endpoint = processes.endpoint(folder / "data", log=folder / "endpoint.log")
    try:
        scripts = [folder / f"{name}.py" for name in ("lines", "fails", "many", "imports")]
        pages = processes.page_server(*scripts, url=endpoint.url, log=folder / "pages.log")
        try:
            yield endpoint, pages
        finally:
            pages.close()
    finally:
        endpoint.close()


def until(tab, condition, what):
    """Wait for something in a tab. Pages open slowly where many tests run."""
    __tracebackhide__ = True
    wait_until(condition, within_s=40, what=what, pause=tab._pause_s)


def send(client, *values):
    for value in values:
        client.sendl(value, "k", {"x": value})
    assert client.flush(timeout_s=60)


def bar(tab):
    return tab.page.locator(".bar").inner_text()


def test_the_page_is_in_a_frame_below_a_bar_that_names_its_run_and_state(site, open_page):
    endpoint, pages = site
    with Client(endpoint.url, "named") as client:
        client.init(name="first try")
        send(client, 0, 1)
        tab = open_page(f"{pages.root}/lines?app=named")
        tab.wait_for_source("main_plot", lambda columns: columns["x"] == [0, 1])
        until(tab, lambda: "first try" in bar(tab) and "running" in bar(tab), "the bar")
        tab.page.get_by_label("Diagnosis", exact=True).first.click()
        until(tab, lambda: "2 rows, 0 values" in tab.page.locator(".diagnosis").inner_text(), "what the page costs")
        tab.page.get_by_label("Close the diagnosis").click()
        with tab.page.expect_download(timeout=90_000) as download:
            tab.page.get_by_label("Save as a file").click()
        assert download.value.suggested_filename == "lines first try.html"
        assert 'window.streamvisSnapshot = {"steps":[0,1]' in download.value.path().read_text()
        assert tab.frame.url == f"{pages.url}/lines?app=named"
        follows = tab.page.get_by_label("Runs that are shown")
        assert follows.input_value() == "newest"
        follows.select_option("Pinned")
        assert tab.page.url.endswith(f"run={client.run}")
        follows.select_option("Oldest running")
        assert tab.page.url.endswith("app=named&follow=oldest")
        assert tab.page.get_by_label("alert").count() == 0
        client.alert("loss <b>rises</b>", "since step 1", "warning")
        assert client.flush(timeout_s=60)
        bell = tab.page.get_by_label("1 alert, 1 new")
        bell.click()
        told = "loss <b>rises</b>\n\nsince step 1\n\nwarning · step 1 ·"
        assert tab.page.get_by_role("dialog", name="Alerts").inner_text().startswith(told)
        tab.page.keyboard.press("Escape")
        assert tab.page.get_by_label("1 alert", exact=True).count() == 1
    until(tab, lambda: "finished" in bar(tab), "the end of the run in the bar")


def test_a_page_that_fails_leaves_the_shell_usable(site, open_page):
    endpoint, pages = site
    with Client(endpoint.url, "failing") as client:
        client.init()
        send(client, 0)
        tab = open_page(f"{pages.root}/fails?app=failing")
        tab.expect_errors()
        told = "document.querySelector('#streamvis-notices')?.shadowRoot?.textContent ?? ''"
        until(tab, lambda: "ZeroDivisionError" in tab.in_page(told), "the error")
        tab.page.get_by_label("Page", exact=True).select_option("lines")
        tab.wait_for_source("main_plot", lambda columns: columns["x"] == [0])
        assert tab.page.url == f"{pages.root}/lines?app=failing"


@pytest.mark.parametrize("opened", ["imports?app=before", "lines?app=before&at=x"])
def test_the_shell_around_a_page_that_failed_before_it_knew_its_run_has_its_list_and_no_error(site, open_page, opened):
    endpoint, pages = site
    with Client(endpoint.url, "before") as client:
        client.init(name="a run")
        send(client, 0)
        tab = open_page(f"{pages.root}/{opened}")
        tab.expect_errors()
        told = "document.querySelector('#streamvis-notices')?.shadowRoot?.textContent ?? ''"
        until(tab, lambda: "No module" in tab.in_page(told) or "not valid" in tab.in_page(told), "the error")
        tab.page.get_by_label("The past").click()
        tab.page.get_by_text("a run").first.wait_for()
        assert not [error for error in tab.errors if "TypeError" in error] and "undefined" not in tab.page.content()


def test_the_time_bar_shows_the_page_as_of_a_step_in_the_address_too_and_goes_back_to_live(site, open_page):
    endpoint, pages = site
    with Client(endpoint.url, "timed") as client:
        client.init()
        send(client, *range(8))
        client.alert("Too high", level="error")
        send(client, 8, 9)
        tab = open_page(f"{pages.root}/lines?app=timed")
        tab.wait_for_source("main_plot", lambda columns: columns["x"] == list(range(10)))
        tab.page.get_by_label("The past").click()
        step = tab.page.get_by_label("Step", exact=True)
        step.fill("4")
        tab.wait_for_source("main_plot", lambda columns: columns["x"] == list(range(5)))
        assert tab.page.url.endswith("at=4")
        step.press("ArrowLeft")
        tab.wait_for_source("main_plot", lambda columns: columns["x"] == list(range(4)))
        tab.page.get_by_label("Too high (error) at step 7").click()
        tab.wait_for_source("main_plot", lambda columns: columns["x"] == list(range(8)))
        send(client, 10)
        other = open_page(tab.page.url)
        other.wait_for_source("main_plot", lambda columns: columns["x"] == list(range(8)))
        until(other, lambda: other.page.get_by_label("Step number").input_value() == "7", "the step in the other's bar")
        assert tab.source("main_plot")["x"] == list(range(8))
        typed = tab.page.get_by_label("Step number")
        for text, shown in (("-5", 0), ("6.6", 7), ("", 7), ("99999999999999999999", 10)):
            typed.fill(text)
            typed.press("Enter")
            tab.wait_for_source("main_plot", lambda columns, shown=shown: columns["x"] == list(range(shown + 1)))
            until(tab, lambda shown=shown: typed.input_value() == str(shown), "the step in the bar")
        tab.page.get_by_role("button", name="Live", exact=True).click()
        tab.wait_for_source("main_plot", lambda columns: columns["x"] == list(range(11)))
        assert "at=" not in tab.page.url


# The last step of the curve, and what stands in the matrix.
_SEEN = """() => {
  const all = [...(window.Bokeh?.documents?.[0]?._all_models.values() ?? [])]
  const models = all.filter((model) => model.type == "ColumnDataSource")
  const cells = (name) => models.map((model) => model.get_column(name)).find((column) => column?.length > 0)
  return ["loss", "value"].map((name) => cells(name)?.at(-1))
}"""


def test_a_page_of_panels_goes_to_another_step_in_place_and_back_to_live(site, open_page):
    endpoint, pages = site
    with Client(endpoint.url, "in place") as client:
        client.init()

        def send_step(step):
            client.sendl(step, "train", {"loss": step})
            if step % 10 == 0:
                client.send(step, "counts", {"cells": [[step, step], [step, step]]})

        for step in range(50):
            send_step(step)
        assert client.flush(timeout_s=60)
        tab = open_page(f"{pages.root}/runs?app=in place")
        until(tab, lambda: tab.in_page(_SEEN) == [49, 40], "the page")
        tab.page.get_by_label("The past").click()
        step = tab.page.get_by_label("Step", exact=True)
        for at, seen in ((25, [25, 20]), (3, [3, 0]), (48, [48, 40])):
            step.fill(str(at))
            until(tab, lambda seen=seen: tab.in_page(_SEEN) == seen, f"the page as of {at}")
        send_step(50)
        assert client.flush(timeout_s=60)
        tab.page.get_by_role("button", name="Live", exact=True).click()
        until(tab, lambda: tab.in_page(_SEEN) == [50, 50], "the page of now")
        send_step(51)
        until(tab, lambda: tab.in_page(_SEEN) == [51, 50], "what comes live")
        assert tab.evaluate("streamvisShell.viewer.panes[0].swaps") == 0


def test_on_a_phone_the_bar_fits_and_the_page_fills_the_rest(site, open_page):
    endpoint, pages = site
    with Client(endpoint.url, "phone") as client:
        client.init(name="a run with a name that is longer than a phone is wide, as they often are")
        send(client, 0)
        tab = open_page(f"{pages.root}/lines?app=phone", viewport={"width": 390, "height": 844})
        tab.wait_for_source("main_plot", lambda columns: columns["x"] == [0])
        until(tab, lambda: "running" in bar(tab), "the bar")
        assert tab.evaluate("document.documentElement.scrollWidth") == 390
        last = tab.page.get_by_role("button", name="Switch between light and dark").bounding_box()
        assert last["x"] + last["width"] <= 390
        box = tab.page.locator("iframe").bounding_box()
        assert box["width"] == 390 and box["y"] + box["height"] == 844


# The run list


def make_runs(url, app, count):
    """Runs 0, 1, ... of an app, each with a config of its own."""

    def make(i):
        config = {"lr": i / 1000, "net": "vit" if i % 2 else "resnet"}
        order = {"app": app, "run": f"{app}-{i}", "name": f"run {i}", "config": config}
        sent = Transport(url).request("POST", "/api/v1/runs", body=json.dumps(order).encode(), headers=JSON)
        assert sent.status == 201

    with ThreadPoolExecutor(8) as workers:
        list(workers.map(make, range(count)))


JSON = {"Content-Type": "application/json"}


def listed(tab):
    return tab.evaluate("Array.from(document.querySelectorAll('.rows .run'), (one) => one.textContent)")


def expect_listed(tab, *names):
    until(tab, lambda: sorted(listed(tab)) == sorted(names), f"the list of {names}")


def test_runs_are_found_by_words_and_filters_and_an_error_points_at_its_place(site, open_page):
    endpoint, pages = site
    make_runs(endpoint.url, "found", 4)
    tab = open_page(f"{pages.root}/?app=found")
    tab.expect_errors()  # a filter that is refused is one
    asked = []
    tab.page.on("request", lambda request: asked.append(request.url) if "where=" in request.url else None)
    expect_listed(tab, "run 0", "run 1", "run 2", "run 3")
    box = tab.page.get_by_role("combobox", name="Search or filter runs")
    box.press_sequentially("config.lr < 0.002")
    expect_listed(tab, "run 0", "run 1")
    assert {parse_qs(urlsplit(url).query)["where"][0] for url in asked} == {"config.lr < 0.002"}  # nothing that was half typed
    assert "list.find=config.lr" in tab.page.url
    tab.page.reload()
    expect_listed(tab, "run 0", "run 1")
    box.fill("VIT 3")
    expect_listed(tab, "run 3")
    box.fill("config.lr < 0.002 and or")
    tab.page.locator(".error mark").wait_for()
    assert tab.page.locator(".error mark").inner_text() == "or"
    box.fill("config.n")
    tab.page.get_by_role("option", name="config.net", exact=True).click()
    box.press_sequentially(' == "resnet"')
    expect_listed(tab, "run 0", "run 2")


def test_chosen_runs_are_in_the_address_and_side_by_side_on_a_page_for_one(site, open_page):
    endpoint, pages = site
    make_runs(endpoint.url, "chosen", 3)
    tab = open_page(f"{pages.root}/lines?app=chosen")
    expect_listed(tab, "run 0", "run 1", "run 2")
    for name in ("run 0", "run 2"):
        tab.page.get_by_label(f"Choose {name}").click()
    headings = tab.page.locator(".pane.headed h2")
    until(tab, lambda: headings.all_inner_texts() == ["run 0", "run 2"], "two panes")
    assert tab.page.url == f"{pages.root}/lines?app=chosen&run=chosen-0&run=chosen-2"
    tab.page.get_by_role("button", name="Compare").click()
    line = tab.page.get_by_role("dialog").get_by_role("row", name="lr")
    assert line.inner_text().split() == ["lr", "0", "0.002"] and "differs" in line.get_attribute("class")
    tab.page.get_by_role("button", name="Close").click()
    linked = open_page(tab.page.url)
    until(linked, lambda: linked.page.locator(".pane iframe:not(.coming)").count() == 2, "the same from a link")
    tab.page.get_by_role("button", name="Newest only").click()
    until(tab, lambda: tab.page.locator(".pane iframe:not(.coming)").count() == 1, "the newest alone")
    assert tab.page.url == f"{pages.root}/lines?app=chosen"


def test_of_many_runs_few_are_in_the_document_and_the_last_is_there_at_the_end(site, open_page):
    endpoint, pages = site
    make_runs(endpoint.url, "many", 500)
    tab = open_page(f"{pages.root}/?app=many&list.order=step")
    until(tab, lambda: "500 runs" in tab.page.locator(".counts").inner_text(), "the count")
    seen = set(listed(tab))
    assert 0 < len(seen) < 60
    tab.evaluate("document.querySelector('.runs .scroller').scrollTop = 1e9")
    until(tab, lambda: listed(tab) and not seen & set(listed(tab)), "the end of the list")
    rows = tab.page.locator(".rows .row")
    until(tab, lambda: rows.last.get_attribute("aria-rowindex") == "501", "the last row")
    assert len(listed(tab)) < 60


def test_what_one_viewer_changes_others_see_and_what_was_archived_or_deleted_comes_back(site, open_page):
    endpoint, pages = site
    make_runs(endpoint.url, "shared", 2)
    mine, theirs = open_page(f"{pages.root}/?app=shared"), open_page(f"{pages.root}/?app=shared")
    for tab in (mine, theirs):
        expect_listed(tab, "run 0", "run 1")

    def act(run, action):
        mine.page.get_by_label(f"Actions for {run}").click()
        mine.page.get_by_role("menuitem", name=action).click()

    act("run 1", "Rename")
    mine.page.keyboard.type("the good one")
    mine.page.keyboard.press("Enter")
    act("run 0", "Tags")
    mine.page.get_by_label("Tags, with commas between").fill("seed, first")
    mine.page.get_by_role("button", name="Save").click()
    expect_listed(theirs, "the good one", "run 0")
    until(theirs, lambda: theirs.page.locator(".tag").all_inner_texts() == ["seed", "first"], "tags")
    act("the good one", "Archive")
    expect_listed(theirs, "run 0")
    mine.page.get_by_role("button", name="Undo").click()
    expect_listed(theirs, "the good one", "run 0")
    act("run 0", "Delete")
    expect_listed(theirs, "the good one")
    assert "Deleted run 0" in mine.page.locator(".toast").last.inner_text()
    mine.page.get_by_role("button", name="Undo").click()
    expect_listed(theirs, "the good one", "run 0")
    assert theirs.page.locator(".tag").all_inner_texts() == ["seed", "first"]


# One load of a page in place of another

_WATCH = """() => { window.gaps = 0
    const look = () => {
        const shown = document.querySelector(".pane iframe:not(.coming)")?.contentDocument
        if (shown?.querySelector(".bk-Figure") == null) window.gaps += 1
        requestAnimationFrame(look)
    }
    look() }"""
_SET = """() => { const doc = Bokeh.documents[0], of = (type) => [...doc.all_models].find((model) => model.type == type)
    const range = doc.get_model_by_name("plot").x_range
    range.have_updated_interactively = true
    range.setv({start: 1, end: 2})
    of("Slider").value = 7
    of("Tabs").active = 1
    doc.get_model_by_name("curve").visible = false
    doc.get_model_by_name("main_plot").selected.indices = [1]
    scrollTo(0, 200) }"""
_GET = """() => { const doc = Bokeh.documents[0], of = (type) => [...doc.all_models].find((model) => model.type == type)
    const {start, end} = doc.get_model_by_name("plot").x_range
    const {indices} = doc.get_model_by_name("main_plot").selected
    const values = [of("Slider").value, of("Tabs").active, doc.get_model_by_name("curve").visible]
    return [start, end, ...values, scrollY, indices.length] }"""


def rows(tab):
    return tab.in_page("window.Bokeh?.documents[0]?.get_model_by_name('main_plot')?.data.x.length ?? -1")


def test_whatever_loads_a_page_anew_swaps_without_a_gap_and_keeps_what_a_person_set(site, open_page, tmp_path_factory):
    endpoint, pages = site
    script = next(tmp_path_factory.getbasetemp().glob("shell*/lines.py"))
    with Client(endpoint.url, "kept") as client:
        client.init()
        send(client, *range(5))
        tab = open_page(f"{pages.root}/lines?app=kept")
        tab.expect_errors()  # while the page server is away
        until(tab, lambda: rows(tab) == 5, "the page")
        tab.in_page(_SET)
        tab.evaluate(_WATCH)
        client.clear()
        send(client, *range(3))
        until(tab, lambda: rows(tab) == 3, "the new epoch")
        assert tab.in_page(_GET) == [1, 2, 7, 1, False, 200, 1]
        for what, go in {"a restart": pages.restart, "an edited script": lambda: script.write_text(PAGE + "# edited")}.items():
            frame = tab.frame
            until(tab, lambda: tab.evaluate("document.querySelectorAll('.pane iframe').length") == 2, "a frame for the next page")
            go()
            until(tab, lambda frame=frame: tab.frame not in (None, frame), f"the page after {what}")
            until(tab, lambda: rows(tab) == 3, "its data")
            assert tab.in_page("window.streamvisWarm != null"), "BokehJS was loaded again"
            assert tab.in_page(_GET) == [1, 2, 7, 1, False, 200, 1], what
    with Client(endpoint.url, "kept") as client:
        client.init()
        send(client, 0, 1)
        until(tab, lambda: rows(tab) == 2, "the new run")
        # Its rows are others than those that were selected.
        assert tab.in_page(_GET) == [1, 2, 7, 1, False, 200, 0]
        assert tab.evaluate("window.gaps") == 0
        assert tab.evaluate("streamvisShell.viewer.panes[0].swaps") == 4


def test_a_filter_and_groups_are_in_the_address_and_another_browser_opens_the_same_view(site, open_page):
    endpoint, pages = site
    make_runs(endpoint.url, "linked", 4)
    tab = open_page(f"{pages.root}/many?app=linked")
    expect_listed(tab, *(f"run {i}" for i in range(4)))
    tab.page.get_by_role("combobox", name="Search or filter runs").fill("config.lr < 0.003")
    expect_listed(tab, "run 0", "run 1", "run 2")
    tab.page.get_by_role("button", name="Show all matching runs").click()
    tab.page.get_by_role("button", name="Columns, groups, archive").click()
    tab.page.get_by_label("Group by").select_option("net")
    tab.page.get_by_label("Bands show").select_option("median and quartiles")
    expected = repr(sorted([f"run {i}", f"net = {net}", net] for i, net in enumerate(["resnet", "vit", "resnet"])))
    shown = "window.Bokeh?.documents[0]?.get_model_by_name('shown')?.text"
    names = lambda one: one.page.locator(".names").inner_text()  # noqa: E731
    heads = lambda one: one.page.locator(".row.group").all_inner_texts()  # noqa: E731
    until(tab, lambda: tab.in_page(shown) == expected and len(heads(tab)) == 2, "the groups of the runs that fit")
    linked = open_page(tab.page.url)
    until(linked, lambda: linked.in_page(shown) == expected and heads(linked) == heads(tab), "the same from a link")
    assert "stat=quartiles" in linked.frame.url and linked.page.get_by_label("Runs that are shown").input_value() == "filter"
    until(linked, lambda: names(linked) == names(tab) and names(tab), "the same runs in the bar")


def test_a_run_that_vanished_is_ended_from_the_list(site, open_page):
    endpoint, pages = site
    records = {"records": [{"kind": "start", "config": {}}]}
    # As an import sends what a producer left behind when it was killed.
    where = "/api/v1/runs/gone/batches?app=ended&producer=p&number=1&live=false"
    assert Transport(endpoint.url).request("POST", where, body=json.dumps(records).encode(), headers=JSON).status == 200
    tab = open_page(f"{pages.root}/?app=ended")
    state = tab.page.locator(".rows .state")
    until(tab, lambda: state.all_inner_texts() and "vanished" in state.inner_text(), "the run that vanished")
    tab.page.locator("button.more").click()
    tab.page.get_by_role("menuitem", name="End", exact=True).click()
    until(tab, lambda: state.inner_text() == "interrupted", "the run has ended")


def test_a_new_run_is_shown_when_the_old_one_has_ended_and_offered_to_who_touched_the_page(site, open_page):
    endpoint, pages = site
    with Client(endpoint.url, "next") as client:
        client.init(name="run 0")
        send(client, 0)
        tab = open_page(f"{pages.root}/lines?app=next")
        until(tab, lambda: rows(tab) == 1, "the page")
        tab.in_page("window.is_first = true")
        with Client(endpoint.url, "next") as other:
            other.init(name="run 1")
            send(other, 0, 1)
            tab.page.get_by_text("New run run 1").wait_for()  # the one that is shown goes on
        client.close()
    until(tab, lambda: rows(tab) == 2 and "run 1" in bar(tab), "the new run")
    assert tab.in_page("window.is_first") is None
    tab.page.locator(".pane iframe:not(.coming)").click(position={"x": 300, "y": 100})
    with Client(endpoint.url, "next") as client:
        client.init(name="run 2")
        send(client, 0, 1, 2)
        tab.page.get_by_text("New run run 2").wait_for()
        assert rows(tab) == 2
        tab.page.get_by_role("button", name="Show", exact=True).click()
        until(tab, lambda: rows(tab) == 3, "the run that was asked for")


def test_a_page_stays_calm_while_runs_come_one_after_the_other(site, open_page):
    endpoint, pages = site
    with Client(endpoint.url, "sweep") as client:
        client.init(name="run 0")
        send(client, 0)
        tab = open_page(f"{pages.root}/lines?app=sweep")
        until(tab, lambda: rows(tab) == 1, "the page")
    began, told = time.monotonic(), set()
    for i in range(1, 9):
        with Client(endpoint.url, "sweep") as client:
            client.init(name=f"run {i}")
            send(client, 0)
        until(tab, lambda name=f"run {i}": name in bar(tab), f"run {i} in the bar")
        told.add(i)
    swaps = tab.evaluate("streamvisShell.viewer.panes[0].swaps")
    assert swaps <= 1 + (time.monotonic() - began) / 5 and len(told) == 8
