"""A document with Streamvis' own list of models knows the same models as one of Bokeh's, whatever Bokeh it is."""

from __future__ import annotations

import pytest
from bokeh.document import Document
from bokeh.models import Column, Div

from streamvis.page import document
from streamvis.page.document import adopt


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
