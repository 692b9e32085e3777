"""Panels in a document without a session: `Fillers` and live sources as a session drives them, one step at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from typing import Any

from bokeh.document import Document
from bokeh.models import Div, LayoutDOM

from streamvis.page.documents.document import adopt
from streamvis.page.feeds.reader import Piece
from streamvis.page.fillers import Fillers
from streamvis.page.live.session_sources import LiveSources
from streamvis.page.new_data import NewData
from streamvis.page.runs import PageRun
from streamvis.records import KeyInfo, Rows, Value
from streamvis.series.even_steps import stretch_ends

RUN = PageRun("run", "", {}, "running")


class AtOnce(Executor):
    """Calls what it is given at once."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        future: Future = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except Exception as error:  # noqa: BLE001  # as a thread of a pool
            future.set_exception(error)
        return future


class Loop:
    """The part of an event loop that panels use. What is put off is never called: a test that needs it fails visibly."""

    def add_future(self, future: Future, then: Callable[[Future], object]) -> None:
        then(future)

    def call_later(self, delay_s: float, function: Callable[..., object], *args: Any) -> None:
        pass


class Shelf:
    """What panels ask an endpoint for, from memory: `values` maps a key to its values, `held` each key to what it is."""

    def __init__(self) -> None:
        self.held: dict[str, KeyInfo] = {}
        self.stored: dict[str, list[Value]] = {}
        self.rows: dict[str, list[Rows]] = {}

    def keys(self, run: str) -> dict[str, KeyInfo]:
        return dict(self.held)

    def value(self, run: str, key: str) -> Value | None:
        return max(self.stored.get(key, ()), key=lambda value: value.step, default=None)

    def values(self, run: str, key: str, *, limit: int, after: int = -1, until: int = 2**63) -> list[Value]:
        found = {value.step: value for value in self.stored.get(key, []) if after < value.step <= until}
        ends = stretch_ends(min(found), max(found), limit) if found else []
        return [found[step] for step in dict.fromkeys(max(step for step in found if step <= end) for end in ends)]

    def rows_of(self, run: str, key: str) -> list[Rows]:
        return self.rows.get(key, [])


class Panels:
    """A document with panels, and what fills them. With `live`, its live sources are filled too, which asks a real reader.

    Of several runs, data are of the first.
    """

    def __init__(self, *roots: LayoutDOM, reader: Any = None, run: PageRun | list[PageRun] = RUN, live: bool = False) -> None:
        runs = run if isinstance(run, list) else [run]
        self.reader, self.run, self.doc, self.step = reader or Shelf(), runs[0], Document(), 0
        adopt(self.doc)
        with self.doc.models.freeze():
            for root in roots:
                self.doc.add_root(root)
        shared = {"executor": AtOnce(), "loop": Loop(), "wake": lambda: None}
        self.fillers = Fillers(self.doc, self.reader, runs, **shared)
        self.live = LiveSources(self.doc, self.reader, runs, **shared) if live else None
        if self.live is not None:
            self.doc.add_root(self.live.control)
            self.live.sync()

    def send(self, **values: Mapping[str, Any]) -> None:
        """Show one value of each key, at a new step."""
        self.send_all(values)

    def send_all(self, values: Mapping[str, Mapping[str, Any]]) -> None:
        self.step += 1
        found = {key: Value(key, self.step, 0.0, dict(data)) for key, data in values.items()}
        if isinstance(self.reader, Shelf):
            for key, value in found.items():
                self.reader.stored.setdefault(key, []).append(value)
        self.take([piece(*found.values())], NewData(self.run, {}, found))

    def take(self, pieces: list[Piece], new_data: NewData) -> None:
        """One update of a session, and those that follow from it."""
        if self.live is not None:
            self.live.update({new_data.run.id: pieces})
        self.fillers.update([(new_data, pieces)])
        self.settle()

    def settle(self) -> None:
        """Let everything that panels asked for arrive."""
        for _ in range(100):
            is_going_on = self.fillers.go_on()
            self.fillers.look()
            if self.live is not None and self.live.is_changed:
                self.live.sync()
            if self.fillers.has_news or (self.live is not None and self.live.has_news):
                if self.live is not None:
                    self.live.update({})
                    self.fillers.fill(self.live.are_filled)
                self.fillers.update([(NewData(self.run, {}, {}), [])])
            elif not is_going_on:
                return
        raise AssertionError("panels ask for more and more")

    def learn(self, **columns: Mapping[str, str]) -> None:
        """There are keys of rows with these columns."""
        self.reader.held |= {key: KeyInfo("rows", dict(its)) for key, its in columns.items()}
        dtypes = {key: dict(its) for key, its in columns.items()}
        self.take([piece(dtypes=dtypes)], NewData(self.run, {}, {}))

    @property
    def troubles(self) -> list[str]:
        """What panels said that they cannot show."""
        return [notice.text for notice in self.fillers.notices]

    def html(self) -> str:
        """The text of all boxes."""
        return "\n".join(model.text for model in self.doc.select({"type": Div}) if not model.render_as_text)


def piece(*items: Rows | Value, dtypes: Mapping[str, Mapping[str, str]] | None = None) -> Piece:
    """A piece of a log with these items."""
    return Piece("s.0.1", False, False, "", "running", dtypes or {}, items, 0)


def layout_of(panels: Panels) -> dict[str, Any]:
    """What a board tells its browser."""
    return json.loads(control_of(panels).layout)


def control_of(panels: Panels) -> Any:
    """The model with which a board talks to its browser."""
    (control,) = controls_of(panels)
    return control


def controls_of(panels: Panels) -> list[Any]:
    """Those of all boards."""
    return [model for model in panels.doc.models if type(model).__name__ == "StreamvisBoard"]
