"""What unit tests share.

Their files lie in memory where there is room: a store waits for the disk at each of its thousands of commits.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamvis.client.process.ending import close
from support.fake_endpoint import FakeEndpoint
from support.roads import Script

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


@pytest.fixture
def endpoint():
    """An endpoint in this process."""
    return FakeEndpoint()


@pytest.fixture
def make_script(endpoint, tmp_path):
    """`make_script(**options)`: a road to that endpoint, which is closed at the end."""
    made = []

    def make(**options):
        made.append(Script(endpoint, tmp_path / "spool", **options))
        return made[-1]

    yield make
    endpoint.answer = lambda params, body: None
    for script in made:
        close([script], "finished", timeout_s=5)


@pytest.fixture
def script(make_script):
    """One without options."""
    return make_script()


@pytest.fixture
def said(caplog):
    """`said()`: the warnings so far."""
    caplog.set_level(logging.WARNING, logger="streamvis")
    return lambda: [record.getMessage() for record in caplog.records]
