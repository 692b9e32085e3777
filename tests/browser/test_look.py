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


WIDGETS = """
options, source = ["a", "b"], ColumnDataSource({"x": [1, 2, 3]})
source.selected.indices = [1]
doc.add_root(column(
    TextInput(value="v", prefix="p"), TextInput(value="off", disabled=True), TextAreaInput(value="v"), PasswordInput(value="v"),
    Spinner(value=1), NumericInput(value=1), Select(options=options, value="a"), MultiSelect(options=options, value=["a"]),
    AutocompleteInput(value="", completions=options, min_characters=0), MultiChoice(options=options),
    DatePicker(value="2024-01-02"), FileInput(),
    Button(label="b"), Button(label="b", button_type="light"), Toggle(label="t", active=True),
    Dropdown(label="d", menu=options), RadioButtonGroup(labels=options, active=0), in_tabs(GroupBox(child=Div(text="t"))),
    DataTable(source=source, columns=[TableColumn(field="x")], width=250, height=120), CheckboxGroup(labels=options),
    TextInput(name="sheet", stylesheets=[":host { --background-color: rgb(1, 2, 3) }"]),
    TextInput(name="variables", css_variables={"--background-color": "rgb(4, 5, 6)"}), drawn("plot"),
))"""
# How much each text of the page stands out from what is behind it, by the formula of WCAG 2, where it is, and in which colours.
_TEXTS = """() => {
  const painter = document.createElement("canvas").getContext("2d", {willReadFrequently: true})
  const rgba = (colour) => {
    painter.clearRect(0, 0, 1, 1)
    painter.fillStyle = colour
    painter.fillRect(0, 0, 1, 1)
    return [...painter.getImageData(0, 0, 1, 1).data].map((one) => one / 255)
  }
  const light = (colour) => {
    const [r, g, b] = rgba(colour).map((one) => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const behind = (node) => {
    for (; node != null; node = node.assignedSlot ?? node.parentElement ?? node.getRootNode().host) {
      const colour = getComputedStyle(node).backgroundColor
      if (rgba(colour)[3] > 0.5) return colour
    }
    return "white"
  }
  const texts = ".bk-input, .bk-input-prefix, .bk-btn, .slick-cell, .slick-column-name, .bk-tab.bk-active, " +
    ".choices__item--choice, .bk-menu > div, .bk-label, legend, label, option"
  const found = []
  const roots = [document]
  while (roots.length > 0) {
    for (const node of roots.pop().querySelectorAll("*")) {
      if (node.shadowRoot != null) roots.push(node.shadowRoot)
      if (!node.matches(texts)) continue
      const {color, borderColor} = getComputedStyle(node), [a, b] = [color, behind(node)].map(light)
      const place = `${node.getRootNode().host?.className} ${node.className}`
      found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), place, color, behind(node), borderColor])
    }
  }
  return found
}"""
_BACKGROUND = """name => {
  const views = [...Bokeh.index.roots]
  while (views.length > 0) {
    const view = views.pop()
    if (view.model.name == name) return getComputedStyle(view.shadow_el.querySelector(".bk-input")).backgroundColor
    views.push(...view.children_views())
  }
}"""


@pytest.mark.parametrize("theme", ["", 'doc.theme = "caliber"\n'], ids=["house-theme", "own-theme"])
def test_the_texts_of_all_widgets_are_readable_on_a_dark_screen(show, theme):
    tab = show(theme + WIDGETS.strip(), color_scheme="dark", viewport={"width": 1000, "height": 3000})
    page = tab.page
    page.locator(".bk-Dropdown .bk-btn").click()
    opened = [tab.evaluate(_TEXTS)]
    for place, button in (
        (".bk-AutocompleteInput input", "left"),
        (".bk-MultiChoice .choices__inner", "left"),
        (".bk-Figure", "right"),
    ):
        page.keyboard.press("Escape")  # what was opened before
        page.locator(place).last.click(button=button)
        opened.append(tab.evaluate(_TEXTS))
    where = {place.split()[0] for texts in opened for _, place, *_ in texts}
    assert {"bk-DataTable", "bk-ToolMenu", "bk-Menu", "bk-MultiChoice", "bk-AutocompleteInput", "bk-Tabs"} <= where
    # On an orange button, Bokeh's own white has 2; what is white on white has 1.
    assert [text for texts in opened for text in texts if text[0] < 3] == []
    assert tab.evaluate(_BACKGROUND, "sheet") == "rgb(1, 2, 3)"
    assert tab.evaluate(_BACKGROUND, "variables") == "rgb(4, 5, 6)"


def test_on_a_light_screen_widgets_keep_bokehs_own_colours(show):
    tab = show(WIDGETS.strip(), color_scheme="light")
    house = [text for text in tab.evaluate(_TEXTS) if text[3] != "rgb(1, 2, 3)"]
    tab.evaluate("() => { for (const its of Bokeh.documents[0].all_models) if (its.stylesheets?.length) its.stylesheets = [] }")
    bokehs = tab.evaluate(_TEXTS)
    assert len(house) > 40 and [text for text in house if text not in bokehs] == []
