"""What a page script may be: without `update_page`, with `async` functions, with a first root that comes late."""

from __future__ import annotations

import contextlib

import pytest

from streamvis import Client
from streamvis.errors import PageScriptError
from streamvis.page.scripts.script import read_script
from support.processes import endpoint, page_server
from support.sessions import OpenedPage

pytestmark = pytest.mark.timeout(120)

SCRIPTS = {
    "filled": """
from bokeh.plotting import figure
from streamvis import live_source
def init_page(doc, config):
    source = live_source("rows", x="x", columns=["y"], name="main")
    plot = figure()
    plot.line("x", "y", source=source)
    doc.add_root(plot)
""",
    "awaiting": """
import asyncio
from bokeh.models import ColumnDataSource
async def init_page(doc, config):
    await asyncio.sleep(0.01)
    doc.title = config["title"]
    doc.add_root(ColumnDataSource({"x": [], "y": []}, name="main"))
async def update_page(doc, new_data):
    rows = new_data.get("rows")
    await asyncio.sleep(0.01)
    if rows is not None:
        doc.get_model_by_name("main").stream(rows)
""",
    "late": """
from bokeh.models import ColumnDataSource
def init_page(doc, config): pass
def update_page(doc, new_data):
    if not doc.roots:
        doc.add_root(ColumnDataSource({"x": [], "y": []}, name="main"))
    doc.roots[0].stream(new_data["rows"])
""",
    "models": """
from bokeh.core.properties import Int
from bokeh.model import DataModel
from bokeh.models import ColumnDataSource
class Counter(DataModel):
    count = Int(0)
def init_page(doc, config):
    doc.add_root(ColumnDataSource({"x": [], "y": []}, name="main"))
    doc.add_root(ColumnDataSource({}, name="counter", tags=[]))
def update_page(doc, new_data):
    Counter(count=1)
    doc.get_model_by_name("main").stream(new_data["rows"])
""",
    "wrong": "def init_page(doc, config):\n    config['titel']\n",
}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scripts")
    for name, text in SCRIPTS.items():
        (folder / f"{name}.py").write_text(f"app = 'scripts'\n{text}")
    with contextlib.ExitStack() as stack:
        rest = stack.enter_context(contextlib.closing(endpoint(folder / "data", log=folder / "rest.log")))
        scripts = sorted(folder.glob("*.py"))
        pages = stack.enter_context(contextlib.closing(page_server(*scripts, url=rest.url, log=folder / "pages.log")))
        client = stack.enter_context(Client(rest.url, "scripts"))
        client.init({"title": "of the run"})
        client.sendl(0, "rows", {"x": 0, "y": 10})
        assert client.flush(timeout_s=30)
        yield pages, client


@pytest.mark.parametrize("name", ["filled", "awaiting", "late", "models"])
def test_it_shows_what_was_sent_and_what_is_sent(served, name):
    pages, client = served
    page = OpenedPage(f"{pages.url}/{name}")
    count = len(page.wait_for(lambda: page.doc.get_model_by_name("main") and list(page.doc.get_model_by_name("main").data["x"])))
    client.sendl(count, "rows", {"x": count, "y": 10})
    page.wait_for(lambda: list(page.doc.get_model_by_name("main").data["x"])[-1] == count)
    assert not page.faults()
    if name == "awaiting":
        assert page.doc.title == "of the run"
    page.close()


def test_a_name_that_the_config_lacks_is_said_with_those_that_it_has(served):
    page = OpenedPage(f"{served[0].url}/wrong")
    assert "config has no 'titel'. It has 'title'." in page.told()
    page.close()


def test_a_script_needs_init_page_and_can_be_given_a_name(tmp_path):
    script, folder = tmp_path / "a=b.py", tmp_path / "folder"
    script.write_text("from somewhere import init_page\n")
    folder.mkdir()
    assert (read_script(script).name, read_script(script).path) == ("a=b", script)
    assert read_script(f"other={script}").name == "other" and read_script(f"other={script}").path == script
    with pytest.raises(PageScriptError, match="has no main.py"):
        read_script(folder)
    (folder / "main.py").write_text("def init_page(doc, config): pass\n")
    assert (read_script(folder).name, read_script(f"x={folder}").name) == ("folder", "x")
    (folder / "main.py").write_text("def update_page(doc, new_data): pass\n")
    with pytest.raises(PageScriptError, match="does not define init_page"):
        read_script(folder)
    for wrong in ("=page.py", "a/b=page.py"):
        with pytest.raises(PageScriptError, match="NAME=path"):
            read_script(wrong)
