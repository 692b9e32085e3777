"""The modules of a script, without a server: whose they are, and what stays of a session in Python's and Bokeh's tables."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from bokeh.model import Model

from streamvis.page.author.code import Failures
from streamvis.page.scripts.own_modules import OwnModules

MODEL = """
from bokeh.core.properties import Int
from bokeh.model import DataModel
class Counted(DataModel):
    count = Int(0)
"""
LATER = """
import colorsys, json, json.decoder
def later():
    from colorsys import OWN
    return OWN
"""


@pytest.fixture
def own(tmp_path):
    own = OwnModules("a page", tmp_path)
    yield own
    own.close()


def run(own, tmp_path, text):
    file = tmp_path / "script.py"
    file.write_text(text)
    module = own.page(file)
    exec(compile(text, str(file), "exec"), module.__dict__)
    return module


def test_a_model_class_of_sessions_that_ended_is_known_once_and_stands_in_no_other_pages_way(own, tmp_path, recwarn):
    failures = Failures("the page")
    for _ in range(3):
        module = failures.run("script.py", run, own, tmp_path, MODEL)
        own.forget_page(module)
    known = [name for name in Model.model_class_reverse_map if name.startswith(own.package)]
    assert known == [f"{own.package}.__page__.Counted"] and not failures.notices
    # Bokeh imports the package of each class that it knows, for every page.
    assert __import__(Model.model_class_reverse_map[known[0]].__view_module__.split(".")[0]).__file__
    assert not [one for one in recwarn if "Duplicate" in str(one.message)]


def test_only_code_of_the_script_finds_its_modules(own, tmp_path):
    (tmp_path / "colorsys.py").write_text("import json\nOWN = True\n")
    (tmp_path / "json").mkdir()
    module = run(own, tmp_path, LATER)
    assert module.colorsys.OWN and module.later() and module.colorsys.json is sys.modules["json"]
    assert module.json.decoder is sys.modules["json.decoder"]
    import colorsys

    assert not hasattr(colorsys, "OWN")


def test_what_the_page_server_runs_on_is_not_there_twice(tmp_path):
    import streamvis

    beside = OwnModules("page", Path(streamvis.__file__).parents[1])
    assert run(beside, tmp_path, "import streamvis.page.feeds.feed as feed").feed is sys.modules["streamvis.page.feeds.feed"]
    beside.close()


def test_closed_versions_leave_no_finder_and_no_module(tmp_path):
    (tmp_path / "mine.py").write_text("x = 1\n")
    before = len(sys.meta_path)
    own = OwnModules("page", tmp_path)
    run(own, tmp_path, "import mine")
    assert not own.is_edited
    (tmp_path / "mine.py").write_text("x = 20\n")
    assert own.is_edited
    own.close()
    assert len(sys.meta_path) == before
    assert [name for name in sys.modules if name.startswith(own.package)] == [own.package]
