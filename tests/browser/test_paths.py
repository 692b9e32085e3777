"""Pages, their index and their WebSockets below any path and under any name, through the proxies that people have."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from streamvis import Client
from support.proxies import free_port

PAGE = """
from bokeh.models import ColumnDataSource
from bokeh.plotting import figure
app = "paths"
def init_page(doc, config):
    source = ColumnDataSource({"x": []}, name="main_plot")
    figure().line("x", "x", source=source)
    doc.add_root(source)
def update_page(doc, new_data):
    if "k" in new_data:
        doc.get_model_by_name("main_plot").stream({"x": new_data["k"]["x"]})
"""
PASSED_ON = """
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
"""
TOKEN = "token-of-the-viewers-1234567890"

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


@dataclass(frozen=True)
class Front:
    """What stands in front: the page server's own options, how to start it, which gives the address of its root, and whether the
    page server is told of the path."""

    options: Callable[[int], list[str]]
    start: Callable[..., str]
    tells: bool = True


FRONTS = {
    "nginx that removes the path": Front(
        lambda port: [],
        lambda port, nginx, jupyter: nginx(f"location /viz/ {{ proxy_pass http://127.0.0.1:{port}/; {PASSED_ON} }}") + "/viz/",
        tells=False,
    ),
    "nginx that keeps the path": Front(
        lambda port: ["--prefix", "lab/viz"],
        lambda port, nginx, jupyter: nginx(f"location /lab/ {{ proxy_pass http://127.0.0.1:{port}; {PASSED_ON} }}") + "/lab/viz/",
    ),
    "jupyter-server-proxy": Front(lambda port: [], lambda port, nginx, jupyter: jupyter("/user/me/") + f"proxy/{port}/"),
    "jupyter-server-proxy that keeps the path": Front(
        lambda port: ["--prefix", f"/user/me/proxy/absolute/{port}"],
        lambda port, nginx, jupyter: jupyter("/user/me/") + f"proxy/absolute/{port}/",
    ),
}


@pytest.fixture
def scripts(tmp_path):
    """Page scripts whose names need care in addresses."""
    paths = [tmp_path / f"{name}.py" for name in ("two words", "c++ 50% off", "größe.v2", "学習")]
    for path in paths:
        path.write_text(PAGE)
    return paths


@pytest.mark.parametrize("name", FRONTS)
def test_a_page_below_a_path_is_found_in_the_index_and_lives(
    name, scripts, shared_endpoint, start_pages, start_nginx, share_jupyter, open_page
):
    endpoint, port, front = shared_endpoint, free_port(), FRONTS[name]
    shown = scripts[list(FRONTS).index(name)]
    pages = start_pages(*scripts, url=endpoint.url, port=port, args=front.options(port), env={"STREAMVIS_PAGE_TOKEN": TOKEN})
    root = front.start(port, start_nginx, share_jupyter)
    with Client(endpoint.url, "paths") as client:
        client.init()
        client.sendl(0, "k", {"x": 0})
        client.flush()
        tab = open_page(f"{root}?token={TOKEN}")
        tab.expect_errors()  # while the page server is away
        assert tab.page.url == root
        tab.page.get_by_role("link", name=shown.stem, exact=True).first.click()
        tab.wait_for_source("main_plot", lambda columns: columns["x"] == [0])
        assert tab.page.url.startswith(root)
        client.sendl(1, "k", {"x": 1})
        tab.wait_for_source("main_plot", lambda columns: columns["x"] == [0, 1])
        assert not tab.errors
        pages.restart()
        client.sendl(2, "k", {"x": 2})
        tab.wait_for_source("main_plot", lambda columns: columns["x"] == [0, 1, 2], within_s=40)
        (cookie,) = [one for one in tab.page.context.cookies() if one["name"].startswith("streamvis-")]
        assert cookie["path"] == (urlsplit(root).path.rstrip("/") if front.tells else "/") and cookie["httpOnly"]


@pytest.mark.parametrize("path", ["/", "/viz/"])
def test_the_nginx_lines_of_the_docs_work_on_any_port(path, scripts, shared_endpoint, start_pages, start_nginx, open_page):
    documented = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
    blocks = re.findall(r"```nginx\n(.*?)```", documented, re.DOTALL)
    (lines,) = [block for block in blocks if block.startswith(f"location {path} {{")]
    pages = start_pages(scripts[0], url=shared_endpoint.url, env={"STREAMVIS_PAGE_TOKEN": TOKEN})
    address = start_nginx(lines.replace("127.0.0.1:5006", f"127.0.0.1:{pages.port}"))
    with Client(shared_endpoint.url, "paths") as client:
        client.init()
        client.sendl(0, "k", {"x": 7})
        client.flush()
        tab = open_page(f"{address}{path}two%20words?token={TOKEN}")
        tab.wait_for_source("main_plot", lambda columns: columns["x"] == [7])
        assert [one["path"] for one in tab.page.context.cookies()] == [path.rstrip("/") or "/"]
