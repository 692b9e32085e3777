"""What a page server holds, counted in its own process whenever it is sent SIGUSR1. A page script calls `tell`.

Nothing here needs a session of the page, so nothing of the counting is counted.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType

import psutil
from bokeh.document import Document
from bokeh.model import Model
from bokeh.server.connection import ServerConnection
from bokeh.server.session import ServerSession

from streamvis.page.feeds.feed import ChoiceFeed, RunFeed
from streamvis.page.feeds.inbox import Inbox
from streamvis.page.session import Session
from streamvis.page.shared import SHARED

__all__ = ["ask", "count", "tell"]

_CLASSES = {
    "documents": Document,
    "models": Model,
    "Bokeh's sessions": ServerSession,
    "Bokeh's connections": ServerConnection,
    "sessions": Session,
    "inboxes": Inbox,
    "feeds": (ChoiceFeed, RunFeed),
}
_ASK_S = 60.0


def tell(answer: Path) -> None:
    """From now on, write a count into `answer` at every SIGUSR1."""

    def write(signum: int, frame: FrameType | None) -> None:
        whole = answer.with_suffix(".part")
        whole.write_text(json.dumps(count()))
        whole.replace(answer)

    signal.signal(signal.SIGUSR1, write)


def count() -> dict[str, float]:
    """What there is of each kind, after the garbage has been collected, and what memory the process takes.

    "Python objects" are those that can hold others; strings, numbers and arrays are among the "allocated blocks of memory" alone.
    """
    SHARED.heap.release()  # what is hidden from the collector is not counted
    gc.collect()
    _forget_names()
    kinds = Counter(map(type, gc.get_objects()))
    found = {name: sum(n for kind, n in kinds.items() if issubclass(kind, its)) for name, its in _CLASSES.items()}
    process = psutil.Process()
    return {
        **found,
        "objects of streamvis.page": sum(n for kind, n in kinds.items() if str(kind.__module__).startswith("streamvis.page")),
        "modules of page scripts": sum(name.startswith("streamvis_page_") and name.endswith(".__page__") for name in sys.modules),
        "tasks": len(asyncio.all_tasks()),
        "threads": threading.active_count(),
        "connections": len(process.net_connections()),
        "files": len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else process.num_fds(),
        "Python objects": sum(kinds.values()),
        "allocated blocks of memory": sys.getallocatedblocks(),
        "memory (MiB)": process.memory_info().rss / 2**20,
    }


def _forget_names() -> None:
    """Empty the interpreter's cache of attributes, which keeps up to 4096 names that were looked up, and fills up slowly."""
    clear = getattr(sys, "_clear_internal_caches", None) or getattr(sys, "_clear_type_cache", None)
    if clear is not None:
        clear()


def ask(pid: int, answer: Path) -> dict[str, float]:
    """What the process counts now; it must have called `tell(answer)`."""
    answer.unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR1)
    deadline = time.monotonic() + _ASK_S
    while not answer.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"process {pid} did not answer for {_ASK_S:.0f} s")
        time.sleep(0.02)
    return json.loads(answer.read_text())
