"""A page server whose event loop hangs in an author's code: it ends itself, and the script is held back for a while.

Every second the loop puts off a timer of Python's `faulthandler`, which needs neither the loop nor the interpreter's lock: when
it is not put off any more, it writes down what every thread was doing, and ends the process. Whoever watches the process starts
it again; the new one reads what was written, and holds back the script in whose code the loop was, so that other pages go on.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from tornado.ioloop import IOLoop, PeriodicCallback

__all__ = ["HeldBack", "held_back", "watch"]

_log = logging.getLogger("streamvis.page")

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 30.0, 600.0
_MAIN_THREAD = "Thread 0x"


@dataclass(frozen=True, slots=True)
class HeldBack:
    """A script that hung: until when (seconds since 1970) it is not run, and what it was doing."""

    until: float
    doing: str


def held_back(note: Path, scripts: Mapping[str, Path]) -> dict[str, HeldBack]:
    """What the last process wrote into `note` before it ended itself, if it did, by the name of the script; and log that."""
    history = note.with_suffix(".json")
    hangs: dict[str, list] = json.loads(history.read_text()) if history.exists() else {}
    doing = _stuck(note.read_text(errors="replace")) if note.exists() else ""
    for name, path in scripts.items():
        if f'"{path}"' in doing:
            # From the script's own first line on: what called it tells its author nothing.
            doing = doing[doing.rindex("\n", 0, doing.index(f'"{path}"')) + 1 :]
            times = hangs.get(name, [0])[0] + 1
            pause_s = min(_FIRST_PAUSE_S * 2 ** (times - 1), _LONGEST_PAUSE_S)
            hangs[name] = [times, time.time() + pause_s, doing]
            told = "the page script %s hung, and the page server with it; it is held back for %d s:\n%s"
            _log.error(told, path, pause_s, doing)
    history.write_text(json.dumps(hangs))
    note.write_text("")
    return {name: HeldBack(until, doing) for name, (_, until, doing) in hangs.items()}


def watch(note: Path, loop: IOLoop, *, hang_s: float) -> None:
    """End this process when the loop has not moved for `hang_s` seconds, and write into `note` what it was doing."""
    file = note.open("w")
    PeriodicCallback(lambda: _put_off(file, hang_s), 1000.0 * min(1.0, hang_s / 4)).start()
    loop.add_callback(_put_off, file, hang_s)


def _put_off(file: TextIO, hang_s: float) -> None:
    faulthandler.dump_traceback_later(hang_s, file=file, exit=True)


def _stuck(text: str) -> str:
    """What the main thread was doing, the innermost call last: it stands last in the dump, and the other way round."""
    lines: Sequence[str] = text[text.rfind(_MAIN_THREAD) :].splitlines()
    return "\n".join(reversed([line for line in lines if line.startswith("  File ")]))
