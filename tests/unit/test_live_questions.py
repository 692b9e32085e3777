"""Live sources of one key ask together, and each gets what it would have got alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from streamvis.errors import EndpointUnreachable, LiveSourceRefused
from streamvis.page.live.questions import fetch_together
from streamvis.page.live.sources import LiveSpec
from streamvis.page.live.track import LiveTrack
from streamvis.testing import rows
from streamvis.testing_run import TrialRun

SPEC = LiveSpec("k", "step", [], 400, None)


@pytest.fixture
def run(trial_endpoint):
    random = np.random.default_rng(5)
    run = TrialRun(trial_endpoint, {})
    for step in range(0, 3000, 100):
        run.store([rows(step, "k", {name: random.normal(size=100) for name in "abc"})])
    return run


@pytest.fixture
def trial_endpoint():
    from streamvis.endpoint.in_process import InProcessEndpoint

    endpoint = InProcessEndpoint()
    yield endpoint
    endpoint.close()


def tracks(*columns, **other):
    return [LiveTrack(replace(SPEC, columns=list(its), **other), log=False) for its in columns]


def asked_of(run, monkeypatch):
    asked = []
    for name in ("history", "histories"):
        before = getattr(run.reader, name)
        monkeypatch.setattr(
            run.reader,
            name,
            lambda run, key, query, before=before, name=name: asked.append((name, query.columns)) or before(run, key, query),
        )
    return asked


def same(one, other):
    (answer, *about), (answer2, *about2) = one, other
    assert about == about2 and answer.numbers.tolist() == answer2.numbers.tolist()
    assert (answer.first_x, answer.last_x, answer.count, answer.complete) == (
        answer2.first_x,
        answer2.last_x,
        answer2.count,
        answer2.complete,
    )
    for name, column in answer.rows.columns.items():
        np.testing.assert_array_equal(column, answer2.rows.columns[name])


def test_charts_of_one_key_are_asked_for_in_one_request_a_question(run, monkeypatch):
    alone = [track.fetch(run.reader, run.id) for track in tracks("a", "b", "c", "ab")]
    asked = asked_of(run, monkeypatch)
    together = fetch_together(run.reader, run.id, "k", tracks("a", "b", "c", "ab"))
    # Where the rows lie, and then those in view: the source of two columns asks for itself.
    assert asked == [("histories", ["a", "b", "c"]), ("history", ["a", "b"])] * 2
    for one, other in zip(together, alone, strict=True):
        same(one, other)


def test_many_charts_are_asked_for_in_several_requests(run, monkeypatch):
    asked = asked_of(run, monkeypatch)
    found = fetch_together(run.reader, run.id, "k", tracks(*"abc" * 11))
    assert [len(columns) for _, columns in asked[:3]] == [3, 3, 1] and len(found) == 33
    same(found[-1], tracks("c")[0].fetch(run.reader, run.id))


def test_a_column_that_is_not_there_fails_alone(run):
    found = fetch_together(run.reader, run.id, "k", tracks("a", "x", "b"))
    assert isinstance(found[1], LiveSourceRefused)
    for nth, name in ((0, "a"), (2, "b")):
        same(found[nth], tracks(name)[0].fetch(run.reader, run.id))


def test_smoothed_columns_are_asked_for_one_by_one(run, monkeypatch):
    asked = asked_of(run, monkeypatch)
    fetch_together(run.reader, run.id, "k", tracks("a", "b", smooth=0.9))
    assert {name for name, _ in asked} == {"history"}


def test_rows_that_lack_a_column_are_left_out_of_its_chart_alone(run):
    run.store([rows(3000, "k", {"a": [99.0]}), rows(3001, "k", {"b": [98.0]})])
    alone = [track.fetch(run.reader, run.id) for track in tracks("a", "b")]
    together = fetch_together(run.reader, run.id, "k", tracks("a", "b"))
    for one, other in zip(together, alone, strict=True):
        same(one, other)
    assert 99.0 in together[0][0].rows.columns["a"] and len(together[1][0].numbers) > 0


def test_an_endpoint_that_cannot_be_asked_together_is_asked_one_by_one(run, monkeypatch):
    alone = [track.fetch(run.reader, run.id) for track in tracks("a", "b")]
    request = run.reader.transport.request

    def older(method, path, **asked):
        return request(method, path.replace("/histories", "/no-such-route"), **asked)

    monkeypatch.setattr(run.reader.transport, "request", older)
    for one, other in zip(fetch_together(run.reader, run.id, "k", tracks("a", "b")), alone, strict=True):
        same(one, other)


def test_a_key_that_is_not_there_has_no_answer_and_is_asked_for_once(run, monkeypatch):
    asked = asked_of(run, monkeypatch)
    assert [found[0] for found in fetch_together(run.reader, run.id, "nothing", tracks("a", "b"))] == [None, None]
    assert asked == [("histories", ["a", "b"])]


def test_an_endpoint_that_does_not_answer_is_said_to_each(run, monkeypatch):
    def away(*_, **__):
        raise EndpointUnreachable("It does not answer.", url="http://localhost")

    monkeypatch.setattr(run.reader.transport, "request", away)
    assert all(isinstance(one, EndpointUnreachable) for one in fetch_together(run.reader, run.id, "k", tracks("a", "b")))
