"""`serve` and `demo`: their children do as these decided, whatever the environment says to those."""

from __future__ import annotations

from contextlib import nullcontext

import click
import pytest
from click.core import ParameterSource

from streamvis.addresses.access import Tokens
from streamvis.addresses.database import DatabaseAddress
from streamvis.cli import cli
from streamvis.commands.two_servers import Both

ENVIRONMENT = {
    "STREAMVIS_ALERT_WEBHOOK": "http://127.0.0.1:1/other",
    "STREAMVIS_ALLOW_HOST": "other.example.org",
    "STREAMVIS_APP": "other",
    "STREAMVIS_DATA": "other",
    "STREAMVIS_HOST": "0.0.0.0",
    "STREAMVIS_KEEP_VALUES": "30d 20GB",
    "STREAMVIS_NO_RELOAD": "1",
    "STREAMVIS_PAGE_TOKEN": "other",
    "STREAMVIS_PORT": "1",
    "STREAMVIS_PREFIX": "/other",
    "STREAMVIS_READ_TOKEN": "other",
    "STREAMVIS_SCHEMA": "other",
    "STREAMVIS_TLS_CERT": __file__,
    "STREAMVIS_TLS_KEY": __file__,
    "STREAMVIS_TOKEN": "other",
    "STREAMVIS_URL": "http://127.0.0.1:1",
}


class Recorder:
    """In place of the supervisor: keeps the children, which do not start."""

    def __init__(self, folder):
        self.folder, self.children = folder, []

    def begin(self, child):
        self.children.append(child)

    def wait(self, child):
        return "http://127.0.0.1:2"


def understood(child, monkeypatch):
    """How a child reads its command and its environment."""
    name, *words = child.command[4:]
    with monkeypatch.context() as patch:
        for variable, text in child.environment.items():
            patch.setenv(variable, text)
        return cli.commands[name].make_context(name, [*words, "2"])


@pytest.mark.parametrize("is_database", [False, True])
def test_children_take_nothing_from_the_environment_but_what_they_were_given(tmp_path, monkeypatch, is_database):
    for variable, text in ENVIRONMENT.items():
        monkeypatch.setenv(variable, text)
    place = DatabaseAddress.of("postgresql://me@localhost/db", schema="decided") if is_database else tmp_path
    both = Both((), "127.0.0.1", 2, 2, place, None, Tokens(), ())
    recorder = Recorder(tmp_path)
    both.start(recorder)
    for child in recorder.children:
        context = understood(child, monkeypatch)
        variables = {one.envvar for one in context.command.params if isinstance(one, click.Option) and one.envvar}
        assert variables - {"STREAMVIS_HANG_S"} <= ENVIRONMENT.keys(), "a new option: is it decided by serve?"
        inherited = {name for name in context.params if context.get_parameter_source(name) == ParameterSource.ENVIRONMENT}
        assert inherited == ({"data"} if is_database and context.command.name == "rest" else set())
    if is_database:
        assert understood(recorder.children[0], monkeypatch).params["data"].schema == "decided"


class Enough(Exception):
    """Ends `serve` where it would start its children."""


def test_serve_passes_on_for_how_long_values_are_kept(tmp_path, monkeypatch):
    options = []

    def start(both, supervisor):
        options.extend(both.rest_options)
        raise Enough

    monkeypatch.setattr("streamvis.cli.Supervisor", nullcontext)
    monkeypatch.setattr(Both, "start", start)
    with pytest.raises(Enough):
        cli.main(["serve", "--keep-values", "30d", "--keep-values", "20GB", "--data", str(tmp_path)], standalone_mode=False)
    assert options == ["--keep-values", "30d", "--keep-values", "20GB"]
