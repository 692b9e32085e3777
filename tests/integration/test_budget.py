"""A page with a budget of rows: what it gets of a long past, and that live rows join it without a gap."""

from __future__ import annotations

import numpy as np
import pytest

from streamvis import Client
from streamvis.page.feeds.first_history import Past
from streamvis.page.feeds.inbox import Inbox
from streamvis.page.feeds.reader import EndpointReader
from streamvis.page.feeds.table import Feeds
from streamvis.page.folding import fold
from support.conditions import wait_until

ROWS, BUDGET = 50_000, 1000


@pytest.fixture
def producer(start_endpoint):
    with Client(start_endpoint().url, "budget") as client:
        client.init({})
        yield client


def send(client, first, last, *, spike=None):
    x = np.arange(first, last)
    y = np.sin(x / 500)
    if spike is not None:
        y[spike - first] = 99.0
    client.sendl(last, "main", {"x": x, "y": y, "word": ["a"] * len(x)})
    assert client.flush()


def read_past(past, target):
    pieces = [past.read(after=None, until=target, exclude=frozenset())]
    while pieces[-1].more:
        pieces.append(past.read(after=pieces[-1].cursor, until=target, exclude=frozenset()))
    return pieces


def test_a_long_past_comes_within_the_budget_and_keeps_its_spike(producer):
    send(producer, 0, ROWS, spike=31_234)
    producer.sendl(0, "short", {"x": [1.0, 2.0]})
    producer.send(3, "image", {"pixels": np.eye(2)})
    producer.flush()
    reader = EndpointReader(producer.url)
    head = reader.run(producer.run)
    past = Past(reader, producer.run, budget=BUDGET)
    new_data = fold(head.run, read_past(past, head.cursor))
    assert new_data.reduced == {"main": ROWS}
    rows = new_data["main"]
    assert 100 < len(rows["x"]) <= BUDGET + 2
    assert rows["y"][rows["x"] == 31_234].tolist() == [99.0]
    assert (rows["x"][0], rows["x"][-1]) == (0, ROWS - 1)
    assert set(rows["word"]) == {"a"}
    assert new_data["short"]["x"].tolist() == [1.0, 2.0]
    assert new_data["image"]["pixels"].tolist() == [[1, 0], [0, 1]]


def test_without_a_budget_all_rows_come_and_nothing_is_reduced(producer):
    send(producer, 0, ROWS)
    reader = EndpointReader(producer.url)
    head = reader.run(producer.run)
    new_data = fold(head.run, read_past(Past(reader, producer.run, budget=None), head.cursor))
    assert len(new_data["main"]["x"]) == ROWS
    assert not new_data.reduced


def test_rows_that_come_while_the_past_is_read_come_once(producer):
    send(producer, 0, ROWS)
    reader, feeds = EndpointReader(producer.url), Feeds()
    inbox = Inbox(lambda: None)
    feed = feeds.run(reader, producer.run, inbox, lambda: None)
    try:
        wait_until(lambda: feed.join(inbox, inbox))
        target = feed.join(inbox, inbox)
        send(producer, ROWS, ROWS + 3000)  # after the cursor, before the past is read: in both
        past = Past(reader, producer.run, budget=BUDGET)
        pieces = read_past(past, target)
        assert sum(piece.reduced.get("main", 0) for piece in pieces) == ROWS + 3000
        send(producer, ROWS + 3000, ROWS + 4000)
        live = []
        wait_until(lambda: live.extend(map(past.fresh, inbox.take())) or any("main" in fold(feed.head.run, [p]) for p in live))
        rows = fold(feed.head.run, live)["main"]
        assert rows["x"].tolist() == list(range(ROWS + 3000, ROWS + 4000))
        # An inbox that overflowed: what was missed is read again, and reduced as well.
        send(producer, ROWS + 4000, 2 * ROWS + 4000)
        again = fold(feed.head.run, [past.read(after=live[-1].cursor, until=reader.run(producer.run).cursor)])
        assert again["main"]["x"].min() >= ROWS + 3000
        assert again["main"]["x"][-1] == 2 * ROWS + 3999
        assert len(again["main"]["x"]) <= BUDGET + 2
    finally:
        feed.leave(inbox)


def test_a_page_script_and_server_take_a_budget(producer, start_pages, open_page, tmp_path):
    send(producer, 0, ROWS, spike=777)
    script = tmp_path / "budget.py"
    script.write_text(
        """
from bokeh.models import ColumnDataSource

budget = 1000

def init_page(doc, config):
    doc.add_root(ColumnDataSource({"x": [], "y": [], "word": []}, name="main_plot"))

def update_page(doc, new_data):
    if "main" in new_data:
        doc.get_model_by_name("main_plot").stream(new_data["main"])
"""
    )
    tab = open_page(f"{start_pages(script, url=producer.url).url}/budget")
    columns = tab.wait_for_source("main_plot", lambda columns: len(columns["x"]) > 100)
    assert len(columns["x"]) < 1100
    assert 99.0 in columns["y"]
    send(producer, ROWS, ROWS + 10)
    columns = tab.wait_for_source("main_plot", lambda columns: columns["x"][-1] == ROWS + 9)
    assert columns["x"][-11:] == list(range(ROWS - 1, ROWS + 10))
