"""A browser of the fault program, without a screen: a real session of the page, which it echoes, and loads again when told to.

    python browser.py ADDRESS JOURNAL

What the page's sources hold is written down after each update: a line `{"run": ...}` per session, then lines with what is new.
"""

import json
import sys
import threading
from pathlib import Path
from typing import Any

from bokeh.client import ClientSession, pull_session
from bokeh.client.connection import ClientConnection
from bokeh.document import Document
from bokeh.models import ColumnDataSource

from streamvis.page.documents.link import StreamvisLink

# The pulled document holds its link; without the class Bokeh could not read it.
from streamvis.page.live import session_sources, track  # noqa: F401  # their models are in the pages

_RETRY_S = 0.1

_next_of_bokeh = ClientConnection._next


async def _next(connection: ClientConnection) -> None:
    """Bokeh's own awaits itself from message to message, and comes to Python's limit of recursion after some hundreds."""
    connection.io_loop.add_callback(_next_of_bokeh, connection)


ClientConnection._next = _next


class Tab:
    """One load of the page."""

    def __init__(self, session: ClientSession, journal: Path) -> None:
        self._session, self._journal = session, journal
        self._doc: Document = session.document
        self._counts: dict[str, int] = {}
        self._link = self._doc.select_one({"type": StreamvisLink})

    def follow(self) -> None:
        """Show, and echo, until the page is to be loaded again or the connection is lost."""
        self._tell({"run": self._doc.title})
        self._link.on_change("sent", lambda attr, old, new: self._paint())
        self._link.on_change("reload", lambda attr, old, new: self._session.close())
        if self._link.reload:
            return
        self._paint()
        self._session._loop_until_closed()

    def _paint(self) -> None:
        rows: dict[str, list[list[int]]] = {}
        values: dict[str, list[int]] = {}
        for source in self._doc.select({"type": ColumnDataSource}):
            life, n = (list(map(int, source.data[name])) for name in ("life", "n"))
            if source.tags == ["value"]:
                values[source.name] = [life[0], n[0]]
            elif len(n) != (seen := self._counts.get(source.name, 0)):
                rows[source.name] = list(zip(life[seen:], n[seen:], strict=True))
                self._counts[source.name] = len(n)
        self._tell({"rows": rows, "values": values})
        self._link.seen = self._link.sent

    def _tell(self, line: dict[str, Any]) -> None:
        with self._journal.open("ab", buffering=0) as file:
            file.write(json.dumps(line).encode() + b"\n")


def main(address: str, journal: str) -> None:
    """Load the page again and again, until killed."""
    pause = threading.Event()
    while True:
        try:
            session = pull_session(url=address)
        except (OSError, RuntimeError):  # the second is Bokeh's word for a connection that ended while it pulled
            pause.wait(_RETRY_S)
            continue
        try:
            Tab(session, Path(journal)).follow()
        finally:
            session.close()
        pause.wait(_RETRY_S)


if __name__ == "__main__":
    main(*sys.argv[1:])
