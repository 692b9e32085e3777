"""What fills panels: the half of a panel that knows the run, beside the Bokeh model that a page lays out.

A panel is a Bokeh model like any other; `attach` gives it a `Filler`. A session finds the fillers of all models that are in its
document, whenever they came there, and tells them what is new. Everything that a filler does happens under the document lock;
what it wants to read from the endpoint it asks its `Page` for, which reads in a thread.

A filler that fails says so in the page and is left alone; the other panels, and the author's functions, continue.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from concurrent.futures import Executor, Future
from importlib.resources import files
from typing import Any

from bokeh.document import Document
from bokeh.model import Model
from bokeh.models import ColumnDataSource, CustomJS
from tornado.ioloop import IOLoop

from streamvis.descriptions import Description, pattern_of
from streamvis.errors import StreamvisError
from streamvis.page.documents.link import Notice
from streamvis.page.feeds.reader import EndpointReader, Piece
from streamvis.page.live.figures import computed_once
from streamvis.page.live.sources import bound_run, of_run
from streamvis.page.new_data import NewData
from streamvis.page.runs import PageRun
from streamvis.records import KeyInfo, Value

__all__ = ["PANEL_FAILED", "Filler", "Fillers", "Page", "attach", "is_panel"]

_log = logging.getLogger("streamvis.page")

_RETRY_S = 0.5
PANEL_FAILED = "A panel cannot show its data"
_FILLER = "_streamvis_filler"


class Page:
    """What a filler sees of the page that it is on: one of its runs.

    `run` is the run as it is now, `keys` the run's keys with their columns, as far as they are known (see `Filler.wants_keys`),
    `described` what producers said of how to show columns, by pattern.
    `is_open` tells that the page has shown the past before this filler came. `all` has the same of each run of the page.
    """

    def __init__(
        self,
        doc: Document,
        run: PageRun,
        ask: Callable[..., None],
        soon: Callable[..., None],
        when_filled: Callable[..., None],
        in_update: Callable[..., None],
    ) -> None:
        self.doc, self.run, self._ask, self._soon, self._when_filled = doc, run, ask, soon, when_filled
        self._in_update = in_update
        self.keys: Mapping[str, KeyInfo] = {}
        self.described: dict[str, Description] = {}
        self.is_open = False
        self.all: Sequence[Page] = (self,)

    def ask(self, read: Callable[[EndpointReader, str], Any], then: Callable[[Any], object]) -> None:
        """Call `read(reader, run id)` in a thread, then `then` with what it returned. A read that fails is tried again."""
        self._ask(read, self.run.id, then)

    def ask_value(self, key: str, then: Callable[[Value | None], object]) -> None:
        """Ask for the newest value of a key. Panels that ask for the same one while it is read get what is read once."""
        self._ask(lambda reader, run: reader.value(run, key), self.run.id, then, shared=key)

    def soon(self, function: Callable[[], object]) -> None:
        """Call the function when other pages of this server had their turn, once the browser shows the page's first state."""
        self._soon(function)

    def when_filled(self, sources: Iterable[ColumnDataSource], function: Callable[[], object]) -> None:
        """Call the function once these live sources show what there is, with the update that brings it."""
        self._when_filled(sources, function)

    def in_update(self, function: Callable[[], object]) -> None:
        """Call the function in the update that brings what live sources were just given, with the other changes of panels.

        For what adds or removes models: Bokeh computes a document's models at each such change, but in an update once for all.
        """
        self._in_update(function)


class Filler:
    """Fills one panel. No method does anything here, but that `begin` keeps the page.

    `wants_keys` asks for `keys_changed`; `takes_rows` says that the panels of this page draw all rows from live sources, so
    that no rows have to be sent to `update_page`. A filler is of one run, the one with the id `run`, or the page's first; with
    `takes_all` it is of all, and told what is new in each.
    """

    wants_keys = False
    takes_rows = False
    key = ""
    """The key whose value it shows, if it shows one."""
    takes_all = False
    run = ""
    page: Page
    """From `begin` on, which sets it."""

    def begin(self, page: Page) -> None:
        """The panel is in a document whose run is known."""
        self.page = page

    def keys_changed(self) -> None:
        """There is a new key or column in `Page.keys`, or a new description."""

    def update(self, new_data: NewData) -> None:
        """Data came, or the run changed. Rows of keys with live sources are not among them."""

    def seek(self) -> None:
        """The page shows another step, at which its run has the same keys. Live sources follow by themselves."""

    def end(self) -> None:
        """The panel is not in the document any more."""


def attach(model: Model, filler: Filler) -> None:
    """Let `filler` fill `model`. The model keeps it: they live as long as each other."""
    filler.run = bound_run()
    setattr(model, _FILLER, filler)


def is_panel(model: Model) -> bool:
    """Whether the model has a filler."""
    return _FILLER in vars(model)


class Fillers:
    """The fillers of the models in `doc`, which shows `runs`."""

    def __init__(
        self,
        doc: Document,
        reader: EndpointReader,
        runs: Sequence[PageRun],
        *,
        executor: Executor,
        loop: IOLoop,
        wake: Callable[[], None],
    ) -> None:
        self._doc, self._reader, self._executor, self._loop, self._wake = doc, reader, executor, loop, wake
        self._changes: list[Callable[[], object]] = []
        self._pages = {run.id: Page(doc, run, self._ask, self._put_off, self._wait, self._changes.append) for run in runs}
        self._first = self._pages[runs[0].id]
        for page in self._pages.values():
            page.all = tuple(self._pages.values())
        self._next: list[Callable[[], object]] = []
        self._unfilled: list[tuple[set[str], Callable[[], object]]] = []
        self._all: dict[int, Filler] = {}
        self._answers: list[tuple[Callable[[Any], object], Future, Callable[..., Any], str]] = []
        self._asked_keys: set[str] = set()
        self._under_way = 0
        self._waiting: dict[tuple[str, str], list[Callable[[Any], object]]] = {}
        self._troubles: dict[int, Notice] = {}
        # Here, since panels may come when the document is ready already.
        code = files("streamvis.page").joinpath("panels.js").read_text(encoding="utf-8")
        doc.js_on_event("document_ready", CustomJS(code=code))
        self.look()

    @property
    def notices(self) -> list[Notice]:
        """What the page has to say of panels that cannot show their data."""
        return list(dict.fromkeys(self._troubles.values()))

    @property
    def takes_rows(self) -> bool:
        """Whether no rows are wanted but those of live sources."""
        return any(filler.takes_rows for filler in self._all.values())

    @property
    def has_news(self) -> bool:
        """Whether answers wait for their fillers."""
        return bool(self._answers)

    @property
    def is_reading(self) -> bool:
        """Whether something was asked of the endpoint that has not come yet, or is not shown yet."""
        return self._under_way > 0 or bool(self._answers)

    @property
    def is_awaited(self) -> bool:
        """Whether the endpoint has yet to answer something."""
        return self._under_way > 0

    def seek(self, reader: EndpointReader) -> None:
        """Show what this reader reads. What was asked before and has not come is not shown any more."""
        self._reader, self._answers, self._waiting = reader, [], {}
        for filler in self._all.values():
            self._guard(filler.seek, run=self._page_of(filler).run.id)

    def look(self) -> None:
        """Find the fillers that came into the document, and release those that left it."""
        found = {}
        for model in self._doc.models:
            filler = vars(model).get(_FILLER)
            if filler is not None:
                found[id(filler)] = filler
        for name in [name for name in self._all if name not in found]:
            self._guard(self._all.pop(name).end)
        new = [filler for name, filler in found.items() if name not in self._all]
        self._all.update((id(filler), filler) for filler in new)
        for filler in new:
            page = self._page_of(filler)
            self._guard(filler.begin, page, run=page.run.id)
            if filler.wants_keys:
                for its in page.all if filler.takes_all else (page,):
                    self._want_keys(its)
                if page.keys:
                    self._guard(filler.keys_changed, run=page.run.id)

    def _page_of(self, filler: Filler) -> Page:
        return self._pages.get(filler.run, self._first)

    def _want_keys(self, page: Page) -> None:
        run = page.run.id
        if run not in self._asked_keys:
            self._asked_keys.add(run)
            self._ask(lambda reader, run: reader.keys(run), run, lambda keys: self._learn(page, keys))

    def _learn(self, page: Page, keys: Mapping[str, KeyInfo]) -> None:
        """Keys, or columns of them, are there; those that are known stay."""
        held, changed = dict(page.keys), False
        for key, info in keys.items():
            if pattern_of(key) is not None:
                continue
            known = held.get(key)
            if known is None or known.kind != info.kind or not info.columns.items() <= known.columns.items():
                columns = {**(known.columns if known else {}), **info.columns}
                held[key] = KeyInfo(info.kind, columns)
                changed = True
        if changed:
            page.keys = held
            self._tell_of_keys(page)

    def _tell_of_keys(self, page: Page) -> None:
        for filler in self._concerned(page):
            if filler.wants_keys:
                self._guard(filler.keys_changed, run=self._page_of(filler).run.id)

    def _concerned(self, page: Page) -> list[Filler]:
        return [filler for filler in self._all.values() if filler.takes_all or self._page_of(filler) is page]

    def update(self, news: Sequence[tuple[NewData, Sequence[Piece]]]) -> None:
        """Hand over what came: answers of the endpoint, and of each run new keys and data."""
        if news:
            # A panel that comes now and asks for a value would be given one from before these.
            self._waiting = {}
        changes = self._changes[:]
        self._changes.clear()
        with computed_once(self._doc):
            for new_data, _ in news:
                self._pages[new_data.run.id].run = new_data.run
            for change in changes:
                self._guard(change)
            self._take_answers()
            for new_data, pieces in news:
                self._hand_over(self._pages[new_data.run.id], new_data, pieces)
        for new_data, pieces in news:
            self._pages[new_data.run.id].is_open |= bool(pieces)

    @property
    def has_put_off(self) -> bool:
        """Whether panels put off something until `go_on`."""
        return bool(self._next)

    def go_on(self) -> bool:
        """Do what was put off until now; whether there was anything."""
        put_off, self._next = self._next, []
        if put_off:
            with computed_once(self._doc):
                for function in put_off:
                    self._guard(function)
        return bool(put_off)

    def fill(self, are_filled: Callable[[Set[str]], bool]) -> None:
        """Tell who waited for live sources that are filled now."""
        waiting, self._unfilled = self._unfilled, []
        for sources, function in waiting:
            if are_filled(sources):
                self._guard(function)
            else:
                self._unfilled.append((sources, function))

    def _take_answers(self) -> None:
        answers, self._answers = self._answers, []
        for then, future, read, run in answers:
            try:
                answer = future.result()
            except StreamvisError as error:
                # The run's feed meets the same trouble, and it is the feed that says so.
                _log.debug("reading for a panel failed, and is tried again: %s", error)
                self._loop.call_later(_RETRY_S, self._ask, read, run, then)
                continue
            self._guard(then, answer, run=run)

    def _hand_over(self, page: Page, new_data: NewData, pieces: Sequence[Piece]) -> None:
        described = {pattern: new_data[key] for key in new_data if (pattern := pattern_of(key)) is not None}
        if described:
            page.described |= {pattern: Description.read(data) for pattern, data in described.items()}
        if page.run.id in self._asked_keys and pieces:
            self._learn(page, _keys_of(pieces))
        if described:
            self._tell_of_keys(page)
        for filler in self._concerned(page):
            is_good = self._guard(filler.update, new_data, run=self._page_of(filler).run.id)
            if is_good and filler.key and filler.key in new_data:
                self._troubles.pop(id(filler), None)

    def _put_off(self, function: Callable[[], object]) -> None:
        self._next.append(function)
        self._wake()

    def _wait(self, sources: Iterable[ColumnDataSource], function: Callable[[], object]) -> None:
        self._unfilled.append(({source.id for source in sources}, function))

    def _ask(
        self, read: Callable[[EndpointReader, str], Any], run: str, then: Callable[[Any], object], *, shared: str = ""
    ) -> None:
        """Read in a thread. With a name `shared`, what was asked under it since the last news is not asked again."""
        asked = (run, shared)
        if asked in self._waiting:
            self._waiting[asked].append(then)
            return
        self._under_way += 1
        reader, waiting = self._reader, [then]
        if shared:
            self._waiting[asked] = waiting

        def answered(done: Any) -> None:
            self._under_way -= 1
            if self._waiting.get(asked) is waiting:
                del self._waiting[asked]
            if reader is self._reader:
                self._answers += [(each, done, read, run) for each in waiting]
            self._wake()

        self._loop.add_future(self._executor.submit(read, reader, run), answered)

    def _guard(self, function: Callable[..., object], *args: object, run: str = "") -> bool:
        """Call a filler's function; what it makes is of the run. Whether it went well: a failure is shown until it does."""
        try:
            with of_run(run if len(self._pages) > 1 else ""):
                function(*args)
        except Exception as error:  # noqa: BLE001  # one panel's data must not take the others along
            _log.exception("a panel failed")
            notice = Notice("reading", PANEL_FAILED, f"{type(error).__name__}: {str(error)[:200]}")
            self._troubles[id(getattr(function, "__self__", None))] = notice
            return False
        return True


def _keys_of(pieces: Sequence[Piece]) -> dict[str, KeyInfo]:
    found: dict[str, KeyInfo] = {}
    for piece in pieces:
        found.update((key, KeyInfo("rows", dtypes)) for key, dtypes in piece.dtypes.items())
        found.update((item.key, KeyInfo("value")) for item in piece.items if isinstance(item, Value))
    return found
