"""A page as of a step equals a page of a run to which nothing of later steps was sent."""

from __future__ import annotations

import json

import numpy as np
import pytest

from streamvis import Client
from support.sessions import OpenedPage

PAGE = """
import json
from bokeh.models import Div
from bokeh.plotting import figure
from streamvis import live_source, panels

app = "past"

def init_page(doc, config):
    plot = figure(name="plot")
    source = live_source("train", x="step", columns=["loss"], name="live")
    plot.line("step", "loss", source=source)
    doc.add_root(plot)
    doc.add_root(panels.numbers("train"))
    doc.add_root(panels.text("log"))
    doc.add_root(panels.matrix("confusion"))
    doc.add_root(Div(name="told", text=json.dumps({"rows": [], "value": None, "replay": None})))

def update_page(doc, new_data):
    div = doc.get_model_by_name("told")
    told = json.loads(div.text)
    if "epochs" in new_data:
        told["rows"] += [[int(step), epoch] for step, epoch in zip(new_data.steps("epochs"), new_data["epochs"]["epoch"])]
    if "confusion" in new_data:
        told["value"] = [int(new_data.steps("confusion")[0]), new_data["confusion"]["count"].tolist()]
    told["replay"] = new_data.replay
    div.text = json.dumps(told)
"""


@pytest.fixture(scope="module")
def pages(share_pages):
    return share_pages(past=PAGE)


def send(client, step):
    """What the producer sends at a step; every fifth comes late, with a step that was there before."""
    at = step - 3 if step % 5 == 4 else step
    client.sendl(at, "train", {"loss": np.sin(step / 7) + step / 50})
    client.sendl(at, "log", {"text": f"at {at}, sent as {step}"})
    if step % 10 == 0:
        client.sendl(step, "epochs", {"epoch": step // 10})
        client.send(step, "confusion", {"count": np.full((2, 2), step)})
        client.send(step, "confusion", {"count": np.full((2, 2), step + 1)})


def shown(page):
    """What a page shows, but for names of models."""
    told = json.loads(page.doc.get_model_by_name("told").text)
    source = page.doc.get_model_by_name("live")
    columns = {name: np.asarray(column).tolist() for name, column in source.data.items()}
    texts = sorted(model.text for model in page.doc.models if type(model).__name__ == "Div" and model.name != "told")
    sources = [model.data for model in page.doc.models if type(model).__name__ == "ColumnDataSource"]
    return {**told, "live": columns, "texts": texts, "rows of each": sorted(len(next(iter(one.values()), [])) for one in sources)}


@pytest.mark.parametrize("at", [0, 57])
def test_a_page_as_of_a_step_shows_what_was_there_then(at, shared_endpoint, pages, monkeypatch):
    # Both runs have one moment, so that texts with a time are alike.
    monkeypatch.setattr("time.time", lambda: 1_700_000_000.0)
    runs = []
    for last in (99, at):
        with Client(shared_endpoint.url, "past") as client:
            client.init({}, name="past")
            for step in range(100):
                if min(step, step - 3 if step % 5 == 4 else step) <= last:
                    send(client, step)
            assert client.flush(timeout_s=30)
            runs.append(client.run)
    whole = OpenedPage(f"{pages.url}/past?run={runs[0]}&at={at}")
    alone = OpenedPage(f"{pages.url}/past?run={runs[1]}")
    steps = sum(1 for step in range(100) if (step - 3 if step % 5 == 4 else step) <= at)
    for page in (whole, alone):
        page.wait_for(lambda page=page: len(shown(page)["live"]["step"]) == steps, what="its rows")
    whole.wait_for(lambda: shown(whole) == {**shown(alone), "replay": True}, what="the same as the page of the other run")
    expected = shown(whole)
    assert expected["value"] == [at // 10 * 10, [[at // 10 * 10 + 1] * 2] * 2]

    live = OpenedPage(f"{pages.url}/past?run={runs[0]}")
    with Client(shared_endpoint.url, "past") as client:
        client.init({}, run=runs[0])
        send(client, 100)
        client.sendl(0, "epochs", {"epoch": 0})
    live.wait_for(lambda: shown(live)["rows"][-1:] == [[0, 0]] and shown(live)["replay"] is False, what="the newest rows")
    assert shown(whole) == expected
    for page in (whole, alone, live):
        page.close()
