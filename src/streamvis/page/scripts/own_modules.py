"""The modules of a page script: those below its folder belong to it alone.

Each version of a script's modules is a package of its own, whose path is the script's folder, so that two scripts can each have a
`settings.py`. `import settings` in the script, or in one of its modules, finds the script's own: their code gets an `__import__`
that looks there first, and only their code does. An installed package, and what it imports, never sees them.

Own modules are shared by the sessions of their script, until a file of them is edited: the next session begins a new version,
with all of them read again. Sessions of the old version keep what they have.
"""

from __future__ import annotations

import builtins
import os
import re
import sys
import uuid
from collections.abc import Mapping, Sequence, Set
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
)
from importlib.util import find_spec
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, cast

__all__ = ["OwnModules"]

_PAGE = "__page__"


class OwnModules(MetaPathFinder):
    """One version of the modules below `folder`. `package` is the name under which Python knows them."""

    def __init__(self, name: str, folder: Path) -> None:
        self.package = f"streamvis_page_{re.sub(r'[^0-9A-Za-z]', '_', name)}_{uuid.uuid4().hex[:8]}"
        self._folder = str(folder)
        self._stamps: dict[str, tuple[int, int] | None] = {}
        self._builtins = {**vars(builtins), "__import__": self._import}
        self.root = ModuleType(self.package)
        self.root.__path__ = [self._folder]
        self.root.__package__ = self.package
        self.root.__file__ = os.path.join(self._folder, "__init__.py")
        sys.modules[self.package] = self.root
        sys.meta_path.insert(0, self)

    def page(self, file: Path) -> ModuleType:
        """A new module in which the page script `file` can run. The newest one is known to Python by its name."""
        module = ModuleType(f"{self.package}.{_PAGE}")
        module.__file__, module.__package__ = str(file), self.package
        module.__dict__["__builtins__"] = self._builtins
        sys.modules[module.__name__] = module
        return module

    def forget_page(self, module: ModuleType) -> None:
        """The session of the module is over."""
        if sys.modules.get(module.__name__) is module:
            del sys.modules[module.__name__]

    def run_package(self) -> None:
        """Run the `__init__.py` of the folder, where there is one."""
        file = self.root.__file__
        if file is not None and os.path.exists(file):
            _OwnLoader(self.package, file, self).exec_module(self.root)

    def load(self, name: str) -> ModuleType:
        """Import one of the modules."""
        return builtins.__import__(f"{self.package}.{name}", fromlist=("*",))

    def read(self, path: str) -> bytes:
        """The bytes of a file that belongs to this version."""
        self._stamps[path] = _stamp(path)
        return Path(path).read_bytes()

    @property
    def is_edited(self) -> bool:
        """Whether a file that was read has changed since."""
        return any(_stamp(path) != stamp for path, stamp in self._stamps.items())

    @property
    def files(self) -> Set[str]:
        """The paths of the files that were read."""
        return self._stamps.keys()

    def close(self) -> None:
        """No session needs this version any more. The package stays: Bokeh asks for it by the name of each model class."""
        sys.meta_path.remove(self)
        for name in [name for name in sys.modules if name.startswith(f"{self.package}.")]:
            del sys.modules[name]

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Where a module of this package is; part of Python's import system."""
        if not fullname.startswith(f"{self.package}."):
            return None
        own = (cast("type[Loader]", lambda name, file: _OwnLoader(name, file, self)), SOURCE_SUFFIXES)  # it is only called
        for folder in path or ():
            # A finder remembers what is in its folder: a new one sees a file that was just written.
            spec = FileFinder(folder, (ExtensionFileLoader, EXTENSION_SUFFIXES), own).find_spec(fullname)
            if spec is not None:
                return spec
        return None

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,  # the names that Python gives them
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        top = name.partition(".")[0]
        if level or not self._owns(top):
            return builtins.__import__(name, globals, locals, fromlist, level)
        found = builtins.__import__(f"{self.package}.{name}", globals, locals, fromlist, 0)
        return found if fromlist else sys.modules[f"{self.package}.{top}"]

    def _owns(self, top: str) -> bool:
        name = f"{self.package}.{top}"
        if name in sys.modules:
            return True
        beginning = os.path.join(self._folder, top)
        if not any(os.path.exists(beginning + suffix) for suffix in ("", *SOURCE_SUFFIXES, *EXTENSION_SUFFIXES)):
            return False
        spec, there = self.find_spec(name, [self._folder]), sys.modules.get(top)
        if spec is None:
            return False
        if spec.loader is None:
            # A mere folder comes after every module of its name, as always in Python.
            elsewhere = there.__spec__ if there is not None else find_spec(top)
            return elsewhere is None or elsewhere.origin is None
        # What the page server itself runs on is not there twice.
        return there is None or there.__spec__ is None or there.__spec__.origin != spec.origin


class _OwnLoader(SourceFileLoader):
    """Runs a module from its source: compiled files are too coarse about times, and belong into no author's folder."""

    def __init__(self, name: str, file: str, own: OwnModules) -> None:
        super().__init__(name, file)
        self._own = own

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self._own.read(self.path), self.path)

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__builtins__"] = self._own._builtins
        super().exec_module(module)


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
