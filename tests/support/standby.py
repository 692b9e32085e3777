"""Two real PostgreSQL servers, of which one is the synchronous standby of the other and is promoted when that one fails."""

from __future__ import annotations

from support.conditions import wait_until
from support.postgresql import PostgresServer

__all__ = ["StandbyPair"]

_REPLICATED = {"wal_level": "replica", "max_wal_senders": "5", "hot_standby": "on", "wal_receiver_status_interval": "1s"}


class StandbyPair:
    """A primary and its synchronous standby. Their address stays the same: libpq finds which takes writes."""

    def __init__(self, **settings: str) -> None:
        self._settings = {**_REPLICATED, **settings}
        self._primary = PostgresServer(**self._settings)
        self._standby = PostgresServer(standby_of=self._primary, **self._settings)
        self._wait_for_standby()

    @property
    def address(self) -> str:
        """Where clients find whichever is the primary."""
        hosts = ",".join(sorted(str(server.folder) for server in (self._primary, self._standby)))
        return f"postgresql://postgres@/postgres?host={hosts}&target_session_attrs=read-write"

    def execute(self, statement: str, *given: object) -> list[tuple[object, ...]]:
        """Run a statement at the primary as the superuser."""
        return self._primary.execute(statement, *given)

    def end(self) -> None:
        """End the primary at once, as by a crash."""
        self._primary.end()

    def start(self) -> None:
        """Start the primary again."""
        self._primary.start()

    def fail_over(self) -> None:
        """End the primary at once, and promote the standby."""
        self._primary.end()
        self._standby.execute("SELECT pg_promote()")
        self._primary, self._standby = self._standby, self._primary

    def rejoin(self) -> None:
        """Make what was the primary before into the standby, from a new copy."""
        self._standby.follow(self._primary)
        self._wait_for_standby()

    def remove(self) -> None:
        """End both, and remove all they had."""
        self._standby.remove()
        self._primary.remove()

    def _wait_for_standby(self) -> None:
        """From now on, no commit without it."""
        streaming = "SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'"
        wait_until(lambda: self.execute(streaming), what="the standby to stream")
        self.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.execute("SELECT pg_reload_conf()")
        is_synchronous = "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"
        wait_until(lambda: self.execute(is_synchronous), what="the standby to be synchronous")
