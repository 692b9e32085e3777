"""The names that users may rely on. Changing this list changes what Streamvis promises."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import streamvis

ROOT = Path(__file__).parents[2]

PUBLIC = [
    "Client",
    "NewData",
    "Server",
    "StreamvisError",
    "band_source",
    "live_source",
    "log",
    "open",
    "panels",
    "run",
    "runs",
]


def test_the_public_names_are_these_and_no_others():
    assert streamvis.__all__ == PUBLIC
    assert sorted(PUBLIC) == PUBLIC


# Each name in a process that has imported nothing of Streamvis, but the libraries, which takes most of the time.
IMPORT_EACH = """
import os, sys
import bokeh.plotting, bokeh.server.tornado, numpy, pyarrow
for name in sys.argv[1:]:
    if os.fork() == 0:
        names = {}
        exec(f"from streamvis import {name}", names)
        print(name, getattr(names[name], "__module__", names[name].__name__), flush=True)
        os._exit(0)
    os.wait()
"""


def test_each_public_name_is_there_also_in_a_fresh_interpreter():
    command = [sys.executable, "-c", IMPORT_EACH, *PUBLIC]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    told = dict(line.split() for line in said.stdout.splitlines())
    assert list(told) == PUBLIC and all(module.startswith("streamvis") for module in told.values()), said.stderr


def test_dir_shows_the_public_names():
    assert set(PUBLIC) <= set(dir(streamvis))


@pytest.mark.parametrize("document", ["panels.md", "reference/panels.md"])
def test_the_docs_have_each_panel(document):
    exported = re.search(r"__all__ = \[(.*?)\]", (ROOT / "src/streamvis/panels/__init__.py").read_text(), re.DOTALL)[1]
    panels, text = re.findall(r'"(\w+)"', exported), (ROOT / "docs" / document).read_text()
    assert [name for name in panels if not re.search(rf"\b{name}\b(?:\(|$)", text, re.MULTILINE)] == []
