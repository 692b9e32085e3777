"""What live sources of one key ask the endpoint, asked together: charts of a page mostly want the same rows of different columns.

Each source asks one question after the other, as a generator (see `LiveTrack.questions`). Questions that differ in nothing but
their one column become one request. What goes wrong with one source does not concern the others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from streamvis.errors import LiveSourceRefused, StreamvisError
from streamvis.page.feeds.reader import EndpointReader, HistoryAnswer
from streamvis.records import HistoryQuery

__all__ = ["Asks", "Fetched", "Questions", "fetch_together"]

_MOST_TOGETHER = 16
"""What the endpoint holds in memory for a request grows with its columns."""

Fetched = tuple[HistoryAnswer | None, tuple[float, float] | None, float]
Questions = Generator[HistoryQuery, HistoryAnswer | None, Fetched]
"""Yields what to ask `EndpointReader.history`, is sent the answers, and returns what they lead to."""


class Asks(Protocol):
    """Something that has questions about one key."""

    def questions(self) -> Questions:
        """See `Questions`."""
        ...


def fetch_together(reader: EndpointReader, run: str, key: str, asking: Sequence[Asks]) -> list[Fetched | StreamvisError]:
    """What the questions of each lead to, or the error that ended them. Blocking."""
    found: list[Any] = [None] * len(asking)
    going = dict(enumerate(one.questions() for one in asking))
    answers: dict[int, HistoryAnswer | StreamvisError | None] = dict.fromkeys(going)
    while going:
        waiting: dict[int, HistoryQuery] = {}
        for nth, questions in list(going.items()):
            answer = answers[nth]
            try:
                if isinstance(answer, StreamvisError):
                    raise answer
                waiting[nth] = questions.send(answer)
            except StopIteration as end:
                found[nth] = end.value
            except StreamvisError as error:
                found[nth] = error
            if nth not in waiting:
                del going[nth]
        answers = _answers(reader, run, key, waiting)
    return found


def _answers(
    reader: EndpointReader, run: str, key: str, asked: Mapping[int, HistoryQuery]
) -> dict[int, HistoryAnswer | StreamvisError | None]:
    found: dict[int, HistoryAnswer | StreamvisError | None] = {}
    alike: dict[Any, list[int]] = defaultdict(list)
    for nth, ask in asked.items():
        alike[_likeness(ask) or nth].append(nth)
    groups = [
        (its, members[i : i + _MOST_TOGETHER]) for its, members in alike.items() for i in range(0, len(members), _MOST_TOGETHER)
    ]
    for likeness, members in groups:
        together = _asked_together(reader, run, key, likeness, [asked[nth] for nth in members]) if len(members) > 1 else None
        if together is not None:
            found.update(zip(members, together, strict=True))
            continue
        for nth in members:
            try:
                found[nth] = reader.history(run, key, asked[nth])
            except StreamvisError as error:
                found[nth] = error
    return found


def _likeness(ask: HistoryQuery) -> HistoryQuery | None:
    """What questions have in common that can be asked together; None for one that cannot."""
    columns = ask.columns or ()
    if len(columns) != 1 or list(ask.having) != list(columns) or ask.smooth:
        return None
    return replace(ask, columns=(), having=())


def _asked_together(
    reader: EndpointReader, run: str, key: str, likeness: HistoryQuery, asked: Sequence[HistoryQuery]
) -> list[HistoryAnswer | None] | list[StreamvisError] | None:
    """The answers; None where one of the questions was refused, or the endpoint cannot be asked so."""
    columns = [column for ask in asked for column in ask.columns or ()]
    wanted = list(dict.fromkeys(columns))
    try:
        answers = reader.histories(run, key, replace(likeness, columns=wanted))
    except LiveSourceRefused:
        return None
    except StreamvisError as error:
        return [error] * len(asked)
    if answers is None:
        return None
    by_column = dict(zip(wanted, answers, strict=True))
    return [by_column[name] for name in columns]
