"""The page server over the data of producers that are wrong or hostile, seen without a browser."""

from __future__ import annotations

import json
import re
from html import escape
from urllib.parse import urljoin, urlsplit

import pytest

from streamvis import Client
from streamvis.transport import Transport
from support.sessions import OpenedPage

PAGE = "def init_page(doc, config):\n    raise ValueError(config['note'])\ndef update_page(doc, new_data):\n    pass\n"


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "noted.py"
    path.write_text(PAGE)
    return path


def test_each_page_opens_at_the_path_that_the_shell_is_told_whatever_its_file_is_called(start_endpoint, start_pages, tmp_path):
    names = ["page copy", "a+b", "100% (final)", "学習", "x.y", "a:b", "q?#&", "[0-9]*", "two\nlines", "ws", "static"]
    for name in names:
        (tmp_path / f"{name}.py").write_text("def init_page(doc, config): pass\ndef update_page(doc, new_data): pass\n")
    pages = start_pages(*(tmp_path / f"{name}.py" for name in names), url=start_endpoint().url)
    told = json.loads(Transport(pages.root).request("GET", "/shell/pages").body)["pages"]
    assert [page["name"] for page in told] == [*names, "runs"]
    for page in told:
        shell = Transport(pages.root).request("GET", page["path"])
        assert shell.status == 200 and f'data-path="{escape(page["path"])}"' in shell.body.decode(), page
        answer = Transport(pages.url).request("GET", page["path"])
        assert answer.status == 200 and b"Bokeh" in answer.body, page
        (script,) = set(re.findall(r'src="([^"]+/bokeh\.min\.js)', answer.body.decode()))
        where = urlsplit(urljoin(f"{pages.url}{page['path']}", script)).path
        assert Transport(pages.root).request("HEAD", where).status == 200


def test_the_shell_hears_of_a_new_run_and_of_an_edited_script(start_endpoint, start_pages, page):
    endpoint = start_endpoint()
    pages = start_pages(page, url=endpoint.url)

    def told(where, **params):
        return json.loads(Transport(pages.root).request("GET", f"/shell/{where}", params=params, timeout_s=40).body)

    def head(after=None):
        return told("tail", app="noted", after=after)

    def many():
        return {one["name"]: one["many"] for one in told("pages")["pages"]}["noted"]

    first = head()
    assert first["newest"] is None and not many()
    with Client(endpoint.url, "noted") as client:
        run = client.init()
        assert head(first["cursor"])["newest"] == run
        opened = OpenedPage(f"{pages.url}/noted")
        opened.wait_for(lambda: opened.link.edited == 0, what="the page")
        page.write_text(PAGE.replace("config)", "config, runs)"))
        opened.wait_for(lambda: opened.link.edited == 1, what="the edit")
        assert many()
        opened.close()


def test_below_a_prefix_all_is_found_also_the_address_that_is_printed(start_endpoint, start_pages, page):
    pages = start_pages(page, url=start_endpoint().url, args=["--prefix", "/lab/viz"])
    root = pages.root.removesuffix("/lab/viz")
    assert root != pages.root
    found = {"/lab/viz/": 200, "/lab/viz/noted": 200, "/lab/viz/view/noted": 200, "/lab/viz/nothing": 404}
    found |= {"/": 200, "/noted": 200}
    for where, status in found.items():
        assert Transport(root).request("GET", where).status == status, where
    bare = Transport(root).request("GET", "/lab/viz", params={"a": "b"})
    assert (bare.status, bare.headers["location"]) == (302, "./viz/?a=b")


def test_a_script_for_a_page_of_ones_own_names_the_path_in_front(start_endpoint, start_pages, page):
    pages = start_pages(page, url=start_endpoint().url)
    for at, root in ((f"{pages.root}/lab/view/noted", f"{pages.root}/lab/"), ("", "/lab/")):
        asked = {"bokeh-autoload-element": "1", "bokeh-app-path": "/lab/view/noted", "bokeh-absolute-url": at or None}
        answer = Transport(pages.url).request("GET", "/noted/autoload.js", params=asked, headers={"X-Forwarded-Prefix": "/lab"})
        assert answer.status == 200
        assert set(re.findall(r'"([^"]*)static/js/bokeh\.min\.js', answer.body.decode())) == {root}


@pytest.mark.parametrize("time", [-9e11, -1e10, 2.6e11, 9.9e11])
def test_a_run_of_any_year_is_listed(start_endpoint, start_pages, page, time):
    endpoint = start_endpoint()
    order = {"app": "noted", "producer": "p", "number": 1, "records": [{"kind": "start", "config": {}, "time": time}]}
    sent = Transport(endpoint.url).request(
        "POST", "/api/v1/runs/far-away/batches", body=json.dumps(order).encode(), headers={"Content-Type": "application/json"}
    )
    assert sent.status == 200
    pages = start_pages(page, url=endpoint.url)
    answer = Transport(pages.root).request("GET", "/shell/runs", params={"app": "noted"})
    assert answer.status == 200 and [run["run"] for run in json.loads(answer.body)["runs"]] == ["far-away"]


def test_a_producer_s_text_in_an_exception_forges_no_line_of_the_log(start_endpoint, start_pages, page):
    endpoint = start_endpoint()
    forged = "2026-01-01 00:00:00,000 ERROR streamvis: the store is gone"
    with Client(endpoint.url, "noted") as client:
        client.init({"note": f"\x1b[2J\x1b]0;owned\x07 fine\r{forged}\n{forged}\u2028{forged}"})
        client.flush()
        pages = start_pages(page, url=endpoint.url)
        assert Transport(pages.url).request("GET", "/noted").status == 200
        said = pages.wait_for_line("ValueError: .*owned")[0] and pages.output()
    assert not re.search(r"^\d{4}-.*the store is gone", said, re.MULTILINE)
    assert all(character.isprintable() or character == "\n" for character in said)
    assert said.count("the store is gone") >= 3 and "\\x1b[2J" in said
