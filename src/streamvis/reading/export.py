"""A run as a folder of files: its rows, values, config and description, and `manifest.json`, which says what is in them.

    RUN/manifest.json          what the run is, its config in stored form, and the files of each key
    RUN/config.json            the config, as plain JSON
    RUN/KEY.parquet            rows of a key (or .arrow, .csv, .jsonl)
    RUN/KEY.values.arrows      values of a key, as they are stored, one after another; .jsonl in the formats that are text

The folder appears when it is complete. Memory is bounded, however long the run.
"""

from __future__ import annotations

import json
import re
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from streamvis.errors import UsageError
from streamvis.reading.formats import EXACT, FORMATS, write_rows, write_values
from streamvis.reading.runs import Run
from streamvis.wire.tree import to_plain

__all__ = ["MANIFEST", "VERSION", "export_run"]

MANIFEST, VERSION = "manifest.json", 1
_NOT_IN_FILES = re.compile(r"[^\w.-]+", re.ASCII)
_MOST_CHARS = 60


def export_run(run: Run, folder: Path, *, format: str = "parquet", on_key: Callable[[str], None] = lambda key: None) -> Path:
    """Write all that the run has into a new folder `folder`/ID, and return that. `on_key` is told each key before it is read.

    Raises UsageError where that folder is there already.
    """
    if format not in FORMATS:
        raise UsageError(f"There is no format {format!r}. Choose one of {', '.join(FORMATS)}.")
    target = folder / run.id
    if target.exists():
        raise UsageError(f"{target} exists already. Choose another folder, or delete this one first.")
    part = folder / f".{run.id}.{uuid.uuid4().hex[:8]}.part"
    part.mkdir(parents=True)
    try:
        _write(run, part, format, on_key)
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return target


def _write(run: Run, folder: Path, format: str, on_key: Callable[[str], None]) -> None:
    names: set[str] = {MANIFEST, "config.json"}
    keys = []
    for key, info in run.keys.items():
        on_key(key)
        if info.kind == "rows":
            columns = list(info.columns)
            batches = run.batches(key, columns=columns)
            parts = write_rows(batches, format, lambda _, key=key: folder / _file(key, names, format))
            # By position: the manifest has the names that the columns have in the run.
            keys.append({"key": key, "kind": "rows", "parts": _with_own_names(parts, columns)})
        else:
            path = folder / _file(key, names, "values.arrows" if format in EXACT else "values.jsonl")
            values = run.value_bodies(key) if format in EXACT else run.values(key)
            keys.append({"key": key, "kind": "value", "file": path.name, "count": write_values(values, format, path)})
    about = {name: value for name, value in run.about.items() if name not in ("cursor", "config", "keys", "columns", "newest")}
    manifest: dict[str, Any] = {"streamvis_export": VERSION, "export": uuid.uuid4().hex, "format": format}
    manifest |= {"run": about, "config": run.config_text, "keys": keys}
    (folder / "config.json").write_text(json.dumps(to_plain(run.config), indent=2, ensure_ascii=True))
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=True))


def _with_own_names(parts: list[dict[str, Any]], columns: list[str]) -> list[dict[str, Any]]:
    for part in parts:
        part["columns"] = [[name, dtype] for name, (_, dtype) in zip(columns, part["columns"], strict=True)]
    return parts


def _file(key: str, names: set[str], suffix: str) -> str:
    """A file's name for the key, which no other file of the folder has, whether or not the file system knows upper case."""
    stem = _NOT_IN_FILES.sub("_", key)[:_MOST_CHARS].strip("._") or "key"
    name, count = f"{stem}.{suffix}", 1
    while name.lower() in names:
        count += 1
        name = f"{stem}-{count}.{suffix}"
    names.add(name.lower())
    return name
