"""Whatever an author's code raises, wherever it runs, is shown in its page and touches nothing else."""

from __future__ import annotations

import contextlib
import urllib.error
import urllib.request

import pytest
from bokeh.events import ButtonClick

from streamvis import Client
from support.conditions import wait_until
from support.processes import endpoint, page_server
from support.sessions import OpenedPage

pytestmark = pytest.mark.timeout(180)

GOOD = """
from bokeh.models import Button, ColumnDataSource, Slider

app = "author"

class Fatal(BaseException):
    def __str__(self):
        raise SystemExit("in __str__")

def init_page(doc, config):
    doc.add_root(ColumnDataSource({"x": []}, name="main"))
    doc.add_root(Slider(start=0, end=9, value=1, name="slider"))
    more(doc)

def more(doc):
    pass

def update_page(doc, new_data):
    if "rows" in new_data:
        doc.get_model_by_name("main").stream(new_data["rows"])
"""
MORE = {
    "init": "import sys\ndef more(doc): sys.exit('in init_page')",
    "top": "raise KeyboardInterrupt('at the top')",
    "update": "def update_page(doc, new_data): raise SystemExit('in update_page')",
    "nameless": "def update_page(doc, new_data): raise Fatal",
    "awaited": """
import asyncio, sys
async def update_page(doc, new_data):
    await asyncio.sleep(0)
    sys.exit('after an await')""",
    "slider": """
def change(attr, old, new): raise SystemExit(f'{attr} is {new}')
def more(doc): doc.get_model_by_name('slider').on_change('value', change)""",
    "button": """
def click(): 1 / 0
def more(doc):
    button = Button(name="button")
    button.on_click(click)
    doc.add_root(button)""",
    "periodic": """
def beat(): exit('every now and then')
def more(doc): doc.add_periodic_callback(beat, 20)""",
    "timeout": """
async def later(): raise Fatal
def more(doc): doc.add_timeout_callback(later, 5)""",
    "tick": """
from bokeh.document import without_document_lock
@without_document_lock
def soon(): raise KeyboardInterrupt('without a lock')
def more(doc): doc.add_next_tick_callback(soon)""",
    "ready": """
def ready(event): raise LookupError(event.event_name)
def more(doc): doc.on_event('document_ready', ready)""",
    "observer": """
def see(event): raise SystemExit('seen')
def more(doc): doc.on_change(see)""",
    "unsendable": "def more(doc): doc.get_model_by_name('main').data['own'] = [object()]",
    "unsendable_later": """
def update_page(doc, new_data): doc.get_model_by_name('main').data = {'x': [object()]}""",
    "template": "def more(doc): doc.template = '{% block contents %}{{ undefined_name.attribute }}{% endblock %}'",
}
SAYS = {
    "init": "SystemExit: in init_page",
    "top": "KeyboardInterrupt: at the top",
    "update": "SystemExit: in update_page",
    "nameless": "Fatal: (its text cannot be shown)",
    "awaited": "SystemExit: after an await",
    "slider": "SystemExit: value is 7",
    "button": "ZeroDivisionError: division by zero",
    "periodic": "SystemExit: every now and then",
    "timeout": "Fatal",
    "tick": "KeyboardInterrupt: without a lock",
    "ready": "LookupError: document_ready",
    "observer": "SystemExit: seen",
    "unsendable": "can't serialize <class 'object'>",
    "unsendable_later": "can't serialize <class 'object'>",
    "template": "UndefinedError: 'undefined_name' is undefined",
}
ENDED = {"init", "top", "update", "nameless", "awaited", "template", "unsendable", "unsendable_later"}
SILENT = {
    "task": """
import asyncio, sys
async def alone(): sys.exit('in a task of its own')
def more(doc): doc.task = asyncio.get_running_loop().create_task(alone())""",
    "stop": "from tornado.ioloop import IOLoop\ndef more(doc): IOLoop.current().stop()",
}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A page server with all of the scripts, a producer for them, and what the server printed."""
    folder = tmp_path_factory.mktemp("scripts")
    for name, more in {"good": "", **MORE, **SILENT}.items():
        (folder / f"{name}.py").write_text(f"{GOOD}\n{more}\n")
    with contextlib.ExitStack() as stack:
        rest = stack.enter_context(contextlib.closing(endpoint(folder / "data", log=folder / "rest.log")))
        scripts = sorted(folder.glob("*.py"))
        pages = stack.enter_context(contextlib.closing(page_server(*scripts, url=rest.url, log=folder / "pages.log")))
        client = stack.enter_context(Client(rest.url, "author"))
        client.init()
        client.sendl(0, "rows", {"x": 0})
        assert client.flush()
        yield pages, client


@pytest.fixture
def good(served):
    """A page that must not notice anything."""
    pages, client = served
    page = OpenedPage(f"{pages.url}/good")
    yield page
    before = len(page.doc.get_model_by_name("main").data["x"])
    client.sendl(before + 1, "rows", {"x": before})
    page.wait_for(lambda: len(page.doc.get_model_by_name("main").data["x"]) > before, what="the good page goes on")
    assert not page.faults() and pages.running
    page.close()


@pytest.mark.parametrize("name", MORE)
def test_what_it_raises_is_shown_in_its_page_with_the_line(served, good, name):
    pages, client = served
    page = OpenedPage(f"{pages.url}/{name}")
    if name == "slider":
        page.do(lambda: setattr(page.doc.get_model_by_name("slider"), "value", 7))
    if name == "button":
        page.send_event(ButtonClick(page.doc.get_model_by_name("button")))
    page.wait_for(lambda: SAYS[name] in page.told(), what=SAYS[name])
    assert f"{name}.py" in page.told() or name in ("template", "unsendable")
    assert "gets no more data" in page.told() if name in ENDED else "continues" in page.told()
    wait_until(lambda: SAYS[name].partition(":")[0] in pages.output(), what="the log has it too")
    if name not in ENDED:
        before = len(good.doc.get_model_by_name("main").data["x"])
        client.sendl(before + 1, "rows", {"x": before})
        page.wait_for(lambda: len(page.doc.get_model_by_name("main").data["x"]) > before, what="its data go on")
    page.close()


@pytest.mark.parametrize("name", SILENT)
def test_what_no_page_can_show_does_not_end_the_server(served, good, name):
    pages = served[0]
    page = OpenedPage(f"{pages.url}/{name}")
    page.wait_for(lambda: len(page.doc.get_model_by_name("main").data["x"]), what="its data")
    page.close()


@pytest.mark.parametrize("name", ["good", *MORE])
def test_its_page_is_answered(served, name):
    with urllib.request.urlopen(f"{served[0].url}/{name}", timeout=10) as answer:
        assert answer.status == 200 and b"bokeh" in answer.read()


def test_an_exception_that_comes_again_and_again_is_logged_once(tmp_path, start_endpoint, start_pages):
    (tmp_path / "counting.py").write_text(f"""{GOOD}
def more(doc): doc.add_periodic_callback(lambda: fail(doc), 5)
def fail(doc):
    slider = doc.get_model_by_name("slider")
    slider.value += 1
    raise ValueError("never again")
""")
    rest = start_endpoint()
    pages = start_pages(tmp_path / "counting.py", url=rest.url)
    with Client(rest.url, "author") as client:
        client.init()
        assert client.flush()
        page = OpenedPage(f"{pages.url}/counting")
        page.wait_for(lambda: page.doc.get_model_by_name("slider").value > 30, what="it failed often")
        page.wait_for(lambda: "never again" in page.told())
        assert pages.output().count("ValueError: never again") == 1 == len(page.faults())
        page.close()
