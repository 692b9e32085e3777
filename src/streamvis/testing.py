"""Pages without a browser: open one in a test, send to it, act as its viewer, and look at what it shows.

    from streamvis.testing import open_page, rows

    def test_the_loss_is_drawn():
        with open_page("page.py", config={"lr": 0.1}) as page:
            page.sendl(5, "train", {"loss": 0.5})
            assert list(page["train"].data["loss"]) == [0.5]
            page.check()

All of it is done in this process, by the code that serves pages and keeps records; only the network and the browser are missing.
So JavaScript does not run: callbacks of `js_on_change` and similar ones, and the ranges that a browser computes. What page code
raises is raised in the test, by the call that led to it. With pytest, the fixture `streamvis_page` opens pages and closes them.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from streamvis.endpoint.in_process import InProcessEndpoint
from streamvis.errors import NoSuchName
from streamvis.page.documents.click import click
from streamvis.page.documents.differences import differences
from streamvis.page.feeds.reader import EndpointReader, Piece
from streamvis.page.fillers import PANEL_FAILED
from streamvis.page.scripts.script import PageScript, add_to_path, read_script
from streamvis.page.stepped_page import SteppedPage
from streamvis.testing_run import Record, TrialRun, rows, value

__all__ = ["Checked", "OpenedPage", "Record", "check_page", "open_page", "rows", "value"]

_MOST_PIECE_BYTES = 2**20
_MOST_LOOKS = 5
_GIVE_UP_S = 600.0


def open_page(script: str | Path, *, config: Any = None, records: Iterable[Record] = ()) -> OpenedPage:
    """Open the page of a script, or of a page folder, on a new run.

    Args:
        script: the path of the script
        config: what the producer would give to `Client.init`
        records: what the run holds before the page opens; see `rows` and `value`

    Raises PageScriptError when the script cannot be served, InvalidData when a record cannot be sent, and whatever the page's
    own code raises.
    """
    return OpenedPage(read_script(script), TrialRun(_endpoint(), config), records)


class OpenedPage:
    """A page that is open on one run. `page["name"]` is the Bokeh model of that name; `doc` is the document."""

    def __init__(self, script: PageScript, run: TrialRun, records: Iterable[Record] = ()) -> None:
        add_to_path(script)
        self._script, self._run = script, run
        self._loop = asyncio.new_event_loop()
        self._acts: list[Callable[[SteppedPage], None]] = []
        self._at: int | None = None
        run.store(records)
        self._load = self._opened(run)

    def _opened(self, run: TrialRun, *, at: int | None = None) -> SteppedPage:
        """Another load of the page, with what the viewer has set so far."""
        load = SteppedPage(self._script, run.reader, runs=[run.id], loop=self._loop, at=at)
        _raise(load)
        for act in self._acts:
            load.do(lambda act=act: act(load))
            _raise(load)
        return load

    def _reopen(self) -> None:
        self._load.close()
        self._load = self._opened(self._run, at=self._at)

    @property
    def doc(self) -> Any:
        """The Bokeh document."""
        return self._load.doc

    @property
    def run(self) -> str:
        """The id of the run."""
        return self._run.id

    @property
    def notices(self) -> str:
        """What the page says to its viewer over and beside what it shows, as JSON."""
        return self._load.notices

    @property
    def reader(self) -> EndpointReader:
        """What reads the run from the endpoint in this process."""
        return self._run.reader

    def __getitem__(self, name: str) -> Any:
        return _model(self._load, name)

    def sendl(self, step: int, key: str, data: Mapping[str, Any]) -> None:
        """As `Client.sendl`: append rows. The page has them when this returns."""
        self._send(rows(step, key, data))

    def send(self, step: int, key: str, data: Mapping[str, Any], *, keep: int | None = None) -> None:
        """As `Client.send`: this key's value at this step. The page has it when this returns."""
        self._send(value(step, key, data, keep=keep))

    def clear(self) -> None:
        """As `Client.clear`. The page is rebuilt, as in a browser."""
        self._run.clear()
        self._follow()

    def resume(self, *, at: int) -> None:
        """As a producer that continues from a checkpoint, with `Client.init(run=ID, resume_at=STEP)`. The page is made again."""
        self._run.resume(at)
        self._follow()

    def finish(self, state: str = "finished") -> None:
        """The run ends."""
        self._run.finish(state)
        self._follow()

    def select(self, name: str, indices: Sequence[int]) -> None:
        """Select these rows of the source `name`, or of the source of the renderer `name`."""
        self._act(lambda load: setattr(_source(load, name).selected, "indices", list(indices)), stays=True)

    def set(self, name: str, value: Any) -> None:
        """Set the widget `name`: its value, or what is active in it."""

        def act(load: SteppedPage) -> None:
            model = _model(load, name)
            setattr(model, "value" if "value" in model.properties() else "active", value)

        self._act(act, stays=True)

    def click(self, name: str) -> None:
        """Click the button `name`; a toggle changes its state."""
        self._act(lambda load: click(_model(load, name)), stays=False)

    def at(self, *, step: int | None) -> None:
        """Show the run as of a step, as the shell's time bar does; None: live again."""
        self._at = step
        self._reopen()

    def check(self) -> None:
        """Check what holds for every page, or raise an AssertionError that says what does not.

        A page that is opened now, with the same widgets and selections set, shows the same as this one. As of a step (the one
        that is shown, or one in the middle of the run) it shows the same as a page to which only the records up to that step
        were ever sent. The document can be sent to a browser. Keys that the page asks for are in the run, or at least no key
        of the run is left unread instead. And every panel can show its data.
        """
        self._follow()
        self._load.doc.to_json()
        _raise(self._load)
        found = _unknown_keys(self._load, self._run.reader.keys(self._run.id)) + _told(self._load, PANEL_FAILED)
        if self._at is not None:
            found += self._compared(self._load, self._run.until(self._at))
        else:
            found += self._compared(self._load, self._run)
            if (middle := self._run.middle_step) is not None:
                past = self._opened(self._run, at=middle)
                try:
                    its = self._compared(past, self._run.until(middle))
                    found += [f"As of step {middle}, {fault}" for fault in its]
                finally:
                    past.close()
        if found:
            raise AssertionError("\n".join([f"The page {self._script.name} failed its check:", *found]))

    def _compared(self, load: SteppedPage, run: TrialRun) -> list[str]:
        """How a page differs from one that is opened now on this run."""
        fresh = self._opened(run)
        try:
            return differences(load.doc, fresh.doc)
        finally:
            fresh.close()

    def close(self) -> None:
        """End the session."""
        if not self._loop.is_closed():
            self._load.close()
            self._loop.close()

    def __enter__(self) -> OpenedPage:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, record: Record) -> None:
        self._run.store([record])
        self._follow()

    def _act(self, act: Callable[[SteppedPage], None], *, stays: bool) -> None:
        self._load.do(lambda: act(self._load))
        _raise(self._load)
        if stays:
            self._acts.append(act)

    def _follow(self) -> None:
        """Let the page have what is new, and load it again where it asks for that, with what its viewer set."""
        self._load.settle()
        _raise(self._load)
        if self._load.reloads:
            self._reopen()


def check_page(script: PageScript, reader: EndpointReader, run: str) -> Checked:
    """Open a page twice on a run of an endpoint, once with its past in many small pieces, as if it had come live, and compare."""
    add_to_path(script)
    loop = asyncio.new_event_loop()
    try:
        began = time.perf_counter()
        fresh = SteppedPage(script, reader, runs=[run], loop=loop, give_up_s=_GIVE_UP_S)
        opened_s = time.perf_counter() - began
        live = SteppedPage(script, _Piecewise(reader), runs=[run], loop=loop, give_up_s=_GIVE_UP_S)
        _raise(fresh)
        _raise(live)
        found: list[str] = []
        # The run may be continuing: both have to be at the same place.
        for _ in range(_MOST_LOOKS):
            live.settle()
            fresh.settle()
            live.doc.to_json()
            found = differences(live.doc, fresh.doc)
            if not found:
                break
        _raise(fresh)
        _raise(live)
        found += _unknown_keys(fresh, reader.keys(run)) + _told(fresh)
        checked = Checked(found, opened_s, sorted(fresh.reads), len(fresh.doc.models))
        live.close()
        fresh.close()
        return checked
    finally:
        loop.close()


@dataclass(frozen=True, slots=True)
class Checked:
    """What `check_page` found: in `faults` what should not be so, how long the page took to open with all of the past, the keys
    that it reads, and of how many models it is made."""

    faults: Sequence[str]
    opened_s: float
    reads: Sequence[str]
    models: int


class _Piecewise(EndpointReader):
    """A reader to which a past comes in pieces, small ones first, as it came to a page that was open all the time."""

    def __init__(self, whole: EndpointReader) -> None:
        super().__init__(whole.url, transport=whole.transport)
        self._piece_bytes = 1

    def tail(self, run: str, **asked: Any) -> Piece:
        self._piece_bytes = min(2 * self._piece_bytes, _MOST_PIECE_BYTES)
        return super().tail(run, **{"max_bytes": self._piece_bytes, **asked})


@cache
def _endpoint() -> InProcessEndpoint:
    endpoint = InProcessEndpoint()
    atexit.register(endpoint.close)
    return endpoint


def _raise(load: SteppedPage) -> None:
    if load.raised:
        error = load.raised[0]
        load.raised.clear()
        raise error


def _model(load: SteppedPage, name: str) -> Any:
    model = load.doc.get_model_by_name(name)
    if model is None:
        raise NoSuchName("The document", name, sorted(one.name for one in load.doc.models if one.name))
    return model


def _source(load: SteppedPage, name: str) -> Any:
    model = _model(load, name)
    return getattr(model, "data_source", model)


def _unknown_keys(load: SteppedPage, there: Iterable[str]) -> list[str]:
    """Keys that the page asks for but the run does not have, while it leaves others unread: most likely one is misspelled."""
    missing, unread = sorted(load.reads - set(there)), sorted(set(there) - load.reads)
    if not missing or not unread or load.takes_all_keys:
        return []
    return [f"The page reads {_listed(missing)}, which the run does not have. Nothing reads {_listed(unread)}."]


def _told(load: SteppedPage, title: str = "") -> list[str]:
    """What the page says of panels that cannot show their data and of live sources without any, or only what has this title."""
    notices = json.loads(load.notices)
    is_told = lambda its: its["title"] == title if title else its["kind"] == "reading" and its["text"]  # noqa: E731
    return [f"{its['title']}: {its['text']}" for its in notices if is_told(its)]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))
