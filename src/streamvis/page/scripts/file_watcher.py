"""Tells a page which of its files were saved.

Watches folders one level deep each: a script may lie in a folder with a great many other things below it, such as data. Knows
nothing of pages; whoever follows folders decides whether a path concerns it.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Set
from pathlib import Path

from tornado.ioloop import IOLoop
from watchfiles import Change, watch

__all__ = ["Watch"]

_log = logging.getLogger("streamvis.page")

_CALM_MS, _AT_LATEST_MS = 20, 400
"""Saves that follow each other this fast are told together."""
_EMPTY_S = 0.2
"""A file that is empty is most likely being written: many editors empty it first. It is told so much later."""
_BUILT = ("__pycache__",)


class Watch:
    """Watches for those who `follow` folders, until `end`. Everything but the watching itself is on the event loop."""

    def __init__(self, loop: IOLoop) -> None:
        self._loop = loop
        self._followers: dict[object, tuple[Set[str], Callable[[Set[str]], None]]] = {}
        self._watched: set[str] = set()
        self._is_over = threading.Event()

    def follow(self, who: object, folders: Set[str], heard: Callable[[Set[str]], None]) -> None:
        """Call `heard` with the paths of files that were saved or removed in these folders, from now on `who`'s only ones."""
        self._followers[who] = (folders, heard)
        # Folders that are watched already stay watched: a watch that began again could miss a save in between.
        if new := {folder for folder in folders if folder not in self._watched and Path(folder).is_dir()}:
            self._watched |= new
            threading.Thread(target=self._watch, args=(sorted(new),), name="streamvis watch", daemon=True).start()

    def end(self) -> None:
        """Stop watching."""
        self._is_over.set()

    def _watch(self, folders: list[str]) -> None:
        for polls in (None, True):
            try:
                self._watch_by(folders, polls)
                return
            except OSError as error:
                # The system lets a user watch so many folders only; some file systems cannot be watched.
                how = "They are looked at every 0.3 s instead." if not polls else "Edited pages do not reload by themselves."
                _log.warning("The folders of the page scripts cannot be watched: %s. %s", error, how)

    def _watch_by(self, folders: list[str], polls: bool | None) -> None:
        how = {"step": _CALM_MS, "debounce": _AT_LATEST_MS, "force_polling": polls, "recursive": False}
        for changes in watch(*folders, watch_filter=_may_be_source, stop_event=self._is_over, raise_interrupt=False, **how):
            self._loop.add_callback(self._tell, frozenset(path for _, path in changes))

    def _tell(self, paths: frozenset[str], *, waited: bool = False) -> None:
        if not waited and any(map(_is_empty, paths)):
            self._loop.call_later(_EMPTY_S, lambda: self._tell(paths, waited=True))
            return
        self._watched -= {path for path in paths if not Path(path).exists()}  # one that is made again is watched again
        for folders, heard in list(self._followers.values()):
            if its := {path for path in paths if str(Path(path).parent) in folders}:
                heard(its)


def _is_empty(path: str) -> bool:
    try:
        return os.path.isfile(path) and os.path.getsize(path) == 0
    except OSError:
        return False  # it was removed meanwhile


def _may_be_source(change: Change, path: str) -> bool:
    name = Path(path).name
    return not (name.startswith((".", "#")) or name.endswith(("~", ".pyc", ".tmp")) or name in _BUILT)
