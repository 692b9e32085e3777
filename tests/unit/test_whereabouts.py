"""Who says where a run is, and how it is silenced."""

from __future__ import annotations

import logging
import multiprocessing.process

import pytest

from streamvis.client.outbox import Begin
from streamvis.client.process.launch import tell_page
from streamvis.naming import readable_name

PAGE = "http://localhost:5006/runs?run=one"


@pytest.fixture(autouse=True)
def no_ranks(monkeypatch):
    for name in ("RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK"):
        monkeypatch.delenv(name, raising=False)


def told(caplog, begin, page=PAGE):
    caplog.clear()
    with caplog.at_level(logging.INFO, "streamvis"):
        tell_page(begin, page)
    return [(record.name, record.levelname, record.getMessage()) for record in caplog.records]


def test_the_name_and_the_address_are_advice_that_can_be_silenced(caplog):
    begin = Begin("one", {}, None, False)
    assert told(caplog, begin) == [("streamvis.hints", "WARNING", f"Streamvis: the run {readable_name('one')} is at {PAGE}")]
    assert told(caplog, begin._replace(name="mine"))[0][2].startswith("Streamvis: the run mine is")


def test_where_the_page_is_not_known_the_name_is_in_the_log_and_not_in_the_terminal(caplog):
    assert told(caplog, Begin("one", {}, None, False), "") == [
        ("streamvis", "INFO", f"Streamvis: the run is {readable_name('one')}")
    ]


def test_of_several_ranks_the_first_alone_says_it(caplog, monkeypatch):
    joining = Begin("one", {}, None, True)
    assert not told(caplog, joining)
    monkeypatch.setenv("RANK", "1")
    assert not told(caplog, joining)
    monkeypatch.setenv("RANK", "0")
    assert told(caplog, joining)


def test_a_process_that_multiprocessing_started_says_nothing(caplog, monkeypatch):
    monkeypatch.setattr(multiprocessing.process, "_parent_process", object())
    assert not told(caplog, Begin("one", {}, None, False))


def test_what_an_endpoint_answers_stays_on_one_line(caplog):
    assert "\n" not in told(caplog, Begin("one", {}, "a\nb", False), "http://x\nStreamvis: more")[0][2]
