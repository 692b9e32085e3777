"""Real proxies that show a server below a path: nginx, and Jupyter's."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from support.conditions import wait_until
from support.processes import Program

_NGINX_CONF = """
worker_processes 1;
error_log stderr;
pid {folder}/nginx.pid;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
{locations}
    }}
}}
"""


def free_port() -> int:
    """A port that nobody listens on now, for programs that are told theirs."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def nginx_path() -> str:
    """The system's nginx, which Debian keeps out of the PATH of ordinary users, else the one that `make nginx` unpacked."""
    unpacked = Path(sys.executable).parent.parent / "nginx" / "usr" / "sbin"
    found = shutil.which("nginx", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", str(unpacked)]))
    if not found:
        raise RuntimeError("These tests need nginx: `make nginx` gets it on Debian. Or: sudo apt-get install nginx-light")
    return found


@pytest.fixture
def start_nginx(start_program, tmp_path: Path) -> Callable[[str], str]:
    """`start_nginx(locations)` starts nginx with these location blocks, and returns its address."""

    def start(locations: str) -> str:
        port, folder = free_port(), tmp_path / "nginx"
        folder.mkdir(exist_ok=True)
        (folder / "nginx.conf").write_text(_NGINX_CONF.format(folder=folder, port=port, locations=locations))
        words = [nginx_path(), "-p", folder, "-c", folder / "nginx.conf", "-e", "stderr", "-g", "daemon off; master_process off;"]
        wait_until_open(start_program(words), port)
        return f"http://127.0.0.1:{port}"

    return start


def _jupyter(base: str, port: int, home: Path, *, is_remote: bool = False) -> tuple[list[str], dict[str, str]]:
    """The command that starts Jupyter with jupyter-server-proxy below the path `base`, and its settings."""
    home.mkdir(exist_ok=True)
    options = {
        "ServerApp.base_url": base,
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": port,
        "ServerApp.port_retries": 0,
        "ServerApp.open_browser": False,
        "ServerApp.allow_root": True,
        "ServerApp.allow_remote_access": is_remote,
        "ServerApp.root_dir": home,
        "ServerApp.jpserver_extensions": {"jupyter_server_proxy": True},
        "IdentityProvider.token": "",
    }
    words = [sys.executable, "-m", "jupyter_server", *(f"--{name}={value}" for name, value in options.items())]
    folders = {f"JUPYTER_{name}_DIR": str(home / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    # What Jupyter checks international addresses with, if it is there, takes half of its start to import.
    (home / "without").mkdir()
    (home / "without" / "rfc3987_syntax.py").write_text("raise ImportError\n")
    paths = filter(None, [str(home / "without"), os.environ.get("PYTHONPATH")])
    return words, {"HOME": str(home), "PYTHONPATH": os.pathsep.join(paths), **folders}


@pytest.fixture
def start_jupyter(start_program, tmp_path: Path) -> Callable[..., str]:
    """`start_jupyter(base)` starts Jupyter with jupyter-server-proxy below the path `base`, and returns its address there.

    `is_remote`: it answers under any host name.
    """

    def start(base: str, *, is_remote: bool = False) -> str:
        port = free_port()
        words, settings = _jupyter(base, port, tmp_path / "jupyter", is_remote=is_remote)
        wait_until_open(start_program(words, env=settings), port)
        return f"http://127.0.0.1:{port}{base}"

    return start


@pytest.fixture(scope="module")
def share_jupyter(tmp_path_factory) -> Iterator[Callable[[str], str]]:
    """`share_jupyter(base)`: as `start_jupyter`, but one Jupyter for all tests of a file."""
    programs: list[Program] = []

    @cache
    def share(base: str) -> str:
        port, folder = free_port(), tmp_path_factory.mktemp("jupyter")
        words, settings = _jupyter(base, port, folder / "home")
        programs.append(Program(words, log=folder / "jupyter.log", env=settings))
        wait_until_open(programs[-1], port)
        return f"http://127.0.0.1:{port}{base}"

    yield share
    for program in programs:
        program.close()


def wait_until_open(program: Program, port: int) -> None:
    """Wait until the program listens; fail at once when it has ended."""

    def is_open() -> bool:
        assert program.running, f"{program} ended:\n{program.output()}"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_until(is_open, within_s=40, what=f"{program} to listen")
