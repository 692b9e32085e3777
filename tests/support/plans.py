"""PostgreSQL's plans for the statements of the store, and which of them read through a table."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from streamvis.store import statements as sql
from streamvis.store.postgresql import held, many_rows, transaction
from streamvis.store.postgresql import store as store_module
from streamvis.store.postgresql.store import PostgresStore
from streamvis.store.postgresql.transaction import PostgresDatabase
from streamvis.store.postgresql.wording import in_words

__all__ = ["ALL_STATEMENTS", "SMALL", "STATEMENTS", "read_through", "scanned"]

STATEMENTS = [text for name, text in vars(sql).items() if isinstance(text, str) and name.isupper() and name[0] != "_"]
"""Those of every store, as SQLite says them."""
ALL_STATEMENTS = [
    *map(in_words, STATEMENTS),
    *(held.HOLD_BATCHES, held.READ_HELD),
    *(transaction.HOLD_RUNS, transaction.HOLD_LOGS, transaction.ADD_APPS, transaction.DROP_APPS, transaction.HOLD_APPS),
    *(store_module.HEARD, store_module.GET_HEARD),
    *map(many_rows.text_for_many, many_rows.FOR_MANY),
    many_rows.text_for_many(*sorted(many_rows.KEPT)),
]
"""All that an endpoint asks for, as PostgreSQL says it."""
SMALL = {"meta", "apps", "heard"}
"""Tables that do not grow with what is stored: of the last it forgets those who were not heard of lately."""
# Plans for these are made with what is asked for: few runs are running.
_GIVEN = {in_words(sql.GET_AWAITED): "('running')", store_module.GET_HEARD: "(4.5, 'running')"}
# An index that is read from its beginning is as long as its table, unless it holds only some rows, such as those to tidy.
_PARTIAL = re.compile(r"keys_due|keys_undigested|logs_dropped|runs_restorable")


def scanned(store: PostgresStore, *, but: Collection[str] = ()) -> dict[str, set[str]]:
    """The statements that read through a table that grows, with these tables; those of `but` may be read through."""
    found = {text: set(read_through(store, text)).difference(SMALL, but) for text in ALL_STATEMENTS}
    return {text: tables for text, tables in found.items() if tables}


def read_through(store: PostgresStore, text: str) -> list[str]:
    """Tables of which a statement, which is in PostgreSQL's words, reads more than what it asks for.

    What only reads is planned as for readers.
    """
    with store._reading() if text.lstrip("-\n ").startswith(("SELECT", "Held")) else _writing(store) as db:
        db.execute(f"PREPARE tried AS {text}")
        places = max(map(int, re.findall(r"\$(\d+)", text)), default=0)
        given = _GIVEN.get(text, f"({', '.join(['NULL'] * places)})" if places else "")
        db.execute(f"SET LOCAL plan_cache_mode = {'auto' if text in _GIVEN else 'force_generic_plan'}")
        ((plan,),) = db.execute(f"EXPLAIN (FORMAT JSON) EXECUTE tried{given}").fetchall()
        db.execute("DEALLOCATE tried")
    nodes = [plan[0]["Plan"]]
    for node in nodes:
        nodes += node.get("Plans", ())
    return [
        node["Relation Name"]
        for node in nodes
        if node["Node Type"] == "Seq Scan"
        or (node["Node Type"].startswith("Index") and "Index Cond" not in node and not _PARTIAL.fullmatch(node["Index Name"]))
    ]


@contextmanager
def _writing(store: PostgresStore) -> Iterator[PostgresDatabase]:
    with store._writing() as (db, _):
        yield db
