"""Load balancers before several endpoints, set up as docs/scaling.md says: HAProxy and nginx, the real ones."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from support.processes import Program
from support.proxies import free_port, nginx_path, wait_until_open

__all__ = ["BALANCERS", "Balancer"]

BALANCERS = ("haproxy", "nginx")
_DOCS = Path(__file__).parents[2] / "docs" / "scaling.md"
_UNPACKED = Path(sys.prefix) / "haproxy"
_NGINX_CONF = """
worker_processes 1;
pid {folder}/nginx.pid;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{settings}
}}
"""


class Balancer(Program):
    """A balancer of this kind before endpoints at these ports, known by `url` and `port`."""

    def __init__(self, kind: str, ports: Sequence[int], *, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        folder.mkdir(parents=True)
        settings, env = _settings(kind, ports, self.port), {}
        file = folder / f"{kind}.conf"
        if kind == "nginx":
            settings = _NGINX_CONF.format(folder=folder, settings=settings)
            command = [nginx_path(), "-p", folder, "-c", file, "-e", "stderr", "-g", "daemon off; master_process off;"]
        else:
            command = [_haproxy(), "-db", "-f", file]
            env["LD_LIBRARY_PATH"] = os.pathsep.join(map(str, _UNPACKED.glob("usr/lib/*/")))
        file.write_text(settings)
        super().__init__(command, log=folder / "log", env=env)
        wait_until_open(self, self.port)


def _settings(kind: str, ports: Sequence[int], port: int) -> str:
    """What the docs say, with these ports: their example has two endpoints."""
    text = re.search(rf"^{kind}:\n.*?```text\n(.*?)```", _DOCS.read_text(), re.DOTALL | re.MULTILINE | re.IGNORECASE)[1]
    lines = []
    for line in text.splitlines():
        if "b.example.org" in line:
            continue
        if "a.example.org" in line:
            lines += [re.sub(r"server a a\.\S+|a\.example\.org:\d+", _server(kind, i, at), line) for i, at in enumerate(ports)]
        else:
            lines.append(re.sub(r"(bind|listen) \S*?8080", rf"\1 127.0.0.1:{port}", line))
    return "\n".join(lines) + "\n"


def _server(kind: str, i: int, port: int) -> str:
    return f"server e{i} 127.0.0.1:{port}" if kind == "haproxy" else f"127.0.0.1:{port}"


def _haproxy() -> Path:
    found = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin:{_UNPACKED / 'usr' / 'sbin'}")
    if found is None:
        raise FileNotFoundError("There is no HAProxy for the tests. Unpack it: make haproxy")
    return Path(found)
