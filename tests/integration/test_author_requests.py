"""Values of the past for page code: awaited, or told to a function."""

from __future__ import annotations

import pytest

from streamvis.errors import UsageError
from streamvis.page.runs import PageRun
from streamvis.testing import rows, value

PAGE = """
from bokeh.models import Div, Slider

def init_page(doc, config, runs):
    doc.add_root(Div(name="told"))
    doc.add_root(Div(name="all"))
    slider = Slider(name="step", start=0, end=99, value=0)
    told = doc.get_model_by_name("told")
    tell = lambda value: setattr(told, "text", f"{value.step}: {list(value['x'])}" if value else "none")
    slider.on_change("value", lambda attr, old, new: runs[0].value(config["key"], step=new).then(tell))
    doc.add_root(slider)

async def update_page(doc, new_data):
    if "weights" in new_data:
        found = await new_data.run.values("weights", limit=3)
        doc.get_model_by_name("all").text = str([one.step for one in found])
"""


@pytest.fixture
def opened(tmp_path, streamvis_page):
    path = tmp_path / "page.py"
    path.write_text(PAGE)
    records = [value(step, "weights", {"x": [step, step + 1]}) for step in (5, 10, 20, 40)]
    return lambda key: streamvis_page(path, config={"key": key}, records=[*records, rows(0, "loss", {"x": 1})])


def test_a_callback_gets_the_latest_value_up_to_a_step_and_update_page_awaits_several(opened):
    page = opened("weights")
    assert page["all"].text == "[5, 20, 40]" or page["all"].text == "[5, 10, 40]"
    for step, told in ((19, "10: [10, 11]"), (20, "20: [20, 21]"), (4, "none"), (99, "40: [40, 41]")):
        page.set("step", step)
        assert page["told"].text == told


def test_a_page_of_the_past_gets_nothing_later(opened):
    page = opened("weights")
    page.at(step=12)
    assert page["all"].text == "[5, 10]"
    page.set("step", 99)
    assert page["told"].text == "10: [10, 11]"


def test_a_key_of_rows_has_no_values_and_a_run_outside_of_a_page_says_so(opened):
    page = opened("loss")
    page.set("step", 3)
    assert page["told"].text == "none"
    with pytest.raises(UsageError, match="runs of a page"):
        PageRun("id", "name", {}, "running").value("weights")


AWAITING = """
from bokeh.models import Div

def init_page(doc, config, runs):
    doc.add_root(Div(name="told"))

    async def tell(value):
        before = await runs[0].value("weights", step=value.step - 1)
        doc.get_model_by_name("told").text = f"{before.step} before {value.step}"

    runs[0].value("weights").then(tell)
"""


def test_an_async_function_can_be_told_too(tmp_path, streamvis_page):
    (tmp_path / "page.py").write_text(AWAITING)
    page = streamvis_page(tmp_path / "page.py", records=[value(step, "weights", {"x": step}) for step in (5, 10)])
    assert page["told"].text == "5 before 10"
