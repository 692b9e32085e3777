"""The log of a program: one record cannot look like two, and a terminal is sent nothing but text."""

from __future__ import annotations

import io
import logging

import pytest

from streamvis.log_lines import LogFormatter

FORGED = "lost\n2026-01-01 00:00:00 ERROR streamvis: the store is gone\r\x1b[2J\x1b]0;owned\x07 \x9b31m\u202ekcab\u2028next"


@pytest.fixture
def written():
    """`written(write)`: the lines that a logger with our formatter writes."""

    def lines(write):
        stream = io.StringIO()
        handler = logging.StreamHandler(stream)
        handler.setFormatter(LogFormatter())
        logger = logging.Logger("streamvis.test")
        logger.addHandler(handler)
        write(logger)
        return stream.getvalue().splitlines(keepends=True)

    return lines


def fail(logger):
    try:
        raise ValueError(FORGED)
    except ValueError:
        logger.exception("the page failed with %s", FORGED)


@pytest.mark.parametrize("write", [lambda logger: logger.error("the page failed:\n%s", FORGED), fail])
def test_what_others_wrote_stays_inside_of_its_record(written, write):
    first, *rest = written(write)
    assert "ERROR streamvis.test: the page failed" in first and rest
    assert all(line.startswith("    ") and line.endswith("\n") for line in rest)
    text = "".join([first, *rest])
    assert "the store is gone" in text and "\\x1b[2J" in text and "\\u202ekcab" in text
    assert all(character.isprintable() or character == "\n" for character in text)


def test_text_of_any_language_and_indented_code_stay_readable(written):
    lines = written(lambda logger: logger.error("学習 für Größe → 🚀\n  File 'a.py'\n    a = 1"))
    assert lines[0].endswith("学習 für Größe → 🚀\n")
    assert lines[1:] == ["      File 'a.py'\n", "        a = 1\n"]
