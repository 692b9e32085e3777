"""The plans that SQLite makes for the statements of the store: none reads through a table that grows."""

from __future__ import annotations

import re
import sqlite3

import pytest

from streamvis.store import statements as sql
from streamvis.store.schema import SCHEMA

STATEMENTS = {
    name: text for name, text in vars(sql).items() if isinstance(text, str) and name.isupper() and not name.startswith("_")
}
GROWING = ("runs", "configs", "logs", "producers", "attempts", "stretches", "cuts", "keys", "chunks", "summaries", "key_values")


def plan_of(text):
    db = sqlite3.connect(":memory:")
    db.executescript(SCHEMA)
    numbered = [int(number) for number in re.findall(r"\?(\d+)", text)]
    parameters = [None] * (max(numbered) if numbered else text.count("?"))
    return [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {text}", parameters)]


def scanned(text):
    """The growing tables that a statement reads from one end to the other, or sorts."""
    told = "\n".join(plan_of(text))
    found = [table for table in GROWING if re.search(rf"SCAN {table}\b", told)]
    return found + (["an index made for the statement alone"] if "AUTOMATIC" in told else [])


@pytest.mark.parametrize("name", STATEMENTS)
def test_no_statement_reads_through_a_table_that_grows(name):
    assert not scanned(STATEMENTS[name])


def test_a_statement_that_does_is_found():
    assert scanned("SELECT id FROM runs ORDER BY created") == ["runs"]
    assert scanned("SELECT count(*) FROM chunks WHERE size > 1") == ["chunks"]
    assert not scanned("SELECT id FROM runs WHERE no = 1")


def test_lists_of_runs_are_in_order_by_an_index():
    assert not any("TEMP B-TREE" in line for line in plan_of(sql.GET_RUNS_OF_APP))
