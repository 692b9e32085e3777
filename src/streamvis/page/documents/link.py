"""The link between a session and its browser: the echo, the notices over the page, the order to load it again, and what the shell
around the page has to know of it.

`Link` is a small model that lives in the author's document without being a root of it, so that templates and layouts stay the
author's. The browser answers each number in `sent` with the same in `seen`, after it has painted; what the page has to say
in addition to its data goes through `notices`, as JSON that the browser shows as text, never as HTML.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from typing import Any

from bokeh.document import Document
from bokeh.model import DataModel, Model
from bokeh.models import CustomJS

from streamvis.page.documents.properties import boolean, integer, reference, string

__all__ = ["BrowserLink", "Notice", "Shown", "ShownRun", "StreamvisLink", "link_of", "say_edited"]

_HEARD_EVERY_S = 1.0
"""How often the shell is told when producers were last heard of."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that the page says. `kind` is waiting, stale, error, slow, reading or vanished; `detail` is shown as it is.

    `instead` is there where the page has failed: the text for a viewer who still has the page as it was before an edit. With
    `closes`, the page continues and a viewer can close the notice, which comes again only when its title or detail is another.
    """

    kind: str
    title: str
    text: str = ""
    detail: str = ""
    instead: str = ""
    closes: bool = False


@dataclass(frozen=True, slots=True)
class ShownRun:
    """A run that the page shows. `heard` is when its producers were last heard of, in seconds since 1970."""

    id: str
    name: str
    state: str
    heard: float
    app: str = ""
    color: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """What the page shows: the app, its runs, and the newest run where the page follows that and shows another."""

    app: str | None
    runs: tuple[ShownRun, ...] = ()
    newest: ShownRun | None = None


class StreamvisLink(DataModel):
    """What travels between the session and the browser. `framed`: the shell is around the page, and decides when it reloads.

    `edited` counts how often files of the page were saved since it was made. Where `seeks`, the shell may ask for another step in
    place: `wanted` is "[NUMBER, STEP or null]", and `sought` the answer, "[NUMBER, whether it is shown]". Each time that `asked`
    grows, `diagnosis` says what the page costs.
    """

    sent = integer(1)
    seen = integer(0)
    beat = integer(0)
    notices = string("[]")
    reload = boolean(False)
    edited = integer(0)
    framed = boolean(False)
    shown = string("{}")
    settled = boolean(False)
    seeks = boolean(False)
    wanted = string("")
    sought = string("")
    asked = integer(0)
    diagnosis = string("")
    kept = reference()


class BrowserLink:
    """The server's end of a link. Everything here runs under the document lock."""

    def __init__(self, doc: Document, on_echo: Callable[[], None]) -> None:
        self._doc, self._on_echo = doc, on_echo
        self._model = StreamvisLink()
        self._keeper = CustomJS(args={"link": self._model}, code="/* keeps the link in the document */")
        self._told: tuple[object, float] = (None, 0.0)
        code = "\n".join(
            files("streamvis.page.documents").joinpath(name).read_text(encoding="utf-8") for name in ("link.js", "carry.js")
        )
        doc.js_on_event("document_ready", CustomJS(args={"link": self._model}, code=code))
        doc.js_on_event("connection_lost", CustomJS(code="window.streamvis?.lost()"))
        # Bokeh's own reconnecting rebuilds the document in place; the link loads the page again instead, and says so itself.
        doc.config.reconnect_session = False
        doc.config.notify_connection_status = False
        self._model.on_change("seen", lambda attr, old, new: self._on_echo())

    @property
    def is_echoed(self) -> bool:
        """Whether the browser has painted all that was sent, for the first time when the page is ready."""
        return self._model.seen >= self._model.sent

    @property
    def is_framed(self) -> bool:
        """Whether the shell is around the page, and decides what it shows."""
        return self._model.framed

    @property
    def is_seen(self) -> bool:
        """Whether a browser has ever painted the page."""
        return self._model.seen > 0

    @property
    def is_settled(self) -> bool:
        """Whether the page has shown, or will show first, all that there was."""
        return self._model.settled

    def attach(self) -> None:
        """Make sure that the document holds the link: hang it on the first root, or make it one where there is none."""
        if self._model.document is self._doc:
            return
        if self._doc.roots:
            self._doc.roots[0].js_on_change("name", self._keeper)
        else:
            self._doc.add_root(self._model)

    def keep(self, model: Model) -> None:
        """Keep another model in the document for as long as the link is there."""
        self._model.kept = model

    def send(self) -> None:
        """Ask the browser to echo once it has painted everything up to here."""
        self._model.sent += 1

    def beat(self) -> None:
        """Tell the browser that the session is alive."""
        self._model.beat += 1

    def show(self, notices: list[Notice]) -> None:
        """Show these notices, and no others."""
        text = json.dumps([asdict(notice) for notice in notices])
        if text != self._model.notices:
            self._model.notices = text

    def tell(self, shown: Shown) -> None:
        """Tell the shell what the page shows; that producers were heard of again, once a second."""
        runs = [replace(run, heard=float(run.heard > 0)) for run in shown.runs]
        told, now = (shown.app, runs, shown.newest and shown.newest.id), time.monotonic()
        if told != self._told[0] or (shown.runs and now - self._told[1] > _HEARD_EVERY_S):
            self._told = (told, now)
            self._model.shown = json.dumps({**asdict(shown), "now": time.time()})

    def settle(self) -> None:
        """Tell the shell that the page shows all that there is so far."""
        self._model.settled = True

    def allow_seeking(self, seek: Callable[[int, int | None], None]) -> None:
        """From now on call `seek(number, step)` when the shell wants another step in place (None: live)."""
        self._model.on_change("wanted", lambda attr, old, new: seek(*json.loads(new)))
        self._model.seeks = True

    def say_sought(self, number: int, *, is_shown: bool) -> None:
        """Tell the shell what became of a step that it wanted."""
        self._model.sought = json.dumps([number, is_shown])

    def allow_diagnosing(self, look: Callable[[], None]) -> None:
        """From now on call `look()` when somebody wants to know what the page costs."""
        self._model.on_change("asked", lambda attr, old, new: look())

    def diagnose(self, found: Mapping[str, Any]) -> None:
        """Tell the browser what it asked for."""
        self._model.diagnosis = json.dumps({"asked": self._model.asked, **found})

    def reload(self) -> None:
        """Load the page again, into a new session."""
        self._model.reload = True


def say_edited(doc: Document) -> None:
    """Tell the browser that files of the page in this document were saved. Under the document lock."""
    link = link_of(doc)
    if link is not None:
        link.edited += 1


def link_of(doc: Document) -> StreamvisLink | None:
    """The model in this document through which page and shell talk."""
    found = doc.select_one({"type": StreamvisLink})
    return found if isinstance(found, StreamvisLink) else None
