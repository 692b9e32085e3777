"""Page scripts, read without running them: where a script is, its name in addresses, and what it says of itself.

A script may be a notebook (see `notebook`), or a folder in Bokeh's own form: `main.py` is the script then. Imports no Bokeh, so
that `streamvis serve`, which starts the page server, needs none itself.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from streamvis.errors import PageScriptError
from streamvis.page.scripts.notebook import parts_of
from streamvis.selection import NEWEST

__all__ = ["DEFAULT_PAGE", "HeldBack", "PageScript", "add_to_path", "default_page", "pages_of", "read_script"]

DEFAULT_PAGE = "runs"


@dataclass(frozen=True, slots=True)
class HeldBack:
    """A script that hung: until when (seconds since 1970) it is not run, and what it was doing."""

    until: float
    doing: str


@dataclass(frozen=True, slots=True)
class PageScript:
    """A page script: its file, the name in its address, the app that it names itself, if it does, and whether it is a folder.

    With `any_app`, it shows the newest run of all apps where nothing names an app. `many` says that one page of it can show
    several runs: its `init_page` takes them, or it is made of panels alone.
    """

    path: Path
    name: str
    app: str | None
    is_folder: bool = False
    any_app: bool = False
    many: bool = False
    follow: str = NEWEST


def default_page() -> PageScript:
    """The page for any run that comes with the package, at the address `runs`."""
    return PageScript(Path(str(files("streamvis.pages").joinpath("runs.py"))), DEFAULT_PAGE, None, any_app=True, many=True)


def read_script(given: str | Path) -> PageScript:
    """Read a page script, given as `path` or `NAME=path`, without running it. The path may be a folder with a `main.py`.

    Raises PageScriptError that says what is wrong, and where.
    """
    path, name = Path(given), ""
    if not path.exists() and "=" in str(given):
        name, _, rest = str(given).partition("=")
        path = Path(rest)
        if not name or "/" in name:
            raise PageScriptError(f"{str(given)!r} does not name a page. Write NAME=path/page.py, with a name without a slash.")
    is_folder = path.is_dir()
    name = name or (path.resolve().name if is_folder else path.stem)
    file = path / "main.py" if is_folder else path
    if is_folder and not file.exists():
        raise PageScriptError(f"The folder {path} has no main.py, so it is not a page. Give the page script itself, or add one.")
    part = None
    try:
        tree = ast.Module([], type_ignores=[])
        for part in parts_of(file):
            tree.body += part.tree().body
    except OSError as error:
        raise PageScriptError(f"The page script {file} cannot be read: {error.strerror}.") from error
    except (SyntaxError, ValueError) as error:
        where = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        shown = part.name if part is not None else file
        raise PageScriptError(f"The page script {shown}{where} is not Python: {getattr(error, 'msg', error)}.") from error
    names = _top_level_names(tree)
    if "init_page" not in names and "*" not in names:
        raise PageScriptError(f"The page script {file} does not define init_page. A page needs init_page(doc, config).")
    many, follow = _shows_many(tree, names), _text_of(tree, "follow") or NEWEST
    return PageScript(file.resolve(), name, _text_of(tree, "app"), is_folder, many=many, follow=follow)


def pages_of(given: Sequence[str | Path]) -> list[PageScript]:
    """The scripts, each given as for `read_script`, and the default page behind them, unless a script has its name."""
    scripts = [read_script(one) for one in given]
    return scripts if any(script.name == DEFAULT_PAGE for script in scripts) else [*scripts, default_page()]


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


def _shows_many(tree: ast.Module, names: set[str]) -> bool:
    """Whether `init_page` takes the runs, or the page is made of panels alone."""
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    takes = [function.args for function in functions if function.name == "init_page"]
    if any(arguments.vararg or len(arguments.posonlyargs + arguments.args) > 2 for arguments in takes):
        return True
    if "update_page" in names:
        return False
    nodes = list(ast.walk(tree))
    used = {node.id for node in nodes if isinstance(node, ast.Name)} | {
        node.attr for node in nodes if isinstance(node, ast.Attribute)
    }
    return "panels" in used and "live_source" not in used


def _text_of(tree: ast.Module, name: str) -> str | None:
    """The text that a top-level assignment gives to this name."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            return node.value.value if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str) else None
    return None


def add_to_path(script: PageScript) -> None:
    """Let code find the script's modules that has only their names, such as `pickle`, and those of the folder where the program
    was started: after everything else, so that a file there with the name of a standard module takes the place of none."""
    folders = [str(script.path.parent)]
    with suppress(FileNotFoundError):  # that folder may be gone
        folders.append(os.getcwd())
    sys.path += [folder for folder in dict.fromkeys(folders) if folder not in sys.path]
