"""Which files a page is made of: in which folders they lie, and whether one that was saved is among them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Set
from pathlib import Path

__all__ = ["Stamp", "folders_of", "is_part_of", "stamp_of"]

Stamp = tuple[int, ...]
"""What is another one each time that a file was saved or replaced."""

_BESIDE = frozenset({".css", ".html", ".j2", ".jinja", ".jinja2", ".js", ".ts", ".yaml", ".yml"})
"""What pages read in addition to modules. JSON and similar ones are more often data that a producer writes."""
_MOST_FOLDERS = 1000


def folders_of(script: Path, modules: Set[str], *, is_folder: bool) -> frozenset[str]:
    """The folders to watch for a page: those of its script and of the modules that it imported; a page folder with all in it."""
    home = script.parent
    found = itertools.islice(_walk(home), _MOST_FOLDERS) if is_folder else [str(home)]
    return frozenset(found) | {os.path.dirname(path) for path in modules}


def is_part_of(path: Path, script: Path, modules: Set[str], *, is_folder: bool, has_failed: bool) -> bool:
    """Whether the page is made of the file at `path` too. Where the page has failed, any module may be what it lacked."""
    home = script.parent
    if path == script or str(path) in modules or (has_failed and path.suffix == ".py"):
        return True
    if not is_folder:
        return path.parent == home and path.suffix in _BESIDE
    inside = path.relative_to(home).parts if path.is_relative_to(home) else ()
    return bool(inside) and (inside[0] == "static" or path.suffix in _BESIDE)


def _walk(home: Path) -> Iterator[str]:
    for folder, below, _ in os.walk(home):
        below[:] = [name for name in below if not name.startswith((".", "__pycache__", "node_modules"))]
        yield folder


def stamp_of(path: Path) -> Stamp | None:
    """The stamp of a file; None for one that is not there."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
