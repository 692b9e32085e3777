"""An exported run back into an endpoint, equal to the run that was exported.

The batches of an import have a producer and numbers of their own, which follow from the files: an import that was cut off
continues when it is repeated, and one that is complete changes nothing.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from streamvis.errors import StreamvisError, UsageError
from streamvis.reading.connection import Connection
from streamvis.reading.export import MANIFEST, VERSION
from streamvis.reading.formats import EXACT, read_tables
from streamvis.reading.incremental_import import run_to_fill
from streamvis.reading.runs import Run
from streamvis.records import INTERRUPTED, STATES, Finish, Start
from streamvis.transport import path
from streamvis.wire.arrow import encode_columns, encode_control
from streamvis.wire.columns import ARRAY, JSON
from streamvis.wire.joining import join_rows

__all__ = ["exports_in", "import_run", "is_export"]

_BATCH_BYTES, _BATCH_CELLS = 8 * 2**20, 2**22


def is_export(folder: Path) -> bool:
    """Whether `streamvis export` wrote this folder, or some in it."""
    return (folder / MANIFEST).is_file() or next(folder.glob(f"*/{MANIFEST}"), None) is not None


def exports_in(folder: Path) -> list[Path]:
    """The folders of exported runs: `folder` itself, or those in it. Raises UsageError where there are none."""
    found = [folder] if (folder / MANIFEST).is_file() else sorted(one.parent for one in folder.glob(f"*/{MANIFEST}"))
    if not found:
        raise UsageError(f"{folder} has no exported run: there is no {MANIFEST} in it. `streamvis export` writes one.")
    return found


def import_run(connection: Connection, folder: Path, *, new_id: bool = False) -> tuple[str, bool]:
    """Store the exported run of `folder`; its id, and whether anything was stored.

    Raises UsageError when the files are not complete, not exact, or another run has that id already.
    """
    manifest = _manifest(folder)
    run = manifest["run"]
    its_id = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}" if new_id else run["run"]
    producer = f"import-{manifest['export']}"
    unfinished = f"Import {manifest['export']} is not complete: repeat it, or delete this run."
    found = run_to_fill(connection, its_id, otherwise="--new-id")
    if found is not None and found.about["note"] != unfinished:
        if _is_same(connection, found, manifest):
            return its_id, False
        raise UsageError(
            f"The endpoint at {connection.url} has another run {its_id!r}. Import with --new-id, or delete that run first."
        )
    start = Start(manifest["config"], run["created"], run["name"] if run["named"] else None, joins=True)
    ends = run["state"] in STATES[1:]
    finish = Finish(run["state"] if ends else INTERRUPTED, run["ended"] if ends and run["ended"] else run["updated"])
    params = {"app": run["app"], "producer": producer, "live": "false", "imported": "true", "dropped": run["dropped"]}
    _send(connection, its_id, {**params, "number": 1}, encode_control(start))
    connection.change("PATCH", "runs", its_id, run=its_id, body={"note": unfinished})
    number = 1
    for number, body in enumerate(_bodies(folder, manifest), start=2):
        _send(connection, its_id, {**params, "number": number}, body)
    _send(connection, its_id, {**params, "number": number + 1}, encode_control(finish))
    about = {name: run[name] for name in ("tags", "note", "color", "archived")}
    connection.change("PATCH", "runs", its_id, run=its_id, body=about)
    return its_id, True


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        version, format = manifest["streamvis_export"], manifest["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{folder / MANIFEST} cannot be read: {type(error).__name__}: {error}. Export the run again.") from error
    if version != VERSION:
        raise UsageError(f"{folder} was exported in version {version}; this Streamvis reads {VERSION}. Update streamvis.")
    if format not in EXACT:
        raise UsageError(f"{folder} is an export as {format}, which does not keep all types. Export with --format parquet.")
    return manifest


def _is_same(connection: Connection, run: Run, manifest: Mapping[str, Any]) -> bool:
    """Whether the run has what the manifest tells of: the same config, keys, and as many rows and values."""
    keys = {one["key"]: one for one in manifest["keys"]}
    if run.app != manifest["run"]["app"] or run.config_text != manifest["config"] or run.keys.keys() != keys.keys():
        return False
    for key, info in run.keys.items():
        its = keys[key]
        if info.kind != its["kind"]:
            return False
        if info.kind == "value":
            count, wanted = sum(1 for _ in run.value_bodies(key)), its["count"]
        else:
            params = {"key": key, "x": "row", "columns": list(info.columns)[:1], "buckets": 1}
            count = connection.json("runs", run.id, "history", run=run.id, params=params)["count"]
            wanted = sum(part["rows"] for part in its["parts"])
        if count != wanted:
            return False
    return True


def _bodies(folder: Path, manifest: Mapping[str, Any]) -> Iterator[bytes]:
    for its in manifest["keys"]:
        try:
            if its["kind"] == "rows":
                for part in its["parts"]:
                    for table in read_tables(folder / part["file"], manifest["format"]):
                        yield from _rows_bodies(its["key"], table, part["columns"])
            else:
                yield from _value_bodies(folder / its["file"])
        except (OSError, pa.ArrowException) as error:
            raise StreamvisError(f"The files of the key {its['key']!r} in {folder} cannot be read: {error}") from error


def _rows_bodies(key: str, table: pa.Table, columns: list[list[str]]) -> Iterator[bytes]:
    """Batches of rows with the names and types that they had in the run: a file may have coarser ones."""
    fields = [
        pa.field(name, column.type, metadata=JSON if dtype == "json" else ARRAY if dtype.startswith("array<") else None)
        for (name, dtype), column in zip(columns, table.columns[2:], strict=True)
    ]
    table = pa.table(table.columns, schema=pa.schema([*list(table.schema)[:2], *fields]))
    whole = join_rows([table], dict(columns))
    size = max(1, min(whole.num_rows, _BATCH_BYTES * whole.num_rows // max(1, whole.nbytes), _BATCH_CELLS // len(fields)))
    for start in range(0, whole.num_rows, size):
        piece = whole.slice(start, size).combine_chunks()
        made = [
            (field, column.combine_chunks() if column.num_chunks != 1 else column.chunk(0))
            for field, column in zip(list(piece.schema)[2:], piece.columns[2:], strict=True)
        ]
        steps, times = (piece.column(i).to_numpy() for i in (0, 1))
        yield encode_columns(key, steps, times, made).body


def _value_bodies(file: Path) -> Iterator[bytes]:
    with pa.OSFile(str(file)) as opened:
        begin = end = 0
        while end < opened.size():
            opened.seek(end)
            with pa.ipc.open_stream(opened) as stream:
                stream.read_all()
            at, end = end, opened.tell()
            if at > begin and end - begin > _BATCH_BYTES:
                opened.seek(begin)
                yield opened.read(at - begin)
                begin = at
        if end > begin:
            opened.seek(begin)
            yield opened.read(end - begin)


def _send(connection: Connection, run: str, params: Mapping[str, Any], body: bytes) -> None:
    answer = json.loads(connection.ask("POST", path("runs", run, "batches"), run=run, params=params, body=body).body)
    for one in answer["refused"]:
        raise UsageError(f"The endpoint refused the key {one['key']!r}: {one['reason']}")
