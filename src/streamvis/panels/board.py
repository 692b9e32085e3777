"""`board`: a page of many panels, made when they come into view, with search, sections, and settings for all of them.

What there is follows from the run's keys by a function of the page's author, which makes `Card`s; where each lies follows from
the width of the window; only those near what the viewer sees exist as Bokeh models. So a run with thousands of columns costs
what fits on a screen. The browser's half is in panels.js: it tells what is in view and what the viewer has set, and keeps that in
the page's address.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from bokeh.layouts import column as column_of
from bokeh.model import DataModel
from bokeh.models import Column, ColumnDataSource, CustomJS, Div, LayoutDOM, Pane

from streamvis.descriptions import pattern_of
from streamvis.errors import UsageError
from streamvis.page.documents.models import reachable
from streamvis.page.documents.properties import references, string
from streamvis.page.fillers import Filler, Page, attach
from streamvis.page.live.figures import computed_once
from streamvis.page.live.sources import of_run, spec_of
from streamvis.page.new_data import NewData
from streamvis.panels.board_layout import Layout, Place, Settings, View, arguments_of, first_view
from streamvis.panels.boxes import Parts
from streamvis.panels.cards import Card, Shared, card, described, differs
from streamvis.panels.contents import Key, contents_of
from streamvis.panels.side_by_side import parts_of
from streamvis.records import KeyInfo, Value

__all__ = ["Card", "Shared", "board", "card"]

_AHEAD_PX = 300
_AT_A_TIME = 9
"""How many panels are made before others have their turn: what a window of a laptop shows."""
_MOST_MADE = 300
"""How many panels exist at most, even on a page that is as high as its frame: more than a large screen has room for."""
_BIG = {"position": "fixed", "inset": "4vh 3vw", "z-index": "9999", "width": "auto", "height": "92vh"}


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
    space = Column(children=[Pane()], sizing_mode="stretch_width", styles={"position": "relative", "height": "400px"})
    control = StreamvisBoard()
    panel = column_of(bar, space, **{"sizing_mode": "stretch_width", "spacing": 8, **options})
    attach(panel, _Board(cards, bar, space, control))
    return panel


class StreamvisBoard(DataModel):
    """What travels between a board and the browser, as JSON."""

    layout = string("{}")
    view = string("{}")
    settings = string("{}")
    parts = references()
    """Keeps what figures share in the document: Bokeh cannot send a model again that it has released."""


class _Board(Filler):
    wants_keys = takes_rows = takes_all = True

    def __init__(
        self, cards: Callable[[Sequence[Key]], Iterable[Card]], bar: Div, space: Column, control: StreamvisBoard
    ) -> None:
        self._cards_of, self._bar, self._space, self._control = cards, bar, space, control
        self._holds: dict[str, str] = {}
        self._seen_live: set[str] = set()
        self._cards: dict[str, Card] = {}
        self._layout = Layout()
        self._frames: list[Pane] = []
        self._made: dict[str, Pane] = {}
        self._parts = Parts()
        self._is_unfinished = self._is_seen = False
        self._settings = Settings()
        self._view = View()
        control.on_change("view", lambda attr, old, new: self._once(self._look, json.loads(new)))
        control.on_change("settings", lambda attr, old, new: self._once(self._set, Settings.of(json.loads(new))))

    def _once(self, function: Callable[..., None], *arguments: Any) -> None:
        with computed_once(self.page.doc):
            function(*arguments)

    def begin(self, page: Page) -> None:
        super().begin(page)
        self._settings = Settings.of(arguments_of(page.doc))
        # Charts are made while the browser still loads its scripts.
        self._view = first_view(page.doc)
        self._control.settings = json.dumps(asdict(self._settings))
        args = {"control": self._control, "bar": self._bar, "space": self._space}
        start = CustomJS(args=args, code="window.streamvisPanels.board(control, bar, space)")
        page.doc.js_on_event("document_ready", start)
        self._bar.js_on_change("name", start)
        self._collect()

    # What there is

    def keys_changed(self) -> None:
        for page in self.page.all:
            for key, info in page.keys.items():
                if info.kind == "value" and key not in self._holds and page.is_open:
                    self._holds[key] = "tree"
                    page.ask_value(key, self._learn)
        self._collect()

    def _learn(self, value: Value | None) -> None:
        # A newer one may have come while this one was read.
        if value is not None and value.key not in self._seen_live:
            self._holds[value.key] = contents_of(value.data)
            self._collect()

    def update(self, new_data: NewData) -> None:
        found = {key: contents_of(new_data[key]) for key in new_data if pattern_of(key) is None}
        self._seen_live |= found.keys()
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
        # Of several runs that described them differently, the first counts.
        descriptions = {pattern: said for page in reversed(self.page.all) for pattern, said in page.described.items()}
        for one in self._cards_of(keys):
            one = described(one, descriptions) if descriptions else one
            name = f"{one.section}/{one.title}"
            taken[name] += 1
            cards[name if taken[name] == 1 else f"{name} ({taken[name]})"] = one
        for name in [name for name in self._made if cards.get(name) is None or differs(cards[name], self._cards[name])]:
            del self._made[name]
        self._cards = cards
        self._lay_out()

    @property
    def _keys(self) -> Mapping[str, KeyInfo]:
        """The keys of all runs, each with the columns that it has in any of them."""
        if len(self.page.all) == 1:
            return self.page.keys
        found: dict[str, KeyInfo] = {}
        for page in self.page.all:
            for key, info in page.keys.items():
                known = found.setdefault(key, info)
                if known.kind == info.kind:
                    found[key] = KeyInfo(info.kind, {**known.columns, **info.columns})
        return found

    # Where it is

    def _set(self, settings: Settings) -> None:
        if (settings.x, settings.smooth, settings.log) != (self._settings.x, self._settings.smooth, self._settings.log):
            self._made = {}
        self._settings = settings
        self._lay_out()

    def _look(self, view: Mapping[str, Any]) -> None:
        self._is_seen, before = True, self._view
        self._view = View(*(float(view[name]) for name in ("top", "bottom", "width")))
        if self._view.width != before.width:
            self._lay_out()
        else:
            self._show()

    def _lay_out(self) -> None:
        wide = {name for name, one in self._cards.items() if self._is_wide(one)}
        self._layout = Layout.of(self._cards, wide, self._settings, self._view.width)
        self._space.styles = {"position": "relative", "height": f"{self._layout.height:.0f}px"}
        self._show()

    def _is_wide(self, one: Card) -> bool:
        # What is not drawn in one figure stands side by side, once for each run.
        return one.wide or (len(self.page.all) > 1 and not one.series)

    def _show(self) -> None:
        """Make the panels that came into view, and release those that left it."""
        if not self._view.width:
            return
        seen = self._seen()
        self._made = {name: frame for name, frame in self._made.items() if name in seen}
        self._make([name for name in seen if name not in self._made])
        shown = []
        for name in seen:
            if (frame := self._made.get(name)) is not None:
                styles = _BIG if name == self._settings.big else self._layout.styles(seen[name])
                if frame.styles != styles:
                    frame.update(styles=styles)
                one = self._cards[name]
                shown.append({"id": frame.elements[0].id, "name": name, "series": one.series, "title": one.title})
        # Last: a frame that comes into the document is sent as it is then.
        if len(self._frames) >= len(self._space.children):
            self._space.children = [self._space.children[0], *self._frames]
        columns = sorted({name for info in self._keys.values() for name in list(info.columns)[:50]})
        about = {"heads": self._layout.heads, "cards": shown, "total": len(self._cards), "found": len(self._layout.places)}
        self._control.layout = json.dumps({**about, "runs": [page.run.id for page in self.page.all], "columns": columns[:200]})

    def _seen(self) -> dict[str, Place]:
        """The cards near what the viewer sees, those in front of it last."""
        ahead = _AHEAD_PX if self._is_seen else 0
        seen = self._layout.seen(self._view.top - ahead, self._view.bottom + ahead)
        ordered = sorted(seen.items(), key=lambda item: item[1].top + self._layout.card_height < self._view.top)
        seen = dict(ordered[:_MOST_MADE])
        if self._settings.big in self._cards:
            seen.setdefault(self._settings.big, Place(0, 0, 1))
        return seen

    def _make(self, names: Sequence[str]) -> None:
        """Make these panels: the first of them now, the others when others had their turn."""
        taken = {frame.id for frame in self._made.values()}
        free = [frame for frame in self._frames if frame.id not in taken]
        new = [Pane(visible=False) for _ in range(len(names) - len(free))]
        free += new
        shared = Shared(self._settings.x, self._settings.smooth, self._settings.log)
        for name, frame in zip(names[:_AT_A_TIME], free, strict=False):
            # A board that is told of a run's news makes panels of all of them.
            with of_run(""), self._parts.used():
                panel = _fitted(self._cards[name].make(shared))
            # One that the browser lays out and draws only once it has its data.
            unfilled = [one for one in reachable([panel]) if isinstance(one, ColumnDataSource) and spec_of(one) is not None]
            frame.update(elements=[panel], visible=not unfilled)
            if unfilled:
                self.page.when_filled(unfilled, partial(_reveal, frame, panel))
            self._made[name] = frame
        for frame in free[len(names[:_AT_A_TIME]) :]:
            if frame.elements:
                frame.update(elements=[], visible=False)
        # All that are needed at once: Bokeh lays out and draws the panels of all frames whenever one comes or goes.
        self._frames += new
        if self._parts.made != self._control.parts:
            self._control.parts = self._parts.made
        if len(names) > _AT_A_TIME and not self._is_unfinished:
            self._is_unfinished = True
            self.page.soon(self._go_on)

    def _go_on(self) -> None:
        self._is_unfinished = False
        self._show()


def _reveal(frame: Pane, panel: LayoutDOM) -> None:
    if frame.elements == [panel]:
        frame.visible = True


def _fitted(panel: LayoutDOM) -> LayoutDOM:
    """The panel with the size of the frame that it is put into."""
    for part in (panel, *parts_of(panel).values()):
        part.update(sizing_mode="stretch_both", width=None, height=None)
    return panel
