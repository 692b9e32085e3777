"""Pages opened without a browser: a real session over a real WebSocket, which echoes what it gets, as a tab does."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from bokeh.client import ClientSession, pull_session
from bokeh.events import DocumentReady, Event

# The pulled document holds its link; without the class Bokeh could not read it.
from streamvis.page.documents.link import StreamvisLink
from support.conditions import wait_until
from support.faults import browser  # noqa: F401  # teaches Bokeh's client to take any number of messages


class _Pairs(list[tuple[str, str]]):
    """The arguments of an address: Bokeh's client takes a dict, in which no name could be there twice."""

    def items(self) -> list[tuple[str, str]]:
        return self


class OpenedPage:
    """One load of the page at `address`. A thread of its own receives, and answers as a browser would."""

    def __init__(self, address: str) -> None:
        self._session: ClientSession | None = None
        self._trouble: Exception | None = None
        self._thread = threading.Thread(target=self._receive, args=(address,), daemon=True)
        self._thread.start()
        wait_until(lambda: self._session is not None or self._trouble, within_s=40, what=f"{address} is opened")
        if self._trouble is not None:
            raise self._trouble
        self.doc = self._session.document

    def _receive(self, address: str) -> None:
        try:
            where, _, query = address.partition("?")
            session = pull_session(url=where, arguments=_Pairs(parse_qsl(query)) if query else None)
        except (OSError, RuntimeError) as error:
            self._trouble = error
            return
        session.document.callbacks.send_event(DocumentReady())
        session.document.on_change(lambda event: self._echo_later())
        self._session = session
        self._echo_later()
        session._loop_until_closed()

    def _echo_later(self) -> None:
        self.do(self._echo)

    def _echo(self) -> None:
        link = self.link
        if link is not None and link.seen != link.sent:
            link.seen = link.sent

    @property
    def link(self) -> StreamvisLink | None:
        return self._session.document.select_one({"type": StreamvisLink})

    def do(self, action: Callable[[], Any]) -> None:
        """Do something to the document, as a person does in a browser."""
        self._session._connection.io_loop.add_callback(action)

    def send_event(self, event: Event) -> None:
        """What a browser sends when something happens there, such as a click."""
        self.do(lambda: self.doc.callbacks.send_event(event))

    def notices(self) -> list[dict[str, Any]]:
        """What the page says besides its data."""
        return json.loads(self.link.notices) if self.link is not None else []

    def faults(self) -> list[dict[str, Any]]:
        """What the page says is wrong; that updates are slow is the machine's fault."""
        return [notice for notice in self.notices() if notice["kind"] != "slow"]

    def told(self) -> str:
        """All of that as one text."""
        return "\n".join(text for notice in self.notices() for text in notice.values() if isinstance(text, str))

    def wait_for(self, predicate: Callable[[], Any], *, within_s: float = 30, what: str = "") -> Any:
        """Wait until the predicate holds; what the page says is told when it does not."""
        try:
            return wait_until(predicate, within_s=within_s, what=what)
        except AssertionError as late:
            raise AssertionError(f"{late}\n--- the page says ---\n{self.told()}") from None

    def close(self) -> None:
        self.do(self._session.close)
        self._thread.join(10)
