"""Where another thread is now, without the risk that the process stops.

`sys._current_frames` holds a lock of the interpreter while it makes its frames. Before Python 3.12, the garbage collector may run
there; if it then calls Python code, such as a weak reference's callback, another thread can get its turn, wait for the same lock,
and never give the turn back: https://github.com/python/cpython/issues/106883. So nothing is collected during the call.
"""

from __future__ import annotations

import gc
import sys
import threading
from types import FrameType

__all__ = ["frame_of"]


def frame_of(thread: int | None) -> FrameType | None:
    """The innermost frame of the thread with this identifier; None if there is no such thread."""
    if thread == threading.get_ident():
        return sys._getframe(1)
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return sys._current_frames().get(thread or 0)
    finally:
        if was_enabled:
            gc.enable()
