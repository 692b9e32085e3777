"""Model classes of page scripts that bring their own TypeScript: compiled once for each version, and never on the event loop.

Bokeh puts all such classes of the process into every page, keeps what it compiled by their names alone, and ends the process
where one does not compile. Here a page gets its own classes and no others, compiled in a thread before the page is made, and
known to Bokeh by a name that holds a hash of their code and of the files that it imports.

`CustomModels` belongs to one version of a page script. `prepare` takes the classes from Bokeh's registry, right after code of the
script has run, and compiles them; `show` puts them into the registry, right before Bokeh writes the page.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from bokeh.core.has_props import HasProps
from bokeh.model import Model
from bokeh.util.compiler import (
    AttrDict,
    CustomModel,
    Implementation,
    bundle_models,
    get_cache_hook,
    nodejs_compile,
    set_cache_hook,
)

from streamvis.errors import PageScriptError

__all__ = ["CustomModels"]

_MOST_KEPT = 64
_SHOWN = "streamvis_models_"
_IMPLEMENTATION = "__implementation__"
_IMPORTED = re.compile(r"""["'](\.\.?/[^"'\n]+)["']""")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_SUFFIXES = ("", ".ts", ".js", ".css", ".less")


@dataclass(frozen=True, slots=True)
class _Custom:
    """A model class with code for the browser, as Bokeh's compiler wants to know it."""

    model: type[HasProps]
    implementation: Implementation
    folder: str
    dependencies: dict[str, str]

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Each file that the code imports, however far, with what is in it."""
        seen: set[Path] = set()
        waiting = [(self.folder, self.implementation.code)]
        while waiting:
            folder, code = waiting.pop()
            for name in _IMPORTED.findall(code):
                found = next((path for s in _SUFFIXES if (path := Path(folder, name + s)).is_file()), None)
                if found is not None and (path := found.resolve()) not in seen:
                    seen.add(path)
                    data = path.read_bytes()
                    waiting.append((str(path.parent), data.decode(errors="replace")))
                    yield str(path), data

    def attributes(self, version: str) -> dict[str, Any]:
        """Those of a class that stands for the model in the version."""
        return {
            "__module__": version,
            _IMPLEMENTATION: self.implementation,
            "__base_path__": self.folder,
            "__dependencies__": self.dependencies,
        }


class CustomModels:
    """The custom models of one page script, whose modules are in the package `package`."""

    def __init__(self, package: str) -> None:
        self._package = package
        self._found: dict[str, _Custom] = {}
        self._compiled: dict[str, asyncio.Future[str | None]] = {}

    def _adopt(self) -> None:
        """Take over the script's classes that Bokeh's registry holds. Bokeh compiles them by itself no more."""
        for model in Model.model_class_reverse_map.values():
            if model.__module__.partition(".")[0] == self._package and vars(model).get(_IMPLEMENTATION) is not None:
                custom = CustomModel(model)
                self._found[model.__name__] = _Custom(model, custom.implementation, custom.path, custom.dependencies)
                setattr(model, _IMPLEMENTATION, None)

    async def prepare(self) -> str:
        """Compile the classes as they are now, unless that was done, and return a name for it. Raises what the compiler says."""
        self._adopt()
        others = [model for model in Model.model_class_reverse_map.values() if _is_installed(model)]
        version = self._version() if self._found else ""
        if not self._found and not others:
            return version
        if version not in self._compiled:
            classes = [type(name, (), custom.attributes(version)) for name, custom in self._found.items()]
            loop = asyncio.get_running_loop()
            self._compiled[version] = loop.run_in_executor(None, bundle_models, [*classes, *others])
        await asyncio.shield(self._compiled[version])
        return version

    def show(self, version: str) -> None:
        """Make `version` what Bokeh puts into the page that it writes next, and nothing of other scripts."""
        for model in Model.model_class_reverse_map.values():
            if model.__module__.startswith((_SHOWN, "streamvis_page_")) and vars(model).get(_IMPLEMENTATION) is not None:
                setattr(model, _IMPLEMENTATION, None)
        for name, custom in self._found.items() if version else ():
            cast(type, type(custom.model))(name, (custom.model,), custom.attributes(version))

    def _version(self) -> str:
        seen = hashlib.sha256()
        for name, custom in sorted(self._found.items()):
            lang, code = custom.implementation.lang, custom.implementation.code
            for part in (name, lang, custom.folder, repr(sorted(custom.dependencies.items())), code):
                seen.update(f"{len(part)}:{part}".encode())
            for path, data in custom.files():
                seen.update(f"{path}:{len(data)}:".encode() + data)
        return f"{_SHOWN}{seen.hexdigest()[:32]}"


def _is_installed(model: type[HasProps]) -> bool:
    """Whether it is a custom model of an installed package, which Bokeh puts into every page."""
    is_ours = model.__module__.startswith((_SHOWN, "streamvis_page_"))
    return not is_ours and getattr(model, _IMPLEMENTATION, None) is not None


_previous_hook = get_cache_hook()


def _compiled(model: CustomModel, implementation: Implementation) -> AttrDict:
    """Compile a model, as Bokeh would, but raise what is wrong with it instead of ending the process."""
    found = _previous_hook(model, implementation)
    if found is not None:
        return found
    found = _compile(implementation.code, implementation.lang, implementation.file)
    if "error" in found:
        raise PageScriptError(f"The code of the custom model {model.name} cannot be compiled: {_said(found.error)}")
    return found


@lru_cache(maxsize=_MOST_KEPT)
def _compile(code: str, lang: str, file: str | None) -> AttrDict:
    return nodejs_compile(code, lang=lang, file=file)


def _said(error: Any) -> str:
    """What the compiler says, without the colours of a terminal."""
    text = error.get("text") or error.get("message") or error if isinstance(error, dict) else error
    return _COLOUR.sub("", str(text)).strip()


set_cache_hook(_compiled)
