"""Threads that follow the endpoint: one per run, and one per choice of runs, for all sessions of a page process.

A feed asks with long polls, and ends some seconds after its last session left. Sessions do not wait on a feed: it wakes them, and
they look. `RunFeed.join` hands a session the cursor from which the feed delivers into its inbox; what lies before it the session
reads on its own, so the two never overlap and leave no gap.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from streamvis.errors import DeletedRun, StreamvisError, UnknownRun
from streamvis.page.feeds.inbox import Inbox
from streamvis.page.feeds.reader import EndpointReader, RunHead
from streamvis.page.folding import Folds
from streamvis.selection import OLDEST, Selection

__all__ = ["MOST_RUNS", "ChoiceFeed", "Feed", "Lost", "RunFeed"]

_log = logging.getLogger("streamvis.page")

MOST_RUNS = 50
"""How many runs one page shows at most."""
_POLL_S = 25.0
_LEAST_S = 0.05
"""How long from one answer with news to the next question."""
_LINGER_S = 10.0
"""How long a feed continues after its last session left: a reload still finds it."""
_RETRY_S = (0.1, 0.2, 0.4, 0.8)


@dataclass(frozen=True, slots=True)
class Lost:
    """Since when (seconds since 1970) there is no good answer from the endpoint, and why."""

    since: float
    reason: str


class Feed:
    """A thread that follows something at the endpoint for as long as anybody listens. `known` is set after the first answer."""

    def __init__(self, reader: EndpointReader, *, name: str, ended: Callable[[], None]) -> None:
        self._reader, self._ended = reader, ended
        self._lock = threading.Lock()
        self._wakes: dict[object, Callable[[], None]] = {}
        self._left_at = time.monotonic()
        self._running = True
        self._nap = threading.Event()
        self._poll_s = _POLL_S
        self.lost: Lost | None = None
        self.known = threading.Event()
        self._thread = threading.Thread(target=self._follow, name=f"streamvis {name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def listen(self, who: object, wake: Callable[[], None]) -> bool:
        """Call `wake`, from the feed's thread, whenever there may be something new. False when the feed has just ended."""
        with self._lock:
            self._wakes[who] = wake
            return self._running

    def leave(self, who: object) -> None:
        """Stop listening. Leaving twice is not an error."""
        with self._lock:
            self._wakes.pop(who, None)
            self._left_at = time.monotonic()

    def _follow(self) -> None:
        failures = 0
        while self._is_wanted():
            try:
                self._step()
            except Exception as error:  # noqa: BLE001  # the top of a feed's thread
                if not isinstance(error, StreamvisError):
                    _log.exception("%s failed, and continues", self._thread.name)
                elif self.lost is None:
                    _log.warning("%s Pages say that they are out of date until it answers.", error)
                self.lost = self.lost or Lost(time.time(), str(error))
                self._wake_all()
                self._nap.wait(_RETRY_S[min(failures, len(_RETRY_S) - 1)])
                failures += 1
            else:
                if self.lost is not None:
                    _log.warning("The endpoint at %s answers again.", self._reader.url)
                    self.lost = None
                    self._wake_all()
                failures = 0

    def step(self) -> bool:
        """Ask once, in the calling thread, without waiting for news; for feeds that are not started. Whether there is more."""
        self._nap.set()
        self._poll_s = 0.0
        return self._step()

    def _step(self) -> bool:
        """Ask once. Whether the endpoint says that there is more to ask for."""
        raise NotImplementedError

    @property
    def _wait_s(self) -> float:
        """How long a poll may take: none at all where the next answer is what tells that the endpoint is back."""
        return 0.0 if self.lost else self._poll_s

    def _is_wanted(self) -> bool:
        with self._lock:
            if self._wakes or time.monotonic() - self._left_at < _LINGER_S:
                return True
            self._running = False
        self._ended()
        return False

    def _wake_all(self) -> None:
        with self._lock:
            wakes = list(self._wakes.values())
        for wake in wakes:
            wake()


class ChoiceFeed(Feed):
    """Which runs of an app a selection chooses: `heads`, empty while there are none (see `known`), at most the newest 50.

    `count` is how many there are. Without an app, it is the newest run of all apps. `cursor` is another one once anything in the
    app's list of runs has changed, or without an app, in the list of apps. `answers` counts what the endpoint told of it: also
    that a run vanished or came back.
    """

    def __init__(self, reader: EndpointReader, choice: Selection, *, ended: Callable[[], None]) -> None:
        super().__init__(reader, name=f"app {choice.app}" if choice.app is not None else "all apps", ended=ended)
        self._choice = choice
        self.heads: tuple[RunHead, ...] = ()
        self.count = self.answers = 0
        self.cursor: str | None = None

    def _step(self) -> bool:
        tail = self._reader.app_tail(self._choice.app, after=self.cursor, wait_s=self._wait_s)
        try:
            heads, count = self._chosen(tail.newest)
        except (UnknownRun, DeletedRun):
            self.cursor = None
            return False
        self.cursor, self.heads, self.count, self.answers = tail.cursor, heads, count, self.answers + 1
        self.known.set()
        self._wake_all()
        self._nap.wait(_LEAST_S)
        return False

    def _chosen(self, newest: str | None) -> tuple[tuple[RunHead, ...], int]:
        choice = self._choice
        if choice.app is not None and choice.is_many:
            known = {head.run.id: head for head in self.heads}
            found = self._reader.runs(app=choice.app, where=choice.where, order="-created", limit=MOST_RUNS)
            heads = []
            for its in found.runs:
                head = known.get(its["run"]) or self._reader.run(its["run"])
                heads.append(head.now(name=its["name"], state=its["state"], color=its["color"]))
            return tuple(heads), found.count
        if choice.app is not None and choice.follow == OLDEST:
            running = self._reader.runs(app=choice.app, where='state == "running"', order="created", limit=1)
            newest = next((its["run"] for its in running.runs), newest)
        return ((self._reader.run(newest),) if newest is not None else ()), 1


class RunFeed(Feed):
    """The live tail of one run.

    `head` is the run as it is now, with the cursor of when the feed began; `folds` is for its sessions, on their event loop;
    `restarts` counts how often its past was taken back; `gone` says that it is not there (any more).
    """

    def __init__(self, reader: EndpointReader, run: str, *, ended: Callable[[], None]) -> None:
        super().__init__(reader, name=f"run {run}", ended=ended)
        self.run = run
        self.head: RunHead | None = None
        self.restarts = 0
        self.gone: str | None = None
        self.folds = Folds()
        self._cursor: str | None = None
        self._state: str | None = None
        self._inboxes: dict[object, Inbox] = {}

    def join(self, who: object, inbox: Inbox) -> str | None:
        """Deliver into `inbox` from the cursor that is returned; None while the feed has not reached the endpoint yet."""
        with self._lock:
            if self._cursor is not None:
                inbox.reset()
                self._inboxes[who] = inbox
            return self._cursor

    def part(self, who: object) -> None:
        """Stop delivering; listening continues."""
        with self._lock:
            self._inboxes.pop(who, None)

    def leave(self, who: object) -> None:
        self.part(who)
        super().leave(who)

    def _step(self) -> bool:
        try:
            if self._cursor is None:
                head = self._reader.run(self.run)
                with self._lock:
                    self.head, self._cursor, self._state, self.gone = head, head.cursor, head.run.state, None
                self.known.set()
                self._wake_all()
            piece = self._reader.tail(self.run, after=self._cursor, wait_s=self._wait_s)
        except (UnknownRun, DeletedRun) as error:
            # A run that is asked for by its id may still come: look again, at a calm pace.
            was_gone, self.gone = self.gone, str(error)
            if was_gone is None:
                self._restart()
            self._nap.wait(_RETRY_S[-1])
            return False
        if piece.restart:
            self._restart()
            return True
        with self._lock:
            # A run vanishes, and comes back, without anything new in its log.
            is_news = (piece.cursor, piece.state) != (self._cursor, self._state)
            self._cursor, self._state = piece.cursor, piece.state
            if self.head is not None:
                self.head = self.head.now(name=piece.name, state=piece.state, color=piece.color)
            inboxes = list(self._inboxes.values())
            if is_news:
                # Under the lock, so that a session that joins meanwhile gets each piece once.
                for inbox in inboxes:
                    inbox.put(piece)
        if is_news and not piece.more:
            self._nap.wait(_LEAST_S)
        return piece.more

    def _restart(self) -> None:
        with self._lock:
            self._cursor = None
            self.restarts += 1
            self._inboxes.clear()
        self._wake_all()
