"""What the sessions of a page process share: readers, feeds, threads that read, and the time of the event loop.

`SHARED` is that of the process, and its only module-level state.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Executor, ThreadPoolExecutor
from weakref import WeakSet

from bokeh.document import Document

from streamvis.pace import Pace
from streamvis.page.feeds.reader import EndpointReader
from streamvis.page.feeds.table import Feeds
from streamvis.page.memory import Heap

__all__ = ["SHARED", "Shared", "share_with", "shared_of"]

_log = logging.getLogger("streamvis.page")

_THREADS = 4
_LOOP_SHARE = 0.5
"""How much of a processor the event loop takes before its sessions are updated less often."""
_LEAST_S = 0.05
"""How long from one update of a session to the next."""
_DOCUMENT_NAME = "streamvis_shared"


class Shared:
    """What sessions share: `executor` runs what they read, `served` has their documents, `heap` is the memory that they use.

    `rests` says that what costs the endpoint much is asked for now and then only.
    """

    rests = True

    def __init__(self, *, feeds: Feeds | None = None, executor: Executor | None = None, heap: Heap | None = None) -> None:
        self.feeds = feeds or Feeds()
        self.executor = executor or ThreadPoolExecutor(_THREADS, thread_name_prefix="streamvis history")
        self.served: WeakSet[Document] = WeakSet()
        self.heap = heap or Heap()
        self._pace = Pace(time.thread_time, _LOOP_SHARE)
        self._lock = threading.Lock()
        self._readers: dict[tuple[str, str | None], EndpointReader] = {}
        self._said: set[str] = set()

    def reader(self, url: str, token: str | None) -> EndpointReader:
        """The reader of the endpoint at `url`, with its connections."""
        with self._lock:
            if (url, token) not in self._readers:
                self._readers[url, token] = EndpointReader(url, token=token)
            return self._readers[url, token]

    def say_once(self, text: str) -> None:
        """Log something that one page after another would say again."""
        with self._lock:
            is_new = text not in self._said
            self._said.add(text)
        if is_new:
            _log.warning("%s", text)

    def pause_s(self, took_s: float) -> float:
        """How long after the beginning of an update that took so long the next one of its session may begin.

        At most half of the time goes to one session's updates, and to those of all, which Bokeh sends out after this.
        """
        return max(_LEAST_S, 2 * took_s, self._pace.pause_s())


SHARED = Shared()


def share_with(doc: Document, shared: Shared) -> None:
    """Let the session of a document use `shared`."""
    setattr(doc, _DOCUMENT_NAME, shared)


def shared_of(doc: Document) -> Shared:
    """What the session of a document shares: that of the process, unless `share_with` gave it another."""
    return getattr(doc, _DOCUMENT_NAME, SHARED)
