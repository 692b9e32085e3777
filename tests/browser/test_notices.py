"""Notices over a page that goes on: what a viewer does with them."""

from __future__ import annotations

import sys

import pytest

from streamvis import Client
from support.conditions import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

PAGE = """
from bokeh.layouts import column
from bokeh.models import Div, TextInput
from bokeh.plotting import figure
app = "{app}"
def init_page(doc, config):
    field, shown = TextInput(value="1", name="field"), Div(name="shown")
    def show(attr, old, new):
        shown.text = f"{float(new):.1f}"
    field.on_change("value", show)
    plot = figure(height=300)
    if config.get("uneven"):
        source = plot.line([1, 2], [1, 2]).data_source
        doc.add_root(plot)
        source.data["x"] = [1]
    doc.add_root(column(field, shown))
def update_page(doc, new_data): ...
"""
PLAIN = """
from bokeh.plotting import curdoc
from streamvis import Server
Server(curdoc(), {url!r}, app, init_page, update_page).start()
"""
_SECTIONS = """() => [...document.querySelector("#streamvis-notices")?.shadowRoot?.querySelectorAll(".stack section") ?? []].map(
    (section) => [section.querySelector("h1").textContent.replace(/.* failed: /, ""), section.getBoundingClientRect().height])"""
_SHOWN = "() => window.Bokeh?.documents[0]?.get_model_by_name('shown')?.text"
_FAILED = "ValueError: could not convert string to float: '{}'"


class View:
    """The page in a tab, in the shell or without it."""

    def __init__(self, tab, *, is_framed):
        self._tab, self._is_framed = tab, is_framed

    def evaluate(self, script):
        return self._tab.in_page(script) if self._is_framed else self._tab.evaluate(script)

    @property
    def page(self):
        return self._tab.frame if self._is_framed else self._tab.page

    def until(self, predicate, what):
        wait_until(predicate, what=what, pause=self._tab._pause_s)


@pytest.fixture
def view(request, tmp_path, shared_endpoint, start_pages, start_program, open_page):
    """The page of a run with this config, as this server shows it."""
    server, config = request.param
    with Client(shared_endpoint.url, tmp_path.name) as client:
        client.init(config)
    script, page = tmp_path / "page.py", PAGE.replace("{app}", tmp_path.name)
    if server == "bokeh serve":
        script.write_text(page + PLAIN.format(url=shared_endpoint.url))
        program = start_program([sys.executable, "-m", "bokeh", "serve", str(script), "--port", "0"], is_warm=True)
        tab = open_page(program.wait_for_line(r"http://localhost:\d+/page").group())
    else:
        script.write_text(page)
        pages = start_pages(script, url=shared_endpoint.url)
        tab = open_page(f"{pages.root}/page" if server == "in the shell" else f"{pages.root}/view/page")

    view = View(tab, is_framed=server == "in the shell")
    view.until(lambda: view.evaluate("window.Bokeh?.documents[0]?.is_idle"), "the page")
    return view


def type_in(view, text):
    field = view.page.locator(".bk-TextInput input")
    field.fill(text)
    field.press("Enter")


def texts(view):
    return [text for text, _ in view.evaluate(_SECTIONS)]


@pytest.mark.parametrize("view", [("alone", {}), ("in the shell", {})], indirect=True, ids=lambda its: its[0])
def test_a_callbacks_exception_can_be_closed_and_comes_back_when_it_is_another(view):
    type_in(view, "bad")
    view.until(lambda: texts(view) == [_FAILED.format("bad")], "the notice")
    assert view.evaluate(_SECTIONS)[0][1] < 150  # folded: the page stays in view
    assert view.page.locator("pre").is_hidden()
    view.page.locator("summary").press("Enter")
    assert "in show" in view.page.locator("pre").inner_text() and view.page.locator("pre").is_visible()
    view.page.get_by_role("button", name="Close this notice").press("Enter")
    assert texts(view) == []
    type_in(view, "2")
    view.until(lambda: view.evaluate(_SHOWN) == "2.0", "the good value")
    type_in(view, "bad")
    type_in(view, "3")
    view.until(lambda: view.evaluate(_SHOWN) == "3.0", "the next good value")
    assert texts(view) == []
    type_in(view, "worse")
    view.until(lambda: texts(view) == [_FAILED.format("worse")], "the other notice")


@pytest.mark.parametrize(
    "view",
    [(where, {"uneven": True}) for where in ("alone", "in the shell", "bokeh serve")],
    indirect=True,
    ids=lambda its: its[0],
)
def test_what_init_page_did_wrong_can_be_closed_wherever_the_page_is_shown(view):
    view.until(lambda: "columns of different lengths" in "".join(texts(view)), "the notice")
    view.page.get_by_role("button", name="Close this notice").click()
    assert texts(view) == []
