"""What the programs print can be used as it stands: addresses open, commands and lines work when they are copied."""

from __future__ import annotations

import getpass
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from streamvis import Client
from streamvis.addresses.server import tunnel
from streamvis.errors import TokenRefused
from streamvis.naming import readable_name
from streamvis.page.feeds.reader import EndpointReader
from streamvis.transport import Transport
from support.processes import PAGES_READY

PAGE = "def init_page(doc, config):\n    pass\ndef update_page(doc, new_data):\n    pass\n"
READY = r"Open (?P<url>http://\S+:(?P<port>\d+))/\S* in a browser"


@pytest.fixture
def scripts(tmp_path):
    paths = [tmp_path / "the pages" / f"{name}.py" for name in ("losses & co", "b")]
    paths[0].parent.mkdir()
    for path in paths:
        path.write_text(PAGE)
    return paths


@pytest.fixture
def serve(start_service, tmp_path):
    """`serve(*words)`: a running `streamvis serve` over the test's data folder, which has a blank in its name."""

    def start(*words):
        command = [sys.executable, "-m", "streamvis.cli", "serve", "--no-browser", "--data", tmp_path / "my data", *words]
        return start_service([*command, "--rest-port", "0"], ready=READY)

    return start


@pytest.mark.parametrize(
    ("host", "environment", "command"),
    [
        ("127.0.0.1", {}, None),
        ("127.0.0.1", {"SSH_CONNECTION": "1.2.3.4 5 10.0.0.9 22"}, "5006:localhost:5006 USER@10.0.0.9"),
        ("127.0.0.1", {"SLURM_JOB_ID": "1", "SLURM_SUBMIT_HOST": "login1"}, "5006:localhost:5006 -J USER@login1 USER@n7"),
        ("0.0.0.0", {"SLURM_JOB_ID": "1", "SLURM_SUBMIT_HOST": "login1"}, "5006:n7:5006 USER@login1"),
        ("127.0.0.1", {"SLURM_JOB_ID": "1", "SLURM_SUBMIT_HOST": "n7"}, None),
    ],
)
def test_the_way_through_ssh_leads_over_the_login_node_of_a_cluster(host, environment, command):
    expected = command and f"ssh -N -L {command}".replace("USER", getpass.getuser())
    assert tunnel(5006, host, {"SLURMD_NODENAME": "n7", **environment}) == expected


def in_shell(line, *, then):
    """What a shell prints that ran a line which was copied, and then a command."""
    done = subprocess.run(["sh", "-c", f"{line}\n{then}"], capture_output=True, text=True, timeout=30, check=True)
    return done.stdout.strip()


def status(address, token=None):
    parts = urlsplit(address)
    query = f"?{parts.query}" if parts.query else ""
    return Transport(f"{parts.scheme}://{parts.netloc}", token=token).request("GET", f"{parts.path}{query}").status


@pytest.mark.parametrize("count", [1, 2])
def test_with_a_token_all_that_is_printed_opens_and_names_the_machine(serve, scripts, tmp_path, count, monkeypatch):
    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.7 50000 192.0.2.1 2222")
    served = serve(*scripts[:count], "--host", "0.0.0.0")
    served.wait_for_line("To open pages")
    served.wait_for_line("Then open")
    said = served.output()
    assert re.search(rf"ssh -N -L {served.port}:localhost:{served.port} -p 2222 \S+@192\.0\.2\.1\n", said)
    (tunnelled,) = re.findall(r"Then open +(\S+)", said)
    assert status(tunnelled) == 302
    opened = [address.rstrip(".,") for address in re.findall(r"(?:Open|open) (http\S+)", said)]
    sent = [address.rstrip(".,") for address in re.findall(r"send to (http\S+)", said)]
    assert len(opened) == len(sent) >= 1
    assert urlsplit(opened[0]).hostname == socket.gethostname().lower()
    assert not any("127.0.0.1" in address for address in opened + sent)
    assert [status(address) for address in opened] == [302] * len(opened)
    line = re.search(r"export STREAMVIS_TOKEN=.+", said)[0]
    token = in_shell(line, then="printenv STREAMVIS_TOKEN")
    assert token == (tmp_path / "my data" / "token").read_text()
    assert f"the token in {tmp_path / 'my data' / 'token'}" in said
    for address in sent:
        with Client(address, "app", token=token) as client:
            client.init()
            client.sendl(0, "k", {"x": 0})
            assert client.flush()


def test_a_refused_token_is_told_apart_from_none_and_from_one_that_only_reads(start_endpoint, tmp_path):
    endpoint = start_endpoint(args=["--host", "0.0.0.0"])
    endpoint.wait_for_line("STREAMVIS_TOKEN")
    data = tmp_path / "data"
    read = (data / "read-token").read_text()
    messages = {}
    for why, token in (("missing", None), ("wrong", "some-other-token"), ("read-only", read)):
        client = Client(endpoint.url, "app", token=token, spool=tmp_path / why)
        with pytest.raises(TokenRefused) as refused:
            client.init()
        client.close()
        assert refused.value.why == why
        messages[why] = str(refused.value)
        assert "in the file token" in messages[why] and "export STREAMVIS_TOKEN=" in messages[why]
        assert not any(secret in messages[why] for secret in ("some-other-token", read, (data / "token").read_text()))
    assert "needs a token, and this program has none" in messages["missing"]
    assert "does not know the token" in messages["wrong"]
    assert "may only read" in messages["read-only"]
    with pytest.raises(TokenRefused, match="in the file read-token") as refused:
        EndpointReader(endpoint.url).app_tail(None, after=None, wait_s=0)
    assert refused.value.why == "missing"


def test_where_the_token_is_kept_in_the_user_s_own_folder_the_line_to_copy_works(start_endpoint, own_home):
    folder = own_home / "xdg_data_home" / "streamvis"
    endpoint = start_endpoint(folder, args=["--host", "0.0.0.0"])
    client = Client(endpoint.url, "app", token="of-last-year")
    with pytest.raises(TokenRefused) as refused:
        client.init()
    client.close()
    assert str(folder / "token") in str(refused.value)
    line = re.search(r"export STREAMVIS_TOKEN=.+", str(refused.value))[0]
    assert in_shell(line, then="printenv STREAMVIS_TOKEN") == (folder / "token").read_text()


def test_what_the_endpoint_answers_names_the_file_and_says_what_is_wrong(start_endpoint, tmp_path):
    endpoint = start_endpoint(args=["--token", "w" * 20, "--read-token", "r" * 20])
    for token, method, code, file in [
        (None, "GET", "token_needed", "read-token"),
        ("x" * 20, "GET", "token_wrong", "read-token"),
        ("x" * 20, "POST", "token_wrong", "token"),
        ("r" * 20, "POST", "may_only_read", "token"),
    ]:
        body = Transport(endpoint.url, token=token).request(method, "/api/v1/runs", params={"app": "a"}).body
        error = json.loads(body)["error"]
        assert error["code"] == code and f"in the file {file} of" in error["message"]


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_the_second_serve_on_a_folder_prints_the_command_that_shows_its_pages(serve, scripts, start_program, tmp_path, host):
    serve(scripts[1], "--host", host)
    words = [sys.executable, "-m", "streamvis.cli", "serve", "--no-browser", "--data", tmp_path / "my data", "--rest-port", "0"]
    second = start_program([*words, "--host", host, scripts[0]])
    assert second.wait() == 1
    said = second.output()
    assert "in use by another endpoint" in said and "did not start" not in said
    lines = said.partition("run:\n")[2]
    assert len(lines.splitlines()) == (1 if host == "127.0.0.1" else 2)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    pages = start_program(["sh", "-c", lines], env={"PATH": path})
    address = pages.wait_for_line(PAGES_READY)["url"]
    query = "" if host == "127.0.0.1" else pages.wait_for_line(r"(\?token=\S+)")[1]
    assert status(f"{address}/losses%20%26%20co{query}") == (302 if query else 200)
    if not query:
        assert json.loads(Transport(address).request("GET", "/shell/apps").body) == {"apps": []}


@pytest.mark.parametrize(("taken", "option"), [("--rest-port", "--rest-port"), ("--port", "--port")])
def test_a_port_that_is_taken_is_chosen_with_the_option_that_is_named(scripts, start_program, tmp_path, taken, option):
    with socket.create_server(("127.0.0.1", 0)) as other:
        words = [sys.executable, "-m", "streamvis.cli", "serve", scripts[1], "--no-browser", "--data", tmp_path / "data"]
        ports = {"--rest-port": "0", "--port": "0", taken: str(other.getsockname()[1])}
        program = start_program([*words, *(word for pair in ports.items() for word in pair)])
        assert program.wait() == 1
        assert re.search(rf"is taken\. Choose another with {option}, or {option} 0 ", program.output())


def test_a_producer_says_once_where_its_run_is_and_the_address_opens(serve, scripts, tmp_path):
    served = serve(scripts[1])
    url = served.wait_for_line(r"Producers send to (\S+)\.").group(1)
    script = tmp_path / "produce.py"
    script.write_text(
        "import sys\n"
        "from streamvis import Client\n"
        "with Client(sys.argv[1], 'app') as client:\n"
        "    run = client.init({'a': 1})\n"
        "    for step in range(3):\n"
        "        client.sendl(step, 'k', {'x': step})\n"
        "        client.flush()\n"
        "    print('run', run)\n"
    )
    done = subprocess.run([sys.executable, script, url], capture_output=True, text=True, timeout=60, check=True)
    run = done.stdout.split()[1]
    told = re.findall(r"Streamvis: the run (\S+) is at (\S+)", done.stderr)
    assert [name for name, _ in told] == [readable_name(run)] and done.stderr.count("Streamvis") == 1
    assert told[0][1].endswith(f"/b?run={run}") and status(told[0][1]) == 200
