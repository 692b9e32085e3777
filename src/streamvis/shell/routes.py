"""The addresses of the shell: `/` and `/PAGE`, the files of its program, and its JSON API below `/shell/`.

`/` and `/PAGE` are one small document, which says where the root is and which page is meant; the program in it does the rest.
Each page is shown alone at `/view/PAGE`.
"""

from __future__ import annotations

import json
import mimetypes
import re
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from typing import Any, cast

from tornado.template import Template
from tornado.web import HTTPError, RequestHandler, StaticFileHandler

from streamvis.page.web.paths import page_path, to_root
from streamvis.page.web.process import Site
from streamvis.shell.api import api_routes
from streamvis.shell.snapshots import snapshot_routes

__all__ = ["shell_routes"]

_POLICY = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'none'"
_WORKERS = 8


def shell_routes(site: Site) -> list[tuple[Any, ...]]:
    """The routes of the shell around the pages of a site."""
    executor = ThreadPoolExecutor(_WORKERS, thread_name_prefix="streamvis shell")
    static = str(files("streamvis.shell").joinpath("static"))
    pages = [(f"{re.escape(page_path(script.name))}/?", _ShellHandler) for script in site.scripts]
    return [
        ("/", _ShellHandler),
        *pages,
        (r"/shell/static/(.*)", _ProgramHandler, {"path": static}),
        *api_routes(site, executor),
        *snapshot_routes(site),
    ]


class _ShellHandler(RequestHandler):
    """The document of the shell."""

    def get(self) -> None:
        """The same for every page: its program reads which one it is, and where BokehJS is."""
        path = self.request.path.rstrip("/")
        template = Template(files("streamvis.shell").joinpath("shell.html").read_text(encoding="utf-8"))
        self.set_header("Cache-Control", "no-store")
        self.set_header("Content-Security-Policy", _POLICY)
        served = cast(Any, self.application)  # Bokeh's own, which this module does not import
        scripts = [address for address in served.resources().js_files if "/static/js/bokeh" in f"/{address}"]
        self.finish(template.generate(root=to_root(self.request.path), path=path, bokeh=json.dumps(scripts)))


class _ProgramHandler(StaticFileHandler):
    """The files of the program: modules, styles, an icon."""

    def get_content_type(self) -> str:
        """Not from the machine's own table, in which modules may be something else."""
        path = self.absolute_path or ""
        if path.endswith((".js", ".mjs")):
            return "text/javascript"
        return mimetypes.guess_type(path)[0] or "application/octet-stream"

    def set_extra_headers(self, path: str) -> None:
        """Browsers ask each time whether a file is still the same."""
        self.set_header("Cache-Control", "no-cache")
        self.set_header("X-Content-Type-Options", "nosniff")

    async def get(self, path: str, include_body: bool = True) -> None:
        """The file, and nothing but files."""
        if not path:
            raise HTTPError(404)
        await super().get(path, include_body)
