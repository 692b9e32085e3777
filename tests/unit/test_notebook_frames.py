"""The frame of a notebook: at which address the page stands."""

from __future__ import annotations

import pytest

from streamvis import notebook
from streamvis.notebook import frame


@pytest.mark.parametrize(
    ("page", "told", "address"),
    [
        ("http://127.0.0.1:5006/runs", "", "http://127.0.0.1:5006/view/runs"),
        ("http://127.0.0.1:5006/lab/runs", "", "http://127.0.0.1:5006/lab/view/runs"),
        ("http://127.0.0.1:5006/lab/runs", "https://hub.example.org", "https://hub.example.org/lab/view/runs"),
        ("http://127.0.0.1:5006/lab/runs", "https://hub.example.org/lab/", "https://hub.example.org/lab/view/runs"),
        ("http://127.0.0.1:5006/lab/runs", "https://hub.example.org/mylab", "https://hub.example.org/mylab/lab/view/runs"),
    ],
)
def test_the_page_stands_below_the_prefix_of_its_server_once(page, told, address, monkeypatch, tmp_path):
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("STREAMVIS_PAGES_URL", told)
    monkeypatch.setattr(notebook._servers, "page_of", lambda url: page)
    assert f'src="{address}?run=r"' in frame("http://127.0.0.1:5005", "run=r")
