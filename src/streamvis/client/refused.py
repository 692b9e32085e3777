"""Batches that an endpoint refused permanently: each a frame in the folder `refused` beside the spools, and a text that says why.

No one delivers them unless asked to. The folder is bounded: what comes after is not kept.
"""

from __future__ import annotations

import os
from pathlib import Path

from streamvis.client.frames import Outgoing, frame_of, open_segment
from streamvis.client.spool import SEGMENTS

__all__ = ["REFUSED", "forget_refused", "keep_damaged", "refused_in", "set_aside"]

REFUSED = "refused"
_MAX_FILES = 1000
_MAX_BYTES = 256 * 2**20


def set_aside(folder: Path, batch: Outgoing, reason: str, *, max_bytes: int = _MAX_BYTES) -> Path | None:
    """Keep a batch that was refused, and why, in a folder of spools; where. None where there is no room for it."""
    frame = frame_of(batch)
    text = f"run {batch.run}, app {batch.app}, {batch.records} records: {reason}\n"
    return _keep(folder, f"{batch.producer}-{batch.number}.spool", frame, text, max_bytes=max_bytes)


def keep_damaged(folder: Path, segment: Path, *, max_bytes: int = _MAX_BYTES) -> Path | None:
    """Keep a copy of a segment in which something cannot be read; where. None where there is no room for it."""
    text = f"{segment} is damaged. All batches that could be read were delivered.\n"
    name = f"{segment.parent.name}-{segment.stem}.damaged"
    with open_segment(segment) as file:
        content = file.read()
    return _keep(folder, name, content, text, max_bytes=max_bytes)


def refused_in(folder: Path) -> list[Path]:
    """The files with batches that were set aside, oldest producer first."""
    return sorted((folder / REFUSED).glob(SEGMENTS))


def forget_refused(path: Path) -> None:
    """It was taken after all."""
    for one in (path, path.with_suffix(".txt")):
        one.unlink(missing_ok=True)


def _keep(folder: Path, name: str, content: bytes, text: str, *, max_bytes: int) -> Path | None:
    refused = folder / REFUSED
    path = refused / name
    try:
        refused.mkdir(parents=True, exist_ok=True, mode=0o700)
        sizes = [one.stat().st_size for one in refused.iterdir() if one.suffix != ".txt" and one != path]
        if len(sizes) >= _MAX_FILES or sum(sizes) + len(content) > max_bytes:
            return None
        _write(path, content)
        _write(path.with_suffix(".txt"), text.encode())
    except OSError:
        path.unlink(missing_ok=True)
        return None
    return path


def _write(path: Path, content: bytes) -> None:
    """Write a new file for its owner alone: where a link has its name, that goes, and not what it leads to."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600), "wb") as file:
        file.write(content)
