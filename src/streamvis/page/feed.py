"""The live tails of a page process: one per reader (an endpoint, and a token for it) and run or choice, shared by its sessions.

A feed is a thread that follows the endpoint with long polls, and ends some seconds after its last session left. Sessions do not
wait on a feed: it wakes them, and they look. `RunFeed.join` hands a session the cursor from which the feed delivers; what lies
before it the session reads on its own, so the two never overlap and leave no gap. What a session has not taken yet waits in
its `Inbox`, which is bounded: one that overflows is emptied, and its session reads from the store again.

`FEEDS` is the one table of feeds in a process, and its only module-level state.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from operator import is_
from weakref import WeakSet

from bokeh.document import Document

from streamvis.errors import DeletedRun, StreamvisError, UnknownRun
from streamvis.pace import Pace
from streamvis.page.new_data import NewData, merge_rows, own_copy
from streamvis.page.reader import EndpointReader, Piece, RunHead
from streamvis.page.runs import PageRun
from streamvis.page.web.memory import Heap
from streamvis.records import Rows, Value
from streamvis.selection import NEWEST, OLDEST, PINNED, STATS, Selection

__all__ = ["FEEDS", "MOST_RUNS", "ChoiceFeed", "Feeds", "Folds", "Inbox", "Lost", "RunFeed", "feeds_of", "fold"]

_log = logging.getLogger("streamvis.page")

_POLL_S = 25.0
_LEAST_S = 0.05
"""How long from one answer with news to the next question, and from one update of a session to the next."""
_LINGER_S = 10.0
"""How long a feed continues after its last session left: a reload still finds it."""
_RETRY_S = (0.1, 0.2, 0.4, 0.8)
_READERS = 4
_LOOP_SHARE = 0.5
"""How much of a processor the event loop takes before its sessions are updated less often."""
INBOX_BYTES = 32 * 2**20
_FOLDS, _SHARED_BYTES = 8, 2**20
MOST_RUNS = 50
"""How many runs one page shows at most."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Since when (seconds since 1970) there is no good answer from the endpoint, and why."""

    since: float
    reason: str


class Inbox:
    """What one session has not taken yet: whole pieces, in log order. They are merged when they are taken."""

    def __init__(self, wake: Callable[[], None], *, limit_bytes: int = INBOX_BYTES) -> None:
        self.wake = wake
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._clear()

    def _clear(self) -> None:
        self._pieces: list[Piece] = []
        self._size_bytes = 0
        self.overflowed = False

    def put(self, piece: Piece) -> None:
        """Add a piece, in log order."""
        with self._lock:
            if self.overflowed:
                return
            self._pieces.append(piece)
            self._size_bytes += piece.size_bytes
            if self._size_bytes > self._limit_bytes:
                self._clear()
                self.overflowed = True
        self.wake()

    @property
    def has_news(self) -> bool:
        """Whether anything waits, or was dropped and must be read again."""
        return bool(self._pieces) or self.overflowed

    def take(self) -> list[Piece]:
        """All that waits, which may be nothing."""
        with self._lock:
            pieces, self._pieces, self._size_bytes = self._pieces, [], 0
        return pieces

    def reset(self) -> None:
        """Empty the inbox, and let it take pieces again."""
        with self._lock:
            self._clear()


def fold(run: PageRun, pieces: Sequence[Piece], *, without: Set[str] = frozenset()) -> NewData:
    """The pieces, in log order, as what `update_page` is given, sharing nothing with them; the rows of some keys are left out."""
    rows: dict[str, list[Rows]] = {}
    values: dict[str, Value] = {}
    dtypes = {}
    reduced: dict[str, int] = {}
    for piece in pieces:
        dtypes.update(piece.dtypes)
        reduced.update(piece.reduced)
        for item in piece.items:
            if isinstance(item, Rows) and item.key in without:
                continue
            if isinstance(item, Rows):
                rows.setdefault(item.key, []).append(item)
            else:
                values[item.key] = item
    merged = {key: merge_rows(key, parts, dtypes[key]) for key, parts in rows.items()}
    own = {key: replace(value, data=own_copy(value.data)) for key, value in values.items()}
    return NewData(run, merged, own, reduced=reduced)


class Folds:
    """Folds pieces for the sessions of a run. Those that take the same pieces share the work; each gets data of its own."""

    def __init__(self) -> None:
        self._last: deque[tuple[Sequence[Piece], Set[str], NewData]] = deque(maxlen=_FOLDS)

    def fold(self, run: PageRun, pieces: Sequence[Piece], *, without: Set[str]) -> NewData:
        """As the function `fold`."""
        # Of much data it is copying that takes the time, and no one should hold them longer than they must.
        if sum(piece.size_bytes for piece in pieces) > _SHARED_BYTES:
            return fold(run, pieces, without=without)
        for its, left_out, folded in self._last:
            if left_out == without and len(its) == len(pieces) and all(map(is_, its, pieces)):
                return folded.copy(run)
        self._last.append((pieces, without, fold(run, pieces, without=without)))
        return self._last[-1][2].copy(run)


class _Feed:
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


class ChoiceFeed(_Feed):
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


class RunFeed(_Feed):
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


_Place = tuple[str, EndpointReader, str | Selection]
"""What a feed follows, a choice or a run: the reader stands for the endpoint and the token, and so for who may read what."""


class Feeds:
    """The feeds of a process, made when first asked for, and what else its sessions share: `served` has their documents.

    `pace` is for their event loop: how long each pauses after an update, so that all of them have their turn.
    """

    def __init__(self, *, heap: Heap | None = None) -> None:
        self._lock = threading.Lock()
        self._readers: dict[tuple[str, str | None], EndpointReader] = {}
        self._feeds: dict[_Place, _Feed] = {}
        self._said: set[str] = set()
        self.served: WeakSet[Document] = WeakSet()
        self.pace = Pace(time.thread_time, _LOOP_SHARE)
        self.executor = ThreadPoolExecutor(_READERS, thread_name_prefix="streamvis history")
        self.heap = heap if heap is not None else Heap()

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

    def choice(self, reader: EndpointReader, selection: Selection, who: object, wake: Callable[[], None]) -> ChoiceFeed:
        """The feed of what a selection that names no runs chooses, with `who` listening."""
        follow = NEWEST if selection.follow == PINNED else selection.follow
        choice = replace(selection, runs=(), stat=STATS[0], follow=follow)
        return self._listen(("choice", reader, choice), lambda ended: ChoiceFeed(reader, choice, ended=ended), who, wake)

    def run(self, reader: EndpointReader, run: str, who: object, wake: Callable[[], None]) -> RunFeed:
        """The feed of a run, with `who` listening."""
        return self._listen(("run", reader, run), lambda ended: RunFeed(reader, run, ended=ended), who, wake)

    def chosen(
        self, reader: EndpointReader, selection: Selection, who: object, wake: Callable[[], None]
    ) -> list[RunFeed] | list[ChoiceFeed]:
        """The feeds that know which runs a selection chooses: of each run that it names, or of its choice."""
        if selection.runs:
            return [self.run(reader, run, who, wake) for run in selection.runs[:MOST_RUNS]]
        return [self.choice(reader, selection, who, wake)]

    def _listen(self, at: _Place, make: Callable[..., _Feed], who: object, wake: Callable[[], None]) -> _Feed:
        with self._lock:
            feed = self._feeds.get(at)
            if feed is None or not feed.listen(who, wake):
                feed = self._feeds[at] = make(lambda: self._forget(at, feed))
                feed.listen(who, wake)
                self._begin(feed)
            return feed

    def _begin(self, feed: _Feed) -> None:
        feed.start()

    def pause_s(self, took_s: float) -> float:
        """How long after the beginning of an update that took so long the next one of its session may begin: at most half of the
        time goes to one session's updates, and to those of all, which Bokeh sends out after this."""
        return max(_LEAST_S, 2 * took_s, self.pace.pause_s())

    def _forget(self, at: _Place, feed: _Feed) -> None:
        with self._lock:
            if self._feeds.get(at) is feed:
                del self._feeds[at]


FEEDS = Feeds()


def feeds_of(doc: Document) -> Feeds:
    """The feeds for the session of a document: those of the process, unless whoever made the document gave it others."""
    return getattr(doc, "streamvis_feeds", FEEDS)
