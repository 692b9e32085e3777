"""The button that saves a page as one file: `streamvis snapshot` in a process of its own, since it runs the author's code."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
from pathlib import Path
from typing import Any

from tornado.web import RequestHandler

from streamvis.page.scripts.script import DEFAULT_PAGE, PageScript
from streamvis.page.web.paths import page_path
from streamvis.page.web.process import Site

__all__ = ["snapshot_routes"]

_LIMIT_S = 300
_MOST_SAID = 2000
_LONGEST_QUERY = 2000


def snapshot_routes(site: Site) -> list[tuple[Any, ...]]:
    """`/shell/snapshot?page=PATH&run=ID&at=STEP&query=QUERY` answers with the file."""
    # One at a time: each opens a page many times.
    return [("/shell/snapshot", _Snapshot, {"site": site, "turn": asyncio.Lock()})]


class _Snapshot(RequestHandler):
    def initialize(self, site: Site, turn: asyncio.Lock) -> None:
        self._site, self._turn = site, turn
        self._making: asyncio.Task[bool] | None = None

    async def get(self) -> None:
        """The page as one file, or why there is none."""
        path, runs = self.get_query_argument("page", ""), [run for run in self.get_query_arguments("run") if run]
        at, query = self.get_query_argument("at", ""), self.get_query_argument("query", "")
        script = next((one for one in self._site.scripts if page_path(one.name) == path), None)
        if script is None or not runs or not (at == "" or at.isdecimal()):
            return self._refuse(422, "Give the path of a page, the ids of runs, and perhaps a step.")
        if len(query) > _LONGEST_QUERY:
            told = f"The page's address is too long for a file: {len(query):,} characters of at most {_LONGEST_QUERY:,}."
            return self._refuse(422, told)
        with tempfile.TemporaryDirectory(prefix="streamvis-") as folder:
            to = Path(folder) / "page.html"
            self._making = asyncio.ensure_future(self._make(script, runs, at, query, to))
            is_made = False
            with contextlib.suppress(asyncio.CancelledError):
                is_made = await self._making
            if is_made:
                self.set_header("Content-Type", "text/html; charset=utf-8")
                self.set_header("Content-Disposition", "attachment")
                self.set_header("Cache-Control", "no-store")
                self.set_header("X-Content-Type-Options", "nosniff")
                self.finish(await asyncio.to_thread(to.read_bytes))

    async def _make(self, script: PageScript, runs: list[str], at: str, query: str, to: Path) -> bool:
        """Write the file; whether it is there, and nothing was refused."""
        is_default = script.any_app and script.name == DEFAULT_PAGE
        page = DEFAULT_PAGE if is_default else f"{script.name}={script.path.parent if script.is_folder else script.path}"
        command = [sys.executable, "-P", "-m", "streamvis.cli", "snapshot", page, "-o", str(to), "--url", self._site.reader.url]
        command += [part for run in runs for part in ("--run", run)] + (["--at", at] if at else [])
        command += [f"--query={query}"] if query else []
        async with self._turn:
            # In the folder of the file: a page that has the name of a file here must not be taken for that.
            about = {"stdin": asyncio.subprocess.DEVNULL, "stderr": asyncio.subprocess.PIPE, "cwd": to.parent}
            process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL, **about)
            try:
                _, said = await asyncio.wait_for(process.communicate(), _LIMIT_S)
            except TimeoutError:
                self._refuse(504, f"The page could not be opened at all of its moments within {_LIMIT_S} s.")
                return False
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        if process.returncode != 0:
            lines = said.decode(errors="replace").strip().splitlines() or ["The program that makes the file ended."]
            self._refuse(422, lines[-1][-_MOST_SAID:].removeprefix("streamvis: "))
            return False
        return True

    def on_connection_close(self) -> None:
        """The browser has given up."""
        if self._making is not None:
            self._making.cancel()

    def _refuse(self, status: int, message: str) -> None:
        self.set_status(status)
        self.finish({"error": {"code": "no_snapshot", "message": message}})
