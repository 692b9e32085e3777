"""Page scripts under `streamvis serve`: reading them, and running one for each session as a Bokeh application.

A script runs anew for every session, in a module of its own, as under `bokeh serve`: what it keeps in globals belongs to one
browser tab, and an edited script shows on the next load.
"""

from __future__ import annotations

import ast
import asyncio
import logging
import sys
import time
import traceback
import types
import uuid
from dataclasses import dataclass
from pathlib import Path

from bokeh.application import Application
from bokeh.application.application import SessionContext
from bokeh.application.handlers.handler import Handler
from bokeh.document import Document
from bokeh.io.doc import patch_curdoc

from streamvis.errors import PageScriptError
from streamvis.page.feed import FEEDS
from streamvis.page.hanging import HeldBack
from streamvis.page.link import BrowserLink, Notice
from streamvis.page.server import Server, argument

__all__ = ["PageScript", "add_to_path", "page_application", "read_script"]

_log = logging.getLogger("streamvis.page")

_FIRST_ANSWER_S = 2.0
"""How long a page that is being made waits, off the event loop, for the endpoint to say which run there is."""


@dataclass(frozen=True, slots=True)
class PageScript:
    """A page script: its file, the name in its address, and the app that it names itself, if it does."""

    path: Path
    name: str
    app: str | None


def read_script(path: Path) -> PageScript:
    """Read a page script without running it. Raises PageScriptError that says what is wrong, and where."""
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except OSError as error:
        raise PageScriptError(f"The page script {path} cannot be read: {error.strerror}.") from error
    except (SyntaxError, ValueError) as error:
        where = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise PageScriptError(f"The page script {path}{where} is not Python: {getattr(error, 'msg', error)}.") from error
    names = _top_level_names(tree)
    missing = [name for name in ("init_page",) if name not in names and "*" not in names]
    if missing:
        raise PageScriptError(f"The page script {path} defines no {' and no '.join(missing)}; a page needs both functions.")
    return PageScript(path.resolve(), path.stem, _named_app(tree))


def page_application(
    script: PageScript, *, url: str, app: str | None, token: str | None, held_back: HeldBack | None = None
) -> Application:
    """A Bokeh application that makes a page of the script for each session; `app` is used where the script names none."""
    return Application(_PageHandler(script, url=url, app=app, token=token, held_back=held_back))


class _PageHandler(Handler):
    def __init__(
        self, script: PageScript, *, url: str, app: str | None, token: str | None, held_back: HeldBack | None
    ) -> None:
        super().__init__()
        self._held_back = held_back
        self._script, self._url, self._app, self._token = script, url, app, token

    async def on_session_created(self, session_context: SessionContext) -> None:
        """Let the endpoint say first which run there is, so that the page opens on it at once."""
        app = argument(session_context, "app") or self._script.app or self._app or self._script.name
        run = argument(session_context, "run")
        reader = FEEDS.reader(self._url, self._token)
        feed = FEEDS.run(reader, run, self, _ignore) if run else FEEDS.app(reader, app, self, _ignore)
        if not feed.known.is_set():
            await asyncio.get_running_loop().run_in_executor(None, feed.known.wait, _FIRST_ANSWER_S)
        feed.leave(self)

    def modify_document(self, doc: Document) -> None:
        """Run the script, and serve the document with its two functions."""
        if self._held_back is not None and time.time() < self._held_back.until:
            until = time.strftime("%H:%M:%S", time.localtime(self._held_back.until))
            title = f"{self._script.path.name} hung, and held up all pages"
            _show_error(doc, title, f"It is not run until {until}. Mend it, and load the page again then.", self._held_back.doing)
            return
        # patch_curdoc does not put things back after an exception, so none may leave this block.
        with patch_curdoc(doc):
            try:
                self._serve(doc)
            except Exception as error:  # noqa: BLE001  # around an author's script
                text = "".join(traceback.format_exception(error.with_traceback(_script_frames(error, self._script.path))))
                _log.error("the page script %s failed:\n%s", self._script.path, text)
                title = f"{self._script.path.name} failed: {type(error).__name__}: {str(error)[:300]}"
                _show_error(doc, title, "Mend the script and load the page again.", text)

    def _serve(self, doc: Document) -> None:
        module = types.ModuleType(f"streamvis_page_{self._script.name}_{uuid.uuid4().hex}")
        module.__file__ = str(self._script.path)
        doc.modules.add(module)
        exec(compile(self._script.path.read_bytes(), module.__file__, "exec"), module.__dict__)
        if doc in FEEDS.served:
            return
        app = getattr(module, "app", None) or self._app or self._script.name
        budget = getattr(module, "budget", None)
        update_page = getattr(module, "update_page", None)
        Server(doc, self._url, app, module.init_page, update_page, budget=budget, token=self._token).start()


def _show_error(doc: Document, title: str, text: str, detail: str) -> None:
    link = BrowserLink(doc, _ignore)
    link.attach()
    link.show([Notice("error", title, text, detail)])


def _ignore() -> None:
    pass


def _script_frames(error: BaseException, path: Path) -> types.TracebackType | None:
    """The traceback from the script's own first frame on, or all of it."""
    frame = error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename != str(path):
        frame = frame.tb_next
    return frame or error.__traceback__


def _top_level_names(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names.update(alias.asname or alias.name for alias in node.names)
        else:
            names.update(part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store))
    return names


def _named_app(tree: ast.Module) -> str | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "app" for t in node.targets):
            return node.value.value if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str) else None
    return None


def add_to_path(script: PageScript) -> None:
    """Let the script import the modules beside it."""
    folder = str(script.path.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
