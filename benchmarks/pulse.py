"""How long the event loop of a page server works without a break, measured in its own process. A page script calls `feel`.

What counts is the processor time of the loop's thread, so that other programs on the machine change it little.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from tornado.ioloop import PeriodicCallback

__all__ = ["feel", "longest_s"]

_EVERY_MS = 10
_beats: dict[Path, PeriodicCallback] = {}


def feel(answer: Path) -> None:
    """From now on keep the longest work between two beats of this loop in `answer`; begin anew whenever that is deleted."""
    if answer in _beats:
        return
    state = {"used": time.thread_time(), "longest": 0.0}

    def beat() -> None:
        used = time.thread_time()
        took, state["used"] = used - state["used"], used
        is_asked = not answer.exists()
        if is_asked or took > state["longest"]:
            state["longest"] = 0.0 if is_asked else took
            whole = answer.with_suffix(".part")
            whole.write_text(json.dumps(state["longest"]))
            whole.replace(answer)

    _beats[answer] = PeriodicCallback(beat, _EVERY_MS)
    _beats[answer].start()


def longest_s(answer: Path) -> float:
    """The longest work so far, in seconds, and begin anew."""
    found = json.loads(answer.read_text())
    answer.unlink()
    while not answer.exists():
        time.sleep(0.01)
    return found
