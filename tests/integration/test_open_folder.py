"""`streamvis.open(folder)`: a data folder is read where no endpoint has it, and nothing of it is changed."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from click.testing import CliRunner

import streamvis
from streamvis import Client
from streamvis.cli import cli
from streamvis.errors import FolderUnusable, StreamvisError, UsageError
from streamvis.store import SqliteStore, sqlite


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
