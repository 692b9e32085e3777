"""What the tests with real frameworks share: an endpoint, and an app of each test's own."""

import importlib.util
import os
import re

import pytest

import streamvis

# Before a framework is imported.
os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


if importlib.util.find_spec("torch") is None:
    # There is a PyTorch without gigabytes of CUDA for one Python only, see pyproject.toml.
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture
def reader(shared_endpoint, monkeypatch):
    monkeypatch.setenv("STREAMVIS_URL", shared_endpoint.url)
    with streamvis.open(shared_endpoint.url) as reader:
        yield reader


@pytest.fixture
def app(request):
    return re.sub(r"\W+", "-", request.node.name)


@pytest.fixture
def only_run(reader, app):
    """`only_run()`: the one run that there is of the test's app."""

    def find():
        (run,) = reader.runs(app)
        return run

    return find


@pytest.fixture
def calls_of():
    """`calls_of(run)`: the rows as (key, step, {column: cell}) without what is missing, by key, and in log order."""

    def read(run):
        found = []
        for key, info in sorted(run.keys.items()):
            if info.kind == "rows":
                for row in run.rows(key).to_pylist():
                    step = row.pop("step")
                    row.pop("time")
                    found.append((key, step, {name: cell for name, cell in row.items() if cell is not None}))
        return found

    return read
