"""Pages of the examples with what their own producers send, without a browser and without waiting for real time."""

from __future__ import annotations

import cProfile
import importlib.util
import pstats
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from bokeh.document import Document

from streamvis.testing import open_page, rows, value

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def recorded():
    """`recorded(name, count)` gives the config and the records of an example's producer, which is run for `count` steps."""

    def record(name, count):
        spec = importlib.util.spec_from_file_location(f"producer_of_{name}", EXAMPLES / name / "producer.py")
        producer = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(producer)
        sent = SimpleNamespace(config=None, records=[])

        class Recorder:
            def __init__(self, url, app):
                self.init = lambda config: setattr(sent, "config", config)
                self.send = lambda *given: sent.records.append(value(*given))
                self.sendl = lambda *given: sent.records.append(rows(*given))

            def __enter__(self):
                return self

            def __exit__(self, *error):
                pass

        producer.Client, producer.time = Recorder, SimpleNamespace(sleep=lambda seconds: None)
        producer.main("", name, count)
        return sent

    return record


def test_candlesticks_grow_and_the_current_one_moves(recorded, streamvis_page):
    sent = recorded("candlesticks", 3)
    page = streamvis_page(EXAMPLES / "candlesticks" / "page.py", config=sent.config, records=sent.records[:-2])
    bars, current = page["bars"], page["current"]
    assert list(bars.data["number"]) == [0, 1] and bars.data["open"][1] == bars.data["close"][0]
    low, opened, closed = (np.array(bars.data[name]) for name in ("low", "open", "close"))
    assert (low <= np.minimum(opened, closed)).all()
    before = list(current.data["close"])
    page.send(2, "current", sent.records[-2].data)
    assert list(current.data["close"]) != before
    page.sendl(2, "bars", sent.records[-1].data)
    assert list(bars.data["number"]) == [0, 1, 2]
    page.check()


def test_histograms_follow_what_is_selected_while_the_cloud_moves(recorded, streamvis_page):
    sent = recorded("histograms", 2)
    page = streamvis_page(EXAMPLES / "histograms" / "page.py", config=sent.config, records=sent.records[:1])
    assert sum(page["all"].data["x"]) > 9_000 and sum(page["selected"].data["x"]) == 0
    page.select("cloud", range(500))
    assert 450 < sum(page["selected"].data["x"]) <= 500
    before = page["cloud"].data["x"]
    page.send(1, "cloud", sent.records[1].data)
    assert not np.array_equal(page["cloud"].data["x"], before)
    assert 450 < sum(page["selected"].data["y"]) <= 500
    page.check()


def _calls(function):
    profile = cProfile.Profile()
    profile.runcall(function)
    return pstats.Stats(profile).total_calls


def test_a_test_of_a_page_costs_little_more_than_what_bokeh_takes_to_make_it(recorded):
    script, sent = EXAMPLES / "candlesticks" / "page.py", recorded("candlesticks", 3)
    init_page = runpy.run_path(str(script))["init_page"]

    def test_it():
        with open_page(script, config=sent.config, records=sent.records[:-1]) as page:
            page.sendl(2, "bars", sent.records[-1].data)

    init_page(Document(), sent.config)  # Bokeh remembers much of the first
    test_it()
    assert _calls(test_it) < 1.2 * _calls(lambda: init_page(Document(), sent.config))
