"""The live sources of a session: which figures draw from them, what their viewer sees, and who fetches what for it.

After `init_page` the figures that draw from live sources get ranges that the browser moves (`view.js`): it alone knows what the
viewer did last. It tells which range each source has to show; the rows for that are read in a thread, and put into the source
when the session's next update goes out. Everything here but the reading runs under the document lock.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from importlib.resources import files
from typing import Any

import numpy as np
from bokeh.core.properties import Int, String
from bokeh.document import Document
from bokeh.model import DataModel
from bokeh.models import ColumnDataSource, CustomJS, DataRange1d, GlyphRenderer, LogScale, Plot, Range, Range1d
from tornado.ioloop import IOLoop

from streamvis.errors import LiveSourceRefused, StreamvisError
from streamvis.page.link import Notice
from streamvis.page.live import Change, LiveSpec, LiveTrack, spec_of
from streamvis.page.reader import EndpointReader, Piece

__all__ = ["LiveSources"]

_log = logging.getLogger("streamvis.page")

_RETRY_S, _FAILED_RETRY_S = 0.5, 5.0
_X_FIELDS = ("x", "x0", "x1", "left", "right", "xs")
_Y_FIELDS = ("y", "y0", "y1", "y2", "top", "bottom", "upper", "lower")


class StreamvisLiveControl(DataModel):
    """What travels between the live sources and the browser."""

    spec = String(default="{}")
    views = String(default="[]")
    scales = String(default="[]")
    tick = Int(default=0)


class LiveSources:
    """The live sources in `doc`, which show the run `run`."""

    def __init__(
        self, doc: Document, reader: EndpointReader, run: str, *, executor: Executor, loop: IOLoop, wake: Callable[[], None]
    ) -> None:
        self._reader, self._run, self._executor, self._loop, self._wake = reader, run, executor, loop, wake
        found = [(source, spec_of(source)) for source in doc.select({"type": ColumnDataSource})]
        self._sources = [source for source, spec in found if spec is not None]
        specs = [spec for _, spec in found if spec is not None]
        self.keys = frozenset(spec.key for spec in specs)
        self._control = StreamvisLiveControl()
        layout = _Layout(doc, self._sources, specs)
        self._tracks = [LiveTrack(spec, log=layout.is_log(i)) for i, spec in enumerate(specs)]
        self._fetched: list[tuple[LiveTrack, ColumnDataSource, Future]] = []
        self._resting: set[LiveTrack] = set()
        if layout.plots:
            self._connect(doc, layout)

    def _connect(self, doc: Document, layout: _Layout) -> None:
        self._control.spec = json.dumps(layout.spec())
        args = {"control": self._control, "sources": self._sources, "ranges": layout.ranges, "plots": layout.plots}
        code = files(__package__).joinpath("view.js").read_text(encoding="utf-8")
        doc.js_on_event("document_ready", CustomJS(args=args, code=code))
        layout.plots[0].js_on_change("name", CustomJS(args=args, code="/* keeps the control in the document */"))
        self._control.on_change("views", self._look)

    def _look(self, attr: str, old: str, new: str) -> None:
        for track, view in zip(self._tracks, json.loads(new), strict=False):
            track.look(tuple(view) if view else None)
        self._fetch()

    @property
    def has_news(self) -> bool:
        """Whether rows have come that are not in their sources."""
        return bool(self._fetched)

    @property
    def notices(self) -> list[Notice]:
        """What the page has to say of sources that ask for what is not there."""
        return [
            Notice("reading", f"The live source of “{track.spec.key}” has nothing to show", track.trouble)
            for track in self._tracks
            if track.trouble
        ]

    def refetch(self) -> None:
        """What came live was not all: read the rows again."""
        for track in self._tracks:
            track.is_stale = True
        self._fetch()

    def update(self, pieces: Sequence[Piece]) -> bool:
        """Put into the sources what was fetched and what came live; whether that changed anything."""
        is_changed = False
        while self._fetched:
            track, source, future = self._fetched.pop(0)
            is_changed |= self._guarded(track, source, lambda track=track, future=future: self._take(track, future))
        for track, source in zip(self._tracks, self._sources, strict=True) if pieces else ():
            is_changed |= self._guarded(track, source, lambda track=track: track.add(pieces))
        if is_changed:
            self._control.scales = json.dumps([track.scale for track in self._tracks])
            self._control.tick += 1
        self._fetch()
        return is_changed

    def _take(self, track: LiveTrack, future: Future) -> Change | None:
        try:
            return track.take(*future.result())
        except LiveSourceRefused as error:
            track.refused(str(error))
        except StreamvisError as error:
            # The run's feed meets the same trouble, and it is the feed that says so.
            _log.debug("reading for a live source failed, and is tried again: %s", error)
            track.is_stale, track.is_fetching = True, False
            self._retry_later(track, _RETRY_S)
        return None

    def _guarded(self, track: LiveTrack, source: ColumnDataSource, change: Callable[[], Change | None]) -> bool:
        """Bring a change into a source. One that cannot be shown does not hold up the others, nor the page's other news."""
        numbers = track.numbers
        try:
            return _apply(source, change(), numbers, track)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is one source's trouble
            if not track.trouble:
                _log.exception("the live source of %r failed, and is tried again", track.spec.key)
            track.failed(f"{type(error).__name__}: {error}"[:300])
            self._retry_later(track, _FAILED_RETRY_S)
            return False

    def _retry_later(self, track: LiveTrack, after_s: float) -> None:
        self._resting.add(track)
        self._loop.call_later(after_s, lambda: (self._resting.discard(track), self._fetch()))

    def _fetch(self) -> None:
        for track, source in zip(self._tracks, self._sources, strict=True):
            if track.is_stale and not track.is_fetching and track not in self._resting:
                track.is_stale, track.is_fetching = False, True
                future = self._executor.submit(track.fetch, self._reader, self._run)
                self._loop.add_future(future, lambda done, track=track, source=source: self._arrived(track, source, done))

    def _arrived(self, track: LiveTrack, source: ColumnDataSource, future: Future) -> None:
        self._fetched.append((track, source, future))
        self._wake()


def _apply(source: ColumnDataSource, change: Change | None, before: np.ndarray, track: LiveTrack) -> bool:
    if change is None:
        return False
    if not change.is_new:
        source.stream(dict(change.data))
        return True
    selected = before[[i for i in source.selected.indices if i < len(before)]]
    source.data = dict(change.data)
    if len(selected):
        source.selected.indices = np.flatnonzero(np.isin(track.numbers, selected)).tolist()
    return True


class _Layout:
    """The plots that draw live sources, their ranges, and their curves: which renderer draws which columns on which ranges."""

    def __init__(self, doc: Document, sources: Sequence[ColumnDataSource], specs: Sequence[LiveSpec]) -> None:
        self.plots: list[Plot] = []
        self.ranges: list[Range] = []
        self._facts: list[dict[str, Any]] = []
        self._curves: list[dict[str, Any]] = []
        self._specs = specs
        for plot in doc.select({"type": Plot}):
            drawn = [
                (i, renderer, sources.index(renderer.data_source))
                for i, renderer in enumerate(plot.renderers)
                if isinstance(renderer, GlyphRenderer) and renderer.data_source in sources
            ]
            if drawn:
                self.plots.append(plot)
            for i, renderer, source in drawn:
                self._add(doc, plot, i, renderer, source)

    def _add(self, doc: Document, plot: Plot, i: int, renderer: GlyphRenderer, source: int) -> None:
        x_fields, y_fields = (list(_fields(renderer, names)) for names in (_X_FIELDS, _Y_FIELDS))
        x = self._range(doc, plot, "x", renderer.x_range_name, self._specs[source].window)
        y = self._range(doc, plot, "y", renderer.y_range_name, None)
        if x is None or y is None or not x_fields:
            return
        curve = {"plot": len(self.plots) - 1, "renderer": i, "source": source, "x": x, "y": y}
        self._curves.append({**curve, "x_fields": x_fields, "y_fields": y_fields})

    def _range(self, doc: Document, plot: Plot, side: str, name: str, window: float | None) -> int | None:
        """The index of a range that the browser may move, in the place of one that Bokeh would move; None for any other kind."""
        more = getattr(plot, f"extra_{side}_ranges")
        found = getattr(plot, f"{side}_range") if name == "default" else more[name]
        scales = getattr(plot, f"extra_{side}_scales")
        is_log = isinstance(scales.get(name, getattr(plot, f"{side}_scale")), LogScale)
        if isinstance(found, DataRange1d):
            made = Range1d(*((1, 10) if is_log else (0, 1)))
            for other in doc.select({"type": Plot}):
                _replace(other, found, made)
            found = made
            self._know(found, side, is_log, window, follows=True)
        elif isinstance(found, Range1d) and found not in self.ranges:
            self._know(found, side, is_log, window, follows=False)
        return self.ranges.index(found) if found in self.ranges else None

    def _know(self, found: Range, side: str, is_log: bool, window: float | None, *, follows: bool) -> None:
        facts = {"index": len(self.ranges), "is_x": side == "x", "log": is_log, "window": window}
        self.ranges.append(found)
        self._facts.append({**facts, "follows": follows, "can_reset": follows})

    def is_log(self, source: int) -> bool:
        """Whether the figures of this source have a logarithmic x."""
        return any(self._facts[curve["x"]]["log"] for curve in self._curves if curve["source"] == source)

    def spec(self) -> dict[str, Any]:
        """What the browser has to know."""
        return {"ranges": self._facts, "curves": self._curves}


def _fields(renderer: GlyphRenderer, names: Sequence[str]) -> Iterator[str]:
    """The columns that a glyph, or a band, takes for some of its coordinates."""
    for name in names:
        spec = renderer.glyph.properties_with_values().get(name) if name in renderer.glyph.properties() else None
        field = getattr(renderer.glyph, name, None) if spec is not None else None
        if isinstance(field, str):
            yield field
        elif hasattr(field, "field"):
            yield field.field
        elif isinstance(field, dict) and "field" in field:
            yield field["field"]


def _replace(plot: Plot, old: Range, new: Range) -> None:
    for side in ("x", "y"):
        if getattr(plot, f"{side}_range") is old:
            setattr(plot, f"{side}_range", new)
        more = getattr(plot, f"extra_{side}_ranges")
        if any(found is old for found in more.values()):
            setattr(plot, f"extra_{side}_ranges", {name: new if found is old else found for name, found in more.items()})
