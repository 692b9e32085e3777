"""What a transaction on PostgreSQL keeps, to write many rows at once, is bounded and written in the order in which it came."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from streamvis.store import statements as sql

transaction = pytest.importorskip("streamvis.store.postgresql.transaction")


class Pipeline:
    """One in which nothing waits."""

    def sync(self):
        pass


class Connection:
    """One whose server takes all at once."""

    pgconn = SimpleNamespace(transaction_status=None)

    def wait(self, sending):
        sending.close()


class Recorded(transaction.WritingDatabase):
    """A transaction that notes what it would send."""

    def __init__(self):
        super().__init__(Connection(), Pipeline())
        self.sent, self.most_bytes = [], 0

    def execute(self, statement, given=(), /):
        found = super().execute(statement, given)
        self.most_bytes = max(self.most_bytes, sum(len(row[-1]) for _, row in self._kept))
        return found

    def _write(self, kept):
        self.sent += [row[1] for _, row in kept]

    def _run(self, statement, given):
        self.sent.append(statement)

    def _set(self, statement):
        self.sent.append(statement)


def value(step, size):
    return sql.SAVE_VALUE, (1, step, 1, 0.0, size, 0, b"x" * size)


def test_bodies_are_kept_up_to_a_limit_and_then_sent():
    db = Recorded()
    for step in range(40):
        db.execute(*value(step, 2**20))
    assert db.most_bytes <= transaction._KEPT_BYTES and len(db.sent) == 34
    db.write_kept()
    assert db.sent == list(range(40))


def test_what_is_sent_early_stays_behind_its_savepoint():
    db = Recorded()
    db.execute(*value(0, 1))
    db.execute("SAVEPOINT batch_1")
    for step in range(1, 19):
        db.execute(*value(step, 2**20))
    assert db.sent[:3] == [0, "SAVEPOINT batch_1", 1]
    db.execute("ROLLBACK TO batch_1")
    db.execute("RELEASE batch_1")
    db.write_kept()
    assert 18 not in db.sent and db.sent[-2:] == ["ROLLBACK TO batch_1", "RELEASE batch_1"]
