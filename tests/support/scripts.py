"""Producers as tests write them: a few lines that run as a program of their own."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable

import pytest

from support.processes import Program

__all__ = ["run_of", "start_script"]

_HEAD = """
import multiprocessing, os, signal, sys, threading, time
from streamvis import Client
url, app = sys.argv[1:]
"""
_CLIENT = """
client = Client(url, app)
print("run", client.init({"a": 1}), flush=True)
"""


@pytest.fixture
def start_script(start_program, shared_endpoint, tmp_path) -> Callable[..., Program]:
    """`start_script(source, *, url=..., head=True, launcher=(), env=None)` runs a program under the app "app".

    It finds `url` (of the endpoint that the tests of the file share, if no other is given), the usual modules and, with `head`,
    a client named `client` whose run has begun. `launcher` are words of a command before the program's. Without one it is warm,
    if not told otherwise.
    """

    def start(source: str, *, url: str = shared_endpoint.url, head: bool = True, launcher=(), **options) -> Program:
        path = tmp_path / f"script-{len(list(tmp_path.glob('script-*')))}.py"
        path.write_text(_HEAD + (_CLIENT if head else "") + textwrap.dedent(source))
        command = [*(launcher or [sys.executable]), path, url, "app"]
        return start_program(command, **{"is_warm": not launcher, **options})

    return start


def run_of(program: Program) -> str:
    """The id of the run, which the program printed."""
    return program.wait_for_line(r"run (\S+)")[1]
