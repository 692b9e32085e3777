"""`streamvis init`: what it writes runs as it is."""

from __future__ import annotations

import subprocess
import sys

import pytest

from streamvis.page.scripts.script import read_script


def run(folder, *arguments):
    command = [sys.executable, "-m", "streamvis.cli", "init", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("source", ["start", "runs", "demo"])
def test_what_is_written_is_a_page_of_the_app_that_was_named(tmp_path, source):
    ended = run(tmp_path, "mine", "--from", source, "--app", 'wave "tank"')
    assert ended.returncode == 0, ended.stderr
    assert read_script(tmp_path / "mine" / "page.py").app == 'wave "tank"'


def test_the_copy_of_the_page_for_any_run_is_short(tmp_path):
    assert run(tmp_path, "mine", "--from", "runs").returncode == 0
    assert len((tmp_path / "mine" / "page.py").read_text().splitlines()) < 150


def test_nothing_is_overwritten(tmp_path):
    assert run(tmp_path, "mine").returncode == 0
    (tmp_path / "mine" / "page.py").write_text("precious")
    ended = run(tmp_path, "mine")
    assert ended.returncode == 1 and "exists already" in ended.stderr
    assert (tmp_path / "mine" / "page.py").read_text() == "precious"


def test_the_producer_sends_what_its_page_shows(tmp_path, start_endpoint):
    endpoint = start_endpoint()
    assert run(tmp_path, "mine").returncode == 0
    producer = tmp_path / "mine" / "producer.py"
    producer.write_text(producer.read_text().replace("STEPS = 500", "STEPS = 12").replace("pause_s=0.05", "pause_s=0"))
    sent = subprocess.run([sys.executable, producer, endpoint.url], capture_output=True, text=True, timeout=60, check=False)
    assert sent.returncode == 0, sent.stderr
    from streamvis.page.feeds.reader import EndpointReader

    reader = EndpointReader(endpoint.url)
    newest = reader.app_tail("mine", after=None, wait_s=0).newest
    assert set(reader.keys(newest)) == {"train", "val", "weights", "log"}
