"""The live sources of a session: what their viewer sees, and who fetches what for them.

Sources and the figures that draw them are found when they come into the document, and forgotten when they leave it (`figures`).
The figures get ranges that the browser moves (`view.js`): it alone knows what the viewer did last. It tells which range each
source has to show; the rows for it are read in a thread, and put into the source with the session's next update. Everything here
but the reading runs under the document lock.

The browser is told of figures by numbered messages in `StreamvisLiveControl.news`: of all of them until it says that it has read
one, of those that changed from then on. One that misses a message says so, and is told all again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence, Set
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any

import numpy as np
from bokeh.document import Document
from bokeh.model import DataModel
from bokeh.models import ColumnDataSource, CustomJS
from tornado.ioloop import IOLoop

from streamvis.errors import LiveSourceRefused, StreamvisError
from streamvis.page.documents.link import Notice
from streamvis.page.documents.properties import integer, string
from streamvis.page.feeds.reader import EndpointReader, Piece
from streamvis.page.live.band_track import BandTrack
from streamvis.page.live.figures import Figures
from streamvis.page.live.first_ranges import fit_once
from streamvis.page.live.questions import fetch_together
from streamvis.page.live.sources import LiveSpec
from streamvis.page.live.track import Change, LiveTrack
from streamvis.page.runs import PageRun

__all__ = ["LiveSources"]

_log = logging.getLogger("streamvis.page")

_USUAL_WIDTH_PX = 800
"""How wide figures are taken to be until the browser has told it."""
_RETRY_S, _FAILED_RETRY_S = 0.5, 5.0
_LEAST_ROWS = 400
"""A source of several runs' rows holds so many of each run's at least."""


class StreamvisLiveControl(DataModel):
    """What travels between the live sources and the browser."""

    news = string('{"number": 0, "plots": {}}')
    read = integer(-1)
    views = string("{}")
    scales = string("{}")
    tick = integer(0)


_Track = LiveTrack | BandTrack


@dataclass(slots=True)
class _Shown:
    """A live source in the document, its rows, whether those are for a logarithmic x, and the range of x that its viewer sees."""

    source: ColumnDataSource
    spec: LiveSpec
    track: _Track
    log: bool
    view: tuple[float, float] | None = None
    width_px: int = _USUAL_WIDTH_PX
    is_filled: bool = False


_Place = tuple[str, str]
"""The id of a run, and a key."""


class LiveSources:
    """The live sources in `doc`, which shows `runs`. `wake` is called when there is something to update or to sync.

    `control` has to be kept in the document.
    """

    def __init__(
        self,
        doc: Document,
        reader: EndpointReader,
        runs: Sequence[PageRun],
        *,
        executor: Executor,
        loop: IOLoop,
        wake: Callable[[], None],
        rests: bool = True,
    ) -> None:
        self._doc, self._reader, self._executor, self._loop, self._wake = doc, reader, executor, loop, wake
        self._rests = rests
        self._figures, self._runs = Figures(doc, wake), {run.id: run for run in runs}
        self._states = {run.id: run.state for run in runs}
        self._shown: dict[str, _Shown] = {}
        self._by_place: dict[_Place, list[_Shown]] = {}
        self._fetched: list[tuple[_Shown, _Track, Any]] = []
        self._resting: set[_Track] = set()
        self._begun: set[str] = set()
        self._is_read = False
        self._number = 0
        self.control = StreamvisLiveControl()
        self.control.on_change("views", self._look)
        self.control.on_change("read", self._take_read)
        code = files("streamvis.page.live").joinpath("view.js").read_text(encoding="utf-8")
        doc.js_on_event("document_ready", CustomJS(args={"control": self.control}, code=code))

    def keys(self, run: str) -> frozenset[str]:
        """The keys of a run whose rows live sources show now."""
        return frozenset(key for its, key in self._by_place if its == run)

    @property
    def is_changed(self) -> bool:
        """Whether sources or figures came, went or changed, and `sync` has something to do."""
        return self._figures.is_changed

    @property
    def has_news(self) -> bool:
        """Whether rows have come that are not in their sources."""
        return bool(self._fetched)

    @property
    def is_reading(self) -> bool:
        """Whether rows are under way that a source has not got yet."""
        return any(shown.track.is_fetching for shown in self._shown.values())

    @property
    def is_awaited(self) -> bool:
        """Whether the endpoint has yet to answer for a source."""
        return sum(shown.track.is_fetching for shown in self._shown.values()) > len(self._fetched)

    @property
    def is_filled(self) -> bool:
        """Whether the endpoint has answered for each source once."""
        return all(shown.is_filled for shown in self._shown.values())

    def are_filled(self, sources: Set[str]) -> bool:
        """Whether the endpoint has answered for these sources once, of those that are still in the document."""
        return all(self._shown[source].is_filled for source in sources if source in self._shown)

    @property
    def notices(self) -> list[Notice]:
        """What the page has to say of sources that ask for what is not there."""
        found = (
            Notice("reading", f"The live source of “{shown.spec.key}” has nothing to show", shown.track.trouble)
            for shown in self._shown.values()
            if shown.track.trouble
        )
        return list(dict.fromkeys(found))  # many figures of a page may ask for the same

    # Which sources there are

    def sync(self) -> None:
        """Take in what sources and figures there are now. Costs nothing where nothing has changed."""
        changes = self._figures.look()
        for its in changes.gone:
            self._remove(self._shown.pop(its))
        for source, spec in changes.added:
            log, spec = self._figures.is_log(source.id), self._of_runs(spec)
            shown = self._shown[source.id] = _Shown(source, spec, self._track(spec, log), log)
            shown.track.look(None, width_px=shown.width_px)
            for run in spec.runs:
                self._by_place.setdefault((run, spec.key), []).append(shown)
        for its in changes.redrawn:
            shown, log = self._shown.get(its), self._figures.is_log(its)
            if shown is not None and shown.log != log:
                shown.track, shown.log = self._track(shown.spec, log), log
                shown.track.look(shown.view, width_px=shown.width_px)
        if changes.plots:
            self._tell(changes.plots)
        self._fetch()

    def _of_runs(self, spec: LiveSpec) -> LiveSpec:
        """The spec for the runs that it shows. Each of several that are shown at once has a share of the rows."""
        rows = spec.max_rows if spec.stat else max(_LEAST_ROWS, spec.max_rows // len(self._runs))
        return replace(spec, runs=list(spec.runs) or list(self._runs)[:1], max_rows=min(rows, spec.max_rows))

    def _track(self, spec: LiveSpec, log: bool) -> _Track:
        if spec.stat:
            return BandTrack(spec, log=log, rests=self._rests)
        run = self._runs.get(spec.runs[0])
        return LiveTrack(spec, log=log, origin=run.started if run is not None else 0.0)

    def _remove(self, shown: _Shown) -> None:
        for run in shown.spec.runs:
            same = self._by_place[run, shown.spec.key]
            same.remove(shown)
            if not same:
                del self._by_place[run, shown.spec.key]

    def _tell(self, plots: Mapping[str, Any]) -> None:
        self._number += 1
        whole = {"plots": self._figures.drawn} if not self._is_read else {"after": self._number - 1, "plots": plots}
        self.control.news = json.dumps({"number": self._number, **whole})

    def _take_read(self, attr: str, old: int, new: int) -> None:
        """The browser has read the message `new`; below 0, it missed one or lacked a model, and must be told all."""
        if new < 0:
            self._is_read = False
            self._tell({})
        elif new == self._number:
            self._is_read = True

    def _look(self, attr: str, old: str, new: str) -> None:
        for its, (view, width_px) in json.loads(new).items():
            if (shown := self._shown.get(its)) is not None:
                shown.view, shown.width_px = tuple(view) if view else None, width_px
                shown.track.look(shown.view, width_px=width_px)
                self._resting.discard(shown.track)
        self._fetch()

    # What is in them

    def seek(self, reader: EndpointReader, at: int | None) -> None:
        """Show what this reader reads as of the step `at`, in place of what the sources hold."""
        self._reader = reader
        for shown in self._shown.values():
            before, shown.track, shown.is_filled = shown.track, self._track(shown.spec, shown.log), False
            if isinstance(before, LiveTrack) and isinstance(shown.track, LiveTrack):
                shown.track.follow_on(before, at)
            shown.track.look(shown.view, width_px=shown.width_px)
        self._fetch()

    def refetch(self, run: str) -> None:
        """What came live of a run was not all: read its rows again."""
        self._begun.add(run)
        for shown in self._shown.values():
            shown.track.is_stale |= run in shown.spec.runs
        self._fetch()

    def update(self, pieces: Mapping[str, Sequence[Piece]], *, is_ahead: bool = False) -> bool:
        """Put into the sources what was fetched, and what came live by run; whether that changed anything.

        With `is_ahead` the browser has not painted yet, and finds its ranges where they have to be.
        """
        is_changed = False
        while self._fetched:
            shown, track, answer = self._fetched.pop(0)
            if track is not shown.track or self._shown.get(shown.source.id) is not shown:
                continue
            shown.is_filled = True
            is_changed |= self._guarded(shown, lambda track=track, answer=answer: self._taken(track, answer))
        self._look_for_ends(pieces)
        for place, its in self._by_place_of(pieces).items():
            for shown in self._by_place[place]:
                is_changed |= self._guarded(shown, lambda track=shown.track, its=its: track.add(its))
        if is_changed:
            self.control.scales = json.dumps({its: shown.track.scale for its, shown in self._shown.items()})
            self.control.tick += 1
            if is_ahead:
                fit_once(self._doc, self._figures.drawn)
        self._fetch()
        return is_changed

    def _look_for_ends(self, pieces: Mapping[str, Sequence[Piece]]) -> None:
        """Let bands be read again that mark where a run ended, once one ended or continues."""
        for run, state in ((run, its[-1].state) for run, its in pieces.items() if its):
            if self._states.get(run) != state:
                self._states[run] = state
                for shown in self._shown.values():
                    shown.track.is_stale |= bool(shown.spec.stat) and run in shown.spec.runs

    def _taken(self, track: _Track, answer: Any) -> Change | None:
        try:
            if isinstance(answer, Exception):
                raise answer
            return track.take(*answer)
        except LiveSourceRefused as error:
            track.refused(str(error))
        except StreamvisError as error:
            # The run's feed meets the same trouble, and it is the feed that says so.
            _log.debug("reading for a live source failed, and is tried again: %s", error)
            track.is_stale, track.is_fetching = True, False
            self._rest(track, _RETRY_S)
        return None

    def _guarded(self, shown: _Shown, change: Callable[[], Change | None]) -> bool:
        """Bring a change into a source. One that fails does not stop the others, nor the page's other news."""
        track = shown.track
        numbers = track.numbers
        try:
            return _apply(shown.source, change(), numbers, track)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is one source's trouble
            if not track.trouble:
                _log.exception("the live source of %r failed, and is tried again", shown.spec.key)
            track.failed(f"{type(error).__name__}: {error}"[:300])
            self._rest(track, _FAILED_RETRY_S)
            return False

    def _rest(self, track: _Track, for_s: float) -> None:
        """Leave a source alone for a while, and then read its rows again."""
        self._resting.add(track)
        self._loop.call_later(for_s, lambda: (self._resting.discard(track), self._fetch()))

    def _by_place_of(self, pieces: Mapping[str, Sequence[Piece]]) -> dict[_Place, list[Piece]]:
        """The pieces of each run and key that is shown, with nothing of other keys."""
        found: dict[_Place, list[Piece]] = {}
        for run, all_its in pieces.items():
            for piece in all_its:
                items: dict[_Place, list[Any]] = {}
                for item in piece.items:
                    if (run, item.key) in self._by_place:
                        items.setdefault((run, item.key), []).append(item)
                for place, its in items.items():
                    found.setdefault(place, []).append(replace(piece, items=its))
        return found

    def _fetch(self) -> None:
        waited_for = self._runs.keys() - self._begun
        together: dict[_Place, list[tuple[_Shown, LiveTrack]]] = {}
        for shown in self._shown.values():
            track = shown.track
            if not waited_for.isdisjoint(shown.spec.runs):
                continue
            if track.is_stale and not track.is_fetching and track not in self._resting:
                if track.pause_s > 0:
                    self._rest(track, track.pause_s)
                    continue
                track.is_stale, track.is_fetching = False, True
                if isinstance(track, LiveTrack):
                    together.setdefault((shown.spec.runs[0], shown.spec.key), []).append((shown, track))
                else:
                    future = self._executor.submit(track.fetch, self._reader, shown.spec.runs[0])
                    self._loop.add_future(future, lambda done, its=(shown, track): self._arrived([its], lambda: [done.result()]))
        for (run, key), its in together.items():
            future = self._executor.submit(fetch_together, self._reader, run, key, [track for _, track in its])
            self._loop.add_future(future, lambda done, its=its: self._arrived(its, done.result))

    def _arrived(self, asked: Sequence[tuple[_Shown, Any]], result: Callable[[], Sequence[Any]]) -> None:
        try:
            found = result()
        except Exception as error:  # noqa: BLE001  # the end of a thread's work: the sources say it
            found = [error] * len(asked)
        self._fetched += [(shown, track, answer) for (shown, track), answer in zip(asked, found, strict=True)]
        self._wake()


def _apply(source: ColumnDataSource, change: Change | None, before: np.ndarray, track: _Track) -> bool:
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
