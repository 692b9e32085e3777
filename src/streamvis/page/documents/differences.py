"""How two documents of one page differ, in words.

Compared is what page code made: the models below the roots, pair by pair, with all that they hold. Left out is what viewers and
browsers decide (ranges, sizes), what sources hold that Streamvis fills, and the small lines that `numbers` draws of it: of a long
run, pages that were opened at different times have different rows of the same extremes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from os.path import commonprefix
from typing import Any

import numpy as np
from bokeh.document import Document
from bokeh.model import Model
from bokeh.models import ColumnDataSource, Range, UIElement

from streamvis.page.documents.document import as_author
from streamvis.page.documents.models import own_names
from streamvis.page.live.sources import spec_of

__all__ = ["differences"]

_NOT_COMPARED = frozenset({"js_event_callbacks", "js_property_callbacks", "subscribed_events", "syncable", "tags", "inner_width"})
_RANGES = frozenset({"start", "end", "reset_start", "reset_end"})
_LINE = re.compile(r'<svg class="past".*?</svg>')
_MOST_TOLD = 10
_MOST_SHOWN = 60


def differences(live: Document, fresh: Document) -> list[str]:
    """What is not the same in the two documents, each as a sentence; the first few."""
    with as_author(live), as_author(fresh):
        pairs = list(live.roots), list(fresh.roots)
    found = []
    for difference in _of(*pairs, "the document's roots", set()):
        found.append(difference)
        if len(found) == _MOST_TOLD:
            break
    return found


def _of(live: Any, fresh: Any, where: str, seen: set[str]) -> Iterator[str]:
    match live, fresh:
        case Model(), Model():
            yield from _of_models(live, fresh, where, seen)
        case Mapping(), Mapping():
            if live.keys() != fresh.keys():
                yield f"{where}: live has {sorted(map(str, live))}, fresh has {sorted(map(str, fresh))}"
            for name in [name for name in live if name in fresh]:
                yield from _of(live[name], fresh[name], f"{where}[{name!r}]", seen)
        case ((list() | tuple() | np.ndarray()), (list() | tuple() | np.ndarray())):
            yield from _of_lists(live, fresh, where, seen)
        case _ if is_dataclass(live) and type(live) is type(fresh):
            # A field or a value of a glyph, whose transform is a model.
            for part in fields(live):
                yield from _of(getattr(live, part.name), getattr(fresh, part.name), f"{where}.{part.name}", seen)
        case _:
            if not _is_same(live, fresh):
                one, other = _told_apart(live, fresh)
                yield f"{where}: live {one}, fresh {other}"


def _of_models(live: Model, fresh: Model, where: str, seen: set[str]) -> Iterator[str]:
    if live.id in seen:
        return
    seen.add(live.id)
    its = f"{type(live).__name__} {live.name!r}" if live.name else f"{where}: {type(live).__name__}"
    if type(live).__name__ != type(fresh).__name__:
        yield f"{where}: live is {type(live).__name__}, fresh is {type(fresh).__name__}"
        return
    left_out = _NOT_COMPARED | (_RANGES if isinstance(live, Range) else frozenset())
    if isinstance(live, ColumnDataSource) and spec_of(live) is not None:
        left_out |= {"data"}
    for name in sorted((own_names(live) | own_names(fresh)) - left_out):
        yield from _of(getattr(live, name, None), getattr(fresh, name, None), f"{its}.{name}", seen)


def _of_lists(live: Any, fresh: Any, where: str, seen: set[str]) -> Iterator[str]:
    live, fresh = _placed(live), _placed(fresh)
    if len(live) != len(fresh):
        yield f"{where}: live has {len(live)} items {_told(live)}, fresh has {len(fresh)} {_told(fresh)}"
        return
    both = [isinstance(one, np.ndarray) and one.dtype.kind != "O" for one in (live, fresh)]
    if all(both) and live.shape == fresh.shape and _are_equal(live, fresh):
        return
    for i, (one, other) in enumerate(zip(live, fresh, strict=True)):
        found = list(_of(one, other, f"{where}[{i}]", seen))
        yield from found
        # Of data, the first item that differs tells enough.
        if found and not isinstance(one, Model):
            return


def _placed(items: Any) -> Any:
    """The items with those last that lie where their styles say, by that place: their order in the list does not show."""
    if isinstance(items, np.ndarray) or not any(map(_is_placed, items)):
        return items
    placed = sorted(filter(_is_placed, items), key=lambda item: sorted(item.styles.items()))
    return [*(item for item in items if not _is_placed(item)), *placed]


def _is_placed(item: Any) -> bool:
    return (
        isinstance(item, UIElement) and isinstance(item.styles, Mapping) and item.styles.get("position") in ("absolute", "fixed")
    )


def _are_equal(live: np.ndarray, fresh: np.ndarray) -> bool:
    return bool(np.array_equal(live, fresh, equal_nan=live.dtype.kind in "fcmM" and fresh.dtype.kind in "fcmM"))


def _is_same(live: Any, fresh: Any) -> bool:
    if isinstance(live, str) and isinstance(fresh, str):
        return live == fresh or _LINE.sub("", live) == _LINE.sub("", fresh)
    try:
        return bool(live is fresh or live == fresh or (live != live and fresh != fresh))
    except (TypeError, ValueError):
        return repr(live) == repr(fresh)


def _told(value: Any) -> str:
    return _cut(repr(value), 0)


def _told_apart(one: Any, other: Any) -> tuple[str, str]:
    """Both, from shortly before the place where they begin to differ."""
    texts = repr(one), repr(other)
    place = len(commonprefix(texts))
    start = max(0, place - _MOST_SHOWN // 3) if max(map(len, texts)) > _MOST_SHOWN else 0
    return _cut(texts[0], start), _cut(texts[1], start)


def _cut(text: str, start: int) -> str:
    end = start + _MOST_SHOWN
    return f"{'...' if start else ''}{text[start:end]}{'...' if end < len(text) else ''}"
