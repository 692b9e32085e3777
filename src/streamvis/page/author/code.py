"""An author's code: what it raises stays with its page.

Whatever an author's function raises, `SystemExit` and `KeyboardInterrupt` included, is caught where the page server called that
function, logged once, and shown in the page. `Failures` keeps what was raised in one document. `GuardedCallbacks` takes the place
of a document's callback manager, so that the same holds for callbacks of widgets, timers, events and the document. An exception
in a callback that the author's own code set off reaches that code first, as in any Python program.
"""

from __future__ import annotations

import inspect
import logging
import re
import textwrap
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from bokeh.document import Document
from bokeh.document.callbacks import DocumentCallbackManager
from bokeh.models import ColumnDataSource

from streamvis.page.author.error_text import Mistake, lengths_of, readable
from streamvis.page.diagnosis import PageLog
from streamvis.page.documents.document import adopt, as_author
from streamvis.page.documents.link import Notice

__all__ = ["Failures", "GuardedCallbacks"]

_log = logging.getLogger("streamvis.page")

_MOST_SHOWN, _MOST_KNOWN = 3, 1000

_ENDED = "This page gets no more data. Fix the script, then reload the page."
_ENDED_WATCHED = "This page gets no more data. Fix the script and save it: the page reloads by itself."
_INSTEAD = "The page as it was before you saved stays. This goes away when the script works again."
_GOES_ON = "The rest of this page continues."
_LENGTHS = "columns must be of the same length"
# A script runs again for each session, and defines its model classes again.
_KNOWN = re.compile(f"{_LENGTHS}|^Duplicate qualified model definition of 'streamvis_page_")
_UNEQUAL = "The browser draws no more than the shortest. Set all columns at once: source.data = {...}."


class Failures:
    """What the author's code of one document raised. `page` names the page in the log; `on_new` is called after each failure.

    Documents that share `logged` log a failure that several of them have once. With `is_watched`, an edited script reloads.
    `heard` is called with each exception, and then none is logged.
    """

    def __init__(
        self,
        page: str,
        doc: Document | None = None,
        *,
        logged: set[tuple[object, ...]] | None = None,
        is_watched: bool = False,
        heard: Callable[[BaseException], None] | None = None,
    ) -> None:
        self._page, self._doc, self._heard = page, doc, heard
        self._logged = logged if logged is not None else set()
        self._ended = _ENDED_WATCHED if is_watched else _ENDED
        self._told: dict[tuple[object, ...], Notice] = {}
        self._end: Notice | None = None
        self._is_ours = False
        self.is_muted = False
        self.log = PageLog()
        self.on_new: Callable[[], None] = lambda: None

    @classmethod
    def of(cls, doc: Document, page: str) -> Failures:
        """Those of the document, or new ones where its callbacks are not guarded."""
        if isinstance(doc.callbacks, GuardedCallbacks):
            return doc.callbacks.failures
        adopt(doc)
        return cls(page, doc)

    def guard(self, doc: Document) -> None:
        """Take care of the callbacks of this document, which no one has added to."""
        self._doc = doc
        doc.callbacks = GuardedCallbacks(doc, self)

    @property
    def has_ended(self) -> bool:
        """Whether something failed without which the page cannot continue."""
        return self._end is not None

    @property
    def notices(self) -> list[Notice]:
        """What to show: the failure that ended the page, then the latest of the others."""
        others = [notice for notice in self._told.values() if notice is not self._end]
        return ([self._end] if self._end else []) + others[-_MOST_SHOWN:]

    def add(self, others: Failures) -> None:
        """Show here too what failed there."""
        self._told.update(others._told)

    def run(self, what: str, function: Callable[..., Any], *args: Any, ends_page: bool = False) -> Any:
        """Call the author's function. Returns what it returns (an awaitable where that is one), and None when it fails."""
        with as_author(self._doc), self._heeding_lengths(what), self.log.current():
            try:
                result = function(*args)
            except BaseException as error:  # noqa: BLE001  # around an author's code
                self.tell(what, error, ends_page=ends_page)
                return None
        return self._awaited(what, result, ends_page) if inspect.isawaitable(result) else result

    async def _awaited(self, what: str, result: Any, ends_page: bool) -> Any:
        try:
            with as_author(self._doc), self.log.current():
                return await result
        except GeneratorExit:
            # The event loop was closed under it: nothing was raised by the author.
            raise
        except BaseException as error:  # noqa: BLE001  # around an author's code
            self.tell(what, error, ends_page=ends_page)
            return None

    def tell(self, what: str, error: BaseException, *, ends_page: bool = False) -> None:
        """Log that `what` raised this, once for each line that raises, and show it in the page."""
        if self._heard is not None:
            self._heard(error)
        told = Mistake(error)
        title, rest = f"{what} failed: {told.headline}", self._ended if ends_page else _GOES_ON
        detail, instead = "\n\n".join(filter(None, (told.around, told.text))), told.hint + _INSTEAD if ends_page else ""
        notice = Notice("error", title, told.hint + rest, detail, instead, closes=not ends_page)
        if ends_page:
            self._end = self._end or notice
        self._show((what, *told.place), notice, f"{what} of {self._page} failed:\n{textwrap.indent(told.text, '    ')}")

    def _show(self, place: tuple[object, ...], notice: Notice, line: str) -> None:
        is_new = place not in self._told
        self._told.pop(place, None)
        self._told[place] = notice
        if is_new and place not in self._logged and self._heard is None:
            if len(self._logged) >= _MOST_KNOWN:
                self._logged.clear()
            self._logged.add(place)
            _log.error("%s", line)
        self.on_new()

    @contextmanager
    def _heeding_lengths(self, what: str) -> Iterator[None]:
        """Say in the page which columns differ in length after code of the author: Bokeh only warns on the terminal."""
        with warnings.catch_warnings(record=True) as said:
            yield
        for one in said:
            if not _KNOWN.search(str(one.message)):
                self.log.add(f"{one.category.__name__}: {one.message}")
                warnings.showwarning(one.message, one.category, one.filename, one.lineno, one.file, one.line)
        if self._doc is None or not any(_LENGTHS in str(one.message) for one in said):
            return
        for source in self._doc.select({"type": ColumnDataSource}):
            if isinstance(source, ColumnDataSource) and len({len(column) for column in source.data.values()}) > 1:
                name = f"The source {source.name!r}" if source.name else "A source without a name"
                told = f"{what}: {name} has columns of different lengths: {lengths_of(source.data)}"
                notice = Notice("error", readable(told), _UNEQUAL, closes=True)
                self._show((what, source.id), notice, f"{readable(told)}. ({self._page})")

    def guarded(self, what: str, callback: Callable[..., Any]) -> Callable[..., Any]:
        """The callback, run so that what it raises ends here."""

        @wraps(callback)
        def run(*args: Any) -> Any:
            return self.run(what, callback, *args)

        return run

    @property
    def is_ours(self) -> bool:
        """Whether changes that are made now are Streamvis' own, so that no code of the author awaits their exceptions."""
        return self._is_ours

    @contextmanager
    def ours(self) -> Iterator[None]:
        """Within this, changes to the document are Streamvis' own."""
        self._is_ours = True
        try:
            yield
        finally:
            self._is_ours = False

    @contextmanager
    def muted(self) -> Iterator[None]:
        """Within this, no one is told of changes to the document."""
        self.is_muted = True
        try:
            yield
        finally:
            self.is_muted = False


class GuardedCallbacks(DocumentCallbackManager):
    """The callbacks of a document. What one of them raises goes to `failures`, and nowhere else."""

    def __init__(self, document: Document, failures: Failures) -> None:
        adopt(document)
        self.failures = failures
        self._guards: dict[Callable[..., Any], Callable[..., Any]] = {}
        self._observers: set[Callable[..., Any]] = set()
        super().__init__(document)

    def destroy(self) -> None:
        super().destroy()
        self._guards.clear()
        self._observers.clear()

    def _guarded(self, callback: Callable[..., Any]) -> Callable[..., Any]:
        """The same guard for the same callback, so that it can be removed, and added twice, as before."""
        if callback not in self._guards:
            self._guards[callback] = self.failures.guarded(_name(callback), callback)
        return self._guards[callback]

    def add_session_callback(self, callback_obj: Any, callback: Callable[..., Any], one_shot: bool) -> Any:
        return super().add_session_callback(callback_obj, self.failures.guarded(_name(callback), callback), one_shot)

    def on_session_destroyed(self, *callbacks: Callable[..., Any]) -> None:
        super().on_session_destroyed(*map(self._guarded, callbacks))

    def on_message(self, msg_type: str, *callbacks: Callable[..., Any]) -> None:
        super().on_message(msg_type, *map(self._guarded, callbacks))

    def remove_on_message(self, msg_type: str, callback: Callable[..., Any]) -> None:
        super().remove_on_message(msg_type, self._guarded(callback))

    def on_change(self, *callbacks: Callable[..., Any]) -> None:
        super().on_change(*callbacks)
        self._observers.update(callbacks)

    def change_callbacks(self) -> tuple[Callable[..., Any], ...]:
        found = super().change_callbacks()
        return tuple(self._guarded(callback) if callback in self._observers else callback for callback in found)

    def trigger_on_change(self, event: Any) -> None:
        if not self.failures.is_muted:
            super().trigger_on_change(event)

    def trigger_event(self, event: Any) -> None:
        self.failures.run(f"A callback for {event.event_name}", super().trigger_event, event)

    def notify_event(self, model: Any, event: Any, callback_invoker: Callable[[], None]) -> None:
        what = f"A callback for {event.event_name} of {model}"
        super().notify_event(model, event, self.failures.guarded(what, callback_invoker))

    def notify_change(
        self,
        model: Any,
        attr: str,
        old: Any,
        new: Any,
        hint: Any = None,
        setter: Any = None,
        callback_invoker: Callable[[], None] | None = None,
    ) -> None:
        # A change without a setter is made by Python code, which gets the exception.
        if callback_invoker is not None and (setter is not None or self.failures.is_ours):
            callback_invoker = self.failures.guarded(f"A callback for {attr} of {model}", callback_invoker)
        super().notify_change(model, attr, old, new, hint, setter, callback_invoker)


def _name(callback: Callable[..., Any]) -> str:
    return f"The callback {getattr(callback, '__qualname__', None) or type(callback).__name__}"
