"""Pages in a real browser, with the real programs around them, some of them killed."""

from __future__ import annotations

import socket
import sys
import textwrap
from pathlib import Path

import numpy as np
import psutil
import pytest

from streamvis import Client
from support.conditions import wait_until
from support.processes import PAGES_READY

EXAMPLES = Path(__file__).parents[2] / "examples" / "quickstart"
LINES = """
from bokeh.models import ColumnDataSource
from bokeh.plotting import figure
app = "lines"
def init_page(doc, config):
    source = ColumnDataSource({c: [] for c in ["x", *config["ycolumns"]]}, name="main_plot")
    plot = figure()
    for y in config["ycolumns"]:
        plot.line("x", y, source=source)
    doc.add_root(plot)
def update_page(doc, new_data):
    if "main_plot" in new_data:
        doc.get_model_by_name("main_plot").stream(new_data["main_plot"])
"""
PROGRAMS = ["producer", "page", "endpoint"]

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


# Holds less for a session that does not take its data than it otherwise would.
SMALL_INBOXES = """
import sys
from streamvis.page.feeds.inbox import Inbox
Inbox.__init__.__kwdefaults__["limit_bytes"] = 2 * 2**20
from streamvis.cli import main
sys.argv[1:] = ["page", *sys.argv[1:]]
sys.exit(main())
"""


def notices(tab) -> str:
    """All that the page says besides its data."""
    return tab.evaluate("document.querySelector('#streamvis-notices')?.shadowRoot?.textContent ?? ''")


def send(client, first, last):
    """Rows that a browser can hold exactly, some of them whole and some broken numbers."""
    for step in range(first, last):
        client.sendl(step, "main_plot", {"x": step, "y": step if step < 5 else step / 4})


def expect_rows(tab, count):
    """The browser's own numbers, one by one."""

    def equal():
        columns = tab.source("main_plot")
        assert columns["x"] == list(range(count))
        assert columns["y"] == [step if step < 5 else step / 4 for step in range(count)]
        return True

    wait_until(equal, within_s=40, what=f"the {count} rows that were sent")


def test_a_page_opened_late_gets_all_and_survives_every_kill(tmp_path, start_endpoint, start_pages, open_page):
    page = tmp_path / "lines.py"
    page.write_text(LINES)
    endpoint = start_endpoint()
    pages = start_pages(page, url=endpoint.url)
    with Client(endpoint.url, "lines") as client:
        client.init({"ycolumns": ["y"]})
        send(client, 0, 3)
        assert client.flush(timeout_s=60)
        tab = open_page(f"{pages.url}/lines")
        tab.expect_errors()
        expect_rows(tab, 3)
        send(client, 3, 100)
        expect_rows(tab, 100)
        endpoint.kill()
        wait_until(lambda: "Out of date" in notices(tab), within_s=20, what="the page says that it is out of date")
        send(client, 100, 200)
        endpoint.restart()
        expect_rows(tab, 200)
        wait_until(lambda: "Out of date" not in notices(tab), within_s=20, what="the notice goes away")
        pages.kill()
        send(client, 200, 300)
        pages.restart()
        expect_rows(tab, 300)
        client.clear()
        send(client, 0, 7)
        expect_rows(tab, 7)
        client.init({"ycolumns": ["y"]}, run=client.run, resume_at=4)
        send(client, 4, 6)
        expect_rows(tab, 6)
        client.init({"ycolumns": ["y"]})
        send(client, 0, 9)
        expect_rows(tab, 9)


def test_an_open_page_follows_a_restore(tmp_path, start_endpoint, start_pages, start_streamvis, open_page):
    page = tmp_path / "lines.py"
    page.write_text(LINES)
    endpoint = start_endpoint(tmp_path / "data")
    pages = start_pages(page, url=endpoint.url)

    def streamvis(*words):
        program = start_streamvis(*words, "--data", tmp_path / "data")
        assert program.wait() == 0, program.output()

    with Client(endpoint.url, "lines") as client:
        client.init({"ycolumns": ["y"]})
        send(client, 0, 7)
        assert client.flush(timeout_s=60)
        streamvis("backup", str(tmp_path / "backup"))
        send(client, 7, 20)
        tab = open_page(f"{pages.url}/lines")
        expect_rows(tab, 20)
        streamvis("restore", str(tmp_path / "backup"), "--yes")
        expect_rows(tab, 7)
        send(client, 7, 9)
        expect_rows(tab, 9)


def test_errors_of_an_author_stay_on_their_page(tmp_path, start_endpoint, start_pages, open_page):
    (tmp_path / "lines.py").write_text(LINES)
    bad_init = 'app = "lines"\ndef init_page(doc, config):\n    1 / 0\ndef update_page(doc, n): pass\n'
    (tmp_path / "bad_init.py").write_text(bad_init)
    (tmp_path / "bad_update.py").write_text(LINES.replace('if "main_plot"', 'raise KeyError("<b>oops</b>")\n    if "main_plot"'))
    endpoint = start_endpoint()
    pages = start_pages(*(tmp_path / f"{name}.py" for name in ("lines", "bad_init", "bad_update")), url=endpoint.url)
    with Client(endpoint.url, "lines") as client:
        client.init({"ycolumns": ["y"]})
        send(client, 0, 10)
        bad_init, bad_update = open_page(f"{pages.url}/bad_init"), open_page(f"{pages.url}/bad_update")
        good = open_page(f"{pages.url}/lines")
        wait_until(lambda: "ZeroDivisionError" in notices(bad_init), within_s=20, what="the traceback of init_page")
        wait_until(lambda: "<b>oops</b>" in notices(bad_update), within_s=20, what="the traceback of update_page, as text")
        assert "line 3" in notices(bad_init)
        send(client, 10, 20)
        expect_rows(good, 20)
    assert pages.output().count("ZeroDivisionError: division by zero") == 1


def test_a_page_that_is_open_first_says_what_it_waits_for(tmp_path, start_endpoint, start_pages, open_page):
    page = tmp_path / "lines.py"
    page.write_text(LINES)
    endpoint = start_endpoint()
    pages = start_pages(page, url=endpoint.url)
    tab = open_page(f"{pages.url}/lines")
    wait_until(lambda: "Waiting for a run of the app “lines”" in notices(tab), within_s=20, what="the notice")
    with Client(endpoint.url, "lines") as client:
        client.init({"ycolumns": ["y"]})
        send(client, 0, 10)
        expect_rows(tab, 10)


# Each program starts before each other one in one of them, and after it in the other.
@pytest.mark.parametrize("order", [PROGRAMS, PROGRAMS[::-1]], ids="-".join)
def test_the_quickstart_draws_three_growing_lines_in_any_order(order, tmp_path, start_program, open_page):
    port = free_port()
    where = ["localhost", str(port), "quick"]
    commands = {
        "endpoint": [sys.executable, "rest-server.py", str(port)],
        "producer": [sys.executable, "my-app-client.py", *where, "--pace-s", "0.05"],
        "page": [sys.executable, "-m", "bokeh", "serve", "my-app-server.py", "--port", "0", "--args", *where],
    }
    started = {}
    for name in order:
        settings = {"STREAMVIS_DATA": str(tmp_path / "data")}
        started[name] = start_program(commands[name], cwd=EXAMPLES, env=settings, is_warm=True)
        if name == "page":
            found = started[name].wait_for_line(r"http://localhost:(\d+)/my-app-server")
            # 127.0.0.1 is an origin that `bokeh serve` alone refuses.
            tab = open_page(f"http://127.0.0.1:{found.group(1)}/my-app-server")
            tab.expect_errors()
    columns = tab.wait_for_source("main_plot", lambda columns: len(columns.get("y3", [])) > 10, within_s=40)
    count = len(columns["x"])
    tab.wait_for_source("main_plot", lambda columns: len(columns["y1"]) > count)


@pytest.mark.faults
def test_a_browser_that_stops_reading_costs_the_page_server_nothing(tmp_path, start_endpoint, start_service, open_page):
    page = tmp_path / "lines.py"
    page.write_text(LINES.replace('.stream(new_data["main_plot"])', '.stream(new_data["main_plot"], rollover=1000)'))
    endpoint = start_endpoint()
    command = [sys.executable, "-c", SMALL_INBOXES, page, "--url", endpoint.url]
    pages = start_service(command, ready=PAGES_READY, is_warm=True)
    rows, first_calls, calls = 10_000, 100, 400
    with Client(endpoint.url, "lines") as client:
        client.init({"ycolumns": ["y"]})
        tab = open_page(f"{pages.url}/view/lines")

        def send_rows(first, last):
            for step in range(first, last):
                x = np.arange(step * rows, (step + 1) * rows, dtype=np.float64)
                client.sendl(step, "main_plot", {"x": x, "y": x / 4})
                if step % 100 == 99:
                    assert client.flush(timeout_s=60)
            assert client.flush(timeout_s=60)

        def expect_end(calls):
            wanted = [float(x) for x in range(calls * rows - 1000, calls * rows)]
            columns = tab.wait_for_source("main_plot", lambda columns: columns.get("x") == wanted, within_s=90)
            assert columns["y"] == [x / 4 for x in wanted]

        # What the page server needs at work, the allocator's reserves included, is taken before it is measured.
        send_rows(0, first_calls)
        expect_end(first_calls)
        server = psutil.Process(pages.pid)
        before = server.memory_info().rss
        browser = [one for one in psutil.Process().children(recursive=True) if "chrom" in one.name()]
        assert browser
        for process in browser:
            process.suspend()
        try:
            send_rows(first_calls, calls)
            grown = server.memory_info().rss - before
        finally:
            for process in browser:
                process.resume()
        sent = (calls - first_calls) * rows * 4 * 8
        assert grown < 40 * 2**20 < sent / 2, f"the page server grew by {grown / 2**20:.0f} MiB while {sent / 2**20:.0f} came"
        expect_end(calls)


def test_a_page_says_when_its_producer_was_last_heard_of(tmp_path, start_endpoint, start_pages, open_page, monkeypatch):
    monkeypatch.setattr("streamvis.client.exchange._BEAT_S", 600.0)
    page = tmp_path / "lines.py"
    page.write_text(LINES + "    doc.title = new_data.run.state\n")
    endpoint = start_endpoint(args=["--vanish-after", "2"])
    pages = start_pages(page, url=endpoint.url)
    with Client(endpoint.url, "lines") as client:
        client.init({"ycolumns": ["y"]})
        send(client, 0, 3)
        tab = open_page(f"{pages.url}/lines")
        expect_rows(tab, 3)
        wait_until(lambda: "The producer was last heard of at" in notices(tab), within_s=20, what="the notice")
        wait_until(lambda: tab.evaluate("document.title") == "vanished", within_s=20, what="the state in new_data")
        send(client, 3, 6)
        expect_rows(tab, 6)
        wait_until(lambda: "last heard of" not in notices(tab), within_s=20, what="the notice goes away")
    wait_until(lambda: tab.evaluate("document.title") == "finished", within_s=20, what="the run's end")


def free_port() -> int:
    """A port that nobody listens on now: the quickstart's programs are told theirs."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_page_shows_what_a_killed_producer_left_and_how_much_it_dropped(
    tmp_path, start_program, start_streamvis, start_endpoint, start_pages, open_page
):
    source = """
        import threading
        from streamvis import Client
        client = Client(None, "lines", spool="spool", max_spool_bytes=100_000)
        print("run", client.init({"ycolumns": ["y"]}), flush=True)
        for step in range(40):
            client.sendl(step, "main_plot", {"x": step, "y": step if step < 5 else step / 4})
            client.flush()
        client.sendl(41, "main_plot", {"x": [1.0] * 10_000, "y": [1.0] * 10_000})
        client.flush()
        print("sent", flush=True)
        threading.Event().wait()
    """
    producer = start_program([sys.executable, "-c", textwrap.dedent(source)], cwd=tmp_path)
    run = producer.wait_for_line(r"run (\S+)")[1]
    producer.wait_for_line("sent")
    producer.kill()
    endpoint = start_endpoint()
    assert start_streamvis("sync", tmp_path / "spool", "--url", endpoint.url).wait() == 0
    page = tmp_path / "lines.py"
    page.write_text(LINES)
    tab = open_page(f"{start_pages(page, url=endpoint.url).url}/lines?run={run}")
    expect_rows(tab, 40)
    wait_until(lambda: "1 record of this run was dropped" in notices(tab), within_s=20, what="the notice")
