"""An exception as the author of a page should read it: the line, the source around it, and what there was at hand.

What is told of the page's data are names: those in `config`, in `new_data` and of the document's models, never their contents.
"""

from __future__ import annotations

import builtins
import linecache
import re
import traceback
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import FrameType
from typing import Any

import bokeh
import tornado
from bokeh.document import Document

from streamvis.counting import counted
from streamvis.errors import NoSuchName
from streamvis.page.new_data import Names, NewData

__all__ = ["Mistake", "length_of", "lengths_of", "readable"]

_MOST_CHARACTERS = 300
_BEFORE, _AFTER = 4, 3
"""How many lines of source are shown around the one that failed."""
_MOST_NAMES = 30
_OURS = str(Path(__file__).parents[1])
_AROUND = (_OURS, str(Path(bokeh.__file__).parent), str(Path(tornado.__file__).parent))
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
_OWN_NAMES = re.compile(r"\bstreamvis_page_\w+\.(__page__\.)?")


class Mistake:
    """What is to be told of `error`: from the first line of its author's own code on.

    `headline` is one line, `text` the traceback, `place` the line that raised, `hint` a sentence, and `around` the source around
    the author's last line with what was at hand there; the last two may be empty.
    """

    def __init__(self, error: BaseException) -> None:
        told = traceback.TracebackException.from_exception(error)
        frames = list(told.stack)
        first = next((i for i, frame in enumerate(frames) if not frame.filename.startswith(_AROUND)), len(frames))
        if first < len(frames) or isinstance(error, SyntaxError):
            own = [frame for frame in frames[first:] if not frame.filename.startswith(_OURS)]
            told.stack = traceback.StackSummary.from_list(own)
        self.text = readable("".join(told.format()))
        self.headline = readable(f"{type(error).__name__}: {_text_of(error)}")[:_MOST_CHARACTERS]
        last = told.stack[-1] if told.stack else None
        self.place = (type(error).__name__, last.filename if last else "", last.lineno if last else 0)
        self.hint = _lengths(error)
        calls = [frame for frame, _ in traceback.walk_tb(error.__traceback__) if _is_authors(frame)]
        self.around = readable("\n".join([*_source(error, calls), *_at_hand(error, calls)]))


def _is_authors(frame: FrameType) -> bool:
    path = frame.f_code.co_filename
    return not path.startswith((*_AROUND, "<")) and "site-packages" not in Path(path).parts


def _source(error: BaseException, calls: list[FrameType]) -> Iterator[str]:
    """The lines around the one that failed, with their numbers and a mark."""
    if isinstance(error, SyntaxError):
        path, at, where = error.filename, error.lineno, ""
    elif calls:
        lines = dict(traceback.walk_tb(error.__traceback__))
        path, at, where = calls[-1].f_code.co_filename, lines[calls[-1]], f", in {calls[-1].f_code.co_name}"
    else:
        return
    if not path or not at:
        return
    linecache.checkcache(path)
    lines = linecache.getlines(path)
    if not lines:
        return
    yield f"{Path(path).name}, line {at}{where}"
    for number in range(max(1, at - _BEFORE), min(len(lines), at + _AFTER) + 1):
        yield f"{'>' if number == at else ' '} {number:4d}  {lines[number - 1].rstrip()}"
    yield ""


def _at_hand(error: BaseException, calls: list[FrameType]) -> Iterator[str]:
    """What names there were where the error was raised, and which of them is near the one that was missing."""
    near = _near(error, calls)
    if near:
        yield f"Did you mean {' or '.join(map(repr, near))}?"
    found: dict[str, str] = {}
    for frame in calls:
        for value in list(frame.f_locals.values()):
            match value:
                case Names() if value.what == "config":
                    found["config has"] = _listed(value)
                case NewData():
                    found["new_data has"] = "; ".join(f"{key!r} with {_listed(value[key])}" for key in value) or "nothing new"
                case Document():
                    found["Models with names"] = _listed(model.name for model in value.models if model.name)
    for what, names in found.items():
        if names:
            yield f"{what}: {names}"


def _near(error: BaseException, calls: list[FrameType]) -> list[str]:
    """Names like the one that the error says is missing."""
    name, there = _missing(error, calls)
    return get_close_matches(name, {one for one in there if isinstance(one, str) and one != name}, n=2) if name else []


def _missing(error: BaseException, calls: list[FrameType]) -> tuple[str, Iterable[Any]]:
    match error:
        case NoSuchName():
            return str(error.name), error.names
        case NameError(name=str(name)) if calls:
            return name, [*calls[-1].f_locals, *calls[-1].f_globals, *vars(builtins)]
        case AttributeError(name=str(name), obj=obj) if obj is not None:
            return name, dir(obj)
        case KeyError(args=(str(name),)) if calls:
            mappings = [value for value in calls[-1].f_locals.values() if isinstance(value, Mapping)]
            return name, [one for mapping in mappings for one in mapping]
    return "", ()


def _listed(names: Iterable[Any]) -> str:
    found = [str(name) for name in names]
    more = f" and {len(found) - _MOST_NAMES} more" if len(found) > _MOST_NAMES else ""
    return ", ".join(found[:_MOST_NAMES]) + more


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:  # noqa: BLE001  # an author's `__str__`
        return "(its text cannot be shown)"


def readable(text: str) -> str:
    """The text without control characters, and with the names that the author gave to modules."""
    return _OWN_NAMES.sub("", text).translate(_CONTROLS)


def _lengths(error: BaseException) -> str:
    """What Bokeh does not say of columns of unequal length: which they are."""
    if isinstance(error, ValueError):
        for frame, _ in traceback.walk_tb(error.__traceback__):
            data = frame.f_locals.get("new_data")
            if frame.f_globals.get("__name__") == "bokeh.models.sources" and isinstance(data, dict):
                return f"The columns were {lengths_of(data)}. "
    return ""


def lengths_of(data: Any) -> str:
    """How long each column is, in words."""
    return ", ".join(f"{name!r}: {length_of(column)}" for name, column in data.items())


def length_of(column: Any) -> str:
    """How long a column is, in words."""
    return counted(len(column), "row") if hasattr(column, "__len__") else f"a {type(column).__name__}"
