"""Whatever keeps the event loop of the page server busy, the page that it was busy for is held back, and no other."""

from __future__ import annotations

import asyncio
import sys
import urllib.request

import pytest
from bokeh.application import Application
from bokeh.application.handlers.handler import Handler
from bokeh.models import ColumnDataSource
from bokeh.server.contexts import ApplicationContext
from tornado.ioloop import IOLoop

from streamvis.page.web.page_at_work import page_at_work
from streamvis.page.web.watchdog import held_back

GOOD = "def init_page(doc, config):\n    pass\ndef update_page(doc, new_data):\n    pass\n"
WAITS = """
import time
from functools import partial
from bokeh.plotting import curdoc
curdoc().add_next_tick_callback(partial(time.sleep, 600))
"""
BESIDE = """
from bokeh.plotting import curdoc
import endless_arithmetic
curdoc().add_next_tick_callback(endless_arithmetic.go_on)
"""
ARITHMETIC = "def go_on():\n    n = 0\n    while True:\n        n += 1\n"


def load(address: str) -> str:
    with urllib.request.urlopen(address, timeout=60) as answer:
        return answer.read().decode()


@pytest.mark.parametrize("bad", [WAITS, BESIDE], ids=["a library's function", "a module beside the script"])
def test_a_page_that_holds_up_the_loop_in_code_that_is_not_its_script_is_held_back(bad, tmp_path, start_service):
    (tmp_path / "endless_arithmetic.py").write_text(ARITHMETIC)
    for name, more in {"good": "", "other": "", "bad": bad}.items():
        (tmp_path / f"{name}.py").write_text(GOOD + more)
    scripts = [tmp_path / f"{name}.py" for name in ("good", "bad", "other")]
    command = [sys.executable, "-m", "streamvis.cli", "serve", *scripts, "--data", tmp_path / "data", "--rest-port", "0"]
    ready = r"Open (?P<url>http://[^:]+:(?P<port>\d+))"
    served = start_service([*command, "--no-browser"], ready=ready, env={"STREAMVIS_HANG_S": "2"})
    load(f"{served.url}/view/good")
    load(f"{served.url}/view/bad")
    served.wait_for_line(r"The page server ended .* started again", within_s=30)
    held_up = rf"the page script {tmp_path / 'bad.py'} held up the page server"
    served.wait_for_line(rf"{held_up}[\s\S]*Streamvis pages ready", within_s=30)
    for name in ("bad", "good", "other", "bad"):
        assert "token" in load(f"{served.url}/view/{name}")
    assert served.output().count("started again") == 1


class Page(Handler):
    """Notes for which page the loop works, by the stack, while a document is made."""

    def modify_document(self, doc) -> None:
        doc.add_root(ColumnDataSource(name="main"))
        self.seen_while_made = page_at_work(sys._getframe())


def test_the_page_that_the_loop_works_for_is_known_while_bokeh_makes_changes_and_encodes_its_document():
    async def work() -> list[str | None]:
        seen = [page_at_work(sys._getframe())]
        outermost = ApplicationContext(Application(), url="/outermost")
        page = Page()
        context = ApplicationContext(Application(page), io_loop=IOLoop.current(), url="/numbers")
        session = await context.create_session_if_needed("one")
        seen.append(page.seen_while_made)
        note = lambda *args: seen.append(page_at_work(sys._getframe()))  # noqa: E731
        await session.with_document_locked(note)
        session.document.on_change(lambda event: note())
        await session.with_document_locked(setattr, session.document.roots[0], "name", "other")
        return [*seen, page_at_work(sys._getframe()), outermost.url]

    assert asyncio.run(work()) == [None, "/numbers", "/numbers", "/numbers", "/outermost", "/outermost"]


def test_the_page_that_was_seen_is_held_back_before_one_whose_file_happens_to_be_in_the_dump(tmp_path):
    scripts = {name: tmp_path / f"{name}.py" for name in ("slow", "innocent")}
    note = tmp_path / "hang"
    dump = f'Timeout (0:00:20)!\nThread 0x00 (most recent call first):\n  File "{scripts["innocent"]}", line 3 in update_page\n'
    note.write_text(dump)
    note.with_suffix(".page").write_text("/slow")
    assert list(held_back(note, scripts)) == ["slow"]
    assert list(held_back(note, scripts)) == ["slow"]
    note.write_text(dump)
    assert sorted(held_back(note, scripts)) == ["innocent", "slow"]


def test_a_notebook_whose_cell_is_in_the_dump_is_held_back_with_its_calls(tmp_path):
    note, path = tmp_path / "hang", tmp_path / "page.ipynb"
    calls = f'  File "{path}, cell 2", line 3 in update_page\n  File "server.py", line 9 in run\n'
    note.write_text(f"Timeout (0:00:20)!\nThread 0x00 (most recent call first):\n{calls}")
    held = held_back(note, {"page": path})
    assert held["page"].doing == f'  File "{path}, cell 2", line 3 in update_page'
