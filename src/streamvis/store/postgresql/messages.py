"""News of commits from one endpoint to the others, by NOTIFY and LISTEN: a hint, never more.

A message is sent after the commit that it tells of, in a transaction of its own, since PostgreSQL lets one transaction at a time
commit with messages. What comes up meanwhile shares the next one. Messages go by unheard while a connection is cut, and where
PgBouncer is between no one hears any: whoever waits also asks the store now and then.
"""

from __future__ import annotations

import json
import logging
import threading
import uuid
from collections.abc import Callable, Iterator

import psycopg

from streamvis.addresses.database import DatabaseAddress
from streamvis.store.interface import Changes
from streamvis.store.postgresql.connections import connect
from streamvis.store.postgresql.wording import own
from streamvis.store.writes import Changed

__all__ = ["Messages"]

_log = logging.getLogger("streamvis")

_MOST_BYTES = 7000
"""How long the names in one message are together: PostgreSQL takes 8,000 bytes."""
_GATHER_S = 0.01
_LOOK_S = 0.3
_AGAIN_S = 1.0


class Messages:
    """Sends what this store changed, and calls `tell` with what others did, if it `hears`. From any thread."""

    def __init__(self, address: DatabaseAddress, *, hears: bool, tell: Callable[[Changes], None]) -> None:
        self._address, self._hears, self._tell = address, hears, tell
        self._channel = f"streamvis_{address.schema}"
        self._sender = uuid.uuid4().hex[:12]
        self._changed = threading.Condition()
        self._runs: set[str] = set()
        self._apps: set[str] = set()
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Send and hear from now on."""
        if self._threads:
            return
        work = [self._send_all, self._hear] if self._hears else [self._send_all]
        self._threads = [threading.Thread(target=one, name="streamvis messages", daemon=True) for one in work]
        for thread in self._threads:
            thread.start()

    def send(self, changes: Changes | Changed) -> None:
        """Tell the others, soon."""
        if not self._threads:
            return
        with self._changed:
            self._runs |= changes.runs
            self._apps |= changes.apps
            self._changed.notify()

    def close(self) -> None:
        """End the threads and their connections."""
        self._ended.set()
        with self._changed:
            self._changed.notify()
        for thread in self._threads:
            thread.join(timeout=2 * _LOOK_S)

    def _send_all(self) -> None:
        connection = None
        while not self._ended.is_set():
            with self._changed:
                self._changed.wait_for(lambda: self._runs or self._apps or self._ended.is_set())
                runs, apps, self._runs, self._apps = self._runs, self._apps, set(), set()
            try:
                connection = connection or connect(self._address, prepare_threshold=None)
                for text in _texts(self._sender, runs, apps):
                    connection.execute("SELECT pg_notify($1, $2)", (self._channel, text))
                self._ended.wait(_GATHER_S)  # what comes up meanwhile shares the next message
            except psycopg.Error as error:
                _log.debug("other endpoints were not told of a commit: %s", error)
                if connection is not None:
                    connection.close()
                connection = None
                self._ended.wait(_AGAIN_S)  # they will see it when they look by themselves
        if connection is not None:
            connection.close()

    def _hear(self) -> None:
        while not self._ended.is_set():
            try:
                with connect(self._address, prepare_threshold=None) as connection:
                    connection.execute(own(f'LISTEN "{self._channel}"'))
                    while not self._ended.is_set():
                        for message in connection.notifies(timeout=_LOOK_S):
                            self._take(message.payload)
                            if self._ended.is_set():
                                return
            except psycopg.Error as error:
                _log.debug("commits of other endpoints are not heard of: %s", error)
                self._ended.wait(_AGAIN_S)

    def _take(self, payload: str) -> None:
        try:
            sender, runs, apps = json.loads(payload)
        except ValueError:
            return  # anybody who may use the database may send
        if sender != self._sender:
            self._tell(Changes(frozenset(map(str, runs)), frozenset(map(str, apps))))


def _texts(sender: str, runs: set[str], apps: set[str]) -> Iterator[str]:
    """Messages with all of the names, none of them too long. A name that is too long by itself is left to who looks."""
    names = [("run", run) for run in runs] + [("app", app) for app in apps]
    group: list[tuple[str, str]] = []
    size = 0
    for kind, name in names:
        its_size = len(json.dumps(name)) + 2
        if its_size > _MOST_BYTES:
            continue
        if size + its_size > _MOST_BYTES:
            yield _text(sender, group)
            group, size = [], 0
        group.append((kind, name))
        size += its_size
    if group:
        yield _text(sender, group)


def _text(sender: str, names: list[tuple[str, str]]) -> str:
    return json.dumps([sender, [name for kind, name in names if kind == "run"], [name for kind, name in names if kind == "app"]])
