"""The static files of a page folder, put into the snapshot in the place of their addresses, as data that needs no server.

An address is what a browser would ask the page server for: one that ends with NAME/static/FILE. Style sheets name further files
relative to their own place; those are put in as well.
"""

from __future__ import annotations

import base64
import mimetypes
import re
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote

__all__ = ["StaticFiles"]

_OF_STYLES = re.compile(r"""url\(\s*(["']?)([^"')\s]+)\1\s*\)""")
_PART = r"""[^"'()\s\\<>]"""
"""An address in HTML, in CSS, or in a string of JSON ends where any of these does."""
_BEFORE = re.compile(rf"{_PART}*$")
_LONGEST = 300
_DEEPEST = 5
"""So many style sheets may import each other."""


class StaticFiles:
    """The files in `folder` of the page `name`. `missing` has the addresses for which there is no file."""

    def __init__(self, name: str, folder: Path) -> None:
        self._folder = folder.resolve()
        names = "|".join(sorted({re.escape(name), re.escape(quote(name))}))
        self._named = re.compile(rf"(?:{names})/static/((?:(?![?#&]){_PART})+)(?:[?#]{_PART}*)?")
        self._found: dict[Path, str] = {}
        self.missing: list[str] = []

    def put_into(self, text: str) -> str:
        """The text, with the data of the files in the place of their addresses."""
        parts, done = [], 0
        for found in self._named.finditer(text):
            ended = _BEFORE.search(text[max(done, found.start() - _LONGEST) : found.start()])
            before = ended[0] if ended else ""
            if ":" in before or (before and not before.endswith("/")):
                continue  # of another site, or another name that ends so
            start = found.start() - len(before)
            parts += [text[done:start], self._data(self._folder, found[1], text[start : found.end()])]
            done = found.end()
        return "".join([*parts, text[done:]])

    def _data(self, where: Path, name: str, address: str, depth: int = 0) -> str:
        path = where.joinpath(*PurePosixPath(unquote(name)).parts).resolve()
        if not path.is_relative_to(self._folder) or not path.is_file():
            self.missing = list(dict.fromkeys([*self.missing, address]))
            return address
        if path not in self._found:
            content, kind = path.read_bytes(), mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            if kind == "text/css" and depth < _DEEPEST:
                content = self._styles(content.decode(errors="replace"), path.parent, depth + 1).encode()
            self._found[path] = f"data:{kind};base64,{base64.b64encode(content).decode()}"
        return self._found[path]

    def _styles(self, text: str, where: Path, depth: int) -> str:
        def data(found: re.Match[str]) -> str:
            name = re.split(r"[?#]", found[2])[0]
            is_elsewhere = ":" in name or name.startswith(("/", "#")) or not name
            return found[0] if is_elsewhere else f'url("{self._data(where, name, found[2], depth)}")'

        return _OF_STYLES.sub(data, text)
