"""Starts programs as children, waits until each is ready, restarts what dies, and ends them all together.

Knows nothing of what the programs do: a child is ready when it prints a line that begins with `ready`. Each child is restarted at
its own pace: one that keeps dying delays no other. A child that listens on port 0 gets the port that it found again when it is
restarted, so that its address stays valid. Each child has a pipe from this process as its standard input, by which it notices
when this process is killed.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from urllib.parse import urlsplit

from streamvis.errors import StreamvisError

__all__ = ["Child", "StartFailed", "Supervisor", "end_with_parent"]

_END_S = 8.0
_BACKOFF_S = (0.0, 0.5, 1.0, 2.0, 5.0)
"""How long a child that died waits to be started again, by how often it has died in a row."""
_STEADY_S = 30.0
"""A child that lived this long was well: it is restarted at once."""


@dataclass(slots=True)
class Child:
    """A program to watch. `command` ends with the option for its port where it has one; `environment` is added to this one's."""

    name: str
    command: Sequence[str]
    ready: str | None
    port: int | None = None
    restarts: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = field(default=None, init=False)
    started: float = field(default=0.0, init=False)
    failures: int = field(default=0, init=False)
    address: str = field(default="", init=False)
    readiness: queue.SimpleQueue[bool] = field(default_factory=queue.SimpleQueue, init=False)
    """Whether it got ready, once."""


class Supervisor:
    """Watches children while it is entered as a context. `folder` is for what they leave to those that follow them."""

    def __init__(self, *, backoff_s: Sequence[float] = _BACKOFF_S) -> None:
        self._backoff_s = backoff_s
        self._folder = tempfile.TemporaryDirectory(prefix="streamvis-")
        self.folder = self._folder.name
        self._children: list[Child] = []
        self._ended: queue.SimpleQueue[tuple[Child, int] | None] = queue.SimpleQueue()
        self._is_ending = False

    def __enter__(self) -> Supervisor:
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, self._interrupt)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        self._is_ending = True
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, signal.SIG_IGN)
        self.end()
        return kind is KeyboardInterrupt

    def end(self) -> None:
        """End all children, and `watch`."""
        self._ended.put(None)
        # The newest first: a producer still delivers to the endpoint before that ends.
        for child in reversed(self._children):
            _end(child)
        self._folder.cleanup()

    def remove_folder(self) -> None:
        """Remove the folder: for a program that ends without leaving this context."""
        self._folder.cleanup()

    def _interrupt(self, signum: int, frame: object) -> None:
        if not self._is_ending:
            self._is_ending = True
            raise KeyboardInterrupt

    def start(self, child: Child) -> str:
        """Start a child, wait until it is ready, and return its address. Raises StartFailed when it ends before."""
        self.begin(child)
        return self.wait(child)

    def begin(self, child: Child) -> None:
        """Start a child; `wait` waits for it."""
        self._children.append(child)
        self._launch(child)

    def wait(self, child: Child) -> str:
        """Wait until a child that was begun is ready, and return its address. Raises StartFailed when it ends before."""
        if not child.readiness.get():
            status = child.process.wait() if child.process is not None else None
            raise StartFailed(f"The {child.name} did not start (exit status {status}).")
        return child.address

    def watch(self) -> None:
        """Restart what dies, until SIGINT, SIGTERM or `end`."""
        due: dict[str, tuple[float, Child]] = {}
        while True:
            next_s = min((at for at, _ in due.values()), default=None)
            try:
                ended = self._ended.get(timeout=None if next_s is None else max(0.0, next_s - time.monotonic()))
            except queue.Empty:
                for name in [name for name, (at, _) in due.items() if at <= time.monotonic()]:
                    self._launch(due.pop(name)[1])
                continue
            if ended is None:
                return
            child, status = ended
            if child.restarts:
                print(f"The {child.name} ended (exit status {status}); it is started again.", file=sys.stderr, flush=True)
                due[child.name] = (time.monotonic() + self._pause_s(child), child)

    def _pause_s(self, child: Child) -> float:
        if time.monotonic() - child.started > _STEADY_S:
            child.failures = 0
        child.failures += 1
        return self._backoff_s[min(child.failures, len(self._backoff_s)) - 1]

    def _launch(self, child: Child) -> None:
        port = [] if child.port is None else [str(child.port)]
        child.started = time.monotonic()
        # A session of its own: Ctrl-C in the terminal reaches this process alone, which ends the children in order.
        child.process = subprocess.Popen(
            [*child.command, *port],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, **child.environment},
        )
        threading.Thread(target=self._listen, args=(child, child.process), daemon=True).start()

    def _listen(self, child: Child, process: subprocess.Popen[str]) -> None:
        """Pass on what the child prints, note its address, and tell when it has ended."""
        is_ready = child.ready is None
        if is_ready:
            child.readiness.put(True)
        told, ready = process.stdout, child.ready
        for line in told or ():
            print(line, end="", flush=True)
            if not is_ready and ready is not None and line.startswith(ready):
                is_ready = True
                child.address = line.removeprefix(ready).strip()
                child.port = urlsplit(child.address).port
                child.readiness.put(True)
        status = process.wait()
        for pipe in (process.stdin, told):
            if pipe is not None:
                pipe.close()
        if not is_ready:
            child.readiness.put(False)
        if is_ready or child.failures:
            self._ended.put((child, status))


class StartFailed(StreamvisError):
    """A child ended before it was ready; it has said why itself."""


def end_with_parent(on_end: Callable[[], None] = lambda: None) -> None:
    """End with the program that started this one, even if that was killed: standard input closes then. `on_end` comes first."""

    def wait_for_the_end() -> None:
        # Not through sys.stdin: its buffer would be locked by this thread when the interpreter ends, which aborts it.
        while os.read(0, 1024):
            pass
        on_end()
        os._exit(1)

    threading.Thread(target=wait_for_the_end, name="streamvis parent", daemon=True).start()


def _end(child: Child) -> None:
    process = child.process
    if process is None or process.poll() is not None:
        return
    process.send_signal(signal.SIGINT if not child.restarts else signal.SIGTERM)
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
