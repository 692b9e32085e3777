"""A browser tab without a browser: Bokeh's own Python client on a page, with the browser's end of the session's link.

It keeps the document in step over a real WebSocket, echoes when it is told to, and opens the page anew when the session asks
for that. Where only the data matter it stands in for a browser at a thousandth of the cost.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
from bokeh.client import pull_session

from streamvis.page.link import StreamvisLink


class Tab:
    """A tab on the page at `url`. It echoes at each `look` unless `is_hidden`."""

    def __init__(self, url: str, **arguments: str) -> None:
        self._url, self._arguments = url, arguments
        self.is_hidden = False
        self.reloads = 0
        self._session: Any = None
        self._open()

    def _open(self) -> None:
        self._session = pull_session(url=self._url, arguments=self._arguments)
        self._link = next(iter(self._session.document.select({"type": StreamvisLink})))

    def look(self) -> None:
        """Take what the server sent, as far as it has come, and answer as a browser does."""
        try:
            self._session.force_roundtrip()
            if self._link.reload:
                self.reloads += 1
                self.reopen()
            elif not self.is_hidden and self._link.seen < self._link.sent:
                self._link.seen = self._link.sent
        except (OSError, RuntimeError, AssertionError):
            # The page server is away or was started again: a browser loads the page again.
            with suppress(OSError, RuntimeError):
                self.reopen()

    def reopen(self) -> None:
        """Load the page again."""
        self.close()
        self._open()

    def notices(self) -> str:
        """What the page says besides its data, as JSON."""
        return self._link.notices

    def source(self, name: str) -> dict[str, list[Any]]:
        """The columns of the source with this name, as lists."""
        found = self._session.document.get_model_by_name(name)
        if found is None:
            return {}
        return {column: np.asarray(cells).tolist() for column, cells in found.data.items()}

    def close(self) -> None:
        """Close the tab."""
        with suppress(Exception):
            self._session.close()
