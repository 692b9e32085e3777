"""The figures of a document that draw live sources: found, changed and forgotten as their models come and go.

Bokeh tells of each change of a document. `Figures` notes which plots a change touched; `look` looks at those, and at what was not
in the document before: a plot that is known is not looked at again until something in it changes.
A range that Bokeh would move itself gets one that the browser moves (`view.js`) in its place, in every plot that has it.

Knows Bokeh's models and which of their sources are live. Knows nothing of runs, rows and sessions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from bokeh.document import Document
from bokeh.document.events import DocumentChangedEvent, ModelChangedEvent, RootAddedEvent, RootRemovedEvent
from bokeh.model import Model
from bokeh.models import ColumnDataSource, DataRange1d, FactorRange, GlyphRenderer, LogScale, Plot, Range, Range1d
from bokeh.models.glyph import Glyph

from streamvis.page.live.moved_ranges import kept_by, range_instead_of
from streamvis.page.live.sources import LiveSpec, spec_of

__all__ = ["Changes", "Figures", "computed_once"]

_X_FIELDS = ("x", "x0", "x1", "left", "right", "xs")
_Y_FIELDS = ("y", "y0", "y1", "y2", "top", "bottom", "upper", "lower")
_RANGE_NAMES = ("x_range_name", "y_range_name")
_RANGES_OF_PLOTS = ("x_range", "y_range", "extra_x_ranges", "extra_y_ranges")


@dataclass(frozen=True, slots=True)
class Changes:
    """What is not as it was: live sources that came, the ids of those that went, of those whose figures changed, and the plots.

    `plots` maps a plot's id to what the browser has to know of it, or to None when it draws no live source any more.
    """

    added: Sequence[tuple[ColumnDataSource, LiveSpec]] = ()
    gone: Sequence[str] = ()
    redrawn: frozenset[str] = frozenset()
    plots: Mapping[str, dict[str, Any] | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Known:
    """A plot that was walked, the ids of its renderers and their glyphs, and of its ranges that Bokeh moves."""

    plot: Plot
    parts: Sequence[str]
    automatic: Sequence[str]


class Figures:
    """The figures in `doc`. `noted` is called, perhaps often, when there is something to look at."""

    def __init__(self, doc: Document, noted: Callable[[], None]) -> None:
        self._doc, self._noted = doc, noted
        self._plots: dict[str, _Known] = {}
        self._owners: dict[str, Plot] = {}
        self._sources: dict[str, ColumnDataSource] = {}
        self._automatic: dict[str, dict[str, Plot]] = {}
        self._moved: dict[str, Range1d] = {}
        self._fitted: WeakKeyDictionary[Model, set[str]] = WeakKeyDictionary()
        self._drawn: dict[str, dict[str, Any]] = {}
        self._log_plots: dict[str, dict[str, bool]] = {}
        self._seen: set[str] = set()
        self._touched: dict[str, Plot] = {}
        self._is_replacing = False
        self.is_changed = True
        doc.on_change(self._note)

    @property
    def drawn(self) -> Mapping[str, dict[str, Any]]:
        """What the browser has to know of each plot that draws live sources, by the plot's id."""
        return self._drawn

    def is_log(self, source: str) -> bool:
        """Whether a figure of the source with this id has a logarithmic x."""
        return any(self._log_plots.get(source, {}).values())

    def _note(self, event: DocumentChangedEvent) -> None:
        if isinstance(event, ModelChangedEvent):
            if isinstance(event.model, DataRange1d):
                # Where Bokeh has put a range in the browser is nothing that its author wants to keep.
                change = set.discard if event.setter is None else set.add
                change(self._fitted.setdefault(event.model, set()), event.attr)
            is_ours = self._is_replacing and isinstance(event.model, Plot) and event.attr in _RANGES_OF_PLOTS
            if is_ours or not _may_bring_models(event):
                return
            owner = event.model if isinstance(event.model, Plot) else self._owners.get(event.model.id)
            if owner is not None:
                self._touched[owner.id] = owner
        elif not isinstance(event, RootAddedEvent | RootRemovedEvent):
            return
        self.is_changed = True
        self._noted()

    def look(self) -> Changes:
        """What has changed since the last look. Not to be called while the document's models are held."""
        if not self.is_changed:
            return Changes()
        touched, self._touched, self.is_changed = self._touched, {}, False
        gone_plots, gone = self._forget()
        new = sorted((model for model in self._doc.models if model.id not in self._seen), key=_age)
        self._seen = {model.id for model in self._doc.models}
        added = []
        for model in new:
            if isinstance(model, ColumnDataSource) and model.id not in self._sources and (spec := spec_of(model)):
                self._sources[model.id] = model
                added.append((model, spec))
        found = {plot.id: plot for plot in touched.values() if plot.document is self._doc}
        plots = list((found | {model.id: model for model in new if isinstance(model, Plot)}).values())
        for plot in plots:
            self._know(plot)
        self._replace_automatic(plots)
        redrawn: set[str] = set()
        changed: dict[str, dict[str, Any] | None] = {}
        for plot in [*gone_plots, *plots]:
            before, now = self._drawn.pop(plot.id, None), self._description(plot) if plot.id in self._plots else None
            if now is not None:
                self._drawn[plot.id] = now
            if before != now:
                changed[plot.id] = now
                redrawn |= self._draw(plot.id, before, now)
        return Changes(added, gone, frozenset(redrawn - set(gone)), changed)

    def _forget(self) -> tuple[list[Plot], list[str]]:
        gone_plots = [its.plot for its in self._plots.values() if its.plot.document is not self._doc]
        for plot in gone_plots:
            self._unknow(plot)
        if gone_plots:
            self._moved = {old: moved for old, moved in self._moved.items() if moved.document is self._doc}
        gone = [its for its, source in self._sources.items() if source.document is not self._doc]
        for its in gone:
            del self._sources[its]
        return gone_plots, gone

    def _know(self, plot: Plot) -> None:
        self._unknow(plot)
        parts = []
        for renderer in plot.renderers:
            parts += [renderer.id, renderer.glyph.id] if isinstance(renderer, GlyphRenderer) else [renderer.id]
        automatic = [found.id for found in _ranges(plot) if isinstance(found, DataRange1d)]
        self._plots[plot.id] = _Known(plot, parts, automatic)
        self._owners |= dict.fromkeys(parts, plot)
        for found in automatic:
            self._automatic.setdefault(found, {})[plot.id] = plot

    def _unknow(self, plot: Plot) -> None:
        known = self._plots.pop(plot.id, None)
        for part in known.parts if known else ():
            self._owners.pop(part, None)
        for found in known.automatic if known else ():
            sharing = self._automatic.get(found, {})
            sharing.pop(plot.id, None)
            if not sharing:
                self._automatic.pop(found, None)

    def _replace_automatic(self, plots: Sequence[Plot]) -> None:
        """Put ranges that the browser moves in the place of automatic ones that live sources are drawn on."""
        to_change: dict[str, Plot] = {}
        for plot in plots:
            for renderer in self._live_renderers(plot):
                for side in ("x", "y"):
                    found = _range(plot, side, getattr(renderer, f"{side}_range_name"))
                    if isinstance(found, DataRange1d) and found.id not in self._moved:
                        log, fitted = _is_log(plot, side, getattr(renderer, f"{side}_range_name")), self._fitted.get(found, set())
                        self._moved[found.id] = range_instead_of(found, log=log, fitted=fitted)
            for found in _ranges(plot):
                if found.id in self._moved:
                    to_change |= self._automatic.pop(found.id, {})
        if not to_change:
            return
        self._is_replacing = True
        try:
            with computed_once(self._doc):
                for plot in to_change.values():
                    _replace(plot, self._moved)
        finally:
            self._is_replacing = False

    def _live_renderers(self, plot: Plot) -> Iterator[GlyphRenderer]:
        for renderer in plot.renderers:
            if isinstance(renderer, GlyphRenderer) and renderer.data_source.id in self._sources:
                yield renderer

    def _description(self, plot: Plot) -> dict[str, Any] | None:
        """What the browser has to know: which renderer draws which columns of which source on which ranges."""
        curves: list[dict[str, Any]] = []
        ranges: dict[str, dict[str, Any]] = {}
        for renderer in self._live_renderers(plot):
            x, y = (_range(plot, side, getattr(renderer, f"{side}_range_name")) for side in ("x", "y"))
            x_fields, y_fields = (list(_fields(renderer, names)) for names in (_X_FIELDS, _Y_FIELDS))
            if x is None or y is None or not x_fields:
                continue
            spec = spec_of(self._sources[renderer.data_source.id])
            assert spec is not None  # else it would not be among them
            # A window is in the endpoint's units of x: which units the browser has, only the rows tell.
            for side, found, window in (("x", x, spec.window), ("y", y, None)):
                facts = {"is_x": side == "x", "log": _is_log(plot, side, getattr(renderer, f"{side}_range_name"))}
                kept = kept_by(found)
                facts |= {"window": window, "follows": kept is not None, "kept": kept or {}}
                ranges.setdefault(found.id, {**facts, "is_number": not isinstance(found, FactorRange)})
            curve = {"renderer": renderer.id, "source": renderer.data_source.id, "x": x.id, "y": y.id}
            curves.append({**curve, "x_fields": x_fields, "y_fields": y_fields})
        return {"ranges": ranges, "curves": curves} if curves else None

    def _draw(self, plot: str, before: dict[str, Any] | None, now: dict[str, Any] | None) -> set[str]:
        """Note which sources a plot draws now, and on what kind of x; the ids of those that this concerns."""
        concerned = set()
        for curve in before["curves"] if before else ():
            concerned.add(curve["source"])
            its = self._log_plots.get(curve["source"], {})
            its.pop(plot, None)
            if not its:
                self._log_plots.pop(curve["source"], None)
        curves, ranges = (now["curves"], now["ranges"]) if now is not None else ((), {})
        for curve in curves:
            concerned.add(curve["source"])
            its = self._log_plots.setdefault(curve["source"], {})
            its[plot] = its.get(plot, False) or ranges[curve["x"]]["log"]
        return concerned


@contextmanager
def computed_once(doc: Document) -> Iterator[None]:
    """Let Bokeh compute the document's models once for all changes made inside, also when one of them fails.

    Without it Bokeh walks all models of the document at every change of a reference.
    """
    failure: BaseException | None = None
    with doc.models.freeze():
        # Bokeh never releases the document when an exception leaves this block.
        try:
            yield
        except BaseException as error:  # noqa: BLE001  # raised again below
            failure = error
    if failure is not None:
        raise failure


def _age(model: Model) -> tuple[int, str]:
    """Older models first: their ids are numbers that rise."""
    return len(model.id), model.id


def _may_bring_models(event: ModelChangedEvent) -> bool:
    """Whether models may have come or gone by this change, or a figure may draw something else."""
    if isinstance(event.model, GlyphRenderer) and event.attr in _RANGE_NAMES:
        return True
    if isinstance(event.model, Glyph):
        return event.attr in _X_FIELDS or event.attr in _Y_FIELDS
    return event.attr in event.model.properties_with_refs() and not isinstance(event.new, (str, int, float))


def _ranges(plot: Plot) -> Iterator[Range]:
    for side in ("x", "y"):
        yield getattr(plot, f"{side}_range")
        yield from getattr(plot, f"extra_{side}_ranges").values()


def _range(plot: Plot, side: str, name: str) -> Range | None:
    return getattr(plot, f"{side}_range") if name == "default" else getattr(plot, f"extra_{side}_ranges").get(name)


def _is_log(plot: Plot, side: str, name: str) -> bool:
    return isinstance(getattr(plot, f"extra_{side}_scales").get(name, getattr(plot, f"{side}_scale")), LogScale)


def _fields(renderer: GlyphRenderer, names: Sequence[str]) -> Iterator[str]:
    """The columns that a glyph, or a band, takes for some of its coordinates."""
    glyph: Glyph = renderer.glyph
    for name in names:
        found = getattr(glyph, name, None) if name in glyph.properties() else None
        if isinstance(found, str):
            yield found
        elif found is not None and hasattr(found, "field"):
            yield found.field
        elif isinstance(found, dict) and "field" in found:
            yield found["field"]


def _replace(plot: Plot, moved: Mapping[str, Range1d]) -> None:
    for side in ("x", "y"):
        found, more = getattr(plot, f"{side}_range"), getattr(plot, f"extra_{side}_ranges")
        if found.id in moved:
            setattr(plot, f"{side}_range", moved[found.id])
        if any(its.id in moved for its in more.values()):
            setattr(plot, f"extra_{side}_ranges", {name: moved.get(its.id, its) for name, its in more.items()})
