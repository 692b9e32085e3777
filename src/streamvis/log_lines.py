"""How the programs write their log: each record begins a line, and nothing in it can look like another record.

Records hold what others wrote: an author's exception quotes a producer's text. Lines after a record's first are indented, and
characters that a terminal would obey, or would not show, are written as escapes.
"""

from __future__ import annotations

import logging

__all__ = ["LogFormatter", "one_line"]

_FORM = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class LogFormatter(logging.Formatter):
    """Time, level, logger and message, with a traceback where there is one."""

    def __init__(self) -> None:
        super().__init__(_FORM)

    def format(self, record: logging.LogRecord) -> str:
        """The record as lines of plain text."""
        return "\n    ".join(one_line(line) for line in super().format(record).split("\n"))


def one_line(text: str) -> str:
    """The text on one line, as a terminal can show it: control characters, line separators and similar ones as escapes."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape", "surrogatepass").decode() for one in text)
