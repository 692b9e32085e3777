"""Notebooks that are executed for real: their frame in a browser, through Jupyter's proxy, and what a killed kernel leaves."""

from __future__ import annotations

import json
import os
import re
import sys
from importlib.metadata import entry_points
from urllib.parse import urlsplit

import psutil
import pytest

import streamvis
from streamvis import notebook
from streamvis.commands.notebook import proxied
from streamvis.transport import Transport
from support.conditions import wait_until
from support.processes import is_gone
from support.proxies import free_port

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

CELLS = [
    "%load_ext streamvis",
    "import streamvis; run = streamvis.run('notebook')\nfor i in range(10): run.log({'train/loss': 1 / (i + 1)})",
    "run.show(height=333)",
    "run",
]
POINTS = """() => Math.max(0, ...(window.Bokeh?.documents ?? []).flatMap(doc => [...doc._all_models.values()])
    .map(model => model.data?.loss?.length ?? model.data?.get?.("loss")?.length ?? 0))"""


@pytest.fixture
def open_kernel(tmp_path, monkeypatch):
    """`open_kernel()`: a client with a running kernel, whose data go to the test's folder; it is ended after the test."""
    monkeypatch.setenv("STREAMVIS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("STREAMVIS_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    # Each process of the tests collects this file, and importing them takes a second, and three with the one left out.
    monkeypatch.setitem(sys.modules, "rfc3987_syntax", None)
    import nbformat
    from jupyter_core.utils import run_sync
    from nbclient import NotebookClient

    opened = []

    def start():
        cells = [nbformat.v4.new_code_cell(cell) for cell in CELLS]
        client = NotebookClient(nbformat.v4.new_notebook(cells=cells), timeout=60, kernel_name="python3")
        client.create_kernel_manager()
        client.start_new_kernel()
        client.start_new_kernel_client()
        opened.append(client)
        return client

    yield start
    for client in opened:
        client.kc.stop_channels()
        run_sync(client.km.shutdown_kernel)(now=True)


def execute(client):
    """The HTML that each cell shows, by the cell's place."""
    shown = {}
    for i, cell in enumerate(client.nb.cells):
        client.execute_cell(cell, i)
        found = [out["data"]["text/html"] for out in cell.outputs if "text/html" in out.get("data", {})]
        assert len(found) <= 1
        shown |= {i: found[0]} if found else {}
    return shown


def servers_of(client):
    """What the kernel has started: the process that watches, the endpoint, and the page server."""
    return {one.pid for one in psutil.Process(client.km.provisioner.pid).children(recursive=True)}


def test_a_notebook_shows_its_run_and_running_it_again_starts_nothing_and_a_killed_kernel_leaves_nothing(
    open_kernel, start_jupyter, request, tmp_path, monkeypatch
):
    jupyter = start_jupyter("/user/me/", is_remote=True)
    # This test stands for the Jupyter server that starts the kernel; the one that runs has the proxy.
    (told,) = (tmp_path / "jupyter" / "runtime").glob("jpserver-*.json")
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    (tmp_path / "runtime").mkdir()
    (tmp_path / "runtime" / f"jpserver-{os.getpid()}.json").write_text(told.read_text())
    client = open_kernel()

    shown = execute(client)
    assert set(shown) == {2, 3} and "height: 333px" in shown[2] and "height: 500px" in shown[3]
    (address,) = {re.search(r'src="([^"]+)"', text)[1] for text in shown.values()}
    assert re.match(r"/user/me/proxy/\d+/view/runs\?run=", address)
    servers = servers_of(client)
    assert len(servers) == 3

    again = execute(client)
    assert servers_of(client) == servers
    assert again[2] != shown[2]  # another run, on the same page server
    assert address.partition("?")[0] in again[2]

    # Jupyter shows the run list too, under any host name, with a page server of its own.
    parts = urlsplit(jupyter)
    transport = Transport(f"{parts.scheme}://{parts.netloc}")
    listed = transport.request("GET", f"{parts.path}streamvis/", headers={"Host": "hub.example.org"}, timeout_s=40)
    assert listed.status == 200 and b"data-streamvis-shell" in listed.body

    # The browser's event loop and the kernels' do not go together: only now.
    tab = request.getfixturevalue("open_page")(f"{jupyter}not-there")
    tab.expect_errors()  # the page for what is not there
    tab.page.set_content(f"<h2>A notebook</h2>{again[3]}")
    find = lambda: [one for one in tab.page.frames if "/view/runs" in one.url]  # noqa: E731
    (frame,) = wait_until(find, within_s=20, what="the frame", pause=tab._pause_s)
    wait_until(lambda: frame.evaluate(POINTS) == 10, within_s=40, what="ten points in the frame", pause=tab._pause_s)

    psutil.Process(client.km.provisioner.pid).kill()
    wait_until(lambda: all(is_gone(pid) for pid in servers), within_s=20, what="the servers to end with the kernel")
    with streamvis.open(tmp_path / "data") as reader:
        runs = reader.runs("notebook")
        assert [run.rows("train")["loss"].to_pylist() for run in runs] == [[1 / (i + 1) for i in range(10)]] * 2


def test_jupyter_finds_what_it_can_show():
    (found,) = [one for one in entry_points(group="jupyter_serverproxy_servers") if one.name == "streamvis"]
    assert found.load() is proxied and "{port}" in proxied()["command"]


@pytest.mark.parametrize("environment", [{}, {"VSCODE_PID": "1"}])
def test_without_jupyters_proxy_the_frame_has_the_page_servers_own_address(environment, monkeypatch, tmp_path):
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    if environment:
        file = tmp_path / f"jpserver-{os.getppid()}.json"
        file.write_text(json.dumps({"url": "http://127.0.0.1:1/lab/", "base_url": "/lab/", "token": ""}))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert notebook._as_seen_from_browser(urlsplit("http://127.0.0.1:5006/runs")) == "http://127.0.0.1:5006"
    monkeypatch.setenv("STREAMVIS_PAGES_URL", "https://hub.example.org/viz/")
    assert notebook._as_seen_from_browser(urlsplit("http://127.0.0.1:5006/runs")) == "https://hub.example.org/viz"
