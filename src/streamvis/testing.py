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
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from streamvis.client.describing import described
from streamvis.client.encoding import encode, encode_begin
from streamvis.client.entries import CONTROL, Begin, Clear, End
from streamvis.client.intake import Intake
from streamvis.endpoint.in_process import InProcessEndpoint
from streamvis.errors import NoSuchName, StreamvisError
from streamvis.page.clicking import click
from streamvis.page.comparing import differences
from streamvis.page.reader import EndpointReader, Piece
from streamvis.page.scripts import PageScript, add_to_path, read_script
from streamvis.page.stepping import SteppedPage
from streamvis.transport import Response, path
from streamvis.wire.arrow import ARROW

__all__ = ["Checked", "OpenedPage", "Record", "check_page", "open_page", "rows", "value"]

_MOST_PIECE_BYTES = 2**20
_MOST_LOOKS = 5
_GIVE_UP_S = 600.0


@dataclass(frozen=True, slots=True)
class Record:
    """A record to send: one `sendl` where `is_rows`, else one `send`."""

    step: int
    key: str
    data: Mapping[str, Any]
    is_rows: bool


def rows(step: int, key: str, data: Mapping[str, Any]) -> Record:
    """What `Client.sendl` would send, for `open_page(records=[...])`."""
    return Record(step, key, data, is_rows=True)


def value(step: int, key: str, data: Mapping[str, Any]) -> Record:
    """What `Client.send` would send, for `open_page(records=[...])`."""
    return Record(step, key, data, is_rows=False)


def open_page(script: str | Path, *, config: Any = None, records: Iterable[Record] = ()) -> OpenedPage:
    """Open the page of a script, or of a page folder, on a new run.

    Args:
        script: the path of the script
        config: what the producer would give to `Client.init`
        records: what the run holds before the page opens; see `rows` and `value`

    Raises PageScriptError when the script cannot be served, InvalidData when a record cannot be sent, and whatever the page's
    own code raises.
    """
    return OpenedPage(read_script(script), _NewRun(_endpoint(), config), records)


class _NewRun:
    """A run at the endpoint in this process: what a client's `init`, `send` and `sendl` do, at once."""

    def __init__(self, endpoint: InProcessEndpoint, config: Any) -> None:
        self._endpoint, self._config, self.id, self._number = endpoint, config, f"test-{secrets.token_hex(6)}", 0
        self._records: list[Record] = []
        self.reader = EndpointReader(endpoint.url, transport=endpoint)
        self._intake = Intake()
        begin = Begin(self.id, described({} if config is None else config), "test", False)
        self._post(encode_begin(begin, time.time()))

    def store(self, records: Iterable[Record]) -> None:
        """Check and copy the records as a client does, and store them."""
        records = list(records)
        self._records += records
        take = {True: self._intake.rows, False: self._intake.value}
        entries = [take[record.is_rows](record.step, record.key, record.data) for record in records]
        if entries:
            self._post_entries(entries)

    def clear(self) -> None:
        """Take back all rows and values."""
        self._intake.forget_keys()
        self._records.clear()
        self._post_entries([(CONTROL, None, time.time(), None, Clear(), 0)])

    def until(self, step: int) -> _NewRun:
        """Another run, to which only the records of steps up to that were ever sent."""
        run = _NewRun(self._endpoint, self._config)
        run.store([record for record in self._records if record.step <= step])
        return run

    def finish(self, state: str) -> None:
        """End the run."""
        self._post_entries([(CONTROL, None, time.time(), None, End(state), 0)])

    def _post_entries(self, entries: Sequence[Any]) -> None:
        encoded = encode(entries)
        if encoded.left_out:
            raise StreamvisError(f"Not sent: {'; '.join(encoded.left_out)}")
        self._post(encoded.body)

    def _post(self, body: bytes) -> None:
        self._number += 1
        about = {"app": self.id, "producer": "test", "number": self._number}
        where, headers = path("runs", self.id, "batches"), {"Content-Type": ARROW}
        response: Response = self._endpoint.request("POST", where, params=about, body=body, headers=headers)
        if response.status != 200:
            raise StreamvisError(response.body.decode(errors="replace"))


class OpenedPage:
    """A page that is open on one run. `page["name"]` is the Bokeh model of that name; `doc` is the document."""

    def __init__(self, script: PageScript, run: _NewRun, records: Iterable[Record] = ()) -> None:
        add_to_path(script)
        self._script, self._run = script, run
        self._loop = asyncio.new_event_loop()
        self._acts: list[Callable[[SteppedPage], None]] = []
        self._at: int | None = None
        run.store(records)
        self._load = self._opened(run)

    def _opened(self, run: _NewRun, *, at: int | None = None) -> SteppedPage:
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

    def __getitem__(self, name: str) -> Any:
        return _model(self._load, name)

    def sendl(self, step: int, key: str, data: Mapping[str, Any]) -> None:
        """As `Client.sendl`: append rows. The page has them when this returns."""
        self._send(rows(step, key, data))

    def send(self, step: int, key: str, data: Mapping[str, Any]) -> None:
        """As `Client.send`: this key's value at this step. The page has it when this returns."""
        self._send(value(step, key, data))

    def clear(self) -> None:
        """As `Client.clear`. The page is rebuilt, as in a browser."""
        self._run.clear()
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

        A page that is opened now, with the same widgets and selections set, shows the same as this one; as of a step, a page to
        which only the records up to that step were ever sent. The document can be sent to a browser. And keys that the page asks
        for are in the run, or at least no key of the run is left unread instead.
        """
        self._follow()
        fresh = self._opened(self._run if self._at is None else self._run.until(self._at))
        try:
            self._load.doc.to_json()
            _raise(self._load)
            found = differences(self._load.doc, fresh.doc) + _unknown_keys(self._load, self._run.reader.keys(self._run.id))
        finally:
            fresh.close()
        if found:
            raise AssertionError("\n".join([f"The page {self._script.name} failed its check:", *found]))

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
        found += _unknown_keys(fresh, reader.keys(run))
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


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))
