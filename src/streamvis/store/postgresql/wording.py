"""What PostgreSQL says otherwise than the statements of `store.statements`, which are SQLite's.

Of most statements nothing but the places of the values differs. `in_words` changes what else does, piece by piece; a test has
PostgreSQL prepare each of them.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, LiteralString, cast

from streamvis.store import statements as sql

__all__ = ["found_by", "given_to", "in_words", "own"]

_PIECES = {
    "apps.newest IS runs.no": "apps.newest IS NOT DISTINCT FROM runs.no",
    "runs.no IS NOT apps.newest": "runs.no IS DISTINCT FROM apps.newest",
    "CROSS JOIN apps": "JOIN apps",
    "min(last_seq, ?3)": "least(last_seq, ?3)",
    "min(coalesce(ends_at, ?1), ?1)": "least(coalesce(ends_at, ?1), ?1)",
    "max(1, count(*)), coalesce(sum(size), 0)": "greatest(1, count(*)), coalesce(sum(size), 0)::bigint",
    "(SELECT sum(seq) FROM apps)": "(SELECT sum(seq)::bigint FROM apps)",
    "SELECT coalesce(sum(size), 0) FROM key_values": "SELECT coalesce(sum(size), 0)::bigint FROM key_values",
    "coalesce(sum(pending), 0)": "coalesce(sum(pending), 0)::bigint",
    "?1 IS NULL": "?1::text IS NULL",
    "?5 IS NULL": "?5::text IS NULL",
    "?7 IS NULL": "?7::bigint IS NULL",
    "max(due, pending + ?5 >= ?6, rows + ?3 - sealed >= ?7, open_bytes + ?4 >= ?8, sealed - summed >= ?9)": (
        "(due = 1 OR pending + ?5 >= ?6 OR rows + ?3 - sealed >= ?7 OR open_bytes + ?4 >= ?8 OR sealed - summed >= ?9)::int"
    ),
    "pending > 0 AND max(pending >= ?2, rows - sealed >= ?3, open_bytes >= ?4, sealed - summed >= ?5)": (
        "(pending > 0 AND (pending >= ?2 OR rows - sealed >= ?3 OR open_bytes >= ?4 OR sealed - summed >= ?5))::int"
    ),
    "json_each(?3) JOIN": "(SELECT json_array_elements_text(?3::json)::bigint AS value) AS json_each JOIN",
    "INSERT OR REPLACE INTO digests": "INSERT INTO digests",
    "kind = 'rows' AND digested < rows AND dropped": "undigested = 1 AND dropped",
}
_ENDINGS = {
    **dict.fromkeys((sql.ADD_LOG, sql.ADD_RUN, sql.ADD_ATTEMPT, sql.ADD_KEY, sql.ADD_CUT), "RETURNING no"),
    # A run that was not there yet when runs were held: another endpoint may have made it since.
    sql.GET_RUN_TO_CHANGE: "FOR UPDATE OF runs",
    # Live starts of an app are counted one after another.
    sql.GET_APP: "FOR UPDATE",
    sql.SAVE_DIGEST: """
ON CONFLICT (key, "column") DO UPDATE SET count = excluded.count, last = excluded.last, last_step = excluded.last_step,
    min = excluded.min, min_step = excluded.min_step, max = excluded.max, max_step = excluded.max_step
""",
}
_AMONG = re.compile(r"([\w.]+) (NOT )?IN \(SELECT value FROM json_each\((\?\d*)\)\)")
_TEXTS = {"id", "name", "runs.id"}
_PLACE = re.compile(r"\?(\d*)")


def own(statement: str) -> LiteralString:
    """The statement, as psycopg's types ask for it: one of ours, put together of texts and names in which nothing can hide."""
    return cast(LiteralString, statement)


@lru_cache(maxsize=1000)
def in_words(statement: str) -> str:
    """The statement as PostgreSQL wants it, with places `$1`, `$2` and so on."""
    text = f"{statement.rstrip()} {_ENDINGS[statement]}" if statement in _ENDINGS else statement
    for piece, words in _PIECES.items():
        text = text.replace(piece, words)
    text = _AMONG.sub(_among, text)
    count = itertools.count(1)
    return _PLACE.sub(lambda found: f"${found[1] or next(count)}", text)


def _among(found: re.Match[str]) -> str:
    column, is_not, place = found.groups()
    kind = "text" if column in _TEXTS else "bigint"
    listed = f"(ARRAY(SELECT json_array_elements_text({place}::json)::{kind}))"
    return f"{column} <> ALL {listed}" if is_not else f"{column} = ANY {listed}"


def given_to(statement: str, given: Sequence[Any]) -> Sequence[Any]:
    """The values of a statement as its columns hold them."""
    if statement != sql.SAVE_DIGEST:
        return given
    key, column, count, last, last_step, lowest, min_step, highest, max_step = given
    return (key, column, count, _text(last), last_step, _text(lowest), min_step, _text(highest), max_step)


def found_by(statement: str) -> Callable[[Sequence[Any]], tuple[Any, ...]] | None:
    """What makes a row that this statement finds what SQLite gives, where it is not."""
    return _digest if statement in (sql.GET_DIGESTS, sql.GET_DIGESTS_OF_LOGS) else None


def _text(number: float | int | None) -> str | None:
    return None if number is None or math.isnan(number) else repr(number)


def _digest(row: Sequence[Any]) -> tuple[Any, ...]:
    of, count, last, last_step, lowest, min_step, highest, max_step = row
    return (of, count, _number(last), last_step, _number(lowest), min_step, _number(highest), max_step)


def _number(text: str | None) -> float | int | None:
    if text is None:
        return None
    return int(text) if text.lstrip("-").isdecimal() else float(text)
