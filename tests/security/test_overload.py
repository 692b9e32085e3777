"""What takes room or time at the endpoint has a limit; who reaches it is told, or let go, and others are answered meanwhile."""

from __future__ import annotations

import json
import select
import socket
import sys

import psutil
import pytest

from streamvis import Client
from streamvis.transport import Transport
from support.conditions import wait_until

SMALL = """
import sys
from streamvis.endpoint import app, process, request_bodies
app.create_app.__kwdefaults__["max_waiting"] = 3
request_bodies._GRACE_S = 0.3
process._UNREAD_MS = 1000
from streamvis.cli import main
sys.argv[1:] = ["rest", "--port", "0", "--data", sys.argv[1]]
sys.exit(main())
"""


@pytest.fixture
def small(start_service, tmp_path):
    """An endpoint with small limits."""
    command = [sys.executable, "-c", SMALL, tmp_path / "data"]
    return start_service(command, ready=r"ready at (?P<url>http://[^:]+:(?P<port>\d+))", is_warm=True)


def connect(endpoint, head, body=b""):
    connection = socket.create_connection(("127.0.0.1", int(endpoint.port)))
    lines = [head, f"Host: 127.0.0.1:{endpoint.port}", *([f"Content-Length: {body}"] if isinstance(body, int) else []), "", ""]
    connection.sendall("\r\n".join(lines).encode())
    connection.settimeout(60)
    return connection


def answer(connection):
    """The status and the error code of an answer."""
    content = b""
    while b"\r\n\r\n" not in content or not content.endswith(b"}"):
        part = connection.recv(2**16)
        if not part:
            break
        content += part
    head, _, body = content.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]["code"]


def test_only_so_many_wait_for_news_and_the_next_is_told(small):
    with Client(small.url, "app") as client:
        run = client.init(run="job")
        client.flush()
        end = json.loads(Transport(small.url).request("GET", f"/api/v1/runs/{run}").body)["cursor"]
        path = f"/api/v1/runs/{run}/tail?after={end}"
        asked = [connect(small, f"GET {path}&wait=25 HTTP/1.1") for _ in range(5)]

        def told():
            return Transport(small.url).request("GET", f"{path}&wait=0.01")

        refused = wait_until(lambda: len(found := select.select(asked, [], [], 0)[0]) == 2 and found)
        assert [answer(connection) for connection in refused] == [(503, "too_many_wait")] * 2
        assert told().status == 503
        assert Transport(small.url).request("GET", path).status == 200  # who does not wait is answered
        client.sendl(0, "k", {"x": 1})
        client.flush()
        for connection in set(asked) - set(refused):
            assert connection.recv(2**16).startswith(b"HTTP/1.1 200")
        assert told().status == 200


def test_who_goes_away_leaves_room_for_others_to_wait(small):
    with Client(small.url, "app") as client:
        run = client.init(run="job")
        client.flush()
        end = json.loads(Transport(small.url).request("GET", f"/api/v1/runs/{run}").body)["cursor"]
        path = f"/api/v1/runs/{run}/tail?after={end}"
        for _ in range(3):
            asked = [connect(small, f"GET {path}&wait=25 HTTP/1.1") for _ in range(3)]

            def all_wait(asked=asked):
                # One that was refused, because the question below took its place for a moment, asks again.
                for i, connection in enumerate(asked):
                    if select.select([connection], [], [], 0)[0]:
                        connection.close()
                        asked[i] = connect(small, f"GET {path}&wait=25 HTTP/1.1")
                return Transport(small.url).request("GET", f"{path}&wait=0.01").status == 503

            wait_until(all_wait, what="no place is free")
            for connection in asked:
                connection.close()
            wait_until(lambda: Transport(small.url).request("GET", f"{path}&wait=0.01").status == 200, what="they are free")


def test_a_body_that_does_not_come_is_let_go(small):
    connection = connect(small, "POST /api/v1/runs HTTP/1.1", 1000)
    connection.sendall(b"{")
    assert answer(connection) == (408, "too_slow")
    assert Transport(small.url).request("GET", "/api/v1/apps").status == 200


@pytest.mark.parametrize("path", ["/api/v1/runs", "/api/v1/runs/r/batches", "/api/v1/runs/r/finish"])
def test_a_body_is_refused_before_it_comes_where_it_says_that_it_is_too_large(small, path):
    connection = connect(small, f"POST {path} HTTP/1.1\r\nContent-Type: application/json", 2**30)
    assert answer(connection) == (413, "too_large")


def test_json_without_a_length_is_refused_once_it_is_too_large(small):
    connection = connect(small, "POST /api/v1/runs HTTP/1.1\r\nTransfer-Encoding: chunked")
    piece = b"100000\r\n" + b" " * 2**20 + b"\r\n"
    try:
        for _ in range(64):
            connection.sendall(piece)
    except (BrokenPipeError, ConnectionResetError):
        pass  # it is let go before it has sent all
    assert answer(connection) == (413, "too_large")


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="there is no such limit on this system")
def test_who_does_not_read_the_answer_is_let_go(small):
    with Client(small.url, "app") as client:
        run = client.init(run="job")
        for step in range(4):
            client.sendl(step, "k", {"x": [0.5] * 1_000_000})
        client.flush()
    accept = "Accept: application/vnd.apache.arrow.stream"
    connection = connect(small, f"GET /api/v1/runs/{run}/tail?max_bytes=100000000 HTTP/1.1\r\n{accept}")
    port = connection.getsockname()[1]
    assert connection.recv(12) == b"HTTP/1.1 200"

    def is_connected():
        found = psutil.Process(small.pid).net_connections("tcp")
        return any(one.raddr and one.raddr.port == port for one in found)

    assert is_connected()
    wait_until(lambda: not is_connected(), within_s=60)
    connection.close()


def test_an_answer_with_rows_is_not_made_of_gaps(small):
    with Client(small.url, "app") as client:
        run = client.init()
        client.sendl(0, "k", {f"c{i}": 1.0 for i in range(5000)})
        client.flush()
        client.sendl(1, "k", {"x": [0.5] * 5000})
        client.flush()

    def rows(**params):
        params = {"key": "k", **params}
        return json.loads(Transport(small.url).request("GET", f"/api/v1/runs/{run}/rows", params=params).body)

    whole = rows()
    assert (whole["more"], whole["steps"], len(whole["columns"])) == (True, [0], 5000)
    rest = rows(from_step=1)
    assert (rest["more"], len(rest["steps"]), list(rest["columns"])) == (False, 5000, ["x"])
    assert len(rows(columns=["x", "c0"])["steps"]) == 5001
