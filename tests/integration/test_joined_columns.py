"""A column whose cells no one type says exactly: whoever reads its rows, in whatever form, gets what REST gives."""

import csv
import datetime as dt
import itertools
import json

import numpy as np
import pyarrow as pa
import pytest

import streamvis
from streamvis import Client
from streamvis.reading.export import export_run
from streamvis.reading.importing import import_run
from streamvis.wire.columns import column_dtype
from streamvis.wire.jsonform import plain_cells
from support.cells import NANOSECONDS, as_moment

KINDS = {
    "large": [2**53 + 1, -(2**62) - 1],
    "largest": [2**64 - 1, 2**63],
    "negative": [-1, None],
    "fractions": [0.5, 1e300],
    "large arrays": [[2**53 + 1], [2**60 + 1, 1]],
    "fraction arrays": [[0.5], [1.5, 2.5]],
    "fine durations": [np.timedelta64(1, "ns"), np.timedelta64(-(10**18) - 1, "ns")],
    "far durations": [np.timedelta64(9 * 10**12, "s"), np.timedelta64(-3, "s")],
    "fine times": [np.datetime64(1, "ns"), np.datetime64(10**18 + 1, "ns")],
    "far times": [dt.datetime(9999, 1, 1), None],
    "zoned times": [dt.datetime(2026, 1, 1, tzinfo=dt.UTC), None],
    "texts": ["a", "PT1.5S"],
    "mixed": [{"a": 1}, 2.5],
}
PAIRS = [*itertools.combinations_with_replacement(KINDS, 2)]


def calls_of(one, other):
    """Cells of both kinds in one call, and in one call each."""
    return [[*KINDS[one], *KINDS[other]], KINDS[one], KINDS[other], KINDS[one]]


def meant(word, cells):
    """What the cells of strict JSON say, of a column with this dtype word."""
    if word.startswith("timedelta64"):
        return [None if cell is None else ("m", cell * NANOSECONDS[word[12:-1]]) for cell in cells]
    return [as_moment(cell) for cell in cells]


def in_table(table):
    """What the column v of a table says."""
    field, cells = table.schema.field("v"), []
    for chunk in table.column("v").chunks:
        cells += meant(column_dtype(field), plain_cells(field, chunk))
    return cells


@pytest.fixture(scope="module")
def run(shared_endpoint):
    """A run with a key for each pair of kinds."""
    with Client(shared_endpoint.url, "joined") as client:
        client.init({}, run="joined-1")
        for call in range(4):
            for one, other in PAIRS:
                client.sendl(call, f"{one}, {other}", {"v": calls_of(one, other)[call]})
            client.flush()
    with streamvis.open(shared_endpoint.url) as reader:
        yield reader.run("joined-1")


@pytest.fixture(scope="module")
def by_rest(run):
    """What REST says of each key, in JSON."""
    found, cursor, more = {}, None, True
    while more:
        piece = run._connection.json("runs", run.id, "tail", run=run.id, params={"after": cursor})
        cursor, more = piece["cursor"], piece["more"]
        for record in piece["records"]:
            column = record["columns"]["v"]
            found.setdefault(record["key"], []).extend(meant(column["dtype"], column["data"]))
    assert set(found) == {f"{one}, {other}" for one, other in PAIRS}
    return found


def test_rows_and_batches_say_what_rest_says(run, by_rest):
    for key, expected in by_rest.items():
        assert in_table(run.rows(key)) == expected, key
        batches = list(run.batches(key))
        assert [cell for batch in batches for cell in in_table(pa.Table.from_batches([batch]))] == expected, key


def test_who_follows_gets_what_rest_says(run, by_rest):
    found = {}
    for update in run.follow():
        found.setdefault(update.key, []).extend(in_table(update.rows))
    assert found == by_rest


def test_each_export_says_what_rest_says(run, by_rest, tmp_path):
    for format in ("jsonl", "csv"):
        folder = export_run(run, tmp_path / format, format=format)
        for its in json.loads((folder / "manifest.json").read_text())["keys"]:
            cells = []
            for part in its["parts"]:
                ((_, word),) = part["columns"]
                with (folder / part["file"]).open(newline="") as file:
                    rows = [json.loads(line) for line in file] if format == "jsonl" else list(csv.DictReader(file))
                cells += meant(word, [row["v"] for row in rows]) if format == "jsonl" else [row["v"] for row in rows]
            assert len(cells) == len(by_rest[its["key"]])
            assert format == "csv" or cells == by_rest[its["key"]], its["key"]


@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_an_import_of_the_export_says_what_rest_said(run, by_rest, tmp_path, format, start_endpoint):
    folder = export_run(run, tmp_path / format, format=format)
    with streamvis.open(start_endpoint().url) as other:
        import_run(other.connection, folder)
        for key, expected in by_rest.items():
            assert in_table(other.run(run.id).rows(key)) == expected, key
