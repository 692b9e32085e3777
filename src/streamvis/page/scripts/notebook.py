"""A notebook as a page script: its code cells, one after the other, each a part with a name of its own in errors.

Commands of IPython (statements that begin with % or !) are left out, and so are cells with the tag `skip`.
"""

from __future__ import annotations

import ast
import io
import json
import linecache
import tokenize
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
        # So that the source can be shown around an error.
        linecache.cache[name] = (len(text), None, [f"{line}\n" for line in text.splitlines()], name)
        if _SKIP not in tags and not text.startswith("%%"):
            yield Part(name, _without_commands(text).encode())


def _without_commands(text: str) -> str:
    """The cell with empty lines in place of commands, so that the lines of an error are those of the cell."""
    try:
        ast.parse(text)
    except (SyntaxError, ValueError):
        pass
    else:
        return text
    lines: list[str] = []
    statement: list[str] = []
    for line in text.splitlines():
        if not statement and line.lstrip().startswith(("%", "!")):
            lines.append("")
            continue
        lines.append(line)
        statement.append(line)
        if not _is_open(statement):
            statement = []
    return "\n".join(lines)


def _is_open(lines: list[str]) -> bool:
    """Whether a bracket, a string or a line is continued after these lines."""
    try:
        for _ in tokenize.generate_tokens(io.StringIO("\n".join([*lines, ""])).readline):
            pass
    except tokenize.TokenError as error:
        # Other errors, such as a string that does not end in its line, are those of the cell.
        return "multi-line" in str(error) or "triple-quoted" in str(error)
    except SyntaxError:
        return False
    return False
