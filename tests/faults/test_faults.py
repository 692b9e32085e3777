"""The fault program: some rounds of it, and that it finds out endpoints that are broken in the ways it is there to find."""

import re
import socket
import sys
import textwrap
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from support import warm
from support.conditions import wait_until

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "faults.py"


@pytest.fixture
def play(start_program) -> Callable[..., tuple[int, str]]:
    """`play(*options)`: the exit status of the fault program, and what it printed."""
    warm.share()

    def play(*options) -> tuple[int, str]:
        command = [sys.executable, PROGRAM, "--seed", "7", "--producers", "2", "--window-ms", "2000", "--warm"]
        program = start_program([*command, *map(str, options)], is_warm=True)
        return program.wait(280), program.output()

    return play


def count(told: str, what: str) -> int:
    """The number before or behind a word of the last lines."""
    return int(re.search(rf"^.*\b{what}:? (\d[\d,]*)", told.rpartition("minutes")[2], re.MULTILINE)[1].replace(",", ""))


@pytest.mark.faults
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "options", [(), ("--crowded",), ("--store", "postgresql", "--endpoints", 2)], ids=["", "crowded", "postgresql"]
)
def test_whatever_is_killed_stopped_or_cut_nothing_is_lost_doubled_or_out_of_order(options, play):
    status, told = play("--rounds", 4, *options)
    assert status == 0
    assert "\n4 rounds in " in told and told.endswith("passed\n")
    assert count(told, "records compared") > 300
    assert [count(told, what) for what in ("lost", "doubled", "out of order", "never sent")] == [0, 0, 0, 0]
    assert sum(count(told, kind) for kind in ("kill", "stop", "cut", "exit", "terminate")) >= 4


BROKEN = {
    "lost": """
        # Says that batches are stored a moment before they are.
        async def append(self, batch, appended=Writer.append):
            async def later():
                await asyncio.sleep(0.3)
                await appended(self, batch)
            self.__dict__.setdefault("later", []).append(asyncio.create_task(later()))
            return Ack(1)

        Writer.append = append
    """,
    "doubled": """
        # Forgets which batches it has stored.
        statements.GET_PRODUCER = statements.GET_PRODUCER.replace("WHERE", "WHERE 0 AND")
    """,
}
FAULTS = {"lost": "kill endpoint", "doubled": "cut producer"}


@pytest.mark.faults
@pytest.mark.timeout(300)
@pytest.mark.parametrize("what", BROKEN)
def test_an_endpoint_that_is_broken_on_purpose_is_found_out(what, tmp_path, play):
    program = tmp_path / "broken.py"
    head = """
        import asyncio
        from streamvis.cli import main
        from streamvis.endpoint.writer import Writer
        from streamvis.records import Ack
        from streamvis.store import statements
    """
    program.write_text("\n".join([*map(textwrap.dedent, (head, BROKEN[what])), 'if __name__ == "__main__":\n    main()\n']))
    rounds = ["--rounds", 3, "--only", FAULTS[what], "--patience-s", 20]
    status, told = play(*rounds, "--endpoint", f"{sys.executable} {program} rest")
    assert status == 1 and told.endswith("FAILED\n")
    assert count(told, what) > 0


def test_a_request_that_is_cut_off_in_its_body_is_no_error_of_the_endpoint(start_endpoint):
    endpoint = start_endpoint()
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", endpoint.port)) as connection:
            head = "POST /api/v1/runs/run/batches HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            connection.sendall(f"{head}Content-Length: 1000\r\n\r\nthe first bytes of it".encode())
            told = urllib.request.urlopen(f"{endpoint.url}/healthz", timeout=10)
            assert told.status == 200
    wait_until(lambda: not open_connections(endpoint), what="the endpoint to see that they are gone")
    assert "Traceback" not in endpoint.output()


def open_connections(endpoint):
    return [one for one in psutil.Process(endpoint.pid).net_connections() if one.laddr.port == endpoint.port and one.raddr]
