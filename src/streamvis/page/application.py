"""Bokeh's web application as pages here need it: addresses that hold below any path, and a word where no connection comes.

Bokeh writes addresses of its scripts from the root of the host on. Here they are relative to the page that asks, so they hold
behind a proxy too, whatever path it has put in front.
"""

from __future__ import annotations

import copy
import functools
import time
from collections.abc import Collection, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.resources import files
from typing import Any
from urllib.parse import urljoin

from bokeh.application import Application
from bokeh.resources import Resources
from bokeh.server.tornado import BokehTornado
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, HTTPServerRequest
from tornado.web import OutputTransform

from streamvis.page.door import frame_policy
from streamvis.page.mount import Mount, to_root, view_route

__all__ = ["WebApplication"]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request: the relative way from it to the root, the path in front, whether another site's page asks for a script, and
    whether the page has formulas."""

    to_root: str
    outer: str
    is_autoload: bool
    has_math: bool


class WebApplication(BokehTornado):
    """Serves each of `pages` alone, at its `view_path`. Takes requests whose path is the inner one (see `mount`).

    Pages `without_math` do not load MathJax, which takes browsers longer than the rest of BokehJS.
    """

    def __init__(
        self,
        pages: Mapping[str, Application],
        *,
        mount: Mount,
        frames: tuple[str, ...] = (),
        without_math: Collection[str] = (),
        **options: Any,
    ) -> None:
        self._mount, self._without_math = mount, frozenset(without_math)
        # Made once a process; each request has a value of its own, since each is handled in a task of its own.
        self._asked: ContextVar[_Asked] = ContextVar("asked")
        if frames:
            options["transforms"] = [functools.partial(_FramePolicy, frame_policy(frames))]
        super().__init__({view_route(name): page for name, page in pages.items()}, **options)

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> HTTPMessageDelegate:
        """See Tornado's `Application`."""
        is_autoload = request.path.endswith("/autoload.js")
        has_math = request.path.rpartition("/")[2] not in self._without_math
        self._asked.set(_Asked(to_root(request.path), self._mount.outer(request), is_autoload, has_math))
        return super().find_handler(request, **kwargs)

    def resources(self, absolute_url: str | bool | None = None) -> Resources:
        """Where the page that is being made finds BokehJS."""
        found, asked = super().resources(absolute_url), self._asked.get()
        if found.mode != "server":
            return found
        if asked.is_autoload:
            root = urljoin(absolute_url if isinstance(absolute_url, str) else "/", f"{asked.outer}/")
            return Resources("server", root_url=root, path_versioner=found.path_versioner)
        made = _PageResources("server", root_url=asked.to_root, path_versioner=found.path_versioner)
        made.lifetime_s = self.session_token_expiration
        if not asked.has_math:
            made.components = [component for component in made.components if component != "bokeh-mathjax"]
        return made


class _PageResources(Resources):
    """BokehJS, and the script that says why, where the page gets no connection within its lifetime."""

    lifetime_s: int

    @property
    def js_raw(self) -> list[str]:
        script = files("streamvis.page").joinpath("unconnected.js").read_text(encoding="utf-8")
        times = f"const MADE_MS = {time.time() * 1000:.0f}, LIFETIME_MS = {self.lifetime_s * 1000};"
        return [*super().js_raw, script.replace("(() => {", f"(() => {{\n  {times}", 1)]

    def clone(self, *, components: list[Any] | None = None) -> Resources:
        """See Bokeh's: it would make one of its own class."""
        cloned = copy.copy(self)
        cloned.components = list(components if components is not None else self.components)
        return cloned


class _FramePolicy(OutputTransform):
    """Tells browsers in which frames they may show what is answered."""

    def __init__(self, policy: str, request: HTTPServerRequest) -> None:
        self._policy = policy

    def transform_first_chunk(
        self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
    ) -> tuple[int, HTTPHeaders, bytes]:
        headers["Content-Security-Policy"] = "; ".join(filter(None, [headers.get("Content-Security-Policy"), self._policy]))
        return status_code, headers, chunk
