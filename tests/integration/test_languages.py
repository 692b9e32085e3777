"""The examples in other languages: what they send is stored once, and is what they computed."""

from __future__ import annotations

import math
import shutil
import subprocess
from pathlib import Path

import pytest

import streamvis

EXAMPLES = Path(__file__).parents[2] / "examples" / "languages"


def only_run(url, app):
    with streamvis.open(url) as reader:
        (run,) = reader.runs(app)
        return run, run.rows("train")


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")
def test_javascript(shared_endpoint):
    words = ["node", str(EXAMPLES / "producer.mjs"), shared_endpoint.url, "105"]
    said = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout
    run, rows = only_run(shared_endpoint.url, "javascript")
    assert run.state == "finished" and run.config == {"language": "JavaScript", "lr": 0.1}
    assert rows["step"].to_pylist() == list(range(105)) and f"{run.id} has 105 rows" in said
    assert rows["rate"].to_pylist() == [0.1 / (1 + step / 100) for step in range(105)]
    assert [value.step for value in run.values("weights")] == [0, 50, 100]


@pytest.mark.skipif(shutil.which("g++") is None or shutil.which("curl") is None, reason="needs a C++ compiler and curl")
def test_cpp_with_curl(shared_endpoint, tmp_path):
    words = ["g++", "-std=c++17", "-Wall", "-Werror", str(EXAMPLES / "producer.cpp"), "-o", str(tmp_path / "producer")]
    subprocess.run(words, check=True, timeout=60)
    subprocess.run([str(tmp_path / "producer"), shared_endpoint.url, "105"], check=True, timeout=60)
    run, rows = only_run(shared_endpoint.url, "cpp")
    assert run.state == "finished" and rows["step"].to_pylist() == list(range(105))
    assert rows["loss"].to_pylist() == [math.exp(-step / 50) for step in range(105)]
