"""Writing to files so that neither a full disk nor a crash leaves half of something."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

__all__ = ["sync_folder", "write_whole"]


def write_whole(file: BinaryIO, content: bytes) -> bool:
    """Write at the end, all or nothing: half a frame would hide those after it. False where there is no room."""
    offset = file.tell()
    try:
        if file.write(content) == len(content):
            return True
    except OSError:
        pass
    file.truncate(offset)
    file.seek(offset)
    return False


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    if os.name == "nt":
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
