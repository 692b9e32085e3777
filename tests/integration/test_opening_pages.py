"""What a browser gets that opens a page: its data with the first document, and all charts that fit its window."""

from __future__ import annotations

import json

import pytest
from bokeh.client import pull_session
from bokeh.models import Pane, Plot

from streamvis import Client
from streamvis.panels.board import StreamvisBoard
from support.sessions import OpenedPage

LINES = """
import threading
from bokeh.plotting import figure
from streamvis import live_source
from streamvis.page import session
from streamvis.page.feeds.reader import EndpointReader
session._FILL_FIRST_S = 30
history = EndpointReader.history
def slow(*args):
    threading.Event().wait(0.3)  # longer than a browser needs to ask for the document
    return history(*args)
EndpointReader.history = slow
def init_page(doc, config):
    figure_of_k = figure()
    figure_of_k.line("step", "y", source=live_source("k", x="step", columns=["y"], name="main_plot"))
    doc.add_root(figure_of_k)
"""
# The answer comes just as the time to wait for it is up.
AS_TIME_IS_UP = """
import asyncio
async def wait_for(waiting, timeout):
    await waiting
    raise TimeoutError
session.asyncio = type("asyncio", (), {"Event": asyncio.Event, "wait_for": staticmethod(wait_for)})
"""
LARGE = {"top": 0, "bottom": 1300, "width": 2500}
ACROSS, DOWN = 7, 7


class BusyPage(OpenedPage):
    """A page whose browser does not say that it has painted what came, while it is busy."""

    is_busy = False
    echoes = 0

    def _echo(self) -> None:
        if not self.is_busy and self.link is not None and self.link.seen != self.link.sent:
            self.echoes += 1
            super()._echo()


def charts(page):
    return len(list(page.doc.select({"type": Plot})))


def shown(page):
    """The charts that are shown, and how many of those have all of their data."""
    frames = [frame for frame in page.doc.select({"type": Pane}) if frame.visible and frame.elements]
    plots = [frame.elements[0] for frame in frames if frame.styles.get("position") == "absolute"]
    return len(plots), sum(list(plot.renderers[0].data_source.data["step"]) == [0, 1, 2] for plot in plots)


@pytest.fixture(scope="module")
def pages(share_pages):
    return share_pages(lines=LINES)


def has_data(address, endpoint):
    """Whether a browser that opens the page at once gets its data with it."""
    with Client(endpoint.url, "lines") as client:
        client.init()
        client.sendl(0, "k", {"y": [0.5, 1.5]})
        assert client.flush(timeout_s=20)
        session = pull_session(url=address, arguments={"app": "lines"})
        found = list(session.document.get_model_by_name("main_plot").data["y"])
        session.close()
        return found == [0.5, 1.5]


def test_a_browser_that_asks_before_the_endpoint_has_answered_gets_the_page_with_its_data(pages, shared_endpoint):
    assert has_data(f"{pages.url}/lines", shared_endpoint)


def test_an_answer_that_comes_as_the_time_to_wait_for_it_is_up_is_not_lost(tmp_path, start_pages, shared_endpoint):
    page = tmp_path / "late.py"
    page.write_text(LINES + AS_TIME_IS_UP)
    assert has_data(f"{start_pages(page, url=shared_endpoint.url).url}/late", shared_endpoint)


def test_all_charts_in_the_window_are_made_while_the_browser_is_busy_and_shown_once_with_their_data(pages, shared_endpoint):
    with Client(shared_endpoint.url, "large") as client:
        client.init()
        for step in range(3):
            client.sendl(step, "k", {f"c{i:03}": step for i in range(100)})
        assert client.flush(timeout_s=20)
        page = BusyPage(f"{pages.url}/runs?app=large")
        page.wait_for(lambda: shown(page) == (9, 9), what="the charts that fit a usual window")
        page.is_busy = True
        control = page.doc.select_one({"type": StreamvisBoard})
        page.do(lambda: setattr(control, "view", json.dumps(LARGE)))
        page.wait_for(lambda: charts(page) == ACROSS * DOWN, what="charts for all of the window")
        page.is_busy, page.echoes = False, 0
        page.do(page._echo)
        page.wait_for(lambda: shown(page) == (ACROSS * DOWN, ACROSS * DOWN), what="all of them with their data")
        assert page.echoes <= 4
        page.close()
