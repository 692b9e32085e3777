"""`streamvis serve` as a person runs it: started, watched, stopped, and its parts killed under it."""

from __future__ import annotations

import signal
import sys

import psutil
import pytest

from streamvis import Client
from support.conditions import wait_until
from support.processes import is_gone

PAGE = "def init_page(doc, config):\n    pass\ndef update_page(doc, new_data):\n    pass\n"

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def served(tmp_path, start_service):
    """A running `streamvis serve`, and the address to which producers send."""
    page = tmp_path / "page.py"
    page.write_text(PAGE)
    options = ["--no-browser", "--data", str(tmp_path / "data"), "--rest-port", "0"]
    ready = r"Open (?P<url>http://\S+:(?P<port>\d+))/\S* in a browser"
    service = start_service([sys.executable, "-m", "streamvis.cli", "serve", str(page), *options], ready=ready)
    return service, service.wait_for_line(r"Producers send to (\S+)\.").group(1)


def part(service, name):
    """The child that runs `name`."""
    for child in psutil.Process(service.pid).children():
        if name in child.cmdline():
            return child
    raise AssertionError(f"no {name} is running")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_cleanly_and_takes_its_parts_along(served, signum):
    service, _ = served
    parts = [part(service, name).pid for name in ("rest", "page")]
    service.send_signal(signum)
    assert service.wait(within_s=20) == 0
    assert all(is_gone(pid) for pid in parts)
    assert "Fatal" not in service.output() and "Traceback" not in service.output()


@pytest.mark.faults
def test_an_endpoint_that_dies_is_started_again_at_its_address(served):
    service, url = served
    with Client(url, "served") as client:
        client.init()
        client.sendl(0, "k", {"x": 0})
        assert client.flush()
        killed = part(service, "rest")
        killed.kill()
        client.sendl(1, "k", {"x": 1})
        assert client.flush(timeout_s=30)
    assert part(service, "rest").pid != killed.pid
    assert "it is started again" in service.output()


@pytest.mark.faults
def test_its_parts_end_when_it_is_killed(served):
    service, _ = served
    parts = [part(service, name).pid for name in ("rest", "page")]
    service.kill()
    wait_until(lambda: all(is_gone(pid) for pid in parts), within_s=20, what="the parts end")
