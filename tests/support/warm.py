"""Starts Python programs from a process that has already imported the libraries of a server: importing takes most of a start.

Each process of the tests has one starter. It imports what an endpoint and a page server need, and forks for every program that
is to start. The program is a process of its own, with its own session, environment and descriptors, and runs from its first
line. Commands of the docs, and tests of starting itself, start programs the usual way.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

__all__ = ["Started", "start"]

_LIBRARIES = (
    "streamvis.endpoint.process",
    "streamvis.page.web.process",
    "streamvis.panels",
    "streamvis.store.sqlite",
    # What they import when they need it first, and what page scripts import.
    "anyio._backends._asyncio",
    "bokeh.layouts",
    "bokeh.plotting",
    "numpy.ma",
    "pyarrow.compute",
)
_OPTIONAL = ("uvloop", "httptools", "pydantic.v1", "streamvis.store.postgresql.store")
_MOST_BYTES = 2**20


class Started:
    """A process that was started: what tests use of `subprocess.Popen`."""

    def __init__(self, connection: socket.socket, pid: int) -> None:
        self.pid, self.returncode = pid, None
        self._connection = connection

    def poll(self) -> int | None:
        """The exit status, or minus the number of the signal that ended it; None while it runs."""
        return self._look(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it ends. Raises subprocess.TimeoutExpired."""
        status = self._look(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _look(self, timeout_s: float | None) -> int | None:
        if self.returncode is None:
            self._connection.settimeout(timeout_s)
            try:
                said = self._connection.recv(64)
            except (BlockingIOError, TimeoutError):
                return None
            assert said, "the process that starts others has ended"
            self.returncode = int(said)
            self._connection.close()
        return self.returncode


def start(words: Sequence[str], *, env: Mapping[str, str], cwd: Path | None, log: BinaryIO) -> Started:
    """Start `python WORDS`, where the words begin with `-m MODULE`, `-c SOURCE` or a file; what it prints goes to `log`."""
    connection = _starter().connect()
    os.umask(mask := os.umask(0o077))
    asked = json.dumps([list(words), dict(env), os.fspath(cwd or Path.cwd()), mask])
    socket.send_fds(connection, [asked.encode()], [log.fileno()])
    return Started(connection, int(connection.recv(64)))


class _Starter:
    """The process that forks. It ends with this one."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            # A library that starts threads as it is imported makes forks unsafe.
            env = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
            command = [sys.executable, "-u", __file__, str(theirs.fileno())]
            self._process = subprocess.Popen(command, env=env, pass_fds=[theirs.fileno()], start_new_session=True)

    def connect(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            socket.send_fds(self._control, [b"start"], [theirs.fileno()])
        return ours


@functools.cache
def _starter() -> _Starter:
    return _Starter()


def _serve(control: socket.socket) -> tuple[list[str], dict[str, str], str, int, int]:
    """Fork for each start that is asked for. Returns in each child, with what it is to do; never in the starter itself."""
    woken, wakes = socket.socketpair()
    for end in (woken, wakes):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakes.fileno())
    running: dict[int, socket.socket] = {}
    waiting = selectors.DefaultSelector()
    waiting.register(control, selectors.EVENT_READ)
    waiting.register(woken, selectors.EVENT_READ)
    while True:
        ready = [key.fileobj for key, _ in waiting.select()]
        if woken in ready:
            woken.recv(2**16)
            _tell_ended(running)
        if control not in ready:
            continue
        said, descriptors, *_ = socket.recv_fds(control, 16, 1)
        if not said:
            os._exit(0)  # the tests have ended
        connection = socket.socket(fileno=descriptors[0])
        asked, (log,), *_ = socket.recv_fds(connection, _MOST_BYTES, 1)
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for one in (waiting, control, woken, wakes, connection, *running.values()):
                one.close()
            return *json.loads(asked), log
        os.close(log)
        connection.send(str(pid).encode())
        running[pid] = connection


def _tell_ended(running: dict[int, socket.socket]) -> None:
    """Take note of all children that have ended, and tell who started them."""
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        connection = running.pop(pid)
        try:
            connection.send(str(os.waitstatus_to_exitcode(status)).encode())
        except OSError:
            pass  # nobody waits for it any more
        connection.close()


def _run(words: list[str], env: dict[str, str], cwd: str, mask: int, log: int) -> None:
    """Become what a fresh process would be, and run."""
    os.setsid()
    os.umask(mask)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    nothing = os.open(os.devnull, os.O_RDWR)
    for own, given in ((0, nothing), (1, log), (2, log)):
        os.dup2(given, own)
    for given in (nothing, log):
        os.close(given)
    how, *words = words
    if how not in ("-m", "-c"):
        sys.path[0] = os.path.dirname(os.path.abspath(how))
        sys.argv = [how, *words]
        # Its names live until the interpreter ends: `runpy.run_path` would clear them as soon as an exception leaves it.
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        main.__file__ = how
        exec(compile(Path(how).read_bytes(), how, "exec"), vars(main))
        return
    what, *words = words
    sys.path[0] = cwd
    sys.argv = [how, *words]
    if how == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        names = {"__name__": "__main__", "__builtins__": __builtins__}
        exec(compile(what, "<string>", "exec"), names)


if __name__ == "__main__":
    for library in _LIBRARIES:
        __import__(library)
    for library in _OPTIONAL:
        with contextlib.suppress(ImportError):
            __import__(library)
    # A program that ends collects garbage among all objects. Those of the libraries are none, and looking takes half a second.
    gc.collect()
    gc.freeze()
    _run(*_serve(socket.socket(fileno=int(sys.argv[1]))))
