"""Attacks on the endpoint and the page server, each tried against the real program."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import socket
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urljoin, urlsplit

import psutil
import pytest
import trustme
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.web import create_signed_value, decode_signed_value
from tornado.websocket import websocket_connect

from streamvis import Client
from streamvis.addresses.access import door_key, kept_token
from streamvis.errors import TokenRefused
from streamvis.transport import PROTOCOL_HEADER, Transport
from support.conditions import wait_until
from support.stored import Stored

WRITE, READ = "write-secret-1234567890", "read-secret-1234567890"

PAGE = """
from bokeh.models import ColumnDataSource, Div

def init_page(doc, config):
    doc.add_root(ColumnDataSource({"x": []}, name="main_plot"))

def update_page(doc, new_data):
    if "k" in new_data:
        doc.get_model_by_name("main_plot").stream({"x": new_data["k"]["x"]})
"""


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "shown.py"
    path.write_text(PAGE)
    return path


@pytest.fixture
def guarded(start_endpoint):
    """An endpoint with tokens."""
    return start_endpoint(args=["--token", WRITE, "--read-token", READ])


def ask(url, method="GET", where="/api/v1/apps", *, token=None, body=None, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None:
        headers = {"Content-Type": "application/json"} | headers
        body = json.dumps(body).encode()
    return Transport(url, token=token).request(method, where, body=body, headers=headers)


def code(response):
    return json.loads(response.body)["error"]["code"]


# Tokens of the endpoint


def test_without_the_token_nothing_is_told(guarded):
    for token in (None, "wrong", READ.upper(), WRITE[:-1]):
        for where in ("/api/v1/apps", "/api/v1/runs/x/tail", "/docs", "/openapi.json", "/nothing"):
            response = ask(guarded.url, where=where, token=token)
            assert (response.status, code(response)) == (401, "token_wrong" if token else "token_needed"), (token, where)
            assert response.headers["www-authenticate"] == "Bearer"
            assert response.headers[PROTOCOL_HEADER.lower()]
            assert WRITE not in response.body.decode() and READ not in response.body.decode()
    assert ask(guarded.url, where="/healthz").status == 200


def test_a_token_to_read_reads_and_writes_nothing(guarded):
    assert ask(guarded.url, "POST", "/api/v1/runs", token=WRITE, body={"app": "a", "run": "r"}).status == 201
    assert ask(guarded.url, token=READ).status == 200
    for method, where in [
        ("POST", "/api/v1/runs"),
        ("DELETE", "/api/v1/runs/r"),
        ("POST", "/api/v1/runs/r/clear"),
        ("PATCH", "/api/v1/runs/r"),
        ("POST", "/api/v1/runs/r/batches"),
        ("OPTIONS", "/api/v1/runs"),
    ]:
        response = ask(guarded.url, method, where, token=READ, body={"app": "a"})
        assert (response.status, code(response)) == (403, "may_only_read"), (method, where)
    assert [run["run"] for run in json.loads(ask(guarded.url, where="/api/v1/runs?app=a", token=READ).body)["runs"]] == ["r"]


def test_a_producer_with_the_token_sends_and_one_without_it_is_told(guarded):
    with Client(guarded.url, "app", token=WRITE) as client:
        client.init()
        client.sendl(0, "k", {"x": 1})
        assert client.flush()
    other = Client(guarded.url, "app", token="wrong-token-of-mine")
    with pytest.raises(TokenRefused) as refused:
        other.init()
    assert "wrong-token-of-mine" not in str(refused.value)
    other.close()


def test_where_others_can_connect_a_token_is_made_kept_and_asked_for(start_endpoint, tmp_path):
    data = tmp_path / "data"
    endpoint = start_endpoint(data, args=["--host", "0.0.0.0"])
    endpoint.wait_for_line("STREAMVIS_TOKEN")
    made = {name: (data / name).read_text() for name in ("token", "read-token")}
    assert len(set(made.values())) == 2 and all(len(token) >= 40 for token in made.values())
    assert all((data / name).stat().st_mode & 0o777 == 0o600 for name in made)
    assert ask(endpoint.url).status == 401
    with Client(endpoint.url, "app", token=made["token"]) as client:
        client.init()
        endpoint.kill()
        client.sendl(0, "k", {"x": 1})
        endpoint.restart()
        wait_until(lambda: client.flush())  # the same token still opens
    assert {name: (data / name).read_text() for name in made} == made
    assert not any(token in endpoint.output(all_starts=True) for token in made.values())


def test_a_token_file_that_others_may_read_is_refused(tmp_path, start_streamvis):
    data = tmp_path / "data"
    data.mkdir()
    (data / "token").write_text("x" * 40)
    os.chmod(data / "token", 0o644)
    program = start_streamvis("rest", "--data", data, "--host", "0.0.0.0", "--port", "0")
    assert program.wait() == 1
    assert "others may read the token" in program.output()


def test_programs_that_start_at_once_agree_on_one_token(tmp_path):
    with ThreadPoolExecutor(16) as pool:
        for i in range(20):
            told = list(pool.map(kept_token, [tmp_path / str(i)] * 16, ["token"] * 16))
            assert len(set(told)) == 1 and len(told[0]) >= 40
            assert [path.name for path in (tmp_path / str(i)).iterdir()] == ["token"]


def test_serve_hands_tokens_to_its_parts_unseen(start_service, page, tmp_path):
    command = [
        sys.executable,
        "-m",
        "streamvis.cli",
        "serve",
        page,
        "--data",
        tmp_path / "data",
        "--rest-port",
        "0",
        "--host",
        "0.0.0.0",
        "--no-browser",
    ]
    served = start_service(command, ready=r"Open (?P<url>http://[^:]+:(?P<port>\d+))/shown\?token=")
    opened = served.wait_for_line(r"Open (\S+) in a browser. Producers send to (\S+)\.")
    read = (tmp_path / "data" / "read-token").read_text()
    assert opened[1].endswith(f"?token={read}")
    assert ask(opened[2]).status == 401 and ask(opened[2], token=read).status == 200
    words = [word for process in served.children() for word in psutil.Process(process.pid).cmdline()]
    write = (tmp_path / "data" / "token").read_text()
    assert words and not any(read in word or write in word for word in words)
    # Who may write may open pages too; but the page server, which runs anybody's code, is not told the token.
    opening = ask(served.url, where=f"/shown?token={write}&run=a")
    assert opening.status == 302 and opening.headers["location"] == "./shown?run=a"
    assert ask(served.url, where="/shown", Cookie=opening.headers["set-cookie"].partition(";")[0]).status == 200
    assert ask(served.url, where=f"/shown?token={write[:-1]}").status == 401
    environments = [psutil.Process(process.pid).environ() for process in served.children()]
    (pages,) = [one for one in environments if one.get("STREAMVIS_PAGE_TOKEN")]
    assert not any(write in value for value in pages.values())


def test_nothing_listens_for_other_machines_unless_it_is_told_to(start_service, page, tmp_path):
    options = ["--data", tmp_path / "data", "--rest-port", "0", "--port", "0", "--no-browser"]
    command = [sys.executable, "-m", "streamvis.cli", "serve", page, *options]
    served = start_service(command, ready=r"Open (?P<url>http://[^:]+:(?P<port>\d+))/shown in a browser")
    connections = [one for process in served.children() for one in psutil.Process(process.pid).net_connections()]
    listening = [one.laddr.ip for one in connections if one.status == psutil.CONN_LISTEN]
    assert len(listening) >= 2 and set(listening) == {"127.0.0.1"}


# Pages of other sites


ORIGINS = [{"Origin": origin} for origin in ("https://evil.example", "null", "http://localhost:1", "http://[")]
FOREIGN = [*ORIGINS, *({"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"} for site in ("cross-site", "same-site"))]


def test_a_page_of_another_site_reads_and_writes_nothing_and_the_same_site_may(start_endpoint):
    endpoint = start_endpoint()
    for headers in FOREIGN:
        for method in ("POST", "GET"):
            where = "/api/v1/runs" if method == "POST" else "/api/v1/apps"
            response = ask(endpoint.url, method, where, body={"app": "a"} if method == "POST" else None, **headers)
            assert (response.status, code(response)) == (403, "foreign_origin"), (method, headers)
            assert not any(name.startswith("access-control") for name in response.headers)
    assert json.loads(ask(endpoint.url).body)["apps"] == []
    assert ask(endpoint.url, "POST", "/api/v1/runs", body={"app": "a"}, Origin=endpoint.url).status == 201


def test_a_page_of_another_site_gets_nothing_of_a_page_and_may_link_to_it_and_frame_it(start_endpoint, start_pages, page):
    pages = start_pages(page, url=start_endpoint().url)
    for headers in FOREIGN:
        for where in ("/", "/shown", "/shell/runs", "/view/shown", "/view/shown/autoload.js", "/static/js/bokeh.min.js"):
            assert ask(pages.root, where=where, **headers).status == 403, (where, headers)
    posted = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert ask(pages.root, "POST", "/shown", **posted).status == 403
    assert ask(pages.root, where="/shown", **posted).status == 200
    assert connected(pages.root, Origin="http://localhost:1") == 403
    assert connected(pages.root, Origin=pages.root) == 101


def test_the_origin_of_a_proxy_that_keeps_no_host_is_named(start_endpoint, start_pages, page):
    pages = start_pages(page, url=start_endpoint().url, args=["--allow-host", "gpu-box.example.org:8443"])
    assert connected(pages.root, Origin="https://gpu-box.example.org:8443") == 101
    for origin in ("https://gpu-box.example.org", "https://evil.example:8443"):
        assert connected(pages.root, Origin=origin) == 403, origin
    assert connected(pages.root, Origin="http://[fe80::1]:5006", Host="[fe80::1]:5006") == 101  # the server's own, by any address


def test_what_is_refused_says_what_was_seen_and_which_option_allows_it(start_endpoint, start_pages, page):
    pages = start_pages(page, url=start_endpoint().url)
    for headers, told in [
        ({"Origin": "https://hub.example.org:8443"}, "--allow-host hub.example.org:8443"),
        ({"Origin": "null"}, "allow-same-origin"),
        ({"Host": "hub.example.org:444"}, "--allow-host hub.example.org"),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}, "a page of another site"),
    ]:
        response = ask(pages.root, "POST", "/view/shown/ws", **headers)
        assert response.status in (403, 421) and told in response.body.decode(), headers
        assert response.headers["content-type"].startswith("text/plain")
        assert all(value in response.body.decode() for name, value in headers.items() if name in ("Host", "Origin"))
    seen = ask(pages.root, "POST", "/view/shown/ws", Origin=pages.root)
    assert seen.status == 200 and f"from a page of {pages.root}, and allows it" in seen.body.decode()


def test_behind_a_trusted_proxy_the_cookie_is_for_its_path_and_for_https_alone(pages):
    def made(**headers):
        response = ask(pages.root, where=f"/shown?token={READ}", **headers)
        return [part.strip() for part in response.headers["set-cookie"].split(";")][1:]

    told = {"X-Forwarded-Prefix": "/user/me/proxy/5006", "X-Forwarded-Proto": "https"}
    assert {"Path=/user/me/proxy/5006", "Secure"} <= set(made(**told))
    assert "Path=/" in made() and "Secure" not in made()
    for prefix in ("/a; Domain=example.org", "//evil.example", "evil", "/a\tb"):
        assert "Path=/" in made(**{"X-Forwarded-Prefix": prefix}), prefix


def test_a_name_that_points_here_from_elsewhere_is_not_answered_and_known_names_are(start_endpoint, start_pages, page):
    named = ["--allow-host", "gpu-box.example.org"]
    endpoint = start_endpoint(args=named)
    pages = start_pages(page, url=endpoint.url, args=named)
    for host in ("evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example:80", ""):
        response = ask(endpoint.url, Host=host)
        assert (response.status, code(response)) == (421, "unknown_host"), host
        for where in ("/", "/shown", "/shell/may", "/static/js/bokeh.min.js", "/view/shown/autoload.js"):
            assert ask(pages.root, where=where, Host=host).status == 421, where
    for host in ("localhost:1", "127.0.0.1", "[::1]:80", "box.localhost", "GPU-Box.example.org:443"):
        assert ask(endpoint.url, Host=host).status == 200, host
        assert ask(pages.root, Host=host, where="/").status == 200, host


# The page server


def connected(url, page="shown", **headers):
    """Whether a WebSocket of the page opens; 401 and the like are False."""

    async def connect():
        request = HTTPRequest(f"{url.replace('http', 'ws', 1)}/view/{page}/ws", headers=headers, connect_timeout=10)
        try:
            (await websocket_connect(request, subprotocols=["bokeh", "x"])).close()
        except HTTPClientError as error:
            return error.code
        return 101

    return asyncio.run(connect())


@pytest.fixture
def pages(guarded, start_pages, page):
    env = {"STREAMVIS_PAGE_TOKEN": READ, "STREAMVIS_TOKEN": READ}
    return start_pages(page, url=guarded.url, env=env)


def cookie(pages, secret=READ, **when):
    name = f"streamvis-{pages.port}"
    return f"{name}={create_signed_value(door_key(secret), name, 'in', **when).decode()}"


def test_without_the_cookie_no_part_of_the_page_server_answers(pages):
    alone = ["/view/shown", "/view/shown/autoload.js", "/view/shown/ws"]
    for where in ("/", "/shown", "/shell/runs", "/static/js/bokeh.min.js", "/shown?token=wrong", *alone):
        response = ask(pages.root, where=where)
        assert response.status == 401, where
        assert "needs a token" in response.body.decode()
    assert ask(pages.root, "POST", f"/shown?token={READ}").status == 401
    assert connected(pages.root, Origin=pages.root) == 401
    assert pages.output().count(READ) == 1  # in the address to open


def test_the_cookie_opens_and_a_forged_or_old_one_does_not(pages):
    assert ask(pages.root, where="/shown", Cookie=cookie(pages)).status == 200
    name = f"streamvis-{pages.port}"
    for forged in (cookie(pages, "wrong"), cookie(pages, clock=lambda: 1_000_000_000), f"{name}=in", cookie(pages)[:-2]):
        assert ask(pages.root, where="/shown", Cookie=forged).status == 401, forged


def test_every_token_that_may_read_opens_pages_and_each_cookie_ends_with_its_own(guarded, start_pages, page):
    pages = start_pages(page, url=guarded.url, env={"STREAMVIS_PAGE_TOKEN": "page-secret-1234", "STREAMVIS_TOKEN": WRITE})
    for token in ("page-secret-1234", WRITE):
        opening = ask(pages.root, where=f"/shown?token={token}")
        assert opening.status == 302
        given = opening.headers["set-cookie"].partition(";")[0]
        name = f"streamvis-{pages.port}"
        kept = decode_signed_value(door_key(token), name, given.partition("=")[2].strip(chr(34)))
        assert kept == b"in" if token != WRITE else kept and token.encode() not in base64.b64decode(kept)
        assert ask(pages.root, where="/shown", Cookie=given).status == 200
    assert ask(pages.root, where=f"/shown?token={READ}").status == 401


def test_runs_are_changed_only_for_who_came_with_the_token_that_may_write_and_not_from_another_site(guarded, start_pages, page):
    pages = start_pages(page, url=guarded.url, env={"STREAMVIS_PAGE_TOKEN": READ, "STREAMVIS_TOKEN": WRITE})
    with Client(guarded.url, "shown", token=WRITE) as client:
        run = client.init(name="first")
    given = {}
    for token in (READ, WRITE):
        given[token] = ask(pages.root, where=f"/?token={token}").headers["set-cookie"].partition(";")[0]
        may = json.loads(ask(pages.root, where="/shell/may", Cookie=given[token]).body)
        assert may == {"write": token == WRITE}

    def renamed(name, token, kind="application/json", **headers):
        headers |= {"Cookie": given[token], "Content-Type": kind}
        return ask(pages.root, "PATCH", "/shell/runs", body={"runs": [run], "set": {"name": name}}, **headers).status

    assert renamed("by a reader", READ) == 403
    assert renamed("as a form", WRITE, "text/plain") == 415
    assert renamed("by another site", WRITE, Origin="http://localhost:1") == 403
    assert renamed("second", WRITE, Origin=pages.root) == 200
    listed = json.loads(ask(pages.root, where="/shell/runs?app=shown", Cookie=given[READ]).body)["runs"]
    assert [one["name"] for one in listed] == ["second"]
    for verb in ("delete", "restore", "finish"):
        assert ask(pages.root, "POST", f"/shell/{verb}", body={"runs": [run]}, Cookie=given[READ]).status == 403, verb


def test_a_websocket_from_another_site_does_not_open(pages):
    assert connected(pages.root, Origin="https://evil.example", Cookie=cookie(pages)) == 403
    assert connected(pages.root, Origin=pages.root, Cookie=cookie(pages)) == 101


def test_the_way_on_never_leads_to_another_server(pages):
    for path in ("//evil.example/x", "/%5Cevil.example", "/\\evil.example", "/\\/evil.example", "/shown"):
        response = ask(pages.root, where=f"{path}?token={READ}&run=a%20b")
        assert response.status == 302
        to = response.headers["location"]
        # As browsers read it, for which a backslash is a slash.
        led = urljoin(f"{pages.root}{path}", to.replace("\\", "/"))
        assert to.startswith("./") and urlsplit(led).netloc == urlsplit(pages.root).netloc and READ not in to
        assert to.endswith("?run=a+b")
        set_cookie = response.headers["set-cookie"].lower()
        assert "httponly" in set_cookie and "samesite=lax" in set_cookie and READ not in set_cookie


def test_a_browser_exchanges_the_token_for_a_cookie(pages, guarded, open_page, tmp_path):
    with Client(guarded.url, "shown", token=WRITE) as client:
        client.init()
        client.sendl(0, "k", {"x": 1})
        client.flush()
        closed = open_page(f"{pages.root}/shown")
        closed.expect_errors()
        assert closed.page.get_by_text("This page needs a token").is_visible()
        tab = open_page(f"{pages.url}/shown?app=shown&token={READ}")
        tab.wait_for_source("main_plot", lambda columns: columns["x"] == [1])
        assert tab.page.url == f"{pages.url}/shown?app=shown"
        assert READ not in tab.evaluate("document.cookie")
        client.sendl(1, "k", {"x": 2})
        tab.wait_for_source("main_plot", lambda columns: columns["x"] == [1, 2])


def test_an_empty_token_is_none(start_pages, page, tmp_path):
    pages = start_pages(page, url="http://127.0.0.1:9", args=["--host", "0.0.0.0", "--page-token", ""])
    assert pages.wait_for_line("token=(.+)")[1] == (tmp_path / "home/xdg_data_home/streamvis/read-token").read_text()
    for where in ("/shown", "/shown?token=", "/shown?token=&token="):
        response = ask(pages.root, where=where)
        assert response.status == 401 and "set-cookie" not in response.headers, where


def test_what_lets_in_is_not_in_the_page_and_writes_nothing(pages, guarded):
    kept = cookie(pages).partition("=")[2].strip('"')
    told = {"Cookie": cookie(pages), "Authorization": "Basic my-password", "X-Other": "other"}
    for where in ("/view/shown", "/view/shown/autoload.js?bokeh-autoload-element=1"):
        body = ask(pages.root, where=where, **told).body.decode()
        head = re.search(r'"token": ?"([^".]+)', body)[1]
        packed = json.loads(base64.urlsafe_b64decode(head + "=="))["__bk__zlib_"]
        seen = zlib.decompress(base64.urlsafe_b64decode(packed + "==")).decode()
        assert "X-Other" in seen  # what authors may read
        assert not any(secret in seen + body for secret in (kept, "my-password", READ))
    for token in (kept, cookie(pages), READ):
        response = ask(guarded.url, "POST", "/api/v1/runs", token=token, body={"app": "a"}, Cookie=cookie(pages))
        assert response.status in (401, 403), token


def test_tokens_stand_in_no_log_whatever_is_asked(guarded, pages, page):
    page.write_text(PAGE.replace("    doc.add_root", "    raise ValueError\n    doc.add_root"))
    with Client(guarded.url, "shown", token=WRITE) as client:
        client.init()
        client.sendl(0, "k", {"x": 1})
        client.flush()
        for server, known in ((guarded, {"Authorization": f"Bearer {READ}"}), (pages, {"Cookie": cookie(pages)})):
            alone = ["/view/shown", "/view/shown/ws", "/view/shown/autoload.js"]
            for path in ("/shown", "/shell/runs", "/nothing", *alone, "/api/v1/runs/nothing", "//evil", "/static/no"):
                for query in (f"?token={READ}", f"?app=shown&token={READ}x", f"?token={WRITE}", f"?%74oken={READ}"):
                    for headers in ({}, known, {"Host": "evil.example"}, {"Origin": "http://evil.example"}):
                        ask(getattr(server, "root", server.url), where=path + query, **headers)
            ask(server.url, "POST", "/api/v1/runs", body={"app": READ[:3]}, Authorization=f"Bearer {WRITE}x")
            with socket.create_connection(("127.0.0.1", int(server.port))) as connection:
                connection.sendall(f"GET /{READ} HTTP/9.9\r\nAuthorization: Bearer {WRITE}\r\nbroken\r\n\r\n".encode())
                connection.recv(2**16)
    output = pages.output().replace(f"/?token={READ}", "", 1) + guarded.output()
    assert READ not in output and WRITE not in output and cookie(pages)[-40:] not in output


# Data are text


EVIL = "<img src=x onerror=window.hacked=1></script><script>window.hacked=1</script>"


def test_names_and_errors_from_data_never_become_html(start_endpoint, start_pages, open_page, tmp_path):
    script = tmp_path / "evil.py"
    boom = """    doc.title = next(iter(new_data), "")
    if "boom" in new_data:
        raise ValueError(next(iter(new_data["boom"])))
"""
    script.write_text(PAGE.replace("    if", f"{boom}    if"))
    endpoint = start_endpoint()
    pages = start_pages(script, url=endpoint.url)
    with Client(endpoint.url, EVIL) as client:
        client.init({EVIL: EVIL}, name=EVIL)
        client.sendl(0, EVIL, {EVIL: EVIL})
        client.sendl(0, "k", {"x": 1})
        client.flush()
        index = open_page(f"{pages.url}/evil?app={EVIL.replace('/', '%2F')}")
        index.wait_for_source("main_plot", lambda columns: columns["x"] == [1])
        waiting = open_page(f"{pages.url}/evil?app={EVIL.replace('/', '%2F')}2")
        told = "document.querySelector('#streamvis-notices').shadowRoot"
        wait_until(lambda: waiting.evaluate("!!document.querySelector('#streamvis-notices')"))
        wait_until(lambda: EVIL in waiting.evaluate(f"{told}.textContent"))
        client.sendl(1, "boom", {EVIL: 1.0})
        client.flush()
        wait_until(lambda: f"update_page failed: ValueError: {EVIL}" in index.evaluate(f"{told}.textContent"))
        for tab in (index, waiting):
            assert tab.evaluate("window.hacked") is None
            assert tab.evaluate(f"{told}.querySelectorAll('img, script').length") == 0


# TLS


def test_both_servers_speak_tls(start_endpoint, start_pages, page, tmp_path, monkeypatch):
    authority = trustme.CA()
    issued = authority.issue_cert("gpu.example.org")  # not the name by which the test asks, as when a proxy has that
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    tls = ["--tls-cert", cert, "--tls-key", key]
    endpoint = start_endpoint(args=tls)
    assert endpoint.url.startswith("https://")
    with pytest.raises(Exception, match="certificate|CERTIFICATE"):
        ask(endpoint.url)
    monkeypatch.setenv("STREAMVIS_CA_FILE", str(tmp_path / "ca.pem"))
    with Client(endpoint.url, "shown") as client:
        run = client.init()
        client.sendl(0, "k", {"x": 1})
        assert client.flush()
    assert Stored(endpoint.url).rows(run, "k", "x") == [1]
    pages = start_pages(page, url=endpoint.url, args=tls, env={"STREAMVIS_PAGE_TOKEN": READ})
    assert pages.root.startswith("https://")
    response = ask(pages.root, where=f"/shown?token={READ}")
    assert "secure" in response.headers["set-cookie"].lower()
    assert "Bokeh" in ask(pages.root, where="/view/shown", Cookie=cookie(pages)).body.decode()
    with pytest.raises(Exception, match="No answer"):
        ask(pages.root.replace("https", "http"))


def test_half_of_a_certificate_is_refused(start_streamvis, tmp_path):
    (tmp_path / "cert.pem").write_text("")
    program = start_streamvis("rest", "--tls-cert", tmp_path / "cert.pem", "--port", "0")
    assert program.wait() == 1 and "--tls-key" in program.output()
