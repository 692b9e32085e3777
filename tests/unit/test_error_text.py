"""How an author's mistake is told: with the line, the source around it, and the names that were at hand."""

from __future__ import annotations

import textwrap

import numpy as np
import pytest
from bokeh.document import Document
from bokeh.models import ColumnDataSource

from streamvis.page.author.error_text import Mistake
from streamvis.page.new_data import Names, NewData
from streamvis.page.runs import PageRun
from streamvis.records import Rows

RUN = PageRun("r", "run", {}, "running", 0, 0.0)


@pytest.fixture
def mistake(tmp_path):
    """`mistake(source)` runs `page(doc, config, new_data)` of a script, and gives what is told of what it raised."""

    def of(source: str) -> Mistake:
        file = tmp_path / "page.py"
        file.write_text(textwrap.dedent(source))
        doc = Document()
        doc.add_root(ColumnDataSource(name="main_plot"))
        config = Names({"columns": ["a"], "token": "hidden"}, what="config")
        rows = Rows("train", np.array([0]), np.array([0.0]), {"loss": np.array([1.0]), "lr": np.array([2.0])})
        script = {}
        try:
            exec(compile(file.read_bytes(), str(file), "exec"), script)
            script["page"](doc, config, NewData(RUN, {"train": rows}, {}))
        except Exception as error:  # noqa: BLE001  # what the script raises
            return Mistake(error)
        raise AssertionError("the script raised nothing")

    return of


def test_the_source_around_the_line_is_shown_with_what_was_at_hand(mistake):
    told = mistake("""
        def page(doc, config, new_data):
            first = 1
            doc.get_model_by_name("main-plot").stream(new_data["train"])
            last = 2
        """)
    assert told.around.startswith("page.py, line 4, in page\n")
    assert "\n     3      first = 1\n>    4      doc.get_model" in told.around
    assert "Models with names: main_plot" in told.around
    assert "config has: columns, token" in told.around and "hidden" not in told.around
    assert "new_data has: 'train' with loss, lr" in told.around


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("config['colums']", "'columns'"),
        ("new_data['train']['los']", "'loss'"),
        ("new_data['trian']", "'train'"),
        ("doc.add_rot(None)", "'add_root'"),
        ("confg", "'config'"),
        ("dict(width=1, height=2)['widht']", ""),
        ("sizes = dict(width=1)\n    sizes['widht']", "'width'"),
    ],
)
def test_of_a_missing_name_those_near_it_are_told(mistake, line, meant):
    told = mistake(f"def page(doc, config, new_data):\n    {line}\n").around
    assert f"Did you mean {meant}" in told if meant else "Did you mean" not in told


def test_a_syntax_error_shows_its_line(mistake):
    told = mistake("def page(doc, config, new_data):\n    return (1,\n\nx = [\n")
    assert ">" in told.around and told.headline.startswith("SyntaxError")
