"""Real programs as tests start them: asked for port 0, awaited by their ready line, killed, restarted on the same port.

Nothing that a test starts outlives it: teardown kills each program's whole process group, and if the test process itself is
killed, a guard process per program does.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil
import pytest

from support import warm
from support.conditions import wait_until

STREAMVIS = [sys.executable, "-m", "streamvis.cli"]
ENDPOINT_READY = r"Streamvis endpoint ready at (?P<url>https?://\S+:(?P<port>\d+)\S*)"
PAGES_READY = r"Streamvis pages ready at (?P<url>https?://\S+:(?P<port>\d+)\S*)"


def is_gone(pid: int) -> bool:
    """Whether the process has ended; one that nobody has reaped yet counts as gone."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class Program:
    """One command that runs now, and can be killed, stopped, and started again.

    `command` is a list; `env` is laid over this process's environment (a value of None takes a name out). Standard output
    and error go, in order, to one file, which `output()` reads. The program leads a process group of its own. One that is
    warm starts as `support.warm` says.
    """

    def __init__(
        self,
        command: Sequence[str | os.PathLike[str]],
        *,
        log: Path,
        env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
        is_warm: bool = False,
    ) -> None:
        self._is_warm = is_warm
        self.command = [os.fspath(word) for word in command]
        self.env = dict(env or {})
        self.cwd = cwd
        self._log = log
        self._log_start = 0
        self._groups: list[int] = []
        self._descendants: list[psutil.Process] = []
        self._guards: list[subprocess.Popen[bytes]] = []
        self._start()

    def _start(self) -> None:
        environment = {"PYTHONUNBUFFERED": "1", **os.environ, **self.env}
        self._log_start = self._log.stat().st_size if self._log.exists() else 0
        environment = {name: value for name, value in environment.items() if value is not None}
        with self._log.open("ab") as log:
            if self._is_warm:
                self._process = warm.start(self.command[1:], env=environment, cwd=self.cwd, log=log)
            else:
                self._process = subprocess.Popen(
                    self.command,
                    env=environment,
                    cwd=self.cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        self._groups.append(self._process.pid)
        # Reads until this process closes the pipe, which it also does by dying, however it dies.
        self._guards.append(
            subprocess.Popen(
                ["sh", "-c", 'read -r _; kill -s KILL -- "-$0" 2>/dev/null', str(self._process.pid)],
                stdin=subprocess.PIPE,
                start_new_session=True,
            )
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def status(self) -> int | None:
        """The exit status; None while it runs; minus the signal's number when a signal ended it."""
        return self._process.poll()

    def output(self, *, all_starts: bool = False) -> str:
        """What the program printed since it was last started, or since it was first started."""
        with self._log.open("rb") as log:
            log.seek(0 if all_starts else self._log_start)
            return log.read().decode(errors="replace")

    def wait_for_line(self, pattern: str, within_s: float = 40) -> re.Match[str]:
        """Wait until something printed since the last start matches `pattern`, and return the match.

        Only whole lines are looked at. Fails at once, with the output, when the program has ended without printing it.
        """

        __tracebackhide__ = True

        def printed_or_ended() -> re.Match[str] | bool | None:
            ended = not self.running  # asked first: what it printed last is then in the file
            text = self.output()
            whole = text if ended else text[: text.rfind("\n") + 1]
            return re.search(pattern, whole, re.MULTILINE) or ended

        try:
            found = wait_until(printed_or_ended, within_s=within_s, what=f"a line like {pattern!r} from {self}")
        except AssertionError as late:
            raise AssertionError(f"{late}\n{self._told()}") from None
        if not isinstance(found, re.Match):
            raise AssertionError(f"{self} ended with status {self.status} before a line like {pattern!r}\n{self._told()}")
        return found

    def wait(self, within_s: float = 40) -> int:
        """Wait until the program ends by itself, and return its exit status."""
        __tracebackhide__ = True
        try:
            return self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"waited {within_s:g} s for {self} to end\n{self._told()}") from None

    def send_signal(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL to the program alone (not to what it started), and wait until it is gone."""
        self._remember_descendants()
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """SIGSTOP, and wait until the kernel has stopped it: it keeps its sockets and says nothing."""
        os.kill(self.pid, signal.SIGSTOP)
        wait_until(lambda: psutil.Process(self.pid).status() == psutil.STATUS_STOPPED, within_s=5, what=f"{self} to stop")

    def resume(self) -> None:
        """SIGCONT after `stop`."""
        os.kill(self.pid, signal.SIGCONT)

    def terminate(self, within_s: float = 40) -> int:
        """SIGTERM, as a service manager does, and the exit status."""
        self._process.terminate()
        return self.wait(within_s)

    def restart(
        self, command: Sequence[str | os.PathLike[str]] | None = None, *, env: Mapping[str, str | None] | None = None
    ) -> None:
        """Start again, with the same command and environment or with changed ones; kills it first when it still runs."""
        if self.running:
            self.kill()
        if command is not None:
            self.command = [os.fspath(word) for word in command]
        self.env.update(env or {})
        self._start()

    def children(self) -> list[psutil.Process]:
        """The processes that it started, and those that they started."""
        return psutil.Process(self.pid).children(recursive=True)

    def close(self) -> None:
        """Kill it and everything that it started, also what left its process group but was seen as its descendant."""
        self._remember_descendants()
        for group in self._groups:
            # A number that is a process again after its program has ended was given to another one: then the group is gone.
            if psutil.pid_exists(group) and (group != self.pid or not self.running):
                continue
            try:
                os.killpg(group, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for descendant in self._descendants:
            try:
                descendant.kill()  # psutil knows a process by its start time too, so never hits one that took its number
            except psutil.NoSuchProcess:
                pass
        self._process.wait()
        for guard in self._guards:
            guard.kill()
            guard.communicate()
        self._groups.clear()
        self._guards.clear()

    def _remember_descendants(self) -> None:
        try:
            self._descendants += self.children() if self.running else []
        except psutil.NoSuchProcess:
            pass

    def __str__(self) -> str:
        words = (word if len(word) < 80 else f"{word.strip().splitlines()[0][:60]}..." for word in self.command)
        return f"`{' '.join(words)}`"

    def _told(self) -> str:
        return f"--- what it printed ---\n{self.output() or '(nothing)'}\n---"


class Service(Program):
    """A program that listens: started on the port it chose, known by `url` and `port`, restarted on the same port.

    `ready` has the groups `url` and `port`. The command takes `--port`, which this class adds.
    """

    def __init__(
        self,
        command: Sequence[str | os.PathLike[str]],
        *,
        ready: str,
        log: Path,
        port: int = 0,
        env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
        within_s: float = 60,
        is_warm: bool = False,
    ) -> None:
        self._without_port = [os.fspath(word) for word in command]
        self._ready = ready
        super().__init__([*self._without_port, "--port", str(port)], log=log, env=env, cwd=cwd, is_warm=is_warm)
        try:
            self.wait_until_ready(within_s)
        except BaseException:
            self.close()
            raise

    def wait_until_ready(self, within_s: float = 60) -> None:
        ready = self.wait_for_line(self._ready, within_s)
        self.url: str = ready["url"].rstrip("/.")
        self.port = int(ready["port"])

    def restart(
        self,
        command: Sequence[str | os.PathLike[str]] | None = None,
        *,
        env: Mapping[str, str | None] | None = None,
        port: int | None = None,
        within_s: float = 60,
    ) -> None:
        """Start again, on the same port when none is named, and wait until it is ready. `command` is without `--port`."""
        if command is not None:
            self._without_port = [os.fspath(word) for word in command]
        super().restart([*self._without_port, "--port", str(self.port if port is None else port)], env=env)
        self.wait_until_ready(within_s)


class PageServer(Service):
    """A page server. `url` is where pages are alone, at `/NAME` below it; `root` is where the shell is around them."""

    def wait_until_ready(self, within_s: float = 60) -> None:
        super().wait_until_ready(within_s)
        self.root, self.url = self.url, f"{self.url}/view"


def endpoint(
    data: Path,
    *,
    log: Path,
    port: int = 0,
    args: Sequence[str] = (),
    env: Mapping[str, str | None] | None = None,
    within_s: float = 60,
) -> Service:
    """Start `streamvis rest` over the folder `data`, and wait until it is ready."""
    command = [*STREAMVIS, "rest", "--data", data, *args]
    return Service(command, ready=ENDPOINT_READY, log=log, port=port, env=env, within_s=within_s, is_warm=True)


def page_server(
    *scripts: Path,
    url: str,
    log: Path,
    port: int = 0,
    args: Sequence[str] = (),
    env: Mapping[str, str | None] | None = None,
    within_s: float = 60,
) -> PageServer:
    """Start `streamvis page` for `scripts`, which reads from the endpoint at `url`, and wait until it is ready."""
    command = [*STREAMVIS, "page", *scripts, "--url", url, *args]
    return PageServer(command, ready=PAGES_READY, log=log, port=port, env=env, within_s=within_s, is_warm=True)


@pytest.fixture
def keep(tmp_path: Path) -> Iterator[Callable[[Callable[[Path], Program]], Program]]:
    """Gives each program a file for its output, prints that (pytest shows it when the test fails), and kills it at the end."""
    programs: list[Program] = []

    def keep_program(start: Callable[[Path], Program]) -> Program:
        log = tmp_path / f"program-{len(programs) + 1}.log"
        try:
            programs.append(start(log))
        except BaseException:
            print(log.read_text(errors="replace") if log.exists() else "")
            raise
        return programs[-1]

    yield keep_program
    for program in reversed(programs):
        program.close()
    for program in programs:
        print(f"--- {program}: status {program.status} ---\n{program.output(all_starts=True)}")


@pytest.fixture
def start_program(keep) -> Callable[..., Program]:
    """`start_program(command, *, env=None, cwd=None, is_warm=False)` starts a command; it ends with its children at last."""

    def start(command: Sequence[str | os.PathLike[str]], **options) -> Program:
        return keep(lambda log: Program(command, log=log, **options))

    return start


@pytest.fixture
def start_streamvis(start_program) -> Callable[..., Program]:
    """`start_streamvis(*words, env=None, cwd=None)` starts `streamvis WORDS`."""

    def start(*words: str | os.PathLike[str], **options) -> Program:
        return start_program([*STREAMVIS, *words], is_warm=True, **options)

    return start


@pytest.fixture
def start_service(keep) -> Callable[..., Service]:
    """`start_service(command, *, ready, port=0, env=None, cwd=None, within_s=60, is_warm=False)`: one that takes `--port`."""

    def start(command: Sequence[str | os.PathLike[str]], **options) -> Service:
        return keep(lambda log: Service(command, log=log, **options))

    return start


@pytest.fixture
def start_endpoint(keep, tmp_path: Path) -> Callable[..., Service]:
    """`start_endpoint(data=None, *, port=0, args=(), env=None, within_s=60)`; without `data`, the test's own folder."""

    def start(data: Path | None = None, **options) -> Service:
        return keep(lambda log: endpoint(data or tmp_path / "data", log=log, **options))

    return start


@pytest.fixture(scope="module")
def shared_endpoint(tmp_path_factory) -> Iterator[Service]:
    """One endpoint for all tests of a file: each keeps to runs and apps of its own, and leaves the endpoint as it was."""
    folder = tmp_path_factory.mktemp("shared")
    # Set up before a test's own environment is.
    settings = {name: None for name in os.environ if name.startswith("STREAMVIS_")}
    service = endpoint(folder / "data", log=folder / "endpoint.log", env=settings)
    yield service
    service.close()


@pytest.fixture(scope="module")
def share_pages(tmp_path_factory, shared_endpoint) -> Iterator[Callable[..., PageServer]]:
    """`share_pages(**sources)`: one page server on the shared endpoint for all tests of a file, with a page for each name."""
    started: list[PageServer] = []

    def share(**sources: str) -> PageServer:
        folder = tmp_path_factory.mktemp("pages")
        for name, source in sources.items():
            (folder / f"{name}.py").write_text(source)
        settings = {name: None for name in os.environ if name.startswith("STREAMVIS_")}
        scripts = [folder / f"{name}.py" for name in sources]
        started.append(page_server(*scripts, url=shared_endpoint.url, log=folder / "pages.log", env=settings))
        return started[-1]

    yield share
    for service in started:
        service.close()


@pytest.fixture
def start_pages(keep) -> Callable[..., PageServer]:
    """`start_pages(*scripts, url, port=0, args=(), env=None, within_s=60)`."""

    def start(*scripts: Path, url: str, **options) -> Service:
        return keep(lambda log: page_server(*scripts, url=url, log=log, **options))

    return start
