"""Requests that no honest client sends: what is in their heads and bodies leads neither past a check nor to much work."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import re
import socket
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClosedError, websocket_connect

from streamvis import Client
from streamvis.transport import Transport
from support.conditions import wait_until

PAGE = """
from bokeh.models import ColumnDataSource

def init_page(doc, config):
    doc.title = config["title"]
    doc.add_root(ColumnDataSource({"x": []}, name="main_plot"))

def update_page(doc, new_data):
    pass
"""


@pytest.fixture
def endpoint(shared_endpoint):
    return shared_endpoint


@pytest.fixture(scope="module")
def pages(share_pages):
    return share_pages(shown=PAGE)


def runs_of_apps(endpoint):
    """How many runs each app has."""
    return {app["name"]: app["runs"] for app in json.loads(asked(endpoint.url).body)["apps"]}


def said(server, head, body=b""):
    """All that is answered to the head, in which PORT is the server's, until the connection closes or nothing comes."""
    with socket.create_connection(("127.0.0.1", int(server.port))) as connection:
        connection.settimeout(1)
        content = b""
        try:
            connection.sendall(head.replace("PORT", str(server.port)).replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
            while part := connection.recv(2**16):
                content += part
        except OSError:
            pass
    return content


def statuses(content):
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+)", content)]


def asked(url, method="GET", where="/api/v1/apps", body=None, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return Transport(url).request(method, where, body=body, headers=headers)


@pytest.mark.parametrize(
    "hosts",
    [
        "Host: localhost:PORT\nHost: evil.example",
        "Host: evil.example\nHost: localhost:PORT",
        "Host: localhost:PORT, evil.example",
        "Host: localhost:1@evil.example",
        "Host: localhost:x",
        "Host: [::1].evil.example",
        "Host: [::1]evil.example:80",
        "Host: 127.0.0.1.evil.example.",
        "Host: evil.example#.localhost",
        "Host: evil.example/.localhost",
        "Host: EVIL.localhost.example:PORT",
        "X-Forwarded-Host: localhost",
    ],
)
def test_a_host_header_that_is_not_one_known_name_is_refused(hosts, endpoint, pages):
    for server, path in ((endpoint, "/api/v1/apps"), (pages, "/shown"), (pages, "/static/js/bokeh.min.js")):
        for target in (path, f"http://localhost:PORT{path}"):  # the target says nothing of what a browser was told
            found = statuses(said(server, f"GET {target} HTTP/1.1\n{hosts}\nConnection: close"))
            assert found in ([400], [421]), (target, found)


def test_known_names_are_known_in_every_form(endpoint, pages):
    for host in ("LOCALHOST.:PORT", "127.0.0.1.:PORT", "[::1]", "[::1]:PORT", "a.b.localhost:"):
        for server, path in ((endpoint, "/api/v1/apps"), (pages, "/shown")):
            assert statuses(said(server, f"GET {path} HTTP/1.1\nHost: {host}\nConnection: close")) == [200], host


def test_who_is_not_known_by_that_name_is_told_what_to_do(endpoint, pages):
    assert b"--allow-host NAME" in asked(endpoint.url, Host="box.example").body
    assert b"--allow-host box.example\n" in asked(pages.url, where="/shown", Host="box.example:81").body
    assert b"--allow-host box.example:8443\n" in asked(pages.url, where="/shown", Origin="http://box.example:8443").body


@pytest.mark.parametrize(
    "lengths",
    [
        "Content-Length: 4\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\nContent-Length: 4",
        "Content-Length: 4\nContent-Length: 5",
        "Content-Length: +4",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding : chunked",
    ],
)
def test_a_request_whose_end_can_be_seen_in_two_places_is_refused_and_none_follows_it(lengths, endpoint, pages):
    before = runs_of_apps(endpoint)
    second = "POST /api/v1/runs HTTP/1.1\nHost: localhost:PORT\nContent-Length: 11\n\n".replace("\n", "\r\n")
    for server in (endpoint, pages):
        inner = b"0\r\n\r\n" + second.replace("PORT", str(server.port)).encode() + b'{"app":"a"}'
        content = said(server, f"POST /api/v1/runs HTTP/1.1\nHost: localhost:PORT\n{lengths}", inner)
        assert statuses(content) == [400], content
    assert runs_of_apps(endpoint) == before


def test_a_compressed_body_is_refused_before_it_is_unpacked(endpoint):
    bomb = gzip.compress(b" " * 2**24 + b'{"app":"a"}')
    for where in ("/api/v1/runs", "/api/v1/runs/r/batches", "/api/v1/runs/r/finish"):
        for coding in ("gzip", "deflate", "br", "gzip, identity"):
            response = asked(endpoint.url, "POST", where, bomb, Content_Encoding=coding, Content_Type="application/json")
            assert (response.status, json.loads(response.body)["error"]["code"]) == (415, "unsupported_media_type")
    assert asked(endpoint.url, "POST", "/api/v1/runs", b'{"app":"a"}', Content_Encoding="identity").status == 201


def test_a_question_for_too_much_is_refused_with_a_reason(endpoint):
    assert asked(endpoint.url, "POST", "/api/v1/runs", b'{"app":"a","run":"asked"}').status == 201
    long = "x" * 1001
    for question in (
        "rows?key=k&limit=1000001",
        "history?key=k&buckets=100001",
        "tail?max_bytes=268435457",
        "tail?wait=26",
        "tail?wait=inf",
        f"value?key={long}",
        f"history?key=k&x={long}",
    ):
        response = asked(endpoint.url, where=f"/api/v1/runs/asked/{question}")
        assert (response.status, json.loads(response.body)["error"]["code"]) == (422, "invalid_arguments"), question
    for many in ("rows?key=k&columns=", "tail?exclude="):
        name = many.rpartition("?")[2].rpartition("&")[2]
        for count, allowed in ((3000, (200, 404)), (30_000, (400, 431))):
            where = f"/api/v1/runs/asked/{many}x" + f"&{name}x" * count
            head = f"GET {where} HTTP/1.1\nHost: localhost:PORT\nConnection: close"
            assert statuses(said(endpoint, head))[0] in allowed, (many, count)
    assert asked(endpoint.url).status == 200


def test_json_nested_without_end_is_refused(endpoint):
    before = runs_of_apps(endpoint)
    nested = b'{"app":"a","config":' + b'{"a":' * 10**5 + b"1" + b"}" * (10**5 + 1)
    for body in (b"[" * 10**6, nested, b'{"app":' + b"9" * 10**6 + b"}"):
        assert asked(endpoint.url, "POST", "/api/v1/runs", body).status == 422
    assert runs_of_apps(endpoint) == before


def test_a_page_server_takes_no_large_messages_and_unpacks_none(endpoint, pages):
    with Client(endpoint.url, "shown") as client:
        client.init({"title": "t"})
        client.flush()
    token = re.search(r'"token":"([^"]+)"', asked(pages.url, where="/shown").body.decode())[1]

    async def send(size):
        url = f"{pages.url.replace('http', 'ws', 1)}/shown/ws"
        request = HTTPRequest(url, headers={"Sec-WebSocket-Extensions": "permessage-deflate"})
        connection = await websocket_connect(request, subprotocols=["bokeh", token], compression_options={})
        assert "Sec-WebSocket-Extensions" not in connection.headers
        assert await asyncio.wait_for(connection.read_message(), 10)  # the page's greeting
        with contextlib.suppress(WebSocketClosedError):  # it is closed before all is sent
            await connection.write_message(" " * size)
        while await asyncio.wait_for(connection.read_message(), 3) is not None:
            pass
        return connection.close_code

    with pytest.raises(TimeoutError):  # a small one is passed over, and the connection stays
        asyncio.run(send(1))
    assert asyncio.run(send(21 * 2**20)) in (None, 1006, 1009)
    assert asked(pages.url, where="/shown").status == 200


# In a browser


EVIL = "\"'></title></script><img src=x onerror=window.hacked=1><script>window.hacked=1</script>"
QUOTED = "%22%27%3E%3C/title%3E%3C/script%3E%3Cimg%20src=x%20onerror=window.hacked=1%3E%3Cscript%3Ewindow.hacked=1%3C/script%3E"


def test_no_address_and_no_title_becomes_html(endpoint, pages, open_page):
    with Client(endpoint.url, EVIL) as client:
        run = client.init({"title": EVIL}, name=EVIL)
        client.send(0, EVIL, {EVIL: 1})
        client.flush()
        tab = open_page(f"{pages.url}/shown?app={QUOTED}")
        tab.expect_errors()
        wait_until(lambda: tab.page.title() == EVIL)
        addresses = [
            f"{pages.url}/shown?app=other{QUOTED}",  # waits, with the name of the app as its title
            f"{pages.url}/shown?run={QUOTED}",
            f"{pages.url}/shown?bokeh-session-id={QUOTED}",
            f"{pages.url}/shown?bokeh-token={QUOTED}",
            f"{pages.url}/shown/autoload.js?bokeh-autoload-element={QUOTED}&bokeh-app-path={QUOTED}",
            f"{pages.url}/{QUOTED}",
            f"{pages.root}/static/{QUOTED}",
            f"{pages.root}/?x={QUOTED}",
            f"{pages.root}/shown?app={QUOTED}&run={QUOTED}&list.find={QUOTED}",
            f"{endpoint.url}/{QUOTED}",
            f"{endpoint.url}/docs?x={QUOTED}#{QUOTED}",
            f"{endpoint.url}/redoc?x={QUOTED}",
            f"{endpoint.url}/api/v1/runs?app={QUOTED}",
            f"{endpoint.url}/api/v1/runs/{run}",
            f"{endpoint.url}/api/v1/runs/{run}/rows?key={QUOTED}",
            f"{endpoint.url}/api/v1/runs/{run}/value?key={QUOTED}",
            f"{endpoint.url}/api/v1/runs/{run}/tail?after={QUOTED}",
        ]
        for address in addresses:
            tab.page.goto(address)
            tab.page.wait_for_timeout(100)
            assert tab.evaluate("window.hacked") is None, address
            assert tab.evaluate("document.querySelectorAll('img[src=x]').length") == 0, address


TRIES = """
async ([rest, pages]) => {
    const said = (what) => what.then((answer) => `${answer.type} ${answer.status}`, () => "refused")
    const loaded = (kind, src) => new Promise((done) => {
        const ends = {onload: () => done("loaded"), onerror: () => done("refused")}
        const node = Object.assign(document.createElement(kind), {src, ...ends})
        document.body.append(node)
    })
    const post = {method: "POST", body: '{"app": "stolen"}'}
    const form = Object.assign(document.createElement("form"), {method: "post", action: `${rest}/api/v1/runs`, target: "f"})
    form.enctype = "text/plain"
    form.append(Object.assign(document.createElement("input"), {name: '{"app":"stolen","x":"', value: '"}'}))
    document.body.append(Object.assign(document.createElement("iframe"), {name: "f"}), form)
    form.submit()
    return {
        read: await said(fetch(`${rest}/api/v1/apps`)),
        page: await said(fetch(`${pages}/shown`, {credentials: "include"})),
        json: await said(fetch(`${rest}/api/v1/runs`, {...post, headers: {"Content-Type": "application/json"}})),
        remove: await said(fetch(`${rest}/api/v1/runs/r`, {method: "DELETE"})),
        simple: await said(fetch(`${rest}/api/v1/runs`, {...post, mode: "no-cors"})),
        beacon: navigator.sendBeacon(`${rest}/api/v1/runs`, '{"app": "stolen"}'),
        script: await loaded("script", `${pages}/shown/autoload.js?bokeh-autoload-element=x`),
        json_script: await loaded("script", `${rest}/api/v1/apps`),
        image: await loaded("img", `${rest}/api/v1/apps`),
        socket: await new Promise((done) => {
            const socket = new WebSocket(`${pages.replace("http", "ws")}/shown/ws`, ["bokeh", "x"])
            socket.onopen = () => done("opened")
            socket.onerror = () => done("refused")
        }),
    }
}
"""


def test_a_browser_on_another_port_and_on_another_site_reads_and_writes_nothing(endpoint, pages, open_page, tmp_path):
    with Client(endpoint.url, "shown") as client:
        client.init({"title": "t"}, run="r")
        client.flush()
    before = runs_of_apps(endpoint)
    site = tmp_path / "site"
    site.mkdir()
    (site / "index.html").write_text("<body>")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        for host in ("127.0.0.1", "localhost"):
            tab = open_page(f"http://{host}:{server.server_port}/")
            tab.expect_errors()
            found = tab.evaluate(TRIES, [endpoint.url, pages.url])
            assert found.pop("simple") in ("opaque 0", "refused") and found.pop("beacon") in (True, False)
            assert set(found.values()) == {"refused"}, found
            tab.page.wait_for_timeout(200)
    finally:
        server.shutdown()
        server.server_close()
    assert runs_of_apps(endpoint) == before and asked(endpoint.url, where="/api/v1/runs/r").status == 200
