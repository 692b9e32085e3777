"""`board`: a page of many panels, made when they come into view, with search, sections, and settings for all of them.

What there is follows from the run's keys by a function of the page's author, which makes `Card`s; where each lies follows from
the width of the window; only those near what the viewer sees exist as Bokeh models. So a run with thousands of columns costs
what fits on a screen. The browser's half is in panels.js: it tells what is in view and what the viewer has set, and keeps that in
the page's address.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from bokeh.core.properties import AnyRef, List, String
from bokeh.document import Document
from bokeh.layouts import column as column_of
from bokeh.model import DataModel
from bokeh.models import Column, CustomJS, Div, LayoutDOM, Pane, Plot

from streamvis.descriptions import Description, description_of, pattern_of
from streamvis.errors import UsageError
from streamvis.page.fillers import Filler, Page, attach
from streamvis.page.live.figures import computed_once
from streamvis.page.live.sources import of_run
from streamvis.page.new_data import NewData
from streamvis.panels.boxes import Parts, short
from streamvis.panels.contents import Key, contents_of
from streamvis.panels.curves import mark_best
from streamvis.panels.side_by_side import parts_of
from streamvis.records import KeyInfo, Value

__all__ = ["Card", "Shared", "board", "card"]

_GAP, _HEAD = 10, 38
_SIZES = {"s": (240, 180), "m": (330, 250), "l": (620, 400)}
"""The least width and the height of a card, in pixels, for each size that a viewer can choose."""
_AHEAD_PX = 300
_USUAL_SIZE, _PHONE_SIZE, _AROUND = (1366, 768), (390, 844), (280, 60)
"""What of a window is taken to be in view until the browser has told it, and what of that is not the board's, in pixels."""
_AT_A_TIME = 9
"""How many panels are made before others have their turn: what a window of a laptop shows."""
_MOST_MADE = 300
"""How many panels exist at most, even on a page that is as high as its frame: more than a large screen has room for."""
_FOLD_FROM = 30
"""With more sections than this, only the first few are open at first."""
_BIG = {"position": "fixed", "inset": "4vh 3vw", "z-index": "9999", "width": "auto", "height": "92vh"}


@dataclass(frozen=True, slots=True)
class Shared:
    """What a viewer sets for all panels of a board: the axis of x, the smoothing, and whether y is logarithmic."""

    x: str = "step"
    smooth: float = 0.0
    log: bool = False

    @property
    def y_axis_type(self) -> str:
        """For Bokeh's `figure`."""
        return "log" if self.log else "auto"


@dataclass(frozen=True, slots=True)
class Card:
    """A panel that a board can show. `series` are the keys and columns of rows that can be downloaded.

    `shows` is what the panel was made for: a card that has another one than before gets a new panel.
    """

    title: str
    make: Callable[[Shared], LayoutDOM]
    section: str = ""
    wide: bool = False
    series: Sequence[tuple[str, str]] = ()
    shows: Hashable = None
    said: Description | None = None


def card(
    title: str,
    make: Callable[[Shared], LayoutDOM],
    *,
    section: str = "",
    wide: bool = False,
    series: Iterable[tuple[str, str]] = (),
    shows: Hashable = None,
) -> Card:
    """Describe a panel of a board.

    Args:
        title: what search looks for
        make: makes the panel when it comes into view, given what the viewer has set for all (`x`, `smooth`, `log`)
        section: under which heading
        wide: whether it takes twice the width
        series: pairs of a key and a column of rows, for the button that downloads them
        shows: what `make` depends on, such as a key and what it holds: when that changes, the panel is rebuilt
    """
    return Card(title, make, section, wide, tuple(series), shows)


def board(cards: Callable[[Sequence[Key]], Iterable[Card]], **options: Any) -> Column:
    """Make a page of panels, which are made when they come into view.

    Args:
        cards: called as `cards(keys)` whenever the run has a new key or column; returns what to show, made by `card`. Of each
            key, `keys` has the name, the kind ("rows" or "value"), the columns with their dtypes, and what it holds
        options: of Bokeh's `Column`
    """
    if not callable(cards):
        raise UsageError(f"cards is {type(cards).__name__}. Give a function that returns a list of panels.card(...).")
    bar = Div(sizing_mode="stretch_width")
    # The first child stays: Bokeh warns of a column that has none.
    space = Column(Pane(), sizing_mode="stretch_width", styles={"position": "relative", "height": "400px"})
    control = StreamvisBoard()
    panel = column_of(bar, space, **{"sizing_mode": "stretch_width", "spacing": 8, **options})
    attach(panel, _Board(cards, bar, space, control))
    return panel


class StreamvisBoard(DataModel):
    """What travels between a board and the browser, as JSON."""

    layout = String(default="{}")
    view = String(default="{}")
    settings = String(default="{}")
    parts = List(AnyRef, default=[])
    """Keeps what figures share in the document: Bokeh cannot send a model again that it has released."""


@dataclass(frozen=True, slots=True)
class _Settings:
    """What the viewer has set, and the address says."""

    q: str = ""
    x: str = "step"
    smooth: float = 0.0
    log: bool = False
    size: str = "m"
    big: str = ""
    fold: Mapping[str, bool] = field(default_factory=dict)

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> _Settings:
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
class _Place:
    """Where a card lies: its top in pixels, and its left and width as shares of the board's."""

    top: float
    left: float
    width: float


class _Board(Filler):
    wants_keys = takes_rows = takes_all = True

    def __init__(
        self, cards: Callable[[Sequence[Key]], Iterable[Card]], bar: Div, space: Column, control: StreamvisBoard
    ) -> None:
        self._cards_of, self._bar, self._space, self._control = cards, bar, space, control
        self._page: Page | None = None
        self._holds: dict[str, str] = {}
        self._cards: dict[str, Card] = {}
        self._places: dict[str, _Place] = {}
        self._made: dict[str, Pane] = {}
        self._parts = Parts()
        self._is_unfinished = self._is_seen = False
        self._settings = _Settings()
        self._view = {"top": 0.0, "bottom": 0.0, "width": 0.0}
        control.on_change("view", lambda attr, old, new: self._once(self._look, json.loads(new)))
        control.on_change("settings", lambda attr, old, new: self._once(self._set, _Settings.of(json.loads(new))))

    def _once(self, function: Callable[..., None], *arguments: Any) -> None:
        with computed_once(self._page.doc):
            function(*arguments)

    def begin(self, page: Page) -> None:
        self._page = page
        self._settings = _Settings.of(_arguments(page.doc))
        # Charts are made while the browser still loads its scripts.
        self._view = _usual_view(page.doc)
        self._control.settings = json.dumps(asdict(self._settings))
        args = {"control": self._control, "bar": self._bar, "space": self._space}
        start = CustomJS(args=args, code="window.streamvisPanels.board(control, bar, space)")
        page.doc.js_on_event("document_ready", start)
        self._bar.js_on_change("name", start)
        self._collect()

    # What there is

    def keys_changed(self) -> None:
        for page in self._page.all:
            for key, info in page.keys.items():
                if info.kind == "value" and key not in self._holds and page.is_open:
                    self._holds[key] = "tree"
                    page.ask(lambda reader, run, key=key: reader.value(run, key), self._learn)
        self._collect()

    def _learn(self, value: Value | None) -> None:
        if value is not None:
            self._holds[value.key] = contents_of(value.data)
            self._collect()

    def update(self, new_data: NewData) -> None:
        found = {key: contents_of(new_data[key]) for key in new_data if pattern_of(key) is None}
        if found.items() - self._holds.items():
            self._holds |= found
            self._collect()

    def _collect(self) -> None:
        keys = [
            Key(name, info.kind, info.columns, self._holds.get(name, "rows"))
            for name, info in self._keys.items()
            if info.kind == "rows" or name in self._holds
        ]
        there = {key.name for key in keys}
        keys += [Key(name, "value", {}, holds) for name, holds in self._holds.items() if name not in there]
        # In the same order whenever the page was opened.
        keys.sort(key=lambda key: key.name)
        cards: dict[str, Card] = {}
        taken: Counter[str] = Counter()
        described = {pattern: said for page in reversed(self._page.all) for pattern, said in page.described.items()}
        for one in self._cards_of(keys):
            one = _described(one, described) if described else one
            name = f"{one.section}/{one.title}"
            taken[name] += 1
            cards[name if taken[name] == 1 else f"{name} ({taken[name]})"] = one
        for name in [name for name in self._made if cards.get(name) is None or _differs(cards[name], self._cards[name])]:
            del self._made[name]
        self._cards = cards
        self._lay_out()

    @property
    def _keys(self) -> Mapping[str, KeyInfo]:
        """The keys of all runs, each with the columns that it has in any of them."""
        if len(self._page.all) == 1:
            return self._page.keys
        found: dict[str, KeyInfo] = {}
        for page in self._page.all:
            for key, info in page.keys.items():
                known = found.setdefault(key, info)
                if known.kind == info.kind:
                    found[key] = KeyInfo(info.kind, {**known.columns, **info.columns})
        return found

    # Where it is

    def _set(self, settings: _Settings) -> None:
        if (settings.x, settings.smooth, settings.log) != (self._settings.x, self._settings.smooth, self._settings.log):
            self._made = {}
        self._settings = settings
        self._lay_out()

    def _look(self, view: Mapping[str, Any]) -> None:
        self._is_seen, is_resized = True, view["width"] != self._view["width"]
        self._view = {name: float(view[name]) for name in ("top", "bottom", "width")}
        if is_resized:
            self._lay_out()
        else:
            self._show()

    def _lay_out(self) -> None:
        """Give each card its place, in sections, as many side by side as fit."""
        words = self._settings.q.lower().split()
        found: dict[str, list[str]] = {}
        for name, one in self._cards.items():
            if all(word in f"{one.section}/{one.title}".lower() for word in words):
                found.setdefault(one.section, []).append(name)
        least, height = _SIZES[self._settings.size]
        fitting = max(1, int((self._view["width"] + _GAP) // (least + _GAP)))
        # A few cards are wider rather than leave most of a large window empty.
        spans = [[2 if self._is_wide(self._cards[name]) else 1 for name in names] for names in found.values()]
        longest = max(map(sum, spans), default=1)
        across = min(fitting, max(longest, math.ceil(self._view["width"] / (2 * least))))
        top, heads, self._places = 0.0, [], {}
        for i, (section, names) in enumerate(found.items()):
            folded = self._settings.fold.get(section, len(found) > _FOLD_FROM and i >= 3 and not words)
            heads.append({"name": section, "top": top, "count": len(names), "folded": folded})
            top += _HEAD
            at = 0
            for name in () if folded else names:
                span = min(across, 2 if self._is_wide(self._cards[name]) else 1)
                if at % across + span > across:
                    at += across - at % across
                row, place = divmod(at, across)
                self._places[name] = _Place(top + row * (height + _GAP), place / across, span / across)
                at += span
            top += 0 if folded else math.ceil(at / across) * (height + _GAP)
        self._space.styles = {"position": "relative", "height": f"{max(top, 60):.0f}px"}
        self._heads, self._height = heads, height
        self._show()

    def _is_wide(self, one: Card) -> bool:
        # What is not drawn in one figure stands side by side, once for each run.
        return one.wide or (len(self._page.all) > 1 and not one.series)

    def _show(self) -> None:
        """Make the panels that came into view, and release those that left it."""
        if not self._view["width"]:
            return
        ahead = _AHEAD_PX if self._is_seen else 0
        low, high = self._view["top"] - ahead, self._view["bottom"] + ahead
        seen = {name: place for name, place in self._places.items() if low < place.top + self._height and place.top < high}
        # Those that the viewer sees come first.
        ordered = sorted(seen.items(), key=lambda item: item[1].top + self._height < self._view["top"])
        seen = dict(ordered[:_MOST_MADE])
        if self._settings.big in self._cards:
            seen.setdefault(self._settings.big, _Place(0, 0, 1))
        self._made = {name: made for name, made in self._made.items() if name in seen}
        shared = Shared(self._settings.x, self._settings.smooth, self._settings.log)
        shown, new = [], 0
        for name, place in seen.items():
            if name not in self._made:
                if new == _AT_A_TIME:
                    # What there is gets painted and filled first.
                    if not self._is_unfinished:
                        self._is_unfinished = True
                        self._page.soon(self._go_on)
                    break
                new += 1
                # A board that is told of a run's news makes panels of all of them.
                with of_run(""), self._parts.used():
                    self._made[name] = _framed(self._cards[name].make(shared))
            made = self._made[name]
            styles = _BIG if name == self._settings.big else self._styles(place)
            if made.styles != styles:
                made.styles = styles
            shown.append({"id": made.id, "name": name, "series": self._cards[name].series, "title": self._cards[name].title})
        if self._parts.made != self._control.parts:
            self._control.parts = self._parts.made
        children = [self._space.children[0], *self._made.values()]
        if children != self._space.children:
            self._space.children = children
        columns = sorted({name for info in self._keys.values() for name in list(info.columns)[:50]})
        about = {"heads": self._heads, "cards": shown, "total": len(self._cards), "found": len(self._places)}
        self._control.layout = json.dumps({**about, "runs": [page.run.id for page in self._page.all], "columns": columns[:200]})

    def _go_on(self) -> None:
        self._is_unfinished = False
        self._show()

    def _styles(self, place: _Place) -> dict[str, str]:
        return {
            "position": "absolute",
            "top": f"{place.top:.0f}px",
            "height": f"{self._height}px",
            "left": f"calc({place.left * 100:.3f}% + {place.left * _GAP:.1f}px)",
            "width": f"calc({place.width * 100:.3f}% - {(1 - place.width) * _GAP:.1f}px)",
        }


def _described(one: Card, described: Mapping[str, Description]) -> Card:
    """The card as the run's producer wants it; the first of several, where they differ."""
    names = [column if "/" in column else f"{key}/{column}" for key, column in one.series]
    said = next((said for name in names if (said := description_of(name, described)) != Description()), None)
    if said is None:
        return one
    x, log, make = said.x, said.scale and said.scale == "log", one.make

    def make_as_described(shared: Shared) -> LayoutDOM:
        shared = replace(shared, x=x or shared.x, log=shared.log if log is None else log)
        panel = make(shared)
        if isinstance(panel, Plot):
            panel.title.text = short(said.title, 80) if said.title else panel.title.text
            panel.yaxis.axis_label = said.unit
            if said.best is not None:
                mark_best(panel, said.best)
        return panel

    section = one.section if said.section is None else said.section
    return replace(one, title=said.title or one.title, section=section, make=make_as_described, said=said)


def _framed(panel: LayoutDOM) -> Pane:
    """The panel in a frame whose size it takes. In a pane it is laid out alone: in a column, with all others at each change."""
    for part in (panel, *parts_of(panel).values()):
        part.update(sizing_mode="stretch_both", width=None, height=None)
    return Pane(elements=[panel])


def _differs(one: Card, other: Card) -> bool:
    """Whether a card has other data now; functions cannot be compared."""
    return (one.wide, one.series, one.shows, one.said) != (other.wide, other.series, other.shows, other.said)


def _usual_view(doc: Document) -> dict[str, float]:
    request = doc.session_context.request if doc.session_context else None
    agent = request.headers.get("User-Agent", "") if request else ""
    width, height = _PHONE_SIZE if "Mobi" in agent else _USUAL_SIZE
    return {"top": 0.0, "bottom": float(height - _AROUND[1]), "width": float(max(width - _AROUND[0], _PHONE_SIZE[0]))}


def _arguments(doc: Document) -> dict[str, Any]:
    request = doc.session_context.request if doc.session_context else None
    found = request.arguments if request else {}
    said: dict[str, Any] = {name: values[0].decode(errors="replace") for name, values in found.items() if values}
    try:
        said["fold"] = json.loads(said.get("fold", "{}"))
    except (ValueError, RecursionError):
        del said["fold"]
    return said
