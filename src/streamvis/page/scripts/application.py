"""Runs a page script for each session, as a Bokeh application.

A script runs again for every session, in a module of its own, as under `bokeh serve`: what it keeps in globals belongs to one
browser tab, and an edited script shows on the next load. Of a folder in Bokeh's own form, the template, theme, static files and
hooks are used as `bokeh serve` uses them (see `application_folder`).
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Set
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from bokeh.application import Application
from bokeh.application.application import ServerContext, SessionContext
from bokeh.application.handlers.handler import Handler
from bokeh.document import Document
from bokeh.io.doc import patch_curdoc
from tornado.httputil import HTTPServerRequest

from streamvis.errors import FilterError, StreamvisError, UsageError
from streamvis.filters import Filter
from streamvis.page.author.code import Failures
from streamvis.page.documents.callbacks import call_next
from streamvis.page.documents.link import BrowserLink, Notice, say_edited
from streamvis.page.scripts.application_folder import Folder, try_template
from streamvis.page.scripts.file_watcher import Watch
from streamvis.page.scripts.files import Stamp, folders_of, is_part_of, stamp_of
from streamvis.page.scripts.notebook import parts_of
from streamvis.page.scripts.script import HeldBack, PageScript
from streamvis.page.scripts.versions import Version, Versions
from streamvis.page.server import Server, selection_of
from streamvis.page.shared import SHARED, Shared, share_with
from streamvis.selection import NEWEST

__all__ = ["page_application"]

_FIRST_ANSWER_S = 2.0
"""How long a page that is being made waits, off the event loop, for the endpoint to say which run there is."""


def page_application(
    script: PageScript,
    *,
    url: str,
    app: str | None,
    token: str | None,
    held_back: HeldBack | None = None,
    watch: Watch | None = None,
    shared: Shared = SHARED,
    heard: Callable[[BaseException], None] | None = None,
) -> Application:
    """A Bokeh application that makes a page of the script for each session; `app` is used where the script names none.

    With `watch`, sessions hear of it when files of the page were saved. `heard` is called with what the author's code raises.
    """
    own = {"held_back": held_back, "watch": watch, "shared": shared, "heard": heard}
    return Application(_PageHandler(script, url=url, app=app, token=token, **own))


class _PageHandler(Handler):
    def __init__(
        self,
        script: PageScript,
        *,
        url: str,
        app: str | None,
        token: str | None,
        held_back: HeldBack | None,
        watch: Watch | None,
        shared: Shared,
        heard: Callable[[BaseException], None] | None,
    ) -> None:
        super().__init__()
        self._held_back, self._watch, self._shared, self._heard = held_back, watch, shared, heard
        self._script, self._url, self._app, self._token = script, url, app, token
        self._folder = Folder(script.path.parent) if script.is_folder else None
        self._versions = Versions(script.name, script.path, self._folder)
        self._logged: set[tuple[object, ...]] = set()
        self._asked = self._failures()
        self._pages: dict[str, _Page] = {}
        self._has_failed = False
        self._files: set[str] = set()

    @property
    def _fallback(self) -> str | None:
        """The app where nothing names one; None for the newest run of all."""
        return None if self._script.any_app else self._script.name

    def static_path(self) -> str | None:
        return self._folder.static if self._folder else None

    def on_server_loaded(self, server_context: ServerContext) -> None:
        self._versions.begin(server_context)
        self._look_out(self._versions.newest())

    def on_server_unloaded(self, server_context: ServerContext) -> None:
        self._versions.end()

    def process_request(self, request: HTTPServerRequest) -> dict[str, Any]:
        # The session of the request begins right after this.
        self._asked = self._failures()
        return self._versions.process_request(request, self._asked)

    async def on_session_created(self, session_context: SessionContext) -> None:
        """Make the page: here, and not in `modify_document`, is time to wait."""
        page = self._pages[session_context.id] = _Page(self._failures())
        page.failures.add(self._asked)
        await self._know_run(session_context)
        await session_context.with_locked_document(partial(self._make, session_context, page))

    async def on_session_destroyed(self, session_context: SessionContext) -> None:
        page = self._pages.pop(session_context.id, None)
        if page is not None and page.version is not None:
            await page.version.hook("on_session_destroyed", page.failures, session_context)
            self._versions.leave(page.version, page.module)

    def _failures(self) -> Failures:
        about = {"logged": self._logged, "is_watched": self._watch is not None, "heard": self._heard}
        return Failures(f"the page script {self._script.path}", **about)

    def _look_out(self, version: Version) -> None:
        """Hear of it when files are saved that the page is made of now."""
        self._files |= version.modules.files
        if self._watch is not None:
            folders = folders_of(self._script.path, self._files, is_folder=self._script.is_folder)
            self._watch.follow(self, folders, self._saved)

    def _saved(self, paths: Set[str]) -> None:
        """Files were saved: tell open pages, where they are made of those."""
        self._files.update(*(page.version.modules.files for page in self._pages.values() if page.version is not None))
        about = {"is_folder": self._script.is_folder, "has_failed": self._has_failed}
        parts = [path for path in paths if is_part_of(Path(path), self._script.path, self._files, **about)]
        if not parts:
            return
        self._logged.clear()
        self._held_back = None
        # One save may be heard of twice. A page that was made in between is made of what was saved.
        stamp = stamp_of(self._script.path)
        for page in self._pages.values():
            if page.doc is not None and not all(self._is_made_of(page, path, stamp) for path in parts):
                page.doc.add_next_tick_callback(partial(say_edited, page.doc))

    def _is_made_of(self, page: _Page, path: str, stamp: Stamp | None) -> bool:
        """Whether the page is made of the file at the path as it is now; `stamp` is that of the script."""
        if page.version is not None and path in page.version.modules.files:
            return not page.version.modules.is_edited
        return Path(path) == self._script.path and page.stamp == stamp

    async def _know_run(self, session_context: SessionContext) -> None:
        """Let the endpoint say first which run there is, so that the page opens on it at once."""
        app = self._script.app or self._app or self._fallback
        try:
            selection = selection_of(session_context, app, self._script.follow)
        except UsageError:
            return  # which the page says
        feeds = self._shared.feeds.chosen(self._shared.reader(self._url, self._token), selection, self, _ignore)
        until = time.monotonic() + _FIRST_ANSWER_S
        for feed in feeds:
            if not feed.known.is_set():
                left_s = until - time.monotonic()
                await asyncio.get_running_loop().run_in_executor(None, feed.known.wait, max(0.0, left_s))
            feed.leave(self)

    def _fault_of_address(self, session_context: SessionContext) -> StreamvisError | None:
        """Why no page can be made for what the address asks for, though its author's page is right."""
        try:
            selection = selection_of(session_context, self._app)
            if selection.where:
                Filter.parse(selection.where)
        except FilterError as error:
            where, at = selection.where, error.position
            return UsageError(
                f"where={where!r}: {error} It is at {where[at : at + 20]!r}." if where[at:] else f"where={where!r}: {error}"
            )
        except UsageError as error:
            return error
        return None

    async def _make(self, session_context: SessionContext, page: _Page, doc: Document) -> None:
        page.doc = doc
        share_with(doc, self._shared)
        page.stamp = stamp_of(self._script.path)
        if self._held_back is not None and time.time() < self._held_back.until:
            until = time.strftime("%H:%M:%S", time.localtime(self._held_back.until))
            title = f"{self._script.path.name} hung, and held up all pages"
            text = f"It is not run until {until}. Fix the script, then reload the page."
            _link(doc).show([Notice("error", title, text, self._held_back.doing)])
            return
        if (fault := self._fault_of_address(session_context)) is not None:
            if self._heard is not None:
                self._heard(fault)
            _link(doc).show([Notice("error", "The address of this page is not valid", str(fault))])
            return
        page.failures.guard(doc)
        page.version = self._versions.join()
        await page.version.loaded()
        page.failures.add(page.version.failures)
        await page.version.hook("on_session_created", page.failures, session_context)
        await self._run(doc, page, page.version)
        self._has_failed = page.failures.has_ended
        self._look_out(page.version)
        if page.failures.has_ended and doc not in self._shared.served:
            link = _link(doc)
            link.show(page.failures.notices)
            show = partial(_show, link, page.failures)
            page.failures.on_new = lambda: call_next(doc, show)

    async def _run(self, doc: Document, page: _Page, version: Version) -> None:
        """Run the script, compile the models that it defines, and serve the document with its functions."""
        what = self._script.path.name
        # patch_curdoc does not put things back after an exception: none leaves `run`.
        with patch_curdoc(doc):
            page.failures.run(what, self._execute, doc, page, version, ends_page=True)
        await self._compile(doc, page, version)
        if page.failures.has_ended:
            return
        if doc not in self._shared.served:
            with patch_curdoc(doc):
                rest = page.failures.run(what, self._serve, doc, page.module, ends_page=True)
            if inspect.isawaitable(rest):
                await rest
            await self._compile(doc, page, version)
        if not page.failures.has_ended:
            page.failures.run("The template", try_template, doc, ends_page=True)

    def _execute(self, doc: Document, page: _Page, version: Version) -> None:
        module = page.module = version.modules.page(self._script.path)
        if self._folder:
            self._folder.dress(doc)
        for part in parts_of(self._script.path):
            exec(compile(part.source, part.name, "exec"), module.__dict__)

    def _serve(self, doc: Document, module: ModuleType) -> Awaitable[None] | None:
        app = getattr(module, "app", None) or self._app or self._fallback
        update_page, budget = getattr(module, "update_page", None), getattr(module, "budget", None)
        options = {"budget": budget, "follow": getattr(module, "follow", NEWEST), "token": self._token}
        return Server(doc, self._url, app, module.init_page, update_page, **options).begin()

    async def _compile(self, doc: Document, page: _Page, version: Version) -> None:
        compiled = await page.failures.run("A custom model", version.models.prepare, ends_page=True)
        page.models = compiled or ""
        if compiled is None:
            # The browser could not read a document with models that it does not know, nor what is said in it.
            doc.clear()

    def modify_document(self, doc: Document) -> None:
        """Nothing but what Bokeh, which writes the page right after this, has to know of custom models."""
        context = doc.session_context
        page = self._pages.get(context.id) if context is not None else None
        if page is not None and page.version is not None:
            page.version.models.show(page.models)


@dataclass(slots=True)
class _Page:
    """What one session runs. `stamp` is that of the script, from before it was read."""

    failures: Failures
    doc: Document | None = None
    version: Version | None = None
    module: ModuleType | None = None
    models: str = ""
    stamp: Stamp | None = None


def _link(doc: Document) -> BrowserLink:
    """A link for a page that no session serves."""
    link = BrowserLink(doc, _ignore)
    link.attach()
    return link


def _show(link: BrowserLink, failures: Failures) -> None:
    link.show(failures.notices)


def _ignore() -> None:
    pass
