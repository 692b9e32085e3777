"""A page that opens: what it shows first is made while the browser still loads."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from streamvis.endpoint.in_process import InProcessEndpoint
from streamvis.errors import StreamvisError
from streamvis.page.scripts.script import read_script
from streamvis.page.stepped_page import SteppedPage
from streamvis.testing_run import TrialRun, rows

TURNS = 10
OWN = """
from bokeh.models import ColumnDataSource
def init_page(doc, config):
    doc.add_root(ColumnDataSource({"loss": []}, name="train"))
def update_page(doc, new_data):
    doc.get_model_by_name("train").stream({"loss": new_data["train"]["loss"]})
"""
OF_PANELS = """
from streamvis import panels
def init_page(doc, config):
    doc.add_root(panels.curves("train", "loss"))
"""


class Unseen(SteppedPage):
    """A page that no browser has painted."""

    def settle(self):
        for _ in range(TURNS):
            with suppress(StreamvisError):  # it does not come to rest
                super().settle()

    def _echo(self):
        pass


def test_the_past_is_in_a_page_before_a_browser_is_and_what_comes_then_waits_for_it(tmp_path):
    # Not the one of `streamvis.testing`: that would keep its store in this test's folder, which goes.
    endpoint, loop = InProcessEndpoint(), asyncio.new_event_loop()
    for name, text in {"own": OWN, "panels": OF_PANELS}.items():
        (tmp_path / f"{name}.py").write_text(text)
        expect_it(tmp_path / f"{name}.py", endpoint, loop)
    endpoint.close()
    loop.close()


def expect_it(script, endpoint, loop):
    run = TrialRun(endpoint, {})
    run.store([rows(step, "train", {"loss": float(step)}) for step in range(50)])
    page = Unseen(read_script(script), run.reader, runs=[run.id], loop=loop, give_up_s=0)

    def shown():
        (source,) = (model for model in page.doc.models if hasattr(model, "data"))
        return list(source.data["loss"])

    assert shown() == list(range(50)) and page._link.settled and page._link.seen == 0
    run.store([rows(50, "train", {"loss": 50.0})])
    page.settle()
    assert len(shown()) == 50
    page.do(lambda: setattr(page._link, "seen", page._link.sent))
    assert shown() == list(range(51))
    page.close()
