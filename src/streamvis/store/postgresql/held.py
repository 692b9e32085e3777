"""What a transaction knows of the runs that it holds: rows that storing batches asks for, read for all of the batches at once.

While a run is held no one else changes it, its producers, or its keys, so what was read of them then stays true but for what the
transaction itself writes: `note` and `added_key` are told of that, and `forget` where it cannot be known.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from streamvis.records import Batch, RowsChunk, ValueChunk
from streamvis.store import statements as sql
from streamvis.store.postgresql.wording import in_words

__all__ = ["HOLD_BATCHES", "READ_HELD", "HeldRuns", "asked_of"]

# It waits for whoever holds the runs, and then finds them as they are. The rest is read by later statements, which see what the
# others committed: read by this one, it would be as it was before the wait.
HOLD_BATCHES = in_words(sql.GET_RUN).replace("runs.id = $1", "runs.id = ANY($1::text[]) ORDER BY runs.no FOR UPDATE OF runs")
# OFFSET makes the planner look up a row of each by both columns at once, which it does not by itself.
READ_HELD = """
SELECT TRUE, runs.no, of_run.id, of_run.number, of_run.seq, refused, warnings, of_run.dropped,
    attempts.no, began, resume_at, ends_at
FROM unnest($1::text[], $2::text[]) AS asked (run, producer) JOIN runs ON runs.id = asked.run
CROSS JOIN LATERAL (SELECT * FROM producers WHERE run = runs.no AND id = asked.producer OFFSET 0) AS of_run
LEFT JOIN attempts ON attempts.no = of_run.attempt
UNION ALL
SELECT FALSE, of_run.log, of_run.name, of_run.no, rows, kind, columns, newest_step, NULL, NULL, NULL, NULL
FROM unnest($3::text[], $4::text[]) AS asked (run, key) JOIN runs ON runs.id = asked.run
CROSS JOIN LATERAL (SELECT * FROM keys WHERE log = runs.log AND name = asked.key OFFSET 0) AS of_run
"""
"""Producers with their attempts, and keys."""
_SAVED = (4, 5, 7, 8, 9, 10, 11, 12, 15, 16, 17, 21)
"""Where GET_RUN gives what SAVE_RUN saves."""

Row = Sequence[Any]


def asked_of(batches: Sequence[Batch]) -> tuple[Sequence[str], ...]:
    """What storing these batches asks for: runs; producers, as runs and ids; keys, as runs and names. Each once."""
    producers = dict.fromkeys((batch.run, batch.producer) for batch in batches)
    chunks = ((batch.run, chunk) for batch in batches for chunk in batch.chunks)
    keys = dict.fromkeys((run, chunk.key) for run, chunk in chunks if isinstance(chunk, RowsChunk | ValueChunk))
    names = ([pair[i] for pair in pairs] for pairs in (producers, keys) for i in range(2))
    return list(dict.fromkeys(batch.run for batch in batches)), *names


class HeldRuns:
    """Rows of held runs, by the statement that asks for one and its values."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Know nothing any more."""
        self._runs: dict[Row, Row] = {}
        self._producers: dict[Row, Row] = {}
        self._attempts: dict[Row, Row] = {}
        self._keys: dict[Row, Row] = {}
        self._run_of: dict[int, Row] = {}
        self._key_of: dict[int, Row] = {}
        self._rows = {
            sql.GET_RUN_TO_CHANGE: self._runs,
            sql.GET_PRODUCER: self._producers,
            sql.GET_ATTEMPT_OF_PRODUCER: self._attempts,
            sql.GET_KEY: self._keys,
        }

    def take(self, runs: Iterable[Row], others: Iterable[Row]) -> None:
        """Know these, found by HOLD_BATCHES and READ_HELD. Of a run that was not held, nothing."""
        for row in runs:
            self._runs[row[1],] = row
            self._run_of[row[0]] = (row[1],)
        logs = {row[12] for row in self._runs.values()}
        for is_producer, of, name, *row in others:
            if is_producer and of in self._run_of:
                self._producers[of, name] = tuple(row[:5])
                if row[5] is not None:
                    self._attempts[of, name] = tuple(row[5:])
            elif not is_producer and of in logs:
                no, rows, kind, columns, newest_step = row[:5]
                self._keys[of, name] = (no, kind, columns, newest_step, rows)
                self._key_of[no] = (of, name)

    def added_key(self, no: int, log: int, name: str, kind: str, columns: str) -> None:
        """Know a key that the transaction has just added, with the values of `sql.ADD_KEY`."""
        self._keys[log, name] = (no, kind, columns, None, 0)
        self._key_of[no] = (log, name)

    def answer(self, statement: str, given: Row) -> Row | None:
        """The row that the statement finds, where it is known."""
        rows = self._rows.get(statement)
        return rows.get(tuple(given)) if rows else None

    def note(self, statement: str, given: Row) -> None:
        """One of `many_rows.KEPT` is to be written."""
        if statement == sql.SAVE_RUN and (run := self._run_of.get(given[-1])) is not None:
            row = list(self._runs[run])
            for place, value in zip(_SAVED, given[:-1], strict=True):
                row[place] = value
            self._runs[run] = tuple(row)
        elif statement == sql.SAVE_NUMBER:
            self._producers[given[0], given[1]] = tuple(given[2:])
        elif statement == sql.ADD_KEY_ROWS and (key := self._key_of.get(given[0])) is not None:
            no, kind, _, newest_step, rows = self._keys[key]
            self._keys[key] = (no, kind, given[1], newest_step, rows + given[2])
        elif statement == sql.SET_KEY_NEWEST and (key := self._key_of.get(given[-1])) is not None:
            no, kind, columns, _, rows = self._keys[key]
            self._keys[key] = (no, kind, columns, given[0], rows)
