"""Bokeh's web application as pages here need it: addresses that hold below any path, and a word where no connection comes.

Bokeh writes addresses of its scripts from the root of the host on. Here they are relative to the page that asks, so they hold
behind a proxy too, whatever path it has put in front.
"""

from __future__ import annotations

import copy
import functools
import json
import time
from collections.abc import Mapping
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

from streamvis.page.web.authorization import frame_policy
from streamvis.page.web.paths import Mount, to_root, view_route

__all__ = ["WebApplication"]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request: the relative way from it to the root, the path in front, and whether another site's page asks for a script."""

    to_root: str
    outer: str
    is_autoload: bool


class WebApplication(BokehTornado):
    """Serves each of `pages` alone, at its `view_path`. Takes requests whose path is the inner one (see `paths`)."""

    def __init__(
        self,
        pages: Mapping[str, Application],
        *,
        mount: Mount,
        frames: tuple[str, ...] = (),
        **options: Any,
    ) -> None:
        self._mount = mount
        # Made once a process; each request has a value of its own, since each is handled in a task of its own.
        self._asked: ContextVar[_Asked] = ContextVar("asked")
        if frames:
            options["transforms"] = [functools.partial(_FramePolicy, frame_policy(frames))]
        super().__init__({view_route(name): page for name, page in pages.items()}, **options)

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> HTTPMessageDelegate:
        """See Tornado's `Application`."""
        is_autoload = request.path.endswith("/autoload.js")
        self._asked.set(_Asked(to_root(request.path), self._mount.outer(request), is_autoload))
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
        return made


class _PageResources(Resources):
    """BokehJS without MathJax, the script that loads that where it is needed, and the one that says why, where the page gets no
    connection within its lifetime."""

    lifetime_s: int

    @property
    def js_files(self) -> list[str]:
        return [file for file in super().js_files if not _is_mathjax(file)]

    @property
    def js_raw(self) -> list[str]:
        bundle = json.dumps(next(filter(_is_mathjax, super().js_files), ""))
        times = f"MADE_MS = {time.time() * 1000:.0f}, LIFETIME_MS = {self.lifetime_s * 1000}"
        return [*super().js_raw, _script("math.js", f"BUNDLE = {bundle}"), _script("unconnected.js", times)]

    def clone(self, *, components: list[Any] | None = None) -> Resources:
        """See Bokeh's: it would make one of its own class."""
        cloned = copy.copy(self)
        cloned.components = list(components if components is not None else self.components)
        return cloned


def _is_mathjax(address: str) -> bool:
    return "/bokeh-mathjax" in address


def _script(name: str, constants: str) -> str:
    """A script of this package that is one function, with what it has to know of this page."""
    text = files(__package__).joinpath(name).read_text(encoding="utf-8")
    return text.replace("(() => {", f"(() => {{\n  const {constants}", 1)


class _FramePolicy(OutputTransform):
    """Tells browsers in which frames they may show what is answered."""

    def __init__(self, policy: str, request: HTTPServerRequest) -> None:
        self._policy = policy

    def transform_first_chunk(
        self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
    ) -> tuple[int, HTTPHeaders, bytes]:
        headers["Content-Security-Policy"] = "; ".join(filter(None, [headers.get("Content-Security-Policy"), self._policy]))
        return status_code, headers, chunk
