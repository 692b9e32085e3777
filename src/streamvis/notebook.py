"""Runs in notebooks: the page of a run in a frame below its cell, and the servers behind it where none answers.

A notebook's servers are started as one child process, `streamvis notebook`, and end with the kernel however that ends: the child
reads a pipe that the kernel holds. Running a cell again starts nothing that runs already. Knows the endpoint by HTTP alone.
"""

from __future__ import annotations

import html
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from streamvis.addresses.access import is_loopback
from streamvis.addresses.endpoint import default_url
from streamvis.errors import EndpointError, EndpointUnreachable, StreamvisError, UsageError
from streamvis.transport import Transport, check

__all__ = ["DEFAULT_HEIGHT_PX", "frame", "frame_or_reason", "health_of", "load", "show"]

log = logging.getLogger("streamvis")

DEFAULT_HEIGHT_PX = 500
_ANY_RUN = "/runs"
_ENDPOINT_READY, _PAGES_READY = "Streamvis endpoint ready at ", "Streamvis pages ready at "
_LINES_KEPT = 20
_ASK_S = 5.0


def show(url: str, query: str, height: int = DEFAULT_HEIGHT_PX) -> None:
    """Show the page of a run below the cell; outside a notebook, print its address. Raises StreamvisError where there is none."""
    text = frame(url, query, height)
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None or not hasattr(shell, "kernel"):
        print(_with_query(_servers.page_of(url), query))
        return
    from IPython.display import HTML, display

    display(HTML(text))


def frame(url: str, query: str, height: int = DEFAULT_HEIGHT_PX) -> str:
    """The HTML of a frame that shows the page of the endpoint at `url` for `query`, such as "run=ID". Starts what is missing."""
    if not isinstance(height, int) or height <= 0:
        raise UsageError(f"{height!r} is not a height. Give a number of pixels, such as 500.")
    page = _servers.page_of(url)
    parts = urlsplit(page)
    prefix, _, name = parts.path.rpartition("/")
    alone = f"{prefix}/view/{name}?{query}"
    style = f"width: 100%; height: {height}px; border: 1px solid rgba(128, 128, 128, .3); border-radius: 4px"
    if "google.colab" in sys.modules:
        return _COLAB.format(port=json.dumps(parts.port), path=json.dumps(alone), style=json.dumps(style))
    before = _as_seen_from_browser(parts)
    # What STREAMVIS_PAGES_URL names may have the prefix already.
    address = f"{before.removesuffix(prefix)}{alone}"
    return f'<iframe src="{html.escape(address)}" title="Streamvis" style="{style}" allow="fullscreen"></iframe>'


def frame_or_reason(url: str, query: str) -> str:
    """As `frame`; where there is no page to show, why."""
    try:
        return frame(url, query)
    except StreamvisError as error:
        return f"<pre>{html.escape(str(error))}</pre>"


def load(ipython: Any) -> None:
    """What `%load_ext streamvis` does: have an endpoint and a page server for this notebook, and the magic `%streamvis [APP]`."""
    # What this kernel starts, such as workers, sends there too.
    os.environ["STREAMVIS_URL"] = _servers.find(default_url()).endpoint

    def magic(line: str) -> None:
        show(default_url(), f"app={quote(line.strip())}" if line.strip() else "")

    ipython.register_magic_function(magic, "line", "streamvis")


def health_of(url: str) -> dict[str, Any] | None:
    """What the endpoint at `url` says of itself; None where nothing answers. Raises EndpointError where something else does."""
    transport = Transport(url, token=os.environ.get("STREAMVIS_TOKEN"))
    try:
        answer = transport.request("GET", "/healthz", timeout_s=_ASK_S)
    except EndpointUnreachable:
        return None
    finally:
        transport.close()
    return json.loads(check(answer, url=url).body)


@dataclass(frozen=True, slots=True)
class _Served:
    """An endpoint, and the page that shows any run of it. `process` runs what this kernel had to start of that."""

    endpoint: str
    page: str
    process: subprocess.Popen[str] | None = None


class _Servers:
    """What this kernel has started, by the addresses of the endpoints."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started: dict[tuple[str, int | None], _Served] = {}

    def find(self, url: str) -> _Served:
        """The endpoint at `url`, else the one that has this user's data folder, and its page. Starts what is missing."""
        with self._lock:
            found = self._started.get(_place(url))
            if found is not None and found.process is not None and found.process.poll() is None:
                return found
            health = health_of(url)
            if health is not None and health.get("pages"):
                return _Served(url, health["pages"])
            made = _launched(url)
            self._started |= {_place(url): made, _place(made.endpoint): made}
            return made

    def page_of(self, url: str) -> str:
        """The address of the page that shows any run of the endpoint at `url`."""
        found = self.find(url)
        if _place(found.endpoint) != _place(url):
            raise UsageError(
                f"No endpoint answers at {url}, and the one at {found.endpoint} has the data folder. "
                f"Send there: set STREAMVIS_URL={found.endpoint}, or run `%load_ext streamvis` first."
            )
        return found.page


_servers = _Servers()


def _launched(url: str) -> _Served:
    # A session of its own: interrupting the kernel does not reach it.
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "streamvis.cli", "notebook", "--with-parent", "--url", url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None  # a pipe, see above
    endpoint, pages, said = "", "", []
    for line in process.stdout:
        said = [*said, line.strip()][-_LINES_KEPT:]
        # In any order.
        if line.startswith(_ENDPOINT_READY):
            endpoint = line.removeprefix(_ENDPOINT_READY).strip()
        if line.startswith(_PAGES_READY):
            pages = line.removeprefix(_PAGES_READY).strip()
        if endpoint and pages:
            threading.Thread(target=_drain, args=(process.stdout,), name="streamvis notebook", daemon=True).start()
            return _Served(endpoint, f"{pages}{_ANY_RUN}", process)
    process.wait()
    raise StreamvisError("The servers of this notebook did not start. They said:\n" + "\n".join(said))


def _drain(lines: Iterable[str]) -> None:
    for line in lines:
        log.info("%s", line.rstrip())


def _place(url: str) -> tuple[str, int | None]:
    """Host and port, with one name for all of loopback's."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return "localhost" if is_loopback(host) else host, parts.port


def _with_query(page: str, query: str) -> str:
    return f"{page}?{query}" if query else page


def _as_seen_from_browser(page: Any) -> str:
    """What stands before the path of a page in the browser: the page server's own address, or Jupyter's path to its port."""
    if told := os.environ.get("STREAMVIS_PAGES_URL"):
        return told.rstrip("/")
    base = _proxy_base(page.port) if is_loopback(page.hostname or "") and "VSCODE_PID" not in os.environ else None
    return f"{page.scheme}://{page.netloc}" if base is None else f"{base}proxy/{page.port}"


def _proxy_base(port: int) -> str | None:
    """The base path of the Jupyter server that started this kernel, where that has jupyter-server-proxy."""
    server = _jupyter_server()
    if server is None:
        return None
    try:
        transport = Transport(server["url"].rstrip("/"))
        headers = {"Authorization": f"token {server.get('token', '')}"}
        status = transport.request("GET", f"/proxy/{port}/", headers=headers, timeout_s=_ASK_S).status
        transport.close()
    except EndpointError:
        status = 0
    # Asked with other credentials than a browser's it may refuse: then the package tells.
    has_proxy = status == 200 or (status != 404 and find_spec("jupyter_server_proxy") is not None)
    return server["base_url"] if has_proxy else None


def _jupyter_server() -> dict[str, Any] | None:
    """What the Jupyter server that started this kernel wrote about itself."""
    try:
        from jupyter_core.paths import jupyter_runtime_dir
    except ImportError:
        return None
    for pid in (os.environ.get("JPY_PARENT_PID"), os.getppid()):
        try:
            return json.loads((Path(jupyter_runtime_dir()) / f"jpserver-{pid}.json").read_text())
        except (OSError, ValueError):
            continue
    return None


# Colab gives each port an address of its own, which only its own JavaScript knows.
_COLAB = """<div></div><script>(async (at, port, path, style) => {{
  const frame = document.createElement("iframe")
  frame.src = new URL(path, await google.colab.kernel.proxyPort(port, {{cache: true}}))
  frame.style = style
  at.replaceChildren(frame)
}})(document.currentScript.previousElementSibling, {port}, {path}, {style})</script>"""
