"""A page as one file: opened in this process at moments of its runs' past, and written with all that a browser needs for it.

What does not fit into the size limit is left out in this order: rows of live sources that a screen hardly shows, then moments.
"""

from __future__ import annotations

import asyncio
import html
import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from importlib.resources import files
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from bokeh.core.serialization import Serializer
from bokeh.document import Document
from bokeh.embed.bundle import bundle_for_objs_and_resources
from bokeh.embed.elements import html_page_for_render_items
from bokeh.embed.util import standalone_docs_json_and_render_items, submodel_has_python_callbacks
from bokeh.model import Model
from bokeh.models import ColumnDataSource, CustomJS, InlineStyleSheet, Markup, TableWidget, Widget
from bokeh.resources import Resources

from streamvis.counting import agreeing, counted
from streamvis.errors import UsageError
from streamvis.page.documents.link import StreamvisLink
from streamvis.page.documents.models import all_of
from streamvis.page.feeds.reader import EndpointReader, RunHead
from streamvis.page.live.sources import spec_of
from streamvis.page.scripts.script import PageScript, add_to_path
from streamvis.page.stepped_page import SteppedPage
from streamvis.records import RUNNING
from streamvis.series.extremes import extreme_rows
from streamvis.snapshot.graph import Graph
from streamvis.snapshot.moments import Default, Moments, evenly, spread
from streamvis.snapshot.static_files import StaticFiles
from streamvis.transport import path

if TYPE_CHECKING:
    from bokeh.document.json import DocJson

__all__ = ["Snapshot", "take_snapshot"]

_ROWS = (None, 2000, 1000, 500)
"""To how many rows live sources are reduced, one after the other, until the file is small enough."""
_LINK, _BOARD = "streamvis.page.documents.link.StreamvisLink", "StreamvisBoard"
_WHOLE_BOARD = {"top": 0, "bottom": 100_000, "width": 1086}
"""What a board takes to be in view: all of its cards, in a window of a laptop."""
_MARK = """
  :host { position: relative; opacity: .55 }
  :host::after {
    content: "needs the live page"; position: absolute; right: 6px; top: 3px; font: italic 10px system-ui, sans-serif;
    pointer-events: none }
"""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A page as one HTML text. `steps` are its moments, and `left_out` says what did not fit, or could not be shown."""

    html: str
    steps: Sequence[int]
    left_out: Sequence[str]

    @property
    def size_bytes(self) -> int:
        """How large the file is."""
        return len(self.html.encode())


@dataclass(slots=True)
class _Page:
    """The page as of one moment."""

    step: int
    load: SteppedPage

    @property
    def doc(self) -> Document:
        return self.load.doc

    def graph(self) -> Graph:
        graph = Graph.of(self.doc.to_json(deferred=False))
        graph.forget(_LINK)
        return graph

    def defaults(self, graph: Graph) -> Default:
        """Gives attributes that the graph lacks, since they have their defaults."""
        models: dict[str, Model] = {its.id: its for its in self.doc.models}
        # A model that is a default is not in the graph, but can be in the document.
        known = set(map(models.__getitem__, models.keys() & graph.models.keys()))

        def default(model: str, name: str) -> Any:
            return graph.take(Serializer(references=known, deferred=False).encode(getattr(models.get(model), name, None)))

        return default


def take_snapshot(
    script: PageScript,
    reader: EndpointReader,
    runs: Sequence[str],
    *,
    at: int | None = None,
    query: Sequence[tuple[str, str]] = (),
    moments: int = 20,
    max_bytes: int = 10_000_000,
    progress: Callable[[int, int], object] = lambda done, all_: None,
) -> Snapshot:
    """Open the page of a script on runs of an endpoint, as of the step `at` or now, and write it as one file.

    `query` is what else the page's address says. The file holds up to `moments` steps from the first of the runs on, evenly
    spread. `progress` is told how many of the pages have been opened, and of how many. Raises what the page's code raises, and
    UsageError where it cannot be shown.
    """
    if len(runs) > 1 and not script.many:
        raise UsageError(f"The page {script.name} shows one run. Name one, or give its init_page a third parameter, runs.")
    heads = [reader.run(run) for run in runs]
    add_to_path(script)
    loop = asyncio.new_event_loop()
    pages: list[_Page] = []
    try:
        steps = _steps(reader, heads, at, moments)
        # A run that continues has later steps by the time its last moment is opened.
        last = steps[-1] if any(head.run.state == RUNNING for head in heads) else at
        for step in steps:
            its = {"at": last if step == steps[-1] else step, "query": query}
            load = SteppedPage(script, reader, runs=list(runs), loop=loop, **its)
            pages.append(_Page(step, load))
            _show_all(load)
            if load.raised:
                raise load.raised[0]
            progress(len(pages), len(steps))
        return _File(pages, heads, script).fitting(max_bytes)
    finally:
        for page in pages:
            page.load.close()
        loop.close()


def _steps(reader: EndpointReader, heads: Sequence[RunHead], at: int | None, moments: int) -> list[int]:
    """The moments: evenly spread from the first step to the one that is shown."""
    abouts = [json.loads(reader.ask("GET", path("runs", head.run.id)).body) for head in heads]
    begun = [about for about in abouts if about["last_step"] is not None]
    if not begun:
        return [at or 0]
    last = max(about["last_step"] for about in begun)
    last = last if at is None else at
    return evenly(min(about.get("first_step") or 0 for about in begun), last, moments)


def _show_all(load: SteppedPage) -> None:
    """Let boards make all of their cards: no one scrolls."""
    for board in [one for one in load.doc.models if type(one).__name__ == _BOARD]:
        load.do(partial(setattr, board, "view", json.dumps(_WHOLE_BOARD)))


@dataclass(slots=True)
class _File:
    """The file of these pages, the last of which is shown first."""

    pages: Sequence[_Page]
    heads: Sequence[RunHead]
    script: PageScript
    said: list[str] = field(default_factory=list)

    def fitting(self, max_bytes: int) -> Snapshot:
        """The file with as much in it as the limit allows."""
        doc = self.pages[-1].doc
        if not [root for root in doc.roots if not isinstance(root, StreamvisLink)]:
            raise UsageError(f"The page {self.script.name} shows nothing: its document has no roots.")
        for page in self.pages:
            page.load.do(partial(_mark, page.doc, self.said))
        pages, rows = self.pages, None
        for rows in _ROWS:
            for page in pages:
                page.load.do(partial(_thin, page.doc, rows))
            if (snapshot := self._made(pages, rows)).size_bytes <= max_bytes:
                return snapshot
        while len(pages) > 1:
            pages = spread(pages, len(pages) // 2) if len(pages) > 3 else pages[-1:]
            if (snapshot := self._made(pages, rows)).size_bytes <= max_bytes:
                return snapshot
        size, limit = (f"{size / 1e6:.1f} MB" for size in (snapshot.size_bytes, max_bytes))
        too_much = f"The file is {size}, above the limit of {limit}: the page itself is so large."
        return Snapshot(snapshot.html, snapshot.steps, [*snapshot.left_out, too_much])

    def _made(self, pages: Sequence[_Page], rows: int | None) -> Snapshot:
        shown = pages[-1]
        left_out = list(self.said)
        if rows is not None:
            most = f"Live sources hold at most about {rows:,} rows"
            left_out.append(f"{most}, with the lowest and the highest values, to limit the size.")
        base = shown.graph()
        roots = [base.models[root].kind for root in base.roots]
        moments, kept = Moments(base, shown.defaults(base)), []
        for page in pages[:-1]:
            graph = page.graph()
            if [graph.models[root].kind for root in graph.roots] == roots:
                moments.add(graph, page.defaults(graph))
                kept.append(page.step)
        if len(kept) < len(pages) - 1:
            other = len(pages) - 1 - len(kept)
            are = agreeing(other, "is", "are")
            left_out.append(f"{counted(other, 'moment')} at which the page has other roots {are} left out.")
        if len(pages) < len(self.pages):
            are = agreeing(len(pages), "is", "are")
            left_out.append(f"{len(pages)} of {len(self.pages)} moments {are} kept, to limit the size.")
        steps = [*kept, shown.step]
        return self._page(shown.doc, moments, steps, left_out)

    def _page(self, doc: Document, moments: Moments, steps: Sequence[int], left_out: Sequence[str]) -> Snapshot:
        docs_json, render_items = standalone_docs_json_and_render_items(doc, suppress_callback_warning=True)
        (its,) = docs_json
        # All of them, since at some moments nothing mentions them.
        docs_json[its] = cast("DocJson", moments.base.written(also=list(moments.base.models)))
        bundle = bundle_for_objs_and_resources([page.doc for page in self.pages], Resources("inline"))
        look = {"template": doc.template, "template_variables": doc.template_variables}
        page = html_page_for_render_items(bundle, docs_json, render_items, doc.title, **look)
        if self.script.is_folder:
            static = StaticFiles(self.script.name, self.script.path.parent / "static")
            page = static.put_into(page)
            left_out = [*left_out, *(f"The page names {name}, which is not in its folder." for name in static.missing)]
        held = {"steps": steps, "shown": len(steps) - 1, "values": moments.values, "changes": [*moments.changes, []]}
        before, end, after = page.rpartition("</body>")
        before, end, after = (before, end, after) if end else (page, "", "")
        return Snapshot(f"{before}{self._bar(held, left_out)}{end}{after}", steps, left_out)

    def _bar(self, held: Any, left_out: Sequence[str]) -> str:
        here = files("streamvis.snapshot")
        script = here.joinpath("bar.js").read_text(encoding="utf-8")
        data = json.dumps(held, separators=(",", ":")).replace("</", "<\\/").replace("<!--", "<\\!--")
        about = html.escape(self._about(left_out))
        names = html.escape(", ".join(head.run.name or head.run.id for head in self.heads))
        return (
            f"<style>{here.joinpath('bar.css').read_text(encoding='utf-8')}</style>"
            f'<footer id="streamvis-snapshot"><button class="play" type="button">Play</button>'
            f'<input type="range" aria-label="Moment" min="0" max="{len(held["steps"]) - 1}" value="{held["shown"]}">'
            f"<output></output>"
            f"<details><summary>A snapshot of {names}: config, versions{', what is left out' if left_out else ''}</summary>"
            f"<pre>{about}</pre></details></footer>"
            f"<script>window.streamvisSnapshot = {data};\n{script}</script>"
        )

    def _about(self, left_out: Sequence[str]) -> str:
        at = time.strftime("%Y-%m-%d %H:%M:%S %Z")
        lines = [f"Page {self.script.name}, made {at} by Streamvis {version('streamvis')} with Bokeh {version('bokeh')}"]
        for head in self.heads:
            run = head.run
            began = time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(run.started))
            lines += ["", f"Run {run.name} ({run.id}), app {run.app}, {run.state}, began {began}"]
            lines.append(json.dumps(run.config, indent=2, default=str))
        return "\n".join([*lines, *(["", "Left out:"] if left_out else []), *left_out])


def _thin(doc: Document, rows: int | None) -> None:
    """Reduce live sources to about so many rows, with the extremes among them."""
    if rows is None:
        return
    for source in all_of(doc, ColumnDataSource):
        spec = spec_of(source)
        count = len(next(iter(source.data.values()), ()))
        if spec is None or count <= rows:
            continue
        drawn = [column for column in source.data.values() if isinstance(column, np.ndarray) and column.dtype.kind in "fiumM"]
        groups = max(1, rows // (2 * max(1, len(drawn))))
        starts = np.unique(np.linspace(0, count, groups, endpoint=False).astype(np.int64))
        kept = np.unique(np.concatenate([[0], extreme_rows(drawn, starts), [count - 1]]))
        source.data = {name: _those(column, kept) for name, column in source.data.items()}


def _those(column: Any, kept: np.ndarray) -> Any:
    return column[kept] if isinstance(column, np.ndarray) else [column[i] for i in kept]


def _mark(doc: Document, said: list[str]) -> None:
    """Mark the widgets that do nothing without Python, and say which those are."""
    read = {its.id for callback in all_of(doc, CustomJS) for its in _models_of(callback.args)}
    marked = []
    for widget in all_of(doc, Widget):
        if isinstance(widget, (Markup, TableWidget)):
            continue
        has_script = bool(widget.js_property_callbacks or widget.js_event_callbacks or widget.id in read)
        if has_script and not submodel_has_python_callbacks([widget]):
            continue
        widget.update(disabled=True, stylesheets=[*widget.stylesheets, InlineStyleSheet(css=_MARK)])
        marked.append(widget.name or getattr(widget, "title", "") or getattr(widget, "label", "") or type(widget).__name__)
    names = ", ".join(dict.fromkeys(map(str, marked)))
    said[:] = [f"Widgets that need the live page are marked and do nothing: {names}."] if marked else []


def _models_of(args: Any) -> Iterable[Any]:
    return [its for its in args.values() if hasattr(its, "id")] if isinstance(args, dict) else []
