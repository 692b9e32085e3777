"""A document with Streamvis' own list of models knows the same models as one of Bokeh's, whatever Bokeh it is."""

from __future__ import annotations

import asyncio
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest
from bokeh.document import Document
from bokeh.models import Button, Column, CustomJS, Div, HoverTool, Range1d, Slope
from bokeh.plotting import figure
from bokeh.transform import linear_cmap

from streamvis.page.documents import document, models
from streamvis.page.documents.document import adopt
from streamvis.page.documents.models import own_names, reachable


@pytest.mark.parametrize("has_parts", [True, False])
def test_models_are_known_also_where_bokeh_has_other_private_parts(has_parts, monkeypatch):
    monkeypatch.setattr(document, "_can_attach", lambda: has_parts)
    doc, plain = Document(), Document()
    adopt(doc)
    for one in (doc, plain):
        one.add_root(Column(Div(name="first"), Div(name="second")))
        one.add_root(Div(name="third"))
        one.roots[0].children = one.roots[0].children[:1]
    names = [{model.name for model in one.models} for one in (doc, plain)]
    assert names[0] == names[1] == {None, "first", "third"}
    assert doc.get_model_by_name("third").document is doc


def test_the_bokeh_that_is_installed_has_the_private_parts():
    assert document._can_attach()


def _a_page() -> Column:
    """A layout with references of every kind: lists, dicts, data specs, callbacks, themes of glyphs, templates."""
    plot = figure(tools="pan,reset")
    plot.scatter("x", "y", source={"x": [1, 2], "y": [3, 4]}, color=linear_cmap("x", "Viridis256", 0, 1), legend_label="a")
    plot.add_tools(HoverTool(renderers=plot.renderers))
    plot.add_layout(Slope(gradient=1))
    plot.extra_y_ranges = {"second": Range1d(0, 1)}
    button = Button()
    button.js_on_event("button_click", CustomJS(args={"range": plot.x_range, "all": [plot.y_range]}, code=""))
    return Column(plot, button, name="layout")


def _of_examples() -> Iterator[Document]:
    for script in sorted((Path(__file__).parents[2] / "examples").glob("*/page.py")):
        doc = Document()
        try:
            runpy.run_path(str(script))["init_page"](doc, {"points": 10, "trades_per_bar": 3})
        except Exception:  # noqa: BLE001  # a page that needs more of a run than this
            continue
        yield doc


def test_the_same_models_are_found_as_by_bokeh_and_the_same_properties_were_set():
    roots = [_a_page(), *(root for doc in _of_examples() for root in doc.roots)]
    assert len(roots) > 2
    for root in roots:
        found = reachable([root])
        assert found == root.references()
        for model in found:
            # The same names but for those that no browser is told of.
            told = model.properties_with_values(include_defaults=False, include_undefined=False).keys()
            assert told <= own_names(model) and not any(model.lookup(name).serialized for name in own_names(model) - told)


def test_another_bokeh_is_asked_itself(monkeypatch):
    root = _a_page()
    expected = reachable([root]), own_names(root)
    monkeypatch.setattr(models, "_has_private_parts", lambda: False)
    assert reachable([root]) == expected[0] and own_names(root) == set(expected[1])
    assert reachable([]) == set()


def test_models_that_leave_are_released_and_may_come_back_under_another_name():
    doc = Document()
    adopt(doc)
    layout, div = Column(), Div(name="first")
    doc.add_root(layout)
    layout.children = [div]
    layout.children = []
    assert div.document is None and doc.get_model_by_name("first") is None and doc.models.seen(div.id)
    div.name = "second"
    layout.children = [div]
    div.name = "third"
    assert doc.get_model_by_name("third") is div and doc.get_model_by_name("second") is None


def test_mistakes_that_bokeh_knows_are_logged_after_the_page(caplog, monkeypatch):
    monkeypatch.setattr(document, "_VALIDATE_AFTER_S", 0)
    doc = Document()
    adopt(doc)
    doc.add_root(figure())

    async def serve():
        doc.validate()
        assert not caplog.messages
        is_later = asyncio.Event()
        asyncio.get_running_loop().call_later(0, is_later.set)
        await is_later.wait()

    asyncio.run(serve())
    assert "MISSING_RENDERERS" in caplog.text
    caplog.clear()
    doc.validate()
    assert "MISSING_RENDERERS" in caplog.text, "where nothing is served it is said at once"
