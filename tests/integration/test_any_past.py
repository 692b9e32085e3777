"""A page of the past equals a page to which nothing later was sent: for any log, one run and three, wherever its viewer goes."""

from __future__ import annotations

import asyncio
import atexit
import json
import re
from functools import cache

import numpy as np
import pytest
from bokeh.models import ColumnDataSource, Div
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from streamvis.endpoint.in_process import InProcessEndpoint
from streamvis.page.documents.link import StreamvisLink
from streamvis.page.scripts.script import read_script
from streamvis.page.stepped_page import SteppedPage
from streamvis.testing_run import TrialRun, rows, value

HEAD = """
from bokeh.models import ColumnDataSource, Div
from bokeh.plotting import figure
from streamvis import panels

def init_page(doc, config, runs):
    plot = figure()
    for run in runs:
        plot.line("step", "y", source=run.live_source("live", columns=["y"]))
    doc.add_root(plot)
    doc.add_root(panels.numbers("live"))
"""
PANELS = """    doc.add_root(panels.matrix("value"))
"""
OWN = """
        doc.add_root(Div(name=f"value {run.id}"))
        doc.add_root(Div(name=f"own {run.id}"))

def update_page(doc, new_data):
    its = new_data.run.id
    if "own" in new_data:
        steps = list(zip(new_data.steps("own").tolist(), new_data["own"]["y"].tolist()))
        doc.get_model_by_name(f"own {its}").text += str(steps)[1:-1] + ", "
    if "value" in new_data:
        doc.get_model_by_name(f"value {its}").text = f"{new_data.steps('value')[0]} {new_data['value']['m'].tolist()}"
"""
PAGES = {"own": HEAD + "    for run in runs:" + OWN, "panels": HEAD + PANELS}

STEPS = st.integers(0, 12)
ACTS = st.one_of(
    st.tuples(st.just("live"), STEPS, st.integers(0, 1)),
    st.tuples(st.just("own"), STEPS, st.integers(0, 1)),
    st.tuples(st.just("value"), STEPS, st.integers(0, 1)),
    st.tuples(st.just("resume"), STEPS, st.just(0)),
    st.tuples(st.just("clear"), st.just(0), st.just(0)),
)


@cache
def endpoint():
    made = InProcessEndpoint()
    atexit.register(made.close)
    return made


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    for name, text in PAGES.items():
        (folder / f"{name}.py").write_text(text)
    return {name: read_script(folder / f"{name}.py") for name in PAGES}


def sent(acts):
    """A run in which a producer, or two, did all this. Steps rise or not, and values are sent again for a step."""
    run = TrialRun(endpoint(), {})
    for number, (kind, step, producer) in enumerate(acts):
        if kind == "clear":
            run.clear()
        elif kind == "resume":
            run.resume(step)
        elif kind == "value":
            run.store([value(step, kind, {"m": np.full((2, 2), number)})], producer=f"p{producer}")
        else:
            run.store([rows(step, kind, {"y": float(number)})], producer=f"p{producer}")
    return run


def shown(page, runs):
    """What the page shows, without what differs between any two runs: ids, colors, and when rows were sent."""
    said = {}
    for model in page.doc.models:
        if isinstance(model, ColumnDataSource):
            columns = {name: np.asarray(column).tolist() for name, column in model.data.items() if name != "time"}
            said.setdefault("sources", []).append(told(columns, runs))
        elif isinstance(model, Div):
            said.setdefault("texts", []).append(told(model.text, runs))
    return {name: sorted(its) for name, its in said.items()}


def told(what, runs):
    text = repr(what)
    for i, run in enumerate(runs):
        text = text.replace(run.id, f"run {i}")
    return re.sub("#[0-9a-f]{6}", "color", text)


class Viewer:
    """Goes from step to step as the time bar does: in place where the page can, else by loading it."""

    def __init__(self, script, runs, loop):
        self.script, self.runs, self.loop, self.asked = script, runs, loop, 0
        self.page = self.opened(None)

    def opened(self, at):
        return SteppedPage(self.script, self.runs[0].reader, runs=[run.id for run in self.runs], loop=self.loop, at=at)

    def go(self, at):
        link = self.page.doc.select_one({"type": StreamvisLink})
        if link.seeks:
            self.asked += 1
            self.page.do(lambda: setattr(link, "wanted", json.dumps([self.asked, at])))
            if link.sought == json.dumps([self.asked, True]):
                return
        self.page.close()
        self.page = self.opened(at)


# Without shrinking, which would open thousands of pages.
@settings(max_examples=8, phases=[Phase.explicit, Phase.generate], suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), logs=st.one_of(*(st.lists(st.lists(ACTS, max_size=12), min_size=n, max_size=n) for n in (1, 3))))
def test_a_page_at_a_step_equals_a_page_to_which_nothing_later_was_sent(scripts, data, logs):
    loop = asyncio.new_event_loop()
    runs = [sent(acts) for acts in logs]
    viewer = Viewer(scripts[data.draw(st.sampled_from(sorted(PAGES)))], runs, loop)
    for at in data.draw(st.lists(STEPS, min_size=1, max_size=2)):
        viewer.go(at)
        alone = Viewer(viewer.script, [run.until(at) for run in runs], loop)
        assert not viewer.page.raised and not alone.page.raised
        assert shown(viewer.page, viewer.runs) == shown(alone.page, alone.runs)
        alone.page.close()
    viewer.page.close()
    loop.close()
