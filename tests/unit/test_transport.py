"""One HTTP exchange: an answer is a whole one, or there is none."""

import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from streamvis.errors import EndpointUnreachable
from streamvis.page.feeds.reader import EndpointReader
from streamvis.transport import Transport

ANSWER = (
    b"HTTP/1.1 200 OK\r\ndate: Tue, 24 Nov 2026 10:00:00 GMT\r\ncontent-length: 12\r\ncontent-type: application/json\r\n"
    b'streamvis-protocol: 1\r\n\r\n{"seq": 123}'
)
WITHOUT_BODY = b"HTTP/1.1 204 No Content\r\nstreamvis-protocol: 1\r\n\r\n"
UNTIL_CLOSED = b"HTTP/1.1 200 OK\r\nconnection: Close\r\n\r\nsome page"


@pytest.fixture
def answering():
    """`answering(raw)`: the url of a server that answers the next request with these bytes, and hangs up."""
    listener = socket.create_server(("127.0.0.1", 0))
    answers = []

    def serve():
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            with near:
                near.recv(65536)
                near.sendall(answers.pop())

    threading.Thread(target=serve, daemon=True).start()

    def answer(raw):
        answers.append(raw)
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield answer
    listener.close()


@pytest.mark.parametrize("raw", [ANSWER, WITHOUT_BODY, UNTIL_CLOSED])
def test_a_whole_answer_is_given(answering, raw):
    response = Transport(answering(raw)).request("GET", "/")
    assert raw.endswith(b"\r\n\r\n" + response.body)


def test_an_answer_that_is_cut_off_anywhere_is_none(answering):
    for length in range(len(ANSWER)):
        with pytest.raises(EndpointUnreachable):
            Transport(answering(ANSWER[:length])).request("GET", "/")


def test_more_runs_than_a_small_pool_holds_keep_their_connections(caplog):
    polls, rounds, opened = 50, 3, []
    all_wait = threading.Barrier(polls)

    class Endpoint(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self):
            super().setup()
            opened.append(self.client_address)

        def do_GET(self):
            all_wait.wait(20)
            body = b'{"newest": null, "cursor": "c"}'
            self.send_response(200)
            for name, value in ("Content-Length", str(len(body))), ("Streamvis-Protocol", "1"):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = polls

    with Server(("127.0.0.1", 0), Endpoint) as server, ThreadPoolExecutor(polls) as pool:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        reader = EndpointReader(f"http://127.0.0.1:{server.server_port}")
        for _ in range(rounds):
            list(pool.map(lambda number: reader.app_tail(f"app {number}", after="c", wait_s=1), range(polls)))
        reader.close()
        server.shutdown()
    assert len(opened) == polls
    assert caplog.records == []


# A thread is stopped where it has the lock of a queue, if it ever comes there, and the process is forked then.
FORKED_IN_A_REQUEST = """
import os, queue, sys, threading, time
from streamvis.transport import Transport

transport, inside, forked = Transport(sys.argv[1]), threading.Event(), threading.Event()
transport.request("GET", "/")
take = queue.LifoQueue._get

def take_slowly(self):
    inside.set()
    forked.wait(20)
    return take(self)

def request():
    transport.request("GET", "/")
    inside.set()

queue.LifoQueue._get = take_slowly
threading.Thread(target=request).start()
inside.wait(20)
child = os.fork()
if child == 0:
    sys.exit(0)
queue.LifoQueue._get = take
forked.set()
deadline = time.monotonic() + 20
while not (ended := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < deadline:
    time.sleep(0.01)
print(ended[0] == child and "ended" or os.kill(child, 9) or "hangs")
"""


def test_a_child_that_is_forked_within_a_request_can_end():
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Kind", (BaseHTTPRequestHandler,), {"do_GET": _say_nothing}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    command = [sys.executable, "-c", FORKED_IN_A_REQUEST, f"http://127.0.0.1:{server.server_port}"]
    try:
        assert subprocess.run(command, capture_output=True, text=True, timeout=60).stdout == "ended\n"
    finally:
        server.shutdown()
        server.server_close()


def _say_nothing(handler):
    handler.send_response(204)
    handler.end_headers()
