"""Where the cards of a board lie: in sections, as many side by side as fit; and what its viewer has set."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

from bokeh.document import Document

from streamvis.panels.cards import Card

__all__ = ["Layout", "Place", "Settings", "View", "arguments_of", "first_view"]

_GAP, _HEAD = 10, 38
_SIZES = {"s": (240, 180), "m": (330, 250), "l": (620, 400)}
"""The least width and the height of a card, in pixels, for each size that a viewer can choose."""
_USUAL_SIZE, _PHONE_SIZE, _AROUND = (1366, 768), (390, 844), (280, 60)
"""What of a window is taken to be in view until the browser has told it, and what of that is not the board's, in pixels."""
_FRAME = "Streamvis-Frame"
_MOST_PX = 20_000
"""No screen has more; whoever asks for a page could say anything."""
_FOLD_FROM = 30
"""With more sections than this, only the first few are open at first."""
_LEAST_HEIGHT = 60


@dataclass(frozen=True, slots=True)
class Settings:
    """What the viewer has set, and the address says."""

    q: str = ""
    x: str = "step"
    smooth: float = 0.0
    log: bool = False
    size: str = "m"
    big: str = ""
    fold: Mapping[str, bool] = field(default_factory=dict)

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Settings:
        """From what the browser or an address says; what makes no sense is left out."""
        found = cls()
        if isinstance(said.get("q"), str):
            found = replace(found, q=said["q"][:500])
        if isinstance(said.get("x"), str) and said["x"]:
            found = replace(found, x=said["x"][:500])
        try:
            found = replace(found, smooth=min(0.999, max(0.0, float(said.get("smooth", 0) or 0))))
        except (TypeError, ValueError, OverflowError):
            pass
        fold, size = said.get("fold"), said.get("size")
        return replace(
            found,
            log=str(said.get("log", "")).lower() in ("1", "true"),
            size=size if isinstance(size, str) and size in _SIZES else "m",
            big=str(said.get("big") or ""),
            fold={str(name): bool(folded) for name, folded in fold.items()} if isinstance(fold, Mapping) else {},
        )


@dataclass(slots=True)
class Place:
    """Where a card lies: its top in pixels, and its left and width as shares of the board's."""

    top: float
    left: float
    width: float


@dataclass(frozen=True, slots=True)
class View:
    """What of the board is in view: from `top` to `bottom`, and how wide it is, in pixels. No width: not known yet."""

    top: float = 0.0
    bottom: float = 0.0
    width: float = 0.0


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the cards lie that fit the search and whose sections are open. `heads` are those of the sections, for the browser."""

    places: Mapping[str, Place] = field(default_factory=dict)
    heads: Sequence[Mapping[str, Any]] = ()
    card_height: int = 0
    height: float = _LEAST_HEIGHT

    @classmethod
    def of(cls, cards: Mapping[str, Card], wide: Set[str], settings: Settings, width: float) -> Layout:
        """Give each card its place; those that are `wide` take twice the width."""
        words = settings.q.lower().split()
        found: dict[str, list[str]] = {}
        for name, one in cards.items():
            if all(word in f"{one.section}/{one.title}".lower() for word in words):
                found.setdefault(one.section, []).append(name)
        least, height = _SIZES[settings.size]
        fitting = max(1, int((width + _GAP) // (least + _GAP)))
        # A few cards are wider rather than leave most of a large window empty.
        longest = max((sum(2 if name in wide else 1 for name in names) for names in found.values()), default=1)
        across = min(fitting, max(longest, math.ceil(width / (2 * least))))
        top, heads, places = 0.0, [], {}
        for i, (section, names) in enumerate(found.items()):
            folded = settings.fold.get(section, len(found) > _FOLD_FROM and i >= 3 and not words)
            heads.append({"name": section, "top": top, "count": len(names), "folded": folded})
            top += _HEAD
            at = 0
            for name in () if folded else names:
                span = min(across, 2 if name in wide else 1)
                if at % across + span > across:
                    at += across - at % across
                row, place = divmod(at, across)
                places[name] = Place(top + row * (height + _GAP), place / across, span / across)
                at += span
            top += 0 if folded else math.ceil(at / across) * (height + _GAP)
        return cls(places, heads, height, max(top, _LEAST_HEIGHT))

    def seen(self, low: float, high: float) -> dict[str, Place]:
        """The cards that reach between these heights."""
        return {name: place for name, place in self.places.items() if low < place.top + self.card_height and place.top < high}

    def styles(self, place: Place) -> dict[str, str]:
        """The styles that put a panel into a place."""
        # The browser keeps the styles of the place where a frame was before, unless others replace them.
        return {
            "position": "absolute",
            "inset": "auto",
            "z-index": "auto",
            "top": f"{place.top:.0f}px",
            "height": f"{self.card_height}px",
            "left": f"calc({place.left * 100:.3f}% + {place.left * _GAP:.1f}px)",
            "width": f"calc({place.width * 100:.3f}% - {(1 - place.width) * _GAP:.1f}px)",
        }


def first_view(doc: Document) -> View:
    """What is taken to be in view until the browser has told it. The shell says how large the frame is that it asks for."""
    request = getattr(doc.session_context, "request", None)
    headers = request.headers if request else {}
    width, height = _PHONE_SIZE if "Mobi" in headers.get("User-Agent", "") else _USUAL_SIZE
    if found := re.fullmatch(r"(\d{3,5})x(\d{3,5})", headers.get(_FRAME, ""), re.ASCII):
        width, height = (min(int(side), _MOST_PX) for side in found.groups())
    return View(0.0, float(max(height - _AROUND[1], 0)), float(max(width - _AROUND[0], _PHONE_SIZE[0])))


def arguments_of(doc: Document) -> dict[str, Any]:
    """What the address of the page says, for `Settings.of`."""
    request = getattr(doc.session_context, "request", None)
    found = request.arguments if request else {}
    said: dict[str, Any] = {name: values[0].decode(errors="replace") for name, values in found.items() if values}
    try:
        said["fold"] = json.loads(said.get("fold", "{}"))
    except (ValueError, RecursionError):
        del said["fold"]
    return said
