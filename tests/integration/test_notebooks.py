"""Notebooks as pages: which cells are the script, and where errors are said to be."""

from __future__ import annotations

import json

import pytest

from streamvis.errors import PageScriptError
from streamvis.page.author.error_text import Mistake
from streamvis.page.scripts.notebook import parts_of
from streamvis.page.scripts.script import read_script
from streamvis.testing import rows

UPDATE = """def update_page(doc, new_data):
    doc.get_model_by_name('told').text = str(1 / int(new_data['n']['n'][-1]))"""
CELLS = [
    ("markdown", ["# A page"], []),
    ("code", ["%matplotlib inline\n", "from bokeh.models import Div\n", "app = 'nb'"], []),
    ("code", ["raise SystemExit  # for the author alone"], ["skip"]),
    ("code", ["%%bash\n", "exit 1"], []),
    ("code", ["def init_page(doc, config):\n", "    doc.add_root(Div(name='told'))"], []),
    ("code", UPDATE.splitlines(keepends=True), []),
]


@pytest.fixture
def write(tmp_path):
    def write_notebook(cells=CELLS):
        path = tmp_path / "page.ipynb"
        made = [{"cell_type": kind, "source": source, "metadata": {"tags": tags}} for kind, source, tags in cells]
        path.write_text(json.dumps({"nbformat": 4, "cells": made}))
        return path

    return write_notebook


def test_the_code_cells_of_a_notebook_are_a_page_without_commands_and_skipped_cells(write, streamvis_page):
    assert (read_script(write()).name, read_script(write()).app) == ("page", "nb")
    page = streamvis_page(write(), records=[rows(0, "n", {"n": 4})])
    assert page["told"].text == "0.25"


def test_an_error_names_the_cell_its_line_and_the_source_around_it(write, streamvis_page):
    page = streamvis_page(write())
    with pytest.raises(ZeroDivisionError) as raised:
        page.sendl(0, "n", {"n": [0]})
        page["told"]
    told = Mistake(raised.value)
    assert "page.ipynb, cell 5" in told.text and "new_data['n']['n'][-1]" in told.around


def test_a_cell_that_is_not_python_and_a_file_that_is_no_notebook_are_named(write, tmp_path):
    with pytest.raises(PageScriptError, match=r"page.ipynb, cell 2, line 1 is not Python"):
        read_script(write([("code", ["a = 1"], []), ("code", ["def"], [])]))
    (tmp_path / "page.ipynb").write_text("{}")
    with pytest.raises(PageScriptError, match="not a notebook"):
        read_script(tmp_path / "page.ipynb")


def test_a_cell_with_half_a_character_names_the_notebook(write):
    with pytest.raises(PageScriptError, match=r"page.ipynb is not Python"):
        read_script(write([("code", ["a = '\ud800'"], [])]))


@pytest.mark.parametrize("begin", ["", "%matplotlib inline\n!ls 'unbalanced (\n"])
def test_a_line_within_an_expression_or_a_string_is_not_a_command(begin, write):
    cell = f"{begin}rest = (17\n  % 5)\ntext = '''\n%kept\n!kept\n'''\nmore = 17 \\\n  % 7"
    (part,) = parts_of(write([("code", cell.splitlines(keepends=True), [])]))
    found = {}
    exec(compile(part.tree(), "cell", "exec"), found)
    assert (found["rest"], found["text"], found["more"]) == (2, "\n%kept\n!kept\n", 3)
    assert part.source.count(b"\n") == cell.count("\n")
