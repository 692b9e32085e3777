"""The gallery's examples, each with its own producer and page, in a real browser."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from support import processes
from support.conditions import wait_until

EXAMPLES = Path(__file__).parents[2] / "examples"

OF_PANELS = ("audio", "convolution", "point_cloud", "producers", "reinforcement", "seeds", "sensor", "sweep", "widgets")
# Of those that compute much: their pages are filled by then.
STEPS = {"convolution": ["21"]}
# What is still empty: figures that draw nothing, tables without rows, boxes with nothing below their title.
EMPTY = """() => {
  const found = [], models = [...(window.Bokeh?.documents?.[0]?._all_models.values() ?? [])]
  if (!models.some((model) => model.type == "Figure")) return ["the page"]
  for (const model of models) {
    const title = model.title?.text ?? model.text ?? model.type
    if (model.type == "Figure" && !model.renderers.some((renderer) => renderer.data_source?.get_length() > 0)) found.push(title)
    if (model.type == "DataTable" && !(model.source.get_length() > 0)) found.push("a table")
    const is_box = model.type == "Div" && model.text.startsWith('<div class="box">')
    if (is_box && !/<(img|audio|svg|td|div class="line")/.test(model.text)) found.push(title)
  }
  return found
}"""

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """One endpoint and one page server for all examples."""
    folder = tmp_path_factory.mktemp("gallery")
    endpoint = processes.endpoint(folder / "data", log=folder / "endpoint.log")
    try:
        scripts = [f"{name}={EXAMPLES / name / 'page.py'}" for name in (*OF_PANELS, "field")]
        pages = processes.page_server(*scripts, url=endpoint.url, log=folder / "pages.log")
        try:
            yield endpoint, pages
        finally:
            pages.close()
    finally:
        endpoint.close()


def show(name, served, start_program, open_page, *steps):
    """Start an example, and open its page."""
    endpoint, pages = served
    start_program([sys.executable, str(EXAMPLES / name / "producer.py"), endpoint.url, name, *steps], is_warm=True)
    # What draws by WebGL computes each pixel on the processor here.
    return open_page(f"{pages.url}/{name}", viewport={"width": 800, "height": 600})


@pytest.mark.parametrize("name", OF_PANELS)
def test_all_panels_of_an_example_fill(name, served, start_program, open_page):
    if name == "convolution" and importlib.util.find_spec("torch") is None:
        pytest.skip("needs PyTorch")
    steps = STEPS.get(name, [])
    tab = show(name, served, start_program, open_page, *steps)

    def is_filled():
        empty = tab.evaluate(EMPTY)
        assert not empty, f"still empty: {empty}"
        return True

    wait_until(is_filled, within_s=90, what=f"all panels of {name} to be filled", pause=tab._pause_s)


def view(tab, title):
    """The ranges of the figure with this title."""
    script = """(title) => { for (const model of Bokeh.documents[0]._all_models.values())
        if (model.type == "Figure" && model.title?.text == title)
            return [model.x_range.start, model.x_range.end, model.y_range.start, model.y_range.end] }"""
    return tab.evaluate(script, title)


def test_a_field_moves_and_is_cut_where_the_viewer_taps(served, start_program, open_page):
    tab = show("field", served, start_program, open_page)
    tab.wait_for_source("energy", lambda columns: len(columns["step"]) > 20, within_s=30)
    before = tab.source("cut")["height"]
    tab.wait_for_source("cut", lambda columns: columns["height"] != before, within_s=10)
    assert view(tab, "Height; tap to cut") == [0, 150, 0, 150]
    canvas = tab.page.locator(".bk-Figure").first.bounding_box()
    tab.page.mouse.click(canvas["x"] + canvas["width"] * 0.4, canvas["y"] + canvas["height"] * 0.25)
    script = "() => Bokeh.documents[0].get_model_by_name('line').location"
    wait_until(lambda: tab.evaluate(script) > 90, within_s=10, what="the cut is where the viewer tapped")
