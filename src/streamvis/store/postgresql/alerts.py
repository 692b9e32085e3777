"""The journal of alerts of endpoints on one database: a table, in which it is decided which endpoint posts an alert.

An endpoint takes an alert for two minutes at a time, by the database's clock. If it dies meanwhile, another one takes the alert
after that. Nothing is kept in a session, so that a pooler may be between.
"""

from __future__ import annotations

import json
import logging
import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TypeVar

import psycopg

from streamvis.alerts import MOST_WAITING, Alert
from streamvis.store.postgresql.connections import Connections
from streamvis.store.postgresql.transaction import PostgresDatabase

__all__ = ["AlertTable"]

_log = logging.getLogger("streamvis")

_HELD_S = 60.0
"""After so long, an alert of which it is not known whether its batch was stored is due: its endpoint has died."""
_TAKEN_S = 120.0
"""Longer than a webhook is waited for, and than the time between two tries."""
_LOOK_AGAIN_S = 10.0
_KEEP_NOTES_S = 7 * 24 * 3600.0
"""How long it is known that an alert was posted: a batch that is sent again brings its alerts along."""

_NOW = "extract(epoch FROM clock_timestamp())::float8"
_ADD = f"""
INSERT INTO alerts (id, alert, since, due, state)
SELECT id, alert, {_NOW}, {_NOW} + $3::float8, $4 FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS given (id, alert, place)
ORDER BY place
ON CONFLICT (id) DO UPDATE SET due = excluded.due, state = excluded.state WHERE alerts.state = 'held'
RETURNING id
"""
_COUNT = "SELECT count(*) FROM alerts WHERE state IN ('held', 'due')"
_FORGET = "DELETE FROM alerts WHERE id = ANY($1::text[]) AND state = 'held'"
_TAKE = f"""
UPDATE alerts SET state = 'due', holder = $1, due = {_NOW} + $2::float8 WHERE id = (
    SELECT id FROM alerts WHERE state IN ('held', 'due') AND due <= {_NOW} ORDER BY no LIMIT 1 FOR UPDATE SKIP LOCKED
) RETURNING alert, since
"""
_KEEP = f"UPDATE alerts SET due = {_NOW} + $3::float8 WHERE id = $1 AND holder = $2 AND state = 'due' RETURNING 1"
_SETTLE = f"UPDATE alerts SET state = 'settled', due = {_NOW} WHERE id = ANY($1::text[])"
_FORGET_SETTLED = f"DELETE FROM alerts WHERE state = 'settled' AND due < {_NOW} - $1::float8"

Result = TypeVar("Result")


class AlertTable:
    """See `streamvis.alerts.AlertJournal`. From any thread, and for any number of endpoints."""

    look_again_s = _LOOK_AGAIN_S

    def __init__(self, writers: Connections) -> None:
        self._writers = writers
        self._holder = uuid.uuid4().hex
        self._lock = threading.Lock()
        self._unsaved: set[str] = set()
        self._is_away = False

    @property
    def waiting(self) -> int:
        """How many alerts are to be posted."""
        return self._done(lambda db: db.execute(_COUNT).fetchone()[0], otherwise=0)

    def expect(self, alerts: Sequence[Alert]) -> Sequence[Alert]:
        """Note alerts whose batch is about to be stored, and return those that are to be released or forgotten."""

        def note(db: PostgresDatabase) -> set[str]:
            if db.execute(_COUNT).fetchone()[0] + len(alerts) > MOST_WAITING:
                _log.warning("%d alerts are dropped: too many wait for the webhook", len(alerts))
                return set()
            return _added(db, alerts, "held", due_in_s=_HELD_S)

        # Where they cannot be noted now, they are when their batch is stored.
        given = {one.id: one for one in alerts}
        noted = self._done(note, otherwise=given.keys())
        return [one for id, one in given.items() if id in noted]

    def release(self, alerts: Sequence[Alert]) -> None:
        """Their batch is stored: they are due."""
        self._done(lambda db: _added(db, alerts, "due", due_in_s=0.0), otherwise=None)

    def forget(self, alerts: Sequence[Alert]) -> None:
        """Their batch is not stored: those that another request of the same batch released stay."""
        self._done(lambda db: db.execute(_FORGET, ([one.id for one in alerts],)), otherwise=None)

    def take(self) -> tuple[Alert, float] | None:
        """The alert to be posted next, and since when it is known. No other endpoint takes it meanwhile."""
        self._save()
        found = self._done(lambda db: db.execute(_TAKE, (self._holder, _TAKEN_S)).fetchone(), otherwise=None)
        return None if found is None else (Alert(**json.loads(found[0])), found[1])

    def keep(self, alert: Alert) -> bool:
        """Take the alert for longer; whether it is still this endpoint's to post. If the database does not answer, it is not."""
        given = (alert.id, self._holder, _TAKEN_S)
        return self._done(lambda db: db.execute(_KEEP, given).fetchone() is not None, otherwise=False)

    def settle(self, alert: Alert, *, is_posted: bool) -> None:
        """It was posted, or is dropped."""
        with self._lock:
            self._unsaved.add(alert.id)
        self._save()

    def _save(self) -> None:
        """Write down what is settled; where that is not possible now, the next time."""
        with self._lock:
            settled = sorted(self._unsaved)
        if not settled:
            return

        def save(db: PostgresDatabase) -> bool:
            db.execute(_SETTLE, (settled,))
            db.execute(_FORGET_SETTLED, (_KEEP_NOTES_S,))
            return True

        if self._done(save, otherwise=False):
            with self._lock:
                self._unsaved.difference_update(settled)

    def _done(self, work: Callable[[PostgresDatabase], Result], *, otherwise: Result) -> Result:
        try:
            with self._writers.transaction() as db:
                done = work(db)
            self._is_away = False
            return done
        except psycopg.Error as error:
            if not self._is_away:
                _log.warning("alerts cannot be noted in the database now: %s", " ".join(str(error).split()))
            self._is_away = True
            return otherwise


def _added(db: PostgresDatabase, alerts: Sequence[Alert], state: str, *, due_in_s: float) -> set[str]:
    """Add those that are not there, or only held; their ids."""
    given = {one.id: json.dumps(asdict(one)) for one in alerts}
    found = db.execute(_ADD, (list(given), list(given.values()), due_in_s, state)).fetchall()
    return {id for (id,) in found}
