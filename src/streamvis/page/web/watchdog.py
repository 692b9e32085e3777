"""A page server whose event loop is held up: it ends itself, and the script whose page held it up is not run for a while.

Every second the loop puts off a timer of Python's `faulthandler`, which needs neither the loop nor the interpreter's lock: when
it is not put off any more, it writes down what every thread was doing, and ends the process. Before that, a thread looks again
and again at which page the loop works for (`page_at_work`), and notes the one that it saw most often. The process that is started
next reads both notes and holds that page's script back, so that other pages continue. Where the thread could not run, because a
function kept the interpreter's lock all the time, it is the script that appears in what the main thread was doing.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import re
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO
from urllib.parse import unquote

from tornado.ioloop import IOLoop, PeriodicCallback

from streamvis.page.web.page_at_work import page_at_work
from streamvis.thread_frames import frame_of

__all__ = ["HeldBack", "held_back", "watch"]

_log = logging.getLogger("streamvis.page")

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 30.0, 600.0
_MAIN_THREAD = "Thread 0x"
_SHOWN_CALLS = 20
_LATE, _LOOKS = 0.125, 40
"""After so much of the time that the loop may stand still the thread begins to look, and so often it looks in all of it."""


@dataclass(frozen=True, slots=True)
class HeldBack:
    """A script that hung: until when (seconds since 1970) it is not run, and what it was doing."""

    until: float
    doing: str


def held_back(note: Path, scripts: Mapping[str, Path]) -> dict[str, HeldBack]:
    """What the last process wrote into `note` before it ended itself, if it did, by the name of the script; and log that."""
    history, seen = note.with_suffix(".json"), _seen_note(note)
    hangs: dict[str, list] = json.loads(history.read_text()) if history.exists() else {}
    doing = _stuck(note.read_text(errors="replace")) if note.exists() else ""
    name = _culprit(seen.read_text() if seen.exists() else "", doing, scripts)
    if doing and name is not None:
        doing = _from_script(doing, scripts[name])
        times = hangs.get(name, [0])[0] + 1
        pause_s = min(_FIRST_PAUSE_S * 2 ** (times - 1), _LONGEST_PAUSE_S)
        hangs[name] = [times, time.time() + pause_s, doing]
        told = "the page script %s held up the page server, which ended itself; the script is not run for %d s:\n%s"
        _log.error(told, scripts[name], pause_s, doing)
    elif doing:
        _log.error("the page server was blocked, and ended itself. The code was not that of a single page:\n%s", doing)
    history.write_text(json.dumps(hangs))
    note.write_text("")
    seen.unlink(missing_ok=True)
    return {name: HeldBack(until, doing) for name, (_, until, doing) in hangs.items()}


def watch(note: Path, loop: IOLoop, *, hang_s: float) -> None:
    """End this process when the loop has not moved for `hang_s` seconds, and note what it was doing, and for which page.

    To be called in the thread of the loop.
    """
    file = note.open("w")
    watcher = _Watcher(_seen_note(note), hang_s)

    def put_off() -> None:
        watcher.moved()
        _put_off(file, hang_s)

    PeriodicCallback(put_off, 1000.0 * min(1.0, hang_s / 4)).start()
    loop.add_callback(put_off)
    watcher.start()


class _Watcher:
    """A thread that notes for which page the calling thread works while that does not move."""

    def __init__(self, note: Path, hang_s: float) -> None:
        self._note, self._hang_s, self._watched = note, hang_s, threading.get_ident()
        self._moved_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="streamvis watcher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def moved(self) -> None:
        self._moved_at = time.monotonic()

    def _run(self) -> None:
        pages: Counter[str] = Counter()
        noted = ""
        while True:
            time.sleep(self._hang_s / _LOOKS)
            if time.monotonic() - self._moved_at < _LATE * self._hang_s + min(1.0, self._hang_s / 4):
                if noted:
                    self._note.unlink(missing_ok=True)
                pages.clear()
                noted = ""
                continue
            page = page_at_work(frame_of(self._watched))
            if page is None:
                continue
            pages[page] += 1
            most = pages.most_common(1)[0][0]
            if most != noted:
                self._write(most)
                noted = most

    def _write(self, page: str) -> None:
        """Note the page in one step: this process may end while any of them waits for the interpreter's lock."""
        begun = self._note.with_name(f"{self._note.name}.new")
        begun.write_text(page)
        begun.replace(self._note)


def _put_off(file: TextIO, hang_s: float) -> None:
    faulthandler.dump_traceback_later(hang_s, file=file, exit=True)


def _seen_note(note: Path) -> Path:
    return note.with_suffix(".page")


def _culprit(page: str, doing: str, scripts: Mapping[str, Path]) -> str | None:
    """The script of this page, or else the one that appears in what the main thread was doing."""
    if (name := unquote(page.rpartition("/")[2])) in scripts:
        return name
    return next((name for name, path in scripts.items() if _named_at(doing, path) >= 0), None)


def _from_script(doing: str, path: Path) -> str:
    """The calls from the script's own first line on: what called it tells its author nothing. Else the last calls."""
    at = _named_at(doing, path)
    return doing[doing.rfind("\n", 0, at) + 1 :] if at >= 0 else "\n".join(doing.splitlines()[-_SHOWN_CALLS:])


def _named_at(doing: str, path: Path) -> int:
    """Where the calls name this file, or a cell of this notebook; -1 where they do not."""
    found = re.search(rf'"{re.escape(str(path))}(, cell \d+)?"', doing)
    return found.start() if found else -1


def _stuck(text: str) -> str:
    """What the main thread was doing, the innermost call last: it stands last in the dump, and the other way round."""
    lines: Sequence[str] = text[text.rfind(_MAIN_THREAD) :].splitlines()
    return "\n".join(reversed([line for line in lines if line.startswith("  File ")]))
