"""The house look, as a browser draws it: sizes and colours of what authors make."""

from __future__ import annotations

import pytest

from streamvis import Client
from support.conditions import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

BEGIN = """
from bokeh.layouts import column, gridplot, row
from bokeh.models import *
from bokeh.plotting import figure
app = "look"
def drawn(name, **options):
    plot = figure(name=name, **options)
    plot.line([0, 1], [0, 1])
    return plot
def in_tabs(its):
    return Tabs(tabs=[TabPanel(child=its, title="one")])
def init_page(doc, config):
"""
# How wide and high each model with a name is drawn, and where its left edge is.
_PLACES = """() => {
  const views = [...Bokeh.index.roots], found = {}
  while (views.length > 0) {
    const view = views.pop()
    if (view.model.name != null && view.el != null) {
      const {width, height, left} = view.el.getBoundingClientRect()
      found[view.model.name] = [width, height, left].map(Math.round)
    }
    views.push(...view.children_views())
  }
  return found
}"""


@pytest.fixture
def show(tmp_path, shared_endpoint, start_pages, open_page):
    """`show(body, **options)` opens a page whose `init_page` has this body, and gives the tab once the page is drawn."""

    def open_drawn(body, **options):
        lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
        (tmp_path / "page.py").write_text(BEGIN + lines + "def update_page(doc, new_data): ...\n")
        with Client(shared_endpoint.url, "look") as client:
            client.init({})
        tab = open_page(f"{start_pages(tmp_path / 'page.py', url=shared_endpoint.url).root}/view/page", **options)
        wait_until(lambda: tab.evaluate("window.Bokeh?.documents[0]?.is_idle"), what="the page", pause=tab._pause_s)
        return tab

    return open_drawn


def test_a_figure_fills_the_container_that_it_is_in(show):
    tab = show("""
doc.add_root(column(
    in_tabs(drawn("in tabs")), ScrollBox(child=drawn("in a scroll box")), GroupBox(child=drawn("in a group box")),
    in_tabs(column(drawn("in a column in tabs"))), row(in_tabs(drawn("in tabs in a row")), drawn("in a row")),
    gridplot([[in_tabs(drawn("in tabs in a grid")), drawn("in a grid")]]), in_tabs(in_tabs(drawn("in tabs in tabs"))),
))""")
    widths = {name: place[0] for name, place in tab.evaluate(_PLACES).items() if name.startswith("in ")}
    assert len(widths) == 9
    halves = {name for name in widths if name.endswith(("row", "grid"))}
    assert {name: width for name, width in widths.items() if width < (500 if name in halves else 1100)} == {}


def test_a_size_that_the_author_sets_is_the_size_that_is_drawn(show):
    tab = show("""
doc.add_root(drawn("small", width=300, height=200))
doc.add_root(drawn("fixed", width=310, height=210, sizing_mode="fixed"))
doc.add_root(column(drawn("in a column"), width=400, name="column"))
doc.add_root(drawn("low", height=150))
doc.add_root(drawn("low at least", min_height=120, height=120, sizing_mode="stretch_width"))
doc.add_root(drawn("free", min_height=310))
doc.add_root(TextInput(name="input"))""")
    places = tab.evaluate(_PLACES)
    assert (places["small"][:2], places["fixed"][:2]) == ([300, 200], [310, 210])
    assert places["column"][0] == places["in a column"][0] == 400
    assert (places["low"][1], places["low at least"][1]) == (150, 120)
    filling = {places[name][0] for name in ("low", "low at least", "free", "input")}
    assert min(filling) > 400 and places["free"][1] >= 310


def test_what_an_author_made_wide_lies_over_no_other_figure(show):
    tab = show("[doc.add_root(drawn(str(i), width=620, height=250)) for i in range(4)]", viewport={"width": 1400, "height": 700})
    lefts = {name: left for name, (width, _, left) in tab.evaluate(_PLACES).items() if width == 620}
    assert len(lefts) == 4 and len(set(lefts.values())) == 2, lefts
    assert max(lefts.values()) - min(lefts.values()) >= 620


def test_an_authors_own_theme_leaves_its_sizes_too(show):
    tab = show('doc.theme = "caliber"\ndoc.add_root(drawn("small", width=300, height=200))')
    assert tab.evaluate(_PLACES)["small"][:2] == [300, 200]
