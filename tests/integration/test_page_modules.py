"""What lies below a script's folder belongs to that script: its modules, and what a folder in Bokeh's form has."""

from __future__ import annotations

import contextlib
import urllib.request
from pathlib import Path

import pytest

from streamvis import Client
from support.processes import endpoint, page_server
from support.sessions import OpenedPage

pytestmark = pytest.mark.timeout(180)

SCRIPT = """
import pickle
from bokeh.models import Div
import colours, random
import shapes.round as ring
from shapes import square
from shapes.square import SIDES

app = "modules"

class Point:
    pass

def init_page(doc, config):
    import late.lazy
    pickle.loads(pickle.dumps(Point()))
    said = [colours.NAME, ring.NAME, square.NAME, SIDES, late.lazy.NAME, random.NAME, colours.count()]
    doc.add_root(Div(text=" ".join(map(str, said)), name="said"))
"""

COLOURS = """
from shapes import square
NAME = "{name}-colour"
opened = []
def count():
    opened.append(1)
    return len(opened)
"""


def write(folder: Path, name: str) -> None:
    """A page script with modules that are called as those of every other: beside it, in a package, in a mere folder."""
    for sub in ("shapes", "late"):
        (folder / sub).mkdir(parents=True)
    (folder / "page.py").write_text(SCRIPT)
    (folder / "colours.py").write_text(COLOURS.format(name=name))
    (folder / "shapes" / "__init__.py").write_text("from . import square\n")
    (folder / "shapes" / "round.py").write_text(f"import colours\nfrom .square import SIDES\nNAME = '{name}-ring'\n")
    (folder / "shapes" / "square.py").write_text(f"NAME, SIDES = '{name}-square', 4\n")
    (folder / "late" / "lazy.py").write_text(f"NAME = '{name}-late'\n")
    (folder / "random.py").write_text(f"NAME = '{name}-random'\n")


def words(name: str, count: int) -> list[str]:
    return [*(f"{name}-{part}" for part in ("colour", "ring", "square")), "4", f"{name}-late", f"{name}-random", str(count)]


BOKEHS = {
    "main.py": """
from bokeh.models import Div
from bokeh.plotting import curdoc, figure
from .parts import title
import parts.title as same
from . import app_hooks

app = "modules"

def init_page(doc, config):
    assert doc is curdoc() and same is title
    doc.add_root(figure(name="plot"))
    doc.template_variables["asked"] = doc.session_context.token_payload.get("asked")
    doc.add_root(Div(text=f"{title.TEXT} {app_hooks.seen}", name="said"))
""",
    "parts/__init__.py": "",
    "parts/title.py": "from ..words import TEXT\n",
    "words.py": "TEXT = 'from far below'\n",
    "app_hooks.py": """
import asyncio
from . import words
seen = []
async def on_server_loaded(server_context):
    await asyncio.get_running_loop().run_in_executor(None, int)
    seen.append("loaded")
def on_server_unloaded(server_context): print("unloaded", words.TEXT, flush=True)
async def on_session_created(session_context): seen.append("created")
def on_session_destroyed(session_context): print("destroyed", flush=True)
def process_request(request): return {"asked": request.path}
""",
    "theme.yaml": "attrs:\n  Plot:\n    background_fill_color: '#123456'\n",
    "templates/index.html": "{% extends base %}{% block title %}{{ asked }} was asked for{% endblock %}",
    "static/logo.svg": "<svg/>",
}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("modules")
    write(folder / "alpha", "alpha")
    write(folder / "beta", "beta")
    for name, text in BOKEHS.items():
        path = folder / "whole" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    with contextlib.ExitStack() as stack:
        rest = stack.enter_context(contextlib.closing(endpoint(folder / "data", log=folder / "rest.log")))
        scripts = [f"first={folder / 'alpha' / 'page.py'}", folder / "beta" / "page.py", folder / "whole"]
        pages = stack.enter_context(contextlib.closing(page_server(*scripts, url=rest.url, log=folder / "pages.log")))
        client = stack.enter_context(Client(rest.url, "modules"))
        client.init()
        assert client.flush()
        yield folder, pages


def said(address: str) -> list[str]:
    page = OpenedPage(address)
    try:
        assert not page.faults(), page.told()
        return page.doc.get_model_by_name("said").text.split()
    finally:
        page.close()


def test_scripts_side_by_side_have_each_their_own_modules_which_are_read_anew_when_edited(served):
    folder, pages = served
    assert said(f"{pages.url}/first") == words("alpha", 1)
    assert said(f"{pages.url}/page") == words("beta", 1)
    assert said(f"{pages.url}/first") == words("alpha", 2)
    # As long as before, and within the same second.
    edited = folder / "alpha" / "shapes" / "square.py"
    edited.write_text(edited.read_text().replace("alpha", "gamma"))
    assert said(f"{pages.url}/first")[2] == "gamma-square"
    assert said(f"{pages.url}/page") == words("beta", 2)
    assert not list(folder.rglob("__pycache__"))


def test_an_error_in_a_module_is_shown_and_goes_when_it_is_fixed(served):
    folder, pages = served
    module = folder / "beta" / "shapes" / "round.py"
    right = module.read_text()
    module.write_text(f"{right}\nimport nothing_of_this_name\n")
    page = OpenedPage(f"{pages.url}/page")
    page.wait_for(lambda: "No module named 'nothing_of_this_name'" in page.told())
    assert f'"{module}", line 5' in page.told() and "modules.py" not in page.told() and "streamvis_page" not in page.told()
    page.close()
    module.write_text(right)
    assert said(f"{pages.url}/page")[1] == "beta-ring"


def test_a_folder_in_bokehs_form_is_a_page_with_all_that_it_has(served):
    folder, pages = served
    assert said(f"{pages.url}/whole")[:3] == ["from", "far", "below"]
    with urllib.request.urlopen(f"{pages.url}/whole", timeout=10) as answer:
        assert b"/whole was asked for</title>" in answer.read()
    with urllib.request.urlopen(f"{pages.url}/whole/static/logo.svg", timeout=10) as answer:
        assert answer.read() == b"<svg/>"


def test_the_hooks_of_a_folder_run_and_run_anew_when_they_are_edited(served):
    folder, pages = served
    page = OpenedPage(f"{pages.url}/whole")
    assert page.doc.get_model_by_name("plot").background_fill_color == "#123456"
    assert "'loaded', 'created'" in page.doc.get_model_by_name("said").text
    page.close()
    (folder / "whole" / "words.py").write_text("TEXT = 'other'\n")
    assert said(f"{pages.url}/whole")[:3] == ["other", "['loaded',", "'created']"]
    pages.wait_for_line("^unloaded from far below$")
