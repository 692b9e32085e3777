"""`streamvis.open(folder)`: a data folder is read where no endpoint has it, and nothing of it is changed."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

import streamvis
from streamvis import Client
from streamvis.cli import cli
from streamvis.errors import FolderUnusable, StreamvisError, UsageError
from streamvis.records import Batch, Start
from streamvis.store import SqliteStore, read_only, sqlite
from streamvis.wire.arrow import encode_rows


def test_a_folder_is_read_directly_after_a_kill_and_through_the_endpoint_that_takes_it(start_endpoint, tmp_path):
    folder = tmp_path / "data"
    endpoint = start_endpoint(folder)
    with Client(endpoint.url, "folder") as client:
        client.init({"lr": 0.1}, run="r")
        client.sendl(0, "train", {"loss": [1.0, math.nan]})
        client.send(3, "weights", {"matrix": np.arange(6).reshape(2, 3)})
        client.send(5, "weights", {"matrix": np.ones((1, 1))})
    endpoint.kill()
    before = (folder / "streamvis.sqlite").read_bytes()
    with streamvis.open(folder) as reader:
        run = reader.run("r")
        assert reader.apps() == ["folder"] and run.config == {"lr": 0.1} and run.state == "finished"
        loss = run.rows("train")["loss"].to_pylist()
        assert loss[0] == 1.0 and math.isnan(loss[1])
        assert [value.step for value in run.values("weights")] == [3, 5] and run.value("weights", 3)["matrix"].shape == (2, 3)
        assert {update.key for update in run.follow()} == {"train", "weights"}
        with pytest.raises(StreamvisError, match="only read"):
            reader.connection.change("PATCH", "runs", "r", run="r", body={"name": "another"})
        listed = CliRunner().invoke(cli, ["runs", "--url", str(folder), "--json"])
        assert [one["run"] for one in json.loads(listed.stdout)] == ["r"]
        assert (folder / "streamvis.sqlite").read_bytes() == before
        endpoint.restart()
        with streamvis.open(str(folder)) as other:
            assert other.url == endpoint.url and other.run("r").rows("train").num_rows == 2
        assert run.rows("train").num_rows == 2


READ = """
import sys, streamvis
for folder in sys.stdin:
    try:
        with streamvis.open(folder.strip()) as reader:
            print(reader.url, reader.run("r").rows("train")["x"].to_pylist(), flush=True)
    except streamvis.StreamvisError as error:
        print(str(error).splitlines()[-1], flush=True)
"""


@pytest.fixture
def read_by_others(tmp_path):
    """`read_by_others(folder)`: what a program prints that reads the folder and may not write to it."""
    # Root may write anywhere, unless it gives that right up.
    rights = "-dac_override,-dac_read_search"
    as_others = ["setpriv", "--bounding-set", rights, "--inh-caps", rights] if os.geteuid() == 0 else []
    command = [*as_others, sys.executable, "-c", READ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:

        def read(folder):
            before = {path.name for path in folder.iterdir()}
            folder.chmod(0o555)
            try:
                program.stdin.write(f"{folder}\n")
                program.stdin.flush()
                return program.stdout.readline().strip()
            finally:
                folder.chmod(0o755)
                assert {path.name for path in folder.iterdir()} == before

        yield read


def filled(folder):
    """A store with a row; the changes are in its log until it is closed."""
    store = SqliteStore(folder)
    store.append([Batch("r", "app", "p", 0, [Start("{}", 0.0), encode_rows("train", [0], [0.0], {"x": [1]})])])
    return store


def test_a_folder_that_cannot_be_written_to_is_read_whole_with_and_without_a_log(read_by_others, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    store = filled(folder)
    shutil.copytree(folder, tmp_path / "killed")
    for file in (tmp_path / "killed").iterdir():
        file.chmod(0o444)
    assert read_by_others(tmp_path / "killed") == f"{tmp_path}/killed [1]"
    (tmp_path / "killed" / f"{sqlite.FILE}-shm").unlink()
    assert "Copy it, and open the copy" in read_by_others(tmp_path / "killed")
    store.close()
    assert read_by_others(folder) == f"{folder} [1]"
    (folder / sqlite.FILE).chmod(0)
    assert f"you may not read its {sqlite.FILE}" in read_by_others(folder)


def test_the_endpoint_of_a_folder_that_cannot_be_written_to_is_asked_and_read_beside_where_it_does_not_answer(
    read_by_others, tmp_path, start_endpoint
):
    folder = tmp_path / "data"
    endpoint = start_endpoint(folder)
    with Client(endpoint.url, "app") as client:
        client.init(run="r")
        client.sendl(0, "train", {"x": 1})
    assert read_by_others(folder) == f"{endpoint.url} [1]"
    (folder / "address").write_text("http://localhost:1")
    assert read_by_others(folder) == f"{folder} [1]"


def test_a_folder_that_is_read_as_it_lies_is_not_read_on_once_somebody_writes_to_it(tmp_path, monkeypatch):
    filled(tmp_path).close()
    monkeypatch.setattr(read_only.os, "access", lambda path, mode: mode != os.W_OK)
    with streamvis.open(tmp_path) as reader:
        run = reader.run("r")
        assert run.rows("train").num_rows == 1
        store = SqliteStore(tmp_path)
        store.append([Batch("r", "app", "p", 1, [encode_rows("train", [1], [0.0], {"x": [2]})])])
        with pytest.raises(StreamvisError, match="Open it again"):
            run.rows("train")
        with streamvis.open(tmp_path) as again:
            assert again.run("r").rows("train").num_rows == 2
        store.close()


def test_what_is_not_a_data_folder_is_said_and_stays_as_it_is(tmp_path):
    with pytest.raises(UsageError, match="not a data folder"):
        streamvis.open(tmp_path)
    with pytest.raises(UsageError, match="neither the address of an endpoint"):
        streamvis.open("no-such-place")
    assert not list(tmp_path.glob("lock"))


@pytest.mark.parametrize(("version", "told"), [(1, "older"), (10_000, "newer")])
def test_a_folder_of_another_version_is_not_read(tmp_path, version, told):
    SqliteStore(tmp_path).close()
    with sqlite.sqlite3.connect(tmp_path / sqlite.FILE) as db:
        db.execute(f"PRAGMA user_version = {version}")
    with pytest.raises(FolderUnusable, match=told):
        streamvis.open(tmp_path)
