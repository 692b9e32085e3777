"""A page script that hangs is noticed, and takes no other script's pages along."""

from __future__ import annotations

import re
import sys

from streamvis import Client
from support.conditions import wait_until

PAGE = """
from bokeh.models import ColumnDataSource

app = "hanging"

def init_page(doc, config):
    doc.add_root(ColumnDataSource({"x": []}, name="main_plot"))

def update_page(doc, new_data):
    if "main" in new_data:
        doc.get_model_by_name("main_plot").stream(new_data["main"])
"""


def test_a_script_that_hangs_is_held_back_and_other_pages_go_on(tmp_path, start_service, open_page):
    good, bad = tmp_path / "good.py", tmp_path / "bad.py"
    good.write_text(PAGE)
    bad.write_text(PAGE + '    if "boom" in new_data:\n        while True:\n            pass\n')
    command = [sys.executable, "-m", "streamvis.cli", "serve", good, bad, "--data", tmp_path / "data", "--rest-port", "0"]
    served = start_service(
        [*command, "--no-browser"], ready=r"Open (?P<url>http://[^:]+:(?P<port>\d+))", env={"STREAMVIS_HANG_S": "2"}, is_warm=True
    )
    url = served.wait_for_line(r"Producers send to (\S+)\.")[1]
    with Client(url, "hanging") as client:
        client.init()
        client.sendl(0, "main", {"x": 0})
        client.flush()
        tabs = {"good": open_page(f"{served.url}/view/good"), "bad": open_page(f"{served.url}/bad")}
        for tab in tabs.values():
            tab.expect_errors()
            tab.wait_for_source("main_plot", lambda columns: columns["x"] == [0])
        client.send(1, "boom", {"x": [1]})
        served.wait_for_line(r"The page server ended .* started again", within_s=30)
        client.sendl(2, "main", {"x": 2})
        client.flush()
        tabs["good"].wait_for_source("main_plot", lambda columns: columns["x"] == [0, 2], within_s=30)
        told = "document.querySelector('#streamvis-notices')?.shadowRoot.textContent ?? ''"
        wait_until(lambda: "bad.py hung" in tabs["bad"].in_page(told), within_s=30, pause=tabs["bad"]._pause_s)
        assert re.search(rf'File "{bad}", line 1\d in update_page', tabs["bad"].in_page(told))
        for step in range(3, 6):
            client.sendl(step, "main", {"x": step})
            client.flush()
            tabs["good"].wait_for_source("main_plot", lambda columns, step=step: columns["x"][-1] == step)
        assert served.output().count("started again") == 1
        # The shell around the page that hung goes on.
        tabs["bad"].page.get_by_label("Page", exact=True).select_option("good")
        tabs["bad"].wait_for_source("main_plot", lambda columns: columns["x"] == [0, 2, 3, 4, 5])
