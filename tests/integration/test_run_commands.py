"""The commands about runs, as one types them."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from streamvis import Client
from streamvis.cli import cli
from streamvis.errors import StreamvisError
from support.stored import Stored


@pytest.fixture
def told(shared_endpoint):
    """`told(*words, input=None)`: what `streamvis WORDS` prints about the shared endpoint."""

    def run(*words, input=None):
        result = CliRunner().invoke(cli, [*words, "--url", shared_endpoint.url], input=input)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


def send(url, app, run, config=None, rows=25):
    with Client(url, app) as client:
        client.init(config or {"lr": 0.5}, run=run)
        for step in range(rows):
            client.sendl(step, "train", {"loss": [step / 2], "what": ["\x1b[31mred"]})
        client.send(3, "image", {"a": [1, 2]})


def test_runs_lists_and_show_tells_what_a_run_has(shared_endpoint, told):
    send(shared_endpoint.url, "listed", "listed-1", {"lr": 0.5})
    send(shared_endpoint.url, "listed", "listed-2", {"lr": 0.1})
    head, first, second = told("runs", "--app", "listed").stdout.splitlines()
    assert head.split()[:4] == ["ID", "APP", "NAME", "STATE"]
    assert first.startswith("listed-2") and "finished" in first and second.startswith("listed-1")
    found = json.loads(told("runs", "--where", "config.lr > 0.3", "--app", "listed", "--json").stdout)
    assert [run["run"] for run in found] == ["listed-1"]
    shown = told("show", "listed-1").stdout
    assert "lr" in shown and "train" in shown and "loss" in shown and "image" in shown
    assert json.loads(told("show", "listed-1", "--json").stdout)["config"] == {"lr": 0.5}


def test_rename_and_delete_change_the_run_and_delete_asks_first(shared_endpoint, told):
    send(shared_endpoint.url, "changed", "changed-1")
    told("rename", "changed-1", "better name")
    assert Stored(shared_endpoint.url).run("changed-1")["name"] == "better name"
    assert told("delete", "better name", input="n\n").exit_code == 1
    assert Stored(shared_endpoint.url).run("changed-1")
    assert "Deleted 1 run." in told("delete", "better name", "--yes").stdout
    assert not Stored(shared_endpoint.url).runs("changed")


def test_tail_prints_the_last_rows_and_follows_to_the_end(shared_endpoint, told):
    send(shared_endpoint.url, "tailed", "tailed-1")
    head, *lines = told("tail", "tailed-1", "train", "-n", "3").stdout.splitlines()
    assert head.split() == ["step", "time", "loss", "what"]
    assert [line.split()[0] for line in lines] == ["22", "23", "24"]
    assert "\x1b" not in "".join(lines) and "\\x1b[31mred" in lines[0]
    followed = told("tail", "-f", "tailed-1", "train", "--json").stdout.splitlines()
    assert [json.loads(line)["step"] for line in followed] == list(range(15, 25))
    assert json.loads(told("tail", "tailed-1", "image").stdout) == {"a": [1, 2]}
    with pytest.raises(StreamvisError, match="Did you mean 'train'"):
        told("tail", "tailed-1", "trian")


def test_following_a_long_run_begins_with_its_last_rows_alone(shared_endpoint, told):
    numbers = np.random.default_rng(1).random((4, 250_000))
    with Client(shared_endpoint.url, "long") as client:
        client.init({}, run="long-1")
        for step in range(4):
            client.sendl(step, "train", {"x": numbers[step]})
            client.flush()
    lines = [json.loads(line) for line in told("tail", "-f", "long-1", "train", "-n", "2", "--json").stdout.splitlines()]
    assert [line["x"] for line in lines] == numbers[3, -2:].tolist()


def test_export_and_import_take_the_runs_that_fit(shared_endpoint, told, tmp_path):
    for number in (1, 2, 3):
        send(shared_endpoint.url, "taken", f"taken-{number}", {"n": number})
    told("export", "--app", "taken", "--where", "config.n > 1", "-o", str(tmp_path / "out"))
    assert sorted(one.name for one in (tmp_path / "out").iterdir()) == ["taken-2", "taken-3"]
    assert "taken-2: was there already" in told("import", str(tmp_path / "out")).stdout
    told("import", str(tmp_path / "out"), "--new-id")
    assert len(Stored(shared_endpoint.url).runs("taken")) == 5
    again = told("export", "taken-1", "taken-2", "-o", str(tmp_path / "out"))
    assert again.exit_code == 1 and "exists already" in again.stderr
    assert (tmp_path / "out" / "taken-1").is_dir(), "one that cannot be written does not stop the others"
    with pytest.raises(StreamvisError, match="Name runs, or choose"):
        told("export", "-o", str(tmp_path))


def test_commands_that_change_runs_offer_no_data_folder():
    for command, offers in {"show": True, "rename": False, "delete": False, "import": False}.items():
        words = " ".join(CliRunner().invoke(cli, [command, "--help"]).stdout.split())
        assert "Address of the endpoint" in words and ("or a data folder" in words) == offers
