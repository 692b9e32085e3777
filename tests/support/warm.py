"""Starts Python programs from a process that has already imported the libraries of a server: importing takes most of a start.

There is one starter for all processes of the tests, and for the programs that they start. When it is asked for a program for the
first time, it imports what an endpoint and a page server need; then it forks for every program. The program is a process of its
own, with its own session, environment and descriptors, and runs from its first line. Commands of the docs, and tests of starting
itself, start programs the usual way.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import json
import os
import runpy
import select
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, NoReturn

__all__ = ["Started", "share", "start"]

_LIBRARIES = (
    "streamvis.cli",
    "streamvis.endpoint.process",
    "streamvis.page.web.process",
    "streamvis.panels",
    "streamvis.shell.routes",
    "streamvis.store.sqlite",
    # What they import when they need it first, and what page scripts import.
    "anyio._backends._asyncio",
    "bokeh.layouts",
    "bokeh.plotting",
    "numpy.ma",
    "pyarrow.compute",
    "uvicorn.lifespan.on",
)
_OPTIONAL = ("uvloop", "httptools", "pydantic.v1", "streamvis.store.postgresql.store")
_MOST_BYTES = 2**20
_ADDRESS = "STARTER_OF_TESTS"
"""The variable of the environment that says where the starter listens, if there is one already."""


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
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.connect(os.environ.get(_ADDRESS) or _starter().address)
    os.umask(mask := os.umask(0o077))
    asked = json.dumps([list(words), dict(env), os.fspath(cwd or Path.cwd()), mask])
    socket.send_fds(connection, [asked.encode()], [log.fileno()])
    return Started(connection, int(connection.recv(64)))


def share() -> None:
    """Have one starter for this process and all that it starts."""
    os.environ.setdefault(_ADDRESS, _starter().address)


class _Starter:
    """The process that forks. It ends with this one."""

    def __init__(self) -> None:
        # Tests change where temporary files go, and the address of a socket has 107 characters at most.
        self.address = f"{tempfile.mkdtemp(prefix='streamvis-starter-', dir='/tmp')}/socket"
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
            listening.bind(self.address)
            listening.listen(64)
            # A library that starts threads as it is imported makes forks unsafe.
            env = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
            passed = [theirs.fileno(), listening.fileno()]
            command = [sys.executable, "-u", __file__, *map(str, passed)]
            self._process = subprocess.Popen(command, env=env, pass_fds=passed, start_new_session=True)


@functools.cache
def _starter() -> _Starter:
    return _Starter()


def _serve(control: socket.socket, listening: socket.socket) -> tuple[list[str], dict[str, str], str, int, int]:
    """Fork for each start that is asked for. Returns in each child, with what it is to do; never in the starter itself."""
    woken, wakes = socket.socketpair()
    for end in (woken, wakes):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakes.fileno())
    running: dict[int, socket.socket] = {}
    waiting = selectors.DefaultSelector()
    waiting.register(control, selectors.EVENT_READ)
    waiting.register(listening, selectors.EVENT_READ)
    waiting.register(woken, selectors.EVENT_READ)
    while True:
        ready = [key.fileobj for key, _ in waiting.select()]
        if woken in ready:
            woken.recv(2**16)
            _tell_ended(running)
        if control in ready:
            _end(listening)
        if listening not in ready:
            continue
        connection, _ = listening.accept()
        try:
            asked, (log,), *_ = socket.recv_fds(connection, _MOST_BYTES, 1)
        except (OSError, ValueError):  # who asked has ended
            connection.close()
            continue
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for one in (waiting, control, listening, woken, wakes, connection, *running.values()):
                one.close()
            return *json.loads(asked), log
        os.close(log)
        running[pid] = connection
        with contextlib.suppress(OSError):
            connection.send(str(pid).encode())


def _end(listening: socket.socket) -> NoReturn:
    """The tests have ended: leave nothing."""
    address = Path(listening.getsockname())
    address.unlink()
    address.parent.rmdir()
    os._exit(0)


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
        sys.modules.pop(what, None)  # imported already, it would not be run as a module is
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        names = {"__name__": "__main__", "__builtins__": __builtins__}
        exec(compile(what, "<string>", "exec"), names)


if __name__ == "__main__":
    control, listening = (socket.socket(fileno=int(word)) for word in sys.argv[1:])
    if control in select.select([control, listening], [], [])[0]:
        _end(listening)  # nothing was ever started
    for library in _LIBRARIES:
        __import__(library)
    for library in _OPTIONAL:
        with contextlib.suppress(ImportError):
            __import__(library)
    # A program that ends collects garbage among all objects. Those of the libraries are none, and looking takes half a second.
    gc.collect()
    gc.freeze()
    _run(*_serve(control, listening))
