"""A notebook as a page script: its code cells, one after the other, each a part with a name of its own in errors.

Commands of IPython (lines that begin with % or !) are left out, and so are cells with the tag `skip`.
"""

from __future__ import annotations

import ast
import json
import linecache
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from streamvis.errors import PageScriptError

__all__ = ["Part", "parts_of"]

_SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of Python source, and what it is called."""

    name: str
    source: bytes

    def tree(self) -> ast.Module:
        """The source, parsed. Raises SyntaxError or ValueError."""
        return ast.parse(self.source, filename=self.name)


def parts_of(path: Path) -> list[Part]:
    """What a page script is made of: itself, or the cells of a notebook. Raises OSError, and PageScriptError for no notebook."""
    content = path.read_bytes()
    return [Part(str(path), content)] if path.suffix != ".ipynb" else list(_cells(path, content))


def _cells(path: Path, content: bytes) -> Iterator[Part]:
    try:
        cells = json.loads(content)["cells"]
        codes = [cell for cell in cells if cell["cell_type"] == "code"]
        found = [("".join(cell["source"]), cell.get("metadata", {}).get("tags", ())) for cell in codes]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        told = f"{type(error).__name__}: {error}"
        raise PageScriptError(f"The page script {path} is not a notebook of the format 4 ({told}).") from error
    for number, (text, tags) in enumerate(found, 1):
        name = f"{path}, cell {number}"
        # In their places: the lines of an error are those of the cell.
        lines = ["" if line.lstrip().startswith(("%", "!")) else line for line in text.splitlines()]
        # So that the source can be shown around an error.
        linecache.cache[name] = (len(text), None, [f"{line}\n" for line in text.splitlines()], name)
        if _SKIP not in tags and not text.startswith("%%"):
            yield Part(name, "\n".join(lines).encode())
