"""The files of unit tests lie in memory where there is room: a store waits for the disk at each of its thousands of commits."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_MEMORY = Path("/dev/shm")
_LEAST_FREE_BYTES = 2**30


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """A folder for one test, which `tempfile` uses too."""
    if not _MEMORY.is_mount() or shutil.disk_usage(_MEMORY).free < _LEAST_FREE_BYTES:
        yield tmp_path
        return
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(dir=_MEMORY, prefix="streamvis-unit-") as folder:
        tempfile.tempdir = folder
        yield Path(folder)
        tempfile.tempdir = before
