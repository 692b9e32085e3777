"""What `streamvis serve` does with its children: each is started again at a pace of its own."""

from __future__ import annotations

import os
import signal
import sys
import threading

import pytest

from streamvis.commands.supervisor import Child, Supervisor
from support.conditions import wait_until

# Writes a line into its file with each start, says that it is ready, and then ends or waits.
PROGRAM = """
import os, sys, time
with open(sys.argv[1], "a") as file:
    file.write(f"{os.getpid()}\\n")
print("ready http://127.0.0.1:1", flush=True)
if sys.argv[2] == "waits":
    sys.stdin.read()
"""


@pytest.fixture
def supervisor():
    """One whose pause is nothing at first, and longer than any test from the third failure on."""
    made = Supervisor(backoff_s=(0.0, 0.0, 600.0))
    yield made
    made.end()


def child(tmp_path, name, what):
    starts = tmp_path / f"{name}.starts"
    return Child(name, [sys.executable, "-c", PROGRAM, str(starts), what], ready="ready "), starts


def pids(starts):
    return [int(line) for line in starts.read_text().splitlines()] if starts.exists() else []


def test_a_child_that_dies_is_started_again_while_another_one_pauses(supervisor, tmp_path):
    failing, failed = child(tmp_path, "failing", "ends")
    steady, started = child(tmp_path, "steady", "waits")
    supervisor.start(steady)
    supervisor.start(failing)
    threading.Thread(target=supervisor.watch, daemon=True).start()
    wait_until(lambda: len(pids(failed)) == 3, what="the failing child is started until its pause is long")
    wait_until(lambda: failing.process.poll() is not None, what="its last end")
    for starts in (2, 3):
        os.kill(pids(started)[-1], signal.SIGKILL)
        wait_until(lambda starts=starts: len(pids(started)) == starts, what="the steady child is started again")
    assert len(pids(failed)) == 3
