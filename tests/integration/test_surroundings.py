"""What surrounds a producer (threads, descriptors, folders, proxies) neither stops a program nor loses records unsaid."""

import os
import pickle
import socket
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

from streamvis import Client
from support.stored import Stored

# What a program has before it gives up a right, or a folder, that Python itself would need to find modules. So it may start warm.
HEAD = """
    import os, resource, sys, threading, warnings
    import encodings.idna, numpy, psutil, pyarrow, urllib3
    import streamvis.client.encoding, streamvis.client.exchange
    from streamvis import Client
    url = None if sys.argv[1] == "none" else sys.argv[1]
"""
TAIL = """
    print("flush", client.flush({0}), "close", client.close(timeout_s={0}), "unsettled", client._road.unsettled_records)
"""
# In one write, which no warning can come between.
CALLS = 'print("run " + client.init({"a": 1}) + "\\n", end="")\nfor step in range(5): client.sendl(step, "k", {"x": step})\n'


@pytest.fixture
def run_program(start_program, endpoint, tmp_path):
    """`run_program(source, url, env=None)` runs a program to its end, which is to be a good one.

    The program waits three seconds at most until all is stored, and one where no endpoint answers.
    """

    def run(source, url, *, head=HEAD, **options):
        path = tmp_path / "program.py"
        path.write_text(textwrap.dedent(head) + source + textwrap.dedent(TAIL.format(3 if url == endpoint.url else 1)))
        program = start_program([sys.executable, path, url], cwd=tmp_path, is_warm=head is HEAD, **options)
        assert program.wait(60) == 0, program.output()
        return program

    return run


@pytest.fixture
def endpoint(shared_endpoint):
    return shared_endpoint


@pytest.fixture
def nowhere():
    """The address of an endpoint that is not there, and may come."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    return f"http://127.0.0.1:{port}"


def results(program):
    return program.wait_for_line(r"flush (\w+) close (\w+) unsettled (\d+)").groups()


WITHOUT_THREADS = f"""
client = Client(url, "app")
start = threading.Thread.start
def none_left(thread): raise RuntimeError("can't start new thread")
threading.Thread.start = none_left
{CALLS}
"""


def test_where_no_thread_can_be_started_the_next_call_tries_again(run_program, endpoint):
    program = run_program(WITHOUT_THREADS + 'threading.Thread.start = start; client.sendl(5, "k", {"x": 5})', endpoint.url)
    assert results(program) == ("True", "True", "0")
    assert Stored(endpoint.url).rows(program.wait_for_line(r"run (\S+)")[1], "k", "x") == list(range(6))


@pytest.mark.parametrize("has_endpoint", [True, False])
def test_where_no_thread_is_ever_to_be_had_what_was_sent_is_kept_and_where_is_said(
    run_program, endpoint, start_streamvis, tmp_path, has_endpoint
):
    program = run_program(WITHOUT_THREADS, endpoint.url if has_endpoint else "none")
    assert results(program) == ("False", str(not has_endpoint), "5")
    assert program.output().count("no thread could be started") == 1
    folder = program.wait_for_line(r"kept in (\S+)\.")[1]
    assert start_streamvis("sync", os.path.dirname(folder), "--url", endpoint.url).wait() == 0
    assert Stored(endpoint.url).rows(program.wait_for_line(r"run (\S+)")[1], "k", "x") == list(range(5))


def test_without_free_descriptors_nothing_is_lost_and_sending_goes_on_when_there_are_some(run_program, endpoint):
    source = f"""
client = Client(url, "app")
taken = []
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
try:
    while True: taken.append(os.open("/dev/null", os.O_RDONLY))
except OSError: pass
{CALLS}
print("full", client.flush(0.5))
for one in taken: os.close(one)
"""
    head = "import os, resource, sys\nfrom streamvis import Client\nurl = sys.argv[1]\n"  # Arrow is not imported yet
    program = run_program(source, endpoint.url, head=head)
    assert program.wait_for_line(r"full (\w+)")[1] == "False" and results(program) == ("True", "True", "0")
    assert Stored(endpoint.url).rows(program.wait_for_line(r"run (\S+)")[1], "k", "x") == list(range(5))


def test_a_sender_that_does_not_load_tries_again_and_close_is_no_success(run_program, endpoint):
    source = f"""
import importlib
load, failures = importlib.import_module, iter(range(TIMES))
def broken(name):
    if next(failures, None) is not None: raise ImportError("a library is missing")
    return load(name)
importlib.import_module = broken
client = Client(url, "app")
{CALLS}
"""
    program = run_program(source.replace("TIMES", "3"), endpoint.url)
    assert results(program) == ("True", "True", "0") and program.output().count("a library is missing") == 1
    program = run_program(source.replace("TIMES", "10**9"), endpoint.url)
    assert results(program)[:2] == ("False", "False")
    assert "5 records" in program.output()


def test_a_proxy_that_cannot_be_used_is_named_without_its_password_and_all_is_kept(run_program, endpoint, start_streamvis):
    env = {"http_proxy": "socks5://me:secret@127.0.0.1:9", "no_proxy": None, "NO_PROXY": None}
    program = run_program(f'client = Client(url, "app")\n{CALLS}', "http://streamvis.test:1234", env=env)
    assert results(program) == ("False", "False", "5")
    assert "a proxy of the kind socks5, at 127.0.0.1" in program.output() and "secret" not in program.output()
    folder = program.wait_for_line(r"kept in (\S+)\.")[1]
    assert start_streamvis("sync", os.path.dirname(folder), "--url", endpoint.url).wait() == 0
    assert Stored(endpoint.url).rows(program.wait_for_line(r"run (\S+)")[1], "k", "x") == list(range(5))


HOMES = {
    "no home and no entry in passwd": 'os.environ.pop("HOME", None); os.setuid(54321)',
    "a home that cannot be written": "os.setuid(54321)",
}


@pytest.fixture
def temporary():
    """A temporary folder as systems have it: all may write there. Another run of pytest makes those around `tmp_path` private."""
    with tempfile.TemporaryDirectory(prefix="streamvis-test-") as folder:
        os.chmod(folder, 0o1777)
        yield Path(folder)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become somebody without a home")
@pytest.mark.parametrize("home", HOMES)
def test_a_program_without_a_folder_of_its_own_runs_and_what_waits_lies_where_it_says(
    home, run_program, endpoint, nowhere, start_streamvis, temporary, tmp_path
):
    (tmp_path / "closed").mkdir(mode=0o555)
    env = {"XDG_STATE_HOME": None, "HOME": str(tmp_path / "closed"), "TMPDIR": str(temporary)}
    client = f'{HOMES[home]}\nclient = Client(url, "app")\n{CALLS}'
    program = run_program(client, endpoint.url, env=env)
    assert results(program) == ("True", "True", "0") and "Streamvis" not in program.output()
    for url in (nowhere, "none"):
        program = run_program(client, url, env=env)
        assert results(program)[1] == str(url == "none")
        told = program.output()
        assert told.count("records that have to wait are kept in") == 1 and "memory" not in told
        folder = program.wait_for_line(r"(?:are|They are) kept in (\S+)\. (?:Deliver|The next)")[1]
        assert folder.startswith(str(temporary)) and os.stat(os.path.dirname(folder)).st_mode & 0o077 == 0
        assert start_streamvis("sync", os.path.dirname(folder), "--url", endpoint.url).wait() == 0
        assert Stored(endpoint.url).rows(program.wait_for_line(r"run (\S+)")[1], "k", "x") == list(range(5))


def test_what_waits_in_memory_alone_is_not_called_kept(run_program, nowhere, tmp_path):
    (tmp_path / "spool").write_text("not a folder")
    program = run_program(f'client = Client(url, "app", spool={str(tmp_path / "spool")!r})\n{CALLS}', nowhere)
    assert results(program) == ("False", "False", "5")
    told = program.output()
    assert "Records are kept in memory alone" in told and "5 of them were in memory alone, and are lost" in told


@pytest.mark.parametrize("seconds", [0.0, 0.7])
def test_an_endpoint_that_starts_in_the_same_second_is_waited_for_in_silence(start_program, nowhere, tmp_path, seconds):
    port = int(nowhere.rpartition(":")[2])
    source = f"""
        import sys, threading, time
        from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
        from streamvis import Client

        class Endpoint(BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                body = b'{{"seq": 1, "duplicate": false, "refused": [], "warnings": []}}'
                self.send_response(200)
                self.send_header("Streamvis-Protocol", "1")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            def log_message(self, *args): pass

        def start_late():
            time.sleep({seconds})
            ThreadingHTTPServer(("127.0.0.1", {port}), Endpoint).serve_forever()

        threading.Thread(target=start_late, daemon=True).start()
        client = Client({nowhere!r}, "app")
        client.init()
        client.sendl(0, "k", {{"x": 1}})
        print("close", client.close())
    """
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(source))
    program = start_program([sys.executable, path])
    assert program.wait(30) == 0 and program.output() == "close True\n", program.output()


def test_where_the_endpoint_stays_away_init_says_so_once_in_plain_words(run_program, nowhere):
    program = run_program(f'client = Client(url, "app")\n{CALLS}print("begun", flush=True)', nowhere)
    before = program.output().partition("begun")[0]
    said = f"Streamvis: No answer from {nowhere} (connection refused). Records are kept and will be sent when it responds."
    assert said in before and program.output().count("No answer") == 1 and "urllib3" not in program.output()


@pytest.mark.parametrize("args", [["-W", "error"], []])
def test_advice_is_not_an_error_and_can_be_silenced(start_program, endpoint, tmp_path, args):
    source = """
        import logging, sys
        import numpy as np
        from streamvis import Client
        with Client(sys.argv[1], "app") as client:
            print("run " + client.init({"a": 1}))
            client.send(0, "k", {"x": 1})
            client.send(1, "other", {"x": np.float32(1), "y": True})
            client.sendl(0, "rows", {"x": np.arange(3), "when": np.array(["2024-01-02"] * 3, "M8[ns]")})
            logging.getLogger("streamvis.hints").setLevel(logging.ERROR)
            client.init()
            client.send(0, "k", {"x": 1})
    """
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(source))
    program = start_program([sys.executable, *args, path, endpoint.url])
    assert program.wait(30) == 0, program.output()
    run = program.wait_for_line(r"run (\S+)")[1]
    assert Stored(endpoint.url).values(run)["k"] == {"x": 1} and Stored(endpoint.url).rows(run, "rows", "x") == [0, 1, 2]
    assert program.output().count("use sendl") == 1 and "Traceback" not in program.output()


@pytest.mark.parametrize("where", ["here", "away", "nowhere"])
def test_after_init_no_library_is_half_imported(run_program, endpoint, where):
    source = """
client = Client(url if url != "none" else None, "app")
client.init()
assert hasattr(sys.modules["pyarrow"], "Table")  # as scikit-learn asks
os._exit(0)
"""
    url = {"here": endpoint.url, "away": "http://127.0.0.1:9", "nowhere": "none"}[where]
    program = run_program(source, url, head="import os, sys\nfrom streamvis import Client\nurl = sys.argv[1]\n")
    assert program.wait() == 0


def test_after_the_first_call_of_a_copy_no_library_is_half_imported(start_program, endpoint, tmp_path):
    with Client(endpoint.url, "app") as client:
        run = client.init()
        (tmp_path / "client").write_bytes(pickle.dumps(client))
        source = """
            import os, pickle, sys
            client = pickle.load(open("client", "rb"))
            assert "pyarrow" not in sys.modules  # a copy that sends nothing costs nothing
            client.sendl(0, "k", {"x": 7})
            assert hasattr(sys.modules["pyarrow"], "Table")
            client.flush()
            os._exit(0)
        """
        (tmp_path / "program.py").write_text(textwrap.dedent(source))
        program = start_program([sys.executable, "program.py"], cwd=tmp_path)
        assert program.wait(30) == 0, program.output()
        assert Stored(endpoint.url).rows(run, "k", "x") == [7]
