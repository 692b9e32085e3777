"""What a page costs and lacks: counted while a session runs, and put together when somebody asks in the browser.

Counted are times of the author's functions, and what was handed over. What the author's code logs, and what Python warns of
meanwhile, is kept for the page in whose code it happened (`PageLog`). All else is worked out when it is asked for.
"""

from __future__ import annotations

import logging
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

from bokeh.core.validation import check_integrity
from bokeh.document import Document
from bokeh.models import ColumnDataSource, Plot
from tornado.ioloop import IOLoop

from streamvis.errors import StreamvisError
from streamvis.page.documents.callbacks import call_next
from streamvis.page.documents.link import BrowserLink
from streamvis.page.feeds.reader import EndpointReader, Piece
from streamvis.page.live.sources import spec_of
from streamvis.page.thread_results import when_done
from streamvis.records import Rows, Value

__all__ = ["Counts", "Diagnosis", "PageLog", "reasons"]

_MOST_LINES, _MOST_TIMES, _LONGEST_LINE = 50, 200, 500
_MANY_ROWS, _MANY_FIGURES = 20_000, 40
_LOG: ContextVar[PageLog | None] = ContextVar("log", default=None)


class PageLog:
    """The latest lines that were logged, or warned of, by the code of one page."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=_MOST_LINES)
        _listen()

    @property
    def lines(self) -> list[str]:
        """The lines, the oldest first."""
        return list(self._lines)

    def add(self, text: str) -> None:
        """Add a line."""
        self._lines.append(f"{time.strftime('%H:%M:%S')} {text}"[:_LONGEST_LINE])

    @contextmanager
    def current(self) -> Iterator[None]:
        """Within this, and in what is awaited in it, what is logged is of this page."""
        token = _LOG.set(self)
        try:
            yield
        finally:
            _LOG.reset(token)


class _Listener(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        # Python writes warnings to stderr where no handler takes them, and this one takes them for the page alone.
        last = logging.lastResort
        if last is not None and record.levelno >= last.level and self._is_alone(record.name):
            last.handle(record)
        log = _LOG.get()
        if log is None:
            return
        try:
            log.add(f"{record.levelname.lower()}: {record.getMessage()}")
        except Exception:  # noqa: BLE001  # the author's arguments may not fit the format: logging never raises into the caller
            self.handleError(record)

    def _is_alone(self, name: str) -> bool:
        """Whether no other handler takes what the logger with this name logs."""
        logger: logging.Logger | None = logging.getLogger(name)
        while logger is not None:
            if any(handler is not self for handler in logger.handlers):
                return False
            logger = logger.parent if logger.propagate else None
        return True


@cache
def _listen() -> None:
    """Hear of all that is logged in this process, as its loggers' levels let it through."""
    logging.getLogger().addHandler(_Listener())


class Counts:
    """What is counted of one session."""

    def __init__(self) -> None:
        self._began = time.time()
        self.init_s: float | None = None
        self._updates: deque[float] = deque(maxlen=_MOST_TIMES)
        self._slowest_s = 0.0
        self._count = self._rows = self._values = self._bytes = 0
        self._lag_s: float | None = None
        self.came: set[str] = set()

    @contextmanager
    def updating(self) -> Iterator[None]:
        """Time a call of `update_page`."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.updated(time.perf_counter() - began)

    def updated(self, took_s: float) -> None:
        """A call of `update_page` took so long."""
        self._updates.append(took_s)
        self._slowest_s = max(self._slowest_s, took_s)
        self._count += 1

    def hand_over(self, pieces: Sequence[Piece]) -> None:
        """These pieces are handed to the page now."""
        newest = 0.0
        for piece in pieces:
            self._bytes += piece.size_bytes
            for item in piece.items:
                self.came.add(item.key)
                if isinstance(item, Rows):
                    self._rows += len(item.steps)
                    newest = max(newest, float(item.times[-1]) if len(item.times) else 0.0)
                elif isinstance(item, Value):
                    self._values += 1
                    newest = max(newest, item.time)
        # What was there before the page was opened says nothing of how fast news come.
        if newest > self._began:
            self._lag_s = max(0.0, time.time() - newest)

    def told(self) -> dict[str, Any]:
        """The counts, for JSON: times in seconds."""
        return {
            "init_s": self.init_s,
            "update": {
                "count": self._count,
                "median_s": statistics.median(self._updates) if self._updates else None,
                "slowest_s": self._slowest_s if self._count else None,
            },
            "rows": self._rows,
            "values": self._values,
            "bytes": self._bytes,
            "lag_s": self._lag_s,
        }


def reasons(doc: Document) -> list[str]:
    """Why a page may be slow: sources of many rows that Streamvis does not bound, and many figures."""
    found = []
    for source in doc.select({"type": ColumnDataSource}):
        rows = max(map(len, source.data.values()), default=0) if isinstance(source, ColumnDataSource) else 0
        if isinstance(source, ColumnDataSource) and rows > _MANY_ROWS and spec_of(source) is None:
            name = f"The source {source.name!r}" if source.name else "A source without a name"
            how = "Draw it from a live_source, or let stream(..., rollover=N) drop old rows."
            found.append(f"{name} holds {rows:,} rows, and each update sends or copies whole columns. {how}")
    plots = len(list(doc.select({"type": Plot})))
    if plots > _MANY_FIGURES:
        found.append(f"The page has {plots} figures, and the browser paints each that changes. panels.board makes those in view.")
    return found


def _warnings(doc: Document) -> list[str]:
    """What Bokeh finds wrong with the document."""
    issues = check_integrity(doc.models)
    return [f"{issue.name}: {issue.text} ({issue.extra})"[:_LONGEST_LINE] for issue in [*issues.error, *issues.warning]]


class Diagnosis:
    """Answers the browser's questions for the diagnosis of a session.

    `asked` gives the keys that the page reads, and whether panels read whatever there is.
    """

    def __init__(
        self,
        doc: Document,
        link: BrowserLink,
        reader: EndpointReader,
        runs: Sequence[str],
        counts: Counts,
        log: PageLog,
        *,
        asked: Callable[[], tuple[frozenset[str], bool]],
        executor: Executor,
        loop: IOLoop,
    ) -> None:
        self._doc, self._link, self._reader, self._runs = doc, link, reader, list(runs)
        self._counts, self._log, self._asked, self._executor, self._loop = counts, log, asked, executor, loop
        link.allow_diagnosing(self._look)

    def _look(self) -> None:
        found = self._executor.submit(self._keys)
        when_done(self._loop, found, lambda done: call_next(self._doc, lambda: self._tell(done)))

    def _keys(self) -> dict[str, str]:
        return {key: info.kind for run in self._runs for key, info in self._reader.keys(run).items()}

    def _tell(self, found: Future[dict[str, str]]) -> None:
        try:
            there = set(found.result())
        except StreamvisError:
            there = set(self._counts.came)
        reads, takes_all = self._asked()
        self._link.diagnose(
            {
                **self._counts.told(),
                "unread": [] if takes_all else sorted(there - reads),
                "absent": sorted(reads - there),
                "figures": len(list(self._doc.select({"type": Plot}))),
                "models": len(self._doc.models),
                "reasons": reasons(self._doc),
                "warnings": _warnings(self._doc),
                "log": self._log.lines,
            }
        )
