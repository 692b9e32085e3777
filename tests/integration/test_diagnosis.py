"""The diagnosis of a page: what it costs, which keys it reads in vain, what its code logs, and why it may be slow."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest
from bokeh.document import Document
from bokeh.models import ColumnDataSource
from bokeh.plotting import figure

from streamvis.page.diagnosis import PageLog, reasons
from streamvis.page.documents.link import StreamvisLink
from streamvis.page.live.sources import live_source
from streamvis.testing import rows, value

PAGE = """
import logging
import warnings
from bokeh.models import ColumnDataSource, Row
from bokeh.plotting import figure

def init_page(doc, config):
    plot = figure(name="plot")
    plot.line("step", "loss", source=ColumnDataSource({"step": [], "loss": []}, name="own"))
    doc.add_root(plot)
    doc.add_root(Row())

def update_page(doc, new_data):
    if "train" in new_data:
        logging.getLogger("mine").warning("so many rows: %d", len(new_data["train"]["loss"]))
        warnings.warn("beware")
    new_data.get("misspelt")
"""


def diagnosed(page):
    link = page.doc.select_one({"type": StreamvisLink})
    page._load.do(lambda: setattr(link, "asked", link.asked + 1))
    return json.loads(link.diagnosis)


def test_a_page_says_what_it_costs_reads_in_vain_and_logs(tmp_path, streamvis_page):
    (tmp_path / "page.py").write_text(PAGE)
    records = [rows(0, "train", {"loss": [1.0, 2.0]}), value(0, "spare", {"x": 1})]
    with pytest.warns(UserWarning, match="beware"):
        page = streamvis_page(tmp_path / "page.py", records=records)
        page.sendl(1, "train", {"loss": 3.0})
    found = diagnosed(page)
    assert found["rows"] == 3 and found["values"] == 1 and found["bytes"] > 100 and 0 <= found["lag_s"] < 60
    assert found["update"]["count"] >= 2 and found["init_s"] > 0
    assert found["update"]["slowest_s"] >= found["update"]["median_s"] > 0
    assert (found["unread"], found["absent"]) == (["spare"], ["misspelt"])
    assert [line.partition(" ")[2] for line in found["log"] if "mine" in line or "so many" in line][:2] == [
        "warning: so many rows: 2",
        "warning: so many rows: 1",
    ]
    assert any("beware" in line for line in found["log"])
    assert any(line.startswith("EMPTY_LAYOUT") for line in found["warnings"])


def test_what_other_code_logs_is_not_in_the_log_of_a_page():
    mine, other = PageLog(), PageLog()
    with mine.current():
        logging.getLogger("any").warning("within")
    logging.getLogger("any").warning("outside")
    assert [line[9:] for line in mine.lines] == ["warning: within"] and other.lines == []


@pytest.mark.parametrize("is_live", [True, False])
def test_a_source_that_grows_is_named_unless_it_is_live(is_live):
    doc, rows_ = Document(), {"step": range(30_000)}
    source = live_source("train", columns=["loss"]) if is_live else ColumnDataSource(name="train")
    source.data = rows_
    plot = figure()
    plot.line("step", "step", source=source)
    doc.add_root(plot)
    assert [reason.startswith("The source 'train' holds 30,000 rows") for reason in reasons(doc)] == [] if is_live else [True]


def test_many_figures_are_named(monkeypatch):
    monkeypatch.setattr("streamvis.page.diagnosis._MANY_FIGURES", 1)
    doc = Document()
    for _ in range(2):
        doc.add_root(figure())
    assert reasons(doc)[0].startswith("The page has 2 figures")


def test_a_line_whose_arguments_do_not_fit_raises_nothing_into_the_code_that_logs_it(monkeypatch):
    monkeypatch.setattr(logging, "raiseExceptions", False)
    log, logger = PageLog(), logging.getLogger("unfit")
    monkeypatch.setattr(logger, "handlers", [one for one in logging.getLogger().handlers if type(one).__name__ == "_Listener"])
    monkeypatch.setattr(logger, "propagate", False)
    with log.current():
        logger.warning("loss %d", None)
        logger.warning("loss %d", 3)
    assert [line[9:] for line in log.lines] == ["warning: loss 3"]


ALONE = """
import logging
from streamvis.page.diagnosis import PageLog
PageLog()
logging.getLogger("alone").info("too quiet")
logging.getLogger("alone").warning("beware")
logging.getLogger("heard").addHandler(logging.NullHandler())
logging.getLogger("heard").warning("taken by another handler")
"""


def test_warnings_reach_stderr_where_no_one_else_takes_them():
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, check=True)
    assert done.stderr == "beware\n"
