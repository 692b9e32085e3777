"""Programs started in folders, and with options, that nobody thought about."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from streamvis.addresses.access import Hosts
from streamvis.cli import cli
from support.processes import PAGES_READY
from support.sessions import OpenedPage

PAGE = """
from its_word import WORD

print(WORD, flush=True)

def init_page(doc, config):
    pass
"""


def test_files_named_like_standard_modules_do_no_harm_and_modules_of_the_folder_are_found(tmp_path, start_service):
    for name in ("signal", "json", "types", "queue"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('this is no module of Python')\n")
    (tmp_path / "its_word.py").write_text("WORD = 'the word'\n")
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "page.py").write_text(PAGE)
    streamvis = Path(sys.executable).parent / "streamvis"
    command = [streamvis, "serve", "pages/page.py", "--no-browser", "--data", tmp_path / "data", "--rest-port", "0"]
    service = start_service(command, ready=PAGES_READY, cwd=tmp_path)
    page = OpenedPage(f"{service.url}/view/page?app=none")
    service.wait_for_line("the word")
    page.close()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["rest", "--port", "99999"], "0<=x<=65535"),
        (["page", "--port", "-5"], "0<=x<=65535"),
        (["serve", "--rest-port", "70000"], "0<=x<=65535"),
        (["rest", "--data", "mysql://host/db"], "not a data folder or a PostgreSQL address"),
        (["copy", "here", "sqlite:///a.db"], "not a data folder or a PostgreSQL address"),
    ],
)
def test_ports_and_stores_that_cannot_be_are_refused_before_anything_starts(tmp_path, monkeypatch, words, told):
    monkeypatch.chdir(tmp_path)
    found = CliRunner().invoke(cli, words)
    assert found.exit_code == 2 and told in found.output, found.output
    assert not [path for path in tmp_path.iterdir() if path.name != "home"]


@pytest.mark.parametrize(
    "allowed", ["https://gpu-box.example.org:8443", "gpu-box.example.org:8443/", "HTTP://gpu-box.example.org"]
)
def test_an_allowed_host_may_be_given_as_it_stands_in_a_browser_s_address(allowed):
    hosts = Hosts.of("127.0.0.1", [allowed])
    assert hosts.know("gpu-box.example.org:8443") and not hosts.know("other.example.org")
