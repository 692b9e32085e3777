"""Connections have limits at both servers: slow heads, silent ones, too many. Who behaves is served meanwhile, and later."""

from __future__ import annotations

import json
import logging
import socket
import sys
import threading

import psutil
import pytest

from streamvis import Client
from streamvis.transport import Transport
from support.conditions import wait_until
from support.processes import PAGES_READY
from support.stored import Stored

REST = """
import resource, sys
from streamvis.endpoint import process
from streamvis.endpoint.connections import ConnectionLimits
limits, files, *args = sys.argv[1:]
if files != "None":
    resource.setrlimit(resource.RLIMIT_NOFILE, eval(files))
process.run_endpoint.__kwdefaults__["limits"] = ConnectionLimits(**eval(limits))
from streamvis.cli import main
sys.argv[1:] = ["rest", *args]
sys.exit(main())
"""
PAGES = """
import sys
from streamvis.page.web import process
from streamvis.page.web.connections import ConnectionLimits
process.run_pages.__kwdefaults__["limits"] = ConnectionLimits(**eval(sys.argv[1]))
from streamvis.cli import main
sys.argv[1:] = ["page", *sys.argv[2:], "--url", "http://127.0.0.1:9", "--app", "app"]
sys.exit(main())
"""
PAGE = "def init_page(doc, config): pass\ndef update_page(doc, new_data): pass\n"


@pytest.fixture
def endpoint(start_service, tmp_path):
    """Makes an endpoint with limits of its own, and a limit of open files (soft, hard)."""

    def make(*, files=None, **limits):
        command = [sys.executable, "-c", REST, repr(limits), repr(files), "--data", tmp_path / "data"]
        return start_service(command, ready=r"ready at (?P<url>http://[^:]+:(?P<port>\d+))", is_warm=True)

    return make


@pytest.fixture
def pages(start_service, tmp_path):
    """Makes a page server with limits of its own."""

    def make(**limits):
        script = tmp_path / "shown.py"
        script.write_text(PAGE)
        return start_service([sys.executable, "-c", PAGES, repr(limits), script], ready=PAGES_READY, is_warm=True)

    return make


@pytest.fixture
def connect():
    """Opens connections, which are closed at the end."""
    made = []

    def open_to(server, sent=b"", count=1):
        new = []
        for _ in range(count):
            new.append(socket.create_connection(("127.0.0.1", int(server.port)), timeout=30))
            new[-1].sendall(sent)
        made.extend(new)
        return new if count > 1 else new[0]

    yield open_to
    for one in made:
        one.close()


def head(server, line="GET /healthz HTTP/1.1", *more):
    return "\r\n".join([line, f"Host: 127.0.0.1:{server.port}", *more, "", ""]).encode()


def heard(connection):
    """All that comes until the connection is closed."""
    content = b""
    try:
        while part := connection.recv(2**16):
            content += part
    except ConnectionError:
        pass
    return content


def answer(connection):
    """One answer with a length: its status, and its body."""
    content = b""
    while b"\r\n\r\n" not in content:
        part = connection.recv(2**16)
        assert part, content
        content += part
    top, _, body = content.partition(b"\r\n\r\n")
    size = next(int(line.split(b":")[1]) for line in top.split(b"\r\n") if line.lower().startswith(b"content-length"))
    while len(body) < size:
        body += connection.recv(2**16)
    return int(top.split()[1]), body


def trickle(connections, stop):
    """Send a head, a byte at a time, for ever."""
    while not stop.wait(0.1):
        for one in connections:
            try:
                one.sendall(b"a")
            except OSError:
                pass


def send_rows(client, steps):
    for step in steps:
        client.sendl(step, "k", {"x": step})
    return client.flush(timeout_s=30)


def test_heads_that_come_slowly_are_let_go_and_a_producer_is_served_meanwhile(endpoint, connect):
    server = endpoint(head_s=1.0)
    slow = connect(server, b"GET /healthz HTTP/1.1\r\nX: ", 50)
    stop = threading.Event()
    sending = threading.Thread(target=trickle, args=(slow, stop))
    sending.start()
    try:
        with Client(server.url, "app") as client:
            run = client.init()
            assert send_rows(client, range(10))
        assert [heard(one) for one in slow] == [b""] * 50
    finally:
        stop.set()
        sending.join()
    assert Stored(server.url).rows(run, "k", "x") == list(range(10))


def test_a_second_head_that_comes_slowly_is_let_go_too(endpoint, connect):
    server = endpoint(head_s=0.5)
    connection = connect(server, head(server))
    assert answer(connection)[0] == 200
    connection.sendall(b"GET /healthz HTTP/1.1\r\nX: ")
    assert heard(connection) == b""


def test_who_says_nothing_is_let_go(endpoint, connect):
    server = endpoint(silent_s=0.5)
    assert heard(connect(server)) == b""


def test_a_request_that_takes_its_time_is_not_let_go(endpoint, connect):
    server = endpoint(head_s=0.3, silent_s=0.3)
    with Client(server.url, "app") as client:
        run = client.init()
        client.flush()
        end = json.loads(Transport(server.url).request("GET", f"/api/v1/runs/{run}").body)["cursor"]
        waiting = connect(server, head(server, f"GET /api/v1/runs/{run}/tail?after={end}&wait=1.5 HTTP/1.1"))
        assert answer(waiting)[0] == 200
        body = json.dumps({"app": "app"}).encode()
        posting = connect(server, head(server, "POST /api/v1/runs HTTP/1.1", f"Content-Length: {len(body)}"))
        for i in range(len(body)):
            posting.sendall(body[i : i + 1])
            threading.Event().wait(0.05)
        assert answer(posting)[0] == 201


def test_a_head_that_is_too_long_is_refused(endpoint, connect):
    server = endpoint()
    connection = connect(server, b"GET /healthz HTTP/1.1\r\n")
    try:
        for _ in range(1000):
            connection.sendall(b"X: " + b"a" * 1000 + b"\r\n")
    except ConnectionError:
        pass  # it is closed before all is sent
    status, body = answer(connection)
    assert status == 431 and json.loads(body)["error"]["code"] == "head_too_large"


def test_after_a_body_that_nobody_wanted_comes_the_next_request(endpoint, connect):
    server = endpoint(head_s=1.0)
    connection = connect(server)
    for _ in range(2):
        connection.sendall(head(server, "POST /nowhere HTTP/1.1", f"Content-Length: {2**20}") + b"x" * 2**19)
        assert answer(connection)[0] == 404  # before all has come
        connection.sendall(b"x" * 2**19)
    connection.sendall(head(server))
    assert answer(connection)[0] == 200
    connection.sendall(head(server, "POST /nowhere HTTP/1.1", "Content-Length: 10"))
    assert answer(connection)[0] == 404
    assert heard(connection) == b""  # the rest never comes


def test_beyond_the_limit_of_connections_the_next_is_told_and_those_that_are_connected_are_served(endpoint, connect):
    server = endpoint(most_open=20, silent_s=3.0)
    with Client(server.url, "app") as client, Client(server.url, "app") as late:
        run = client.init()
        assert send_rows(client, range(5))
        silent = connect(server, count=30)
        refused = connect(server, head(server))
        status, body = answer(refused)
        assert status == 503 and json.loads(body)["error"]["code"] == "too_many_connections"
        assert heard(refused) == b""
        assert send_rows(client, range(5, 10))
        joined = late.init(run="late")
        late.sendl(0, "k", {"x": 0})
        assert late.flush(timeout_s=30)  # once those who say nothing are let go
    stored = Stored(server.url)
    assert stored.rows(run, "k", "x") == list(range(10)) and stored.rows(joined, "k", "x") == [0]
    assert sum(heard(one).startswith(b"HTTP/1.1 503") for one in silent) >= 11


def test_connections_leave_room_for_files(endpoint, connect):
    server = endpoint(files=(200, 200))
    with Client(server.url, "app") as client:
        run = client.init()
        assert send_rows(client, range(5))
        many = connect(server, b"GET", 300)
        heard(many[-1])  # it is refused, and so were others before it
        assert send_rows(client, range(5, 10))
        assert psutil.Process(server.pid).num_fds() < 190
        for one in many:
            one.close()
    assert "Too many open files" not in server.output()
    wait_until(lambda: Stored(server.url).rows(run, "k", "x") == list(range(10)))


def test_a_low_limit_of_open_files_is_raised_where_it_can_be(endpoint):
    server = endpoint(files=(256, 8192))
    assert psutil.Process(server.pid).rlimit(psutil.RLIMIT_NOFILE)[0] > 2000


def test_a_producer_that_was_idle_finds_its_connection_closed_and_says_nothing_of_it(endpoint, caplog):
    caplog.set_level(logging.WARNING, logger="streamvis")
    server = endpoint(idle_s=1)
    with Client(server.url, "app") as client:
        run = client.init()
        for step in range(3):
            assert send_rows(client, [step])
            wait_until(lambda: not [c for c in psutil.Process(server.pid).net_connections("tcp") if c.raddr])
    assert Stored(server.url).rows(run, "k", "x") == [0, 1, 2] and caplog.messages == []


def test_a_page_server_lets_slow_heads_go(pages, connect):
    server = pages(head_s=1.0)
    slow = connect(server, b"GET / HTTP/1.1\r\nX: ", 20)
    stop = threading.Event()
    sending = threading.Thread(target=trickle, args=(slow, stop))
    sending.start()
    try:
        assert answer(connect(server, head(server, "GET /shown HTTP/1.1")))[0] == 200
        assert [heard(one) for one in slow] == [b""] * 20
    finally:
        stop.set()
        sending.join()


def test_a_page_server_takes_no_large_bodies_and_no_slow_ones(pages, connect):
    server = pages(body_s=0.5)
    large = connect(server, head(server, "POST /shown HTTP/1.1", f"Content-Length: {2**30}"))
    assert heard(large).startswith(b"HTTP/1.1 4")
    assert heard(connect(server, head(server, "POST /shown HTTP/1.1", "Content-Length: 100"))) == b""


def test_a_page_server_tells_who_finds_no_room_and_pages_stay_open(pages, connect):
    server = pages(most_open=10, head_s=2.0)
    page = connect(server, head(server, "GET /shown HTTP/1.1"))
    assert answer(page)[0] == 200
    connect(server, count=20)
    status, body = answer(connect(server, head(server, "GET /shown HTTP/1.1")))
    assert status == 503 and b"Too many connections" in body
    page.sendall(head(server, "GET /shown HTTP/1.1"))
    assert answer(page)[0] == 200
    wait_until(lambda: answer(connect(server, head(server, "GET /shown HTTP/1.1")))[0] == 200, within_s=20)
