"""Sessions whose tabs are gone: they end a few at a time, and garbage is collected once for many of them.

By itself Bokeh ends all sessions that are due at one check, and for each of them collects all garbage of the process twice and
searches all objects for referrers: a hundred tabs that reload together would stop the event loop for most of a minute. `Endings`
holds sessions back from that check (`block_expiration`) and releases a few at each check of its own. While those end, everything
alive is hidden from the collector (`Heap.hold`), so that Bokeh's collections have nearly nothing to look at. What ended sessions
leave is collected before it is so much that collecting it takes long, and when no more sessions end (`Heap.trim_later`).

It also bounds how many sessions wait for a connection. Those beyond the limit end before their time, those whose tab has left
first. A tab that connects after that gets a new session with the same page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bokeh.server.session import ServerSession
from bokeh.server.tornado import BokehTornado
from tornado.ioloop import IOLoop, PeriodicCallback

from streamvis.page.web.memory import Heap

__all__ = ["EndingLimits", "Endings", "end_gradually"]


@dataclass(frozen=True, slots=True)
class EndingLimits:
    """How sessions without a connection end.

    Args:
        lifetime_s: how long a session waits for a connection
        check_s: how long from one check to the next, of Bokeh and of ours
        most_unconnected: how many sessions may wait for a connection
        sessions_per_check: how many end at one check
        models_per_check: and how many models they may have together, except that one session always ends
        models_per_collection: after how many models of ended sessions garbage is collected
    """

    lifetime_s: float = 15.0
    check_s: float = 0.25
    most_unconnected: int = 250
    sessions_per_check: int = 10
    models_per_check: int = 2000
    models_per_collection: int = 1000


class Endings:
    """Decides which of the sessions that `sessions` gives may end. Used on the event loop alone."""

    def __init__(self, sessions: Callable[[], Iterable[ServerSession]], heap: Heap, *, limits: EndingLimits) -> None:
        self._sessions, self._heap, self._limits = sessions, heap, limits
        self._held: dict[str, ServerSession] = {}
        self._had_connection: set[str] = set()
        self._models_ended = 0

    def check(self) -> None:
        """Hold back sessions that are new, and release a few of those that are due."""
        self._heap.release()
        there = {session.id: session for session in self._sessions()}
        self._held = {its: session for its, session in self._held.items() if there.get(its) is session}
        self._had_connection &= there.keys()
        for its, session in there.items():
            if its not in self._held:
                session.block_expiration()
                self._held[its] = session
            if session.connection_count:
                self._had_connection.add(its)
        if self._models_ended >= self._limits.models_per_collection:
            self._models_ended = 0
            self._heap.collect()
            return
        if released := self._chosen([session for session in there.values() if not session.connection_count]):
            self._models_ended += sum(len(session.document.models) for session in released)
            self._heap.hold()
            self._heap.trim_later(IOLoop.current())
        for session in released:
            del self._held[session.id]
            session.request_expiration()
            session.unblock_expiration()

    def _chosen(self, waiting: list[ServerSession]) -> list[ServerSession]:
        """Which of the sessions that wait for a connection end at this check."""
        limits = self._limits
        waiting.sort(key=lambda its: (its.id in self._had_connection, its.milliseconds_since_last_unsubscribe), reverse=True)
        excess = len(waiting) - limits.most_unconnected
        due = [
            session
            for i, session in enumerate(waiting)
            # Somebody who works in the session now would be disturbed, and has also blocked its end.
            if session.expiration_blocked_count == 1
            and (i < excess or session.milliseconds_since_last_unsubscribe > 1000 * limits.lifetime_s)
        ]
        chosen, models = [], 0
        for session in due[: limits.sessions_per_check]:
            models += len(session.document.models)
            if chosen and models > limits.models_per_check:
                break
            chosen.append(session)
        return chosen


def end_gradually(application: BokehTornado, heap: Heap, *, limits: EndingLimits) -> PeriodicCallback:
    """Have the application's sessions end a few at a time. Stop what is returned.

    To be called just before the application is started, and with the time between its own checks: so each of those comes right
    after one of ours, and nothing else runs between the two.
    """

    def sessions() -> Iterable[ServerSession]:
        for path in application.app_paths:
            yield from application.get_sessions(path)

    checks = PeriodicCallback(Endings(sessions, heap, limits=limits).check, 1000 * limits.check_s)
    checks.start()
    return checks
