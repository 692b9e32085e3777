"""Formulas in texts of pages: MathJax, which is as large as the rest of BokehJS, comes with the first one."""

from __future__ import annotations

import pytest

from streamvis import Client
from support.conditions import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

SCRIPT = """
from bokeh.layouts import column
from bokeh.models import Div
from bokeh.plotting import figure
app = "formulas"
def init_page(doc, config):
    plot = figure(name="plot", height=200, title="plain")
    plot.line([0, 1], [0, 1])
    doc.add_root(column(Div(text={text!r}, name="text"), plot, name="all"))
def update_page(doc, new_data):
    if "late" in new_data:
        doc.get_model_by_name("plot").title.text = r"$$\\sqrt{{x}}$$"
        doc.get_model_by_name("text").text = r"where \\(x > 0\\)"
        doc.get_model_by_name("all").children.append(Div(text=r"\\[y\\]"))
"""
IS_LOADED = "performance.getEntriesByType('resource').some(({name}) => name.includes('mathjax'))"
# How many formulas stand typeset in the page: elements of texts, and pictures that figures draw.
TYPESET = """() => {
  const views = [...Bokeh.index.roots], found = [0, 0]
  while (views.length > 0) {
    const view = views.pop()
    if (view.shadow_el?.querySelector("mjx-container, .bk-clearfix svg") != null) found[0] += 1
    if (view.svg_image != null) found[1] += 1
    views.push(...view.children_views())
  }
  return found
}"""


def test_mathjax_comes_with_the_first_formula_of_a_page_early_or_late(tmp_path, shared_endpoint, start_pages, open_page):
    (tmp_path / "plain.py").write_text(SCRIPT.format(text="no formula: a price of $5"))
    (tmp_path / "early.py").write_text(SCRIPT.format(text="$$x^2$$"))
    with Client(shared_endpoint.url, "formulas") as client:
        client.init({})
        pages = start_pages(tmp_path / "early.py", tmp_path / "plain.py", url=shared_endpoint.url)
        plain, early = (open_page(f"{pages.url}/{name}") for name in ("plain", "early"))

        def expect(tab, typeset):
            def is_typeset():
                assert tab.evaluate(TYPESET) == typeset
                return True

            wait_until(is_typeset, what="all formulas to be typeset", pause=tab._pause_s)

        wait_until(lambda: plain.evaluate("window.Bokeh?.documents[0]?.is_idle"), what="the plain page", pause=plain._pause_s)
        assert not plain.evaluate(IS_LOADED)
        expect(early, [1, 0])
        client.sendl(0, "late", {"x": 0})
        for tab in (plain, early):
            expect(tab, [2, 1])
