"""Editing a page while its run goes on: what viewers see when the author saves, breaks and fixes it."""

from __future__ import annotations

import threading

import pytest

from streamvis import Client
from support import processes
from support.conditions import wait_until

PAGE = """
import shapes
from bokeh.models import ColumnDataSource, Div, Slider, TabPanel, Tabs
from bokeh.plotting import figure
def init_page(doc, config):
    source = ColumnDataSource({"x": []}, name="main_plot")
    plot = figure(name="plot", height=300)
    plot.line("x", "x", source=source, name="curve")
    doc.add_root(Div(text=f"{shapes.TITLE} one", name="title"))
    doc.add_root(plot)
    doc.add_root(Slider(start=0, end=10, value=2, title="Window"))
    doc.add_root(Tabs(tabs=[TabPanel(child=Div(height=800), title=title) for title in "ab"]))
def update_page(doc, new_data):
    if "k" in new_data:
        doc.get_model_by_name("main_plot").stream({"x": new_data["k"]["x"]})
"""
FIRST = 'Div(text=f"{shapes.TITLE} one", name="title")'
# A new figure and a new slider in front of those that are there.
SECOND = (
    FIRST.replace(" one", " two")
    + """)
    doc.add_root(figure(title="new", height=100))
    doc.add_root(Slider(start=0, end=10, value=5, title="Another")"""
)
BROKEN_IN_UPDATE = '"k" in new_data', '"k" in new_data and (new_data["k"]["xx"] is not None)'

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

_SET = """() => { const doc = Bokeh.documents[0], of = (type) => [...doc.all_models].find((model) => model.type == type)
    const range = doc.get_model_by_name("plot").x_range
    range.have_updated_interactively = true
    range.setv({start: 1, end: 2})
    of("Slider").value = 7
    of("Tabs").active = 1
    doc.get_model_by_name("curve").visible = false
    doc.get_model_by_name("main_plot").selected.indices = [1, 2]
    scrollTo(0, 200) }"""
_GET = """() => { const doc = Bokeh.documents[0], of = (type) => [...doc.all_models].filter((model) => model.type == type)
    const {start, end} = doc.get_model_by_name("plot").x_range
    return [start, end, of("Slider").find(({title}) => title == "Window").value, of("Tabs")[0].active,
            doc.get_model_by_name("curve").visible, doc.get_model_by_name("main_plot").selected.indices, scrollY] }"""
AS_SET = [1, 2, 7, 1, False, [1, 2], 200]
_SAYS = "document.querySelector('#streamvis-notices')?.shadowRoot?.querySelector('.stack').textContent ?? ''"
_TITLE = "window.Bokeh?.documents[0]?.get_model_by_name('title')?.text"


@pytest.fixture
def site(tmp_path, keep):
    """An endpoint, a page server with the page, and a producer that sends all the time."""
    (tmp_path / "lines.py").write_text(PAGE)
    (tmp_path / "shapes.py").write_text('TITLE = "first"\n')
    endpoint = keep(lambda log: processes.endpoint(tmp_path / "data", log=log))
    pages = keep(lambda log: processes.page_server(tmp_path / "lines.py", url=endpoint.url, log=log))
    is_over = threading.Event()

    def produce():
        with Client(endpoint.url, "lines") as client:
            client.init()
            step = 0
            while not is_over.wait(0.4):  # each row is drawn in two tabs
                client.sendl(step, "k", {"x": step})
                step += 1

    producer = threading.Thread(target=produce)
    producer.start()
    yield pages
    is_over.set()
    producer.join()


def until(tab, condition, what):
    """Wait for something in a tab. Pages open slowly where many tests run."""
    __tracebackhide__ = True
    wait_until(condition, within_s=40, what=what, pause=tab._pause_s)


def test_two_tabs_follow_the_edits_of_a_page_with_all_that_their_viewers_set(site, tmp_path, open_page):
    script = tmp_path / "lines.py"
    framed, alone = open_page(f"{site.root}/lines"), open_page(f"{site.url}/lines")
    see = [(framed, framed.in_page), (alone, alone.evaluate)]

    def rows(within):
        return within("Bokeh.documents[0].get_model_by_name('main_plot').data.x.length")

    for tab, within in see:
        until(tab, lambda within=within: within(_TITLE) == "first one" and rows(within) > 4, "the page")
        within(_SET)

    script.write_text(PAGE.replace(FIRST, SECOND))
    for tab, within in see:
        until(tab, lambda within=within: within(_TITLE) == "first two", "the edited page")
        until(tab, lambda within=within: within(_GET) == AS_SET, "all that was set")

    before = [rows(within) for _, within in see]
    script.write_text(PAGE.replace(*BROKEN_IN_UPDATE))
    for (tab, within), had in zip(see, before, strict=True):
        tab.expect_errors()
        until(tab, lambda within=within: "has no 'xx'" in within(_SAYS), "the error")
        told = within(_SAYS)
        for part in ("lines.py, line 14, in update_page", "new_data has: 'k' with x", "as it was before you saved stays"):
            assert part in told, told
        until(tab, lambda within=within, had=had: rows(within) > had, "more data in the page as it was")
        assert within(_TITLE) == "first two" and within(_GET) == AS_SET

    (tmp_path / "shapes.py").write_text("TITLE = 'first'\nTITLE.ups()\n")
    script.write_text(PAGE)
    for tab, within in see:
        until(tab, lambda within=within: "AttributeError" in within(_SAYS), "the error in the module")
    (tmp_path / "shapes.py").write_text('TITLE = "fixed"\n')
    for tab, within in see:
        until(tab, lambda within=within: within(_TITLE) == "fixed one", "the fixed page")
        until(tab, lambda within=within: within(_GET) == AS_SET and within(_SAYS) == "", "all that was set, and no error")
        assert rows(within) > 4
    log = site.output()
    assert log.count("NoSuchName: ") == 1 and log.count("AttributeError: ") == 1
