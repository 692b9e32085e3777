"""A key's rows as Arrow tables: every row in log order, or, of runs too long to draw, the rows that show its extremes.

The first columns are `step` and `time` (seconds since 1970 UTC). A column of the key that has one of these names is called
`.step` or `.time`. A cell that is missing is null, and a NaN that was sent is NaN. No cell is changed on the way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from streamvis.errors import StreamvisError, UnknownKey, UsageError
from streamvis.reading.connection import Connection, near
from streamvis.wire.arrow import table_of
from streamvis.wire.columns import column_dtype, unify_dtypes
from streamvis.wire.joining import join_rows

__all__ = ["ChangedWhileReading", "Steps", "named", "read_batches", "read_history", "read_rows", "stacked"]

Steps = tuple[int | None, int | None]
"""First and last step, both included; None for no limit."""
_BEGIN = ("step", "time")
_PIECES_TRIED = 5
_BATCH_ROWS = 2**16


class ChangedWhileReading(StreamvisError):
    """The run's past was taken back (cleared, resumed or restored) while it was being read."""

    def __init__(self, run: str) -> None:
        self.run = run
        super().__init__(f"The run {run!r} was cleared or resumed while it was being read. Read it again.")


def read_rows(
    connection: Connection, run: str, key: str, *, columns: Sequence[str] | None = None, steps: Steps | None = None
) -> pa.Table:
    """All rows of the key, as one table. Raises UnknownKey, or UsageError for columns that it does not have."""
    for _ in range(_PIECES_TRIED):
        dtypes = _dtypes(connection, run, key, columns)
        try:
            pieces = list(_pieces(connection, run, key, dtypes, steps))
        except ChangedWhileReading:
            continue
        return named(join_rows(pieces, dtypes))
    raise ChangedWhileReading(run)


def read_batches(
    connection: Connection, run: str, key: str, *, columns: Sequence[str] | None = None, steps: Steps | None = None
) -> Iterator[pa.RecordBatch]:
    """The rows of the key that are there now, a few megabytes at a time. All batches have one schema, but where cells of a column
    fit no one type exactly: from there on it is JSON text.

    Raises ChangedWhileReading when what was given out before is no longer the run's past.
    """
    dtypes = _dtypes(connection, run, key, columns)
    for piece in _pieces(connection, run, key, dtypes, steps):
        yield from named(join_rows([piece], dtypes)).combine_chunks().to_batches(max_chunksize=_BATCH_ROWS)


def read_history(
    connection: Connection, run: str, key: str, *, columns: Sequence[str] | None, steps: Steps | None, buckets: int
) -> pa.Table:
    """Of each of `buckets` equal ranges of steps, the rows with the lowest and highest value of each column."""
    wanted = list(_dtypes(connection, run, key, columns))
    first, last = steps or (None, None)
    params = {"key": key, "x": "step", "columns": wanted, "from": first, "to": last, "buckets": buckets}
    _, table = table_of(connection.arrow("runs", run, "history", run=run, key=key, params=params))
    table = table.remove_column(0).replace_schema_metadata(None)
    places = {name: i for i, name in enumerate(table.column_names) if i > 1}
    table = table.select([0, 1, *(places[name] for name in wanted if name in places)])
    if steps is not None:
        table = _within(table, steps)
    return named(table)


def named(table: pa.Table, begin: Sequence[str] = _BEGIN) -> pa.Table:
    """The table with a name of its own for each column: those of the key that are called as the first ones get a dot in front."""
    taken, names = set(table.column_names[len(begin) :]), list(begin)
    for name in table.column_names[len(begin) :]:
        made = name
        while made in begin or (made != name and made in taken):
            made = f".{made}"
        names.append(made)
    return table.rename_columns(names)


def _dtypes(connection: Connection, run: str, key: str, columns: Sequence[str] | None) -> Mapping[str, str]:
    keys = connection.json("runs", run, run=run)["keys"]
    if key not in keys:
        raise UnknownKey(run, key, near=near(key, keys), listing="run.keys")
    its = keys[key]
    if its["kind"] != "rows":
        raise UsageError(f"The key {key!r} holds values, not rows. Read them with value() or values().")
    if columns is None:
        return its["columns"]
    columns = [columns] if isinstance(columns, str) else columns
    for name in columns:
        if name not in its["columns"]:
            like = near(name, its["columns"])
            hint = f" Did you mean {' or '.join(map(repr, like))}?" if like else f" It has {', '.join(its['columns'])[:500]}."
            raise UsageError(f"The key {key!r} has no column {name!r}.{hint}")
    return {name: its["columns"][name] for name in columns}


def _pieces(connection: Connection, run: str, key: str, dtypes: Mapping[str, str], steps: Steps | None) -> Iterator[pa.Table]:
    """Tables of rows as they are stored, up to the end that the log has now."""
    until = connection.json("runs", run, run=run)["cursor"]
    cursor: str | None = None
    while True:
        piece = connection.tail(run, after=cursor, until=until, only=[key], kind="rows")
        if piece.restart or _epoch(piece.cursor) != _epoch(until):
            raise ChangedWhileReading(run)
        tables = [_chosen(table, dtypes) for _, table in piece.items]
        tables = [_within(table, steps) for table in tables] if steps is not None else tables
        if any(table.num_rows for table in tables):
            yield join_rows(tables, dtypes)
        cursor = piece.cursor
        if not piece.more:
            return


def _epoch(cursor: str) -> str:
    return cursor.rpartition(".")[0]


def _chosen(table: pa.Table, dtypes: Mapping[str, str]) -> pa.Table:
    return table.select([0, 1, *(i for i, name in enumerate(table.column_names) if i > 1 and name in dtypes)])


def _within(table: pa.Table, steps: Steps) -> pa.Table:
    first, last = steps
    its = table.column(0).to_numpy()
    keep = its >= (first if first is not None else 0)
    return table.filter(pa.array(keep if last is None else keep & (its <= last)))


def stacked(runs: Sequence[str], tables: Sequence[pa.Table]) -> pa.Table:
    """The tables of several runs, one below the other, after a column `run`."""
    words: dict[str, str] = {}
    for table in tables:
        for field in list(table.schema)[2:]:
            word = column_dtype(field)
            words[field.name] = unify_dtypes(words[field.name], word) if field.name in words else word
    whole = join_rows(tables, words)
    ids = [pa.array([run] * table.num_rows, pa.string()) for run, table in zip(runs, tables, strict=True)]
    whole = whole.add_column(0, pa.field("run", pa.string()), pa.chunked_array(ids, pa.string()))
    return named(whole, ("run", *_BEGIN))
