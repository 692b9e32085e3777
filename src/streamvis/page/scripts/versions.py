"""The versions of a page script's surroundings: its modules, custom models and hooks, which its sessions share.

A session gets the newest version; the first one after a file was edited begins a new version, as if the server of that script had
been started again: `on_server_unloaded` of the old hooks, then `on_server_loaded` of the new ones. A version is closed when no
session has it any more.
"""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

from bokeh.application.application import ServerContext
from tornado.httputil import HTTPServerRequest

from streamvis.page.author.code import Failures
from streamvis.page.scripts.application_folder import Folder
from streamvis.page.scripts.custom_models import CustomModels
from streamvis.page.scripts.own_modules import OwnModules

__all__ = ["Version", "Versions"]


class Version:
    """One version. `failures` has what its package and its hook for the server raised; every page of it shows them."""

    def __init__(self, name: str, file: Path, folder: Folder | None) -> None:
        self.failures = Failures(f"the page script {file}")
        self.modules = OwnModules(name, file.parent)
        self.models = CustomModels(self.modules.package)
        self.sessions = 0
        self._hooks: ModuleType | None = None
        self._loading: asyncio.Future[object] | None = None
        if folder is not None:
            self.failures.run("__init__.py", self.modules.run_package)
            if folder.hooks is not None:
                self._hooks = self.failures.run(f"{folder.hooks}.py", self.modules.load, folder.hooks)

    def load(self, context: ServerContext | None) -> None:
        """The server has started, as far as this version's hooks know."""
        result = self.call("on_server_loaded", self.failures, context)
        if inspect.isawaitable(result):
            self._loading = asyncio.ensure_future(result)

    async def loaded(self) -> None:
        """Wait for an `on_server_loaded` that is `async`."""
        if self._loading is not None:
            await asyncio.shield(self._loading)

    def call(self, name: str, failures: Failures, *args: Any) -> Any:
        """Call the hook, where there is one."""
        function = getattr(self._hooks, name, None)
        return failures.run(name, function, *args) if function is not None else None

    async def hook(self, name: str, failures: Failures, *args: Any) -> None:
        """Call a hook that may be `async`."""
        result = self.call(name, failures, *args)
        if inspect.isawaitable(result):
            await result


class Versions:
    """The versions of the page script `file`, whose page is called `name`."""

    def __init__(self, name: str, file: Path, folder: Folder | None) -> None:
        self._made_of = (name, file, folder)
        self._context: ServerContext | None = None
        self._newest: Version | None = None

    def begin(self, context: ServerContext) -> None:
        """The server has started."""
        self._context = context
        self.newest()

    def end(self) -> None:
        """The server ends."""
        if self._newest is not None:
            self._newest.call("on_server_unloaded", self._newest.failures, self._context)

    def newest(self) -> Version:
        """The version of the files as they are now."""
        if self._newest is None or self._newest.modules.is_edited:
            old, self._newest = self._newest, None
            if old is not None:
                old.call("on_server_unloaded", old.failures, self._context)
                self._close_unused(old)
            self._newest = Version(*self._made_of)
            self._newest.load(self._context)
        return self._newest

    def join(self) -> Version:
        """The newest version, for a session that begins."""
        version = self.newest()
        version.sessions += 1
        return version

    def leave(self, version: Version, page: ModuleType | None) -> None:
        """A session of the version is over; `page` is the module in which it ran."""
        version.sessions -= 1
        if page is not None:
            version.modules.forget_page(page)
        self._close_unused(version)

    def process_request(self, request: HTTPServerRequest, failures: Failures) -> dict[str, Any]:
        """What the author's hook of that name says of a request."""
        found = self.newest().call("process_request", failures, request)
        return found if isinstance(found, dict) else {}

    def _close_unused(self, version: Version) -> None:
        if version is not self._newest and not version.sessions:
            version.modules.close()
