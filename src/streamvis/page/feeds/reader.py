"""What a page server asks the endpoint, and what it makes of the answers. Blocking: never called on Bokeh's event loop."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from streamvis.addresses.access import READ_TOKEN, WRITE_TOKEN
from streamvis.errors import DeletedRun, EndpointRefused, EndpointUnreachable, LiveSourceRefused, UnknownRun
from streamvis.page.runs import PageRun
from streamvis.records import HistoryQuery, KeyInfo, Rows, Value
from streamvis.transport import Carrier, Response, Transport, check, path
from streamvis.wire.arrow import ARROW, decode_head, decode_histories, decode_tail_body, table_of
from streamvis.wire.tree import unpack

__all__ = ["AppTail", "ChosenRuns", "EndpointReader", "HistoryAnswer", "Piece", "RunHead"]

_SLACK_S = 5.0
"""How much longer than the time asked for a long poll may take before the endpoint counts as away."""
_MOST_KEPT = 1024
"""Each run and app that is followed has a request under way all the time; an endpoint lets 500 of them wait."""
_ASK_S = 30.0


@dataclass(frozen=True, slots=True)
class RunHead:
    """A run, and the cursor at the end of its log."""

    run: PageRun
    cursor: str
    last_step: int | None

    def now(self, **changed: str) -> RunHead:
        """The same run with what is known of it now, where that is anything else."""
        run = replace(self.run, **{name: text for name, text in changed.items() if text})
        return self if run == self.run else replace(self, run=run)


@dataclass(frozen=True, slots=True)
class AppTail:
    """The newest run of an app, or None, and where to continue from."""

    newest: str | None
    cursor: str


@dataclass(frozen=True, slots=True)
class ChosenRuns:
    """The runs that fit, in order, as many as were asked for, as the endpoint describes them, and how many fit in all."""

    runs: Sequence[Mapping[str, Any]]
    count: int


@dataclass(frozen=True, slots=True)
class Piece:
    """A decoded piece of a run's log up to `cursor`; `dtypes` maps each rows key in it to all its columns' dtype words,
    `first_rows` to the number of its first row in the key's log, `reduced` to how many rows its rows stand for, if more.
    `heard` is when the run's producers were last heard of, in seconds since 1970."""

    cursor: str
    more: bool
    restart: bool
    name: str
    state: str
    dtypes: Mapping[str, Mapping[str, str]]
    items: Sequence[Rows | Value]
    size_bytes: int
    first_rows: Mapping[str, int] = field(default_factory=dict)
    reduced: Mapping[str, int] = field(default_factory=dict)
    dropped: int = 0
    heard: float = 0.0
    color: str = ""


@dataclass(frozen=True, slots=True)
class HistoryAnswer:
    """Rows of one key at the resolution of a screen: `numbers` are theirs in the key's log, which has `count` rows so far.

    `means` has the state of each smoothed column after the last of those, where the rows reach that far.
    """

    rising: bool
    complete: bool
    count: int
    first_x: float | None
    last_x: float | None
    start: float | None
    numbers: np.ndarray
    rows: Rows
    means: Mapping[str, tuple[float, int]] | None = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BandAnswer:
    """The columns of a band by their names, the last x of each run that has ended, and the last of all runs."""

    columns: Mapping[str, np.ndarray]
    ends: Sequence[float]
    last_x: float | None


class EndpointReader:
    """Reads from the endpoint at `url`, over `transport` where one is given. Usable from many threads.

    Every method raises EndpointError (of the kind that fits) when there is no good answer, and UnknownRun or DeletedRun.
    """

    def __init__(self, url: str, *, token: str | None = None, transport: Carrier | None = None) -> None:
        self.transport: Carrier = transport or Transport(url, token=token, most_kept=_MOST_KEPT)
        self._at: int | None = None
        self.url = self.transport.url

    def as_of(self, step: int | None) -> EndpointReader:
        """This reader, or one that reads what runs had at that step: keys, rows and values, but not the runs themselves."""
        if step is None:
            return self
        reader = copy.copy(self)
        reader._at = step
        return reader

    def run(self, run: str) -> RunHead:
        """The run with this id."""
        response = self._get(path("runs", run), run=run, accept=ARROW)
        head, _ = decode_head(response.body)
        config = unpack(json.loads(head["config"]), ())
        about = {"app": head["app"], "color": head["color"]}
        its = PageRun(head["run"], head["name"], config, head["state"], head["dropped"], head["created"], **about)
        return RunHead(its, head["cursor"], head["last_step"])

    def keys(self, run: str) -> dict[str, KeyInfo]:
        """The run's keys, with the dtype words of their columns where they hold rows."""
        keys = json.loads(self._get(path("runs", run), run=run, params={"at": self._at}).body)["keys"]
        return {key: KeyInfo(its["kind"], its["columns"], is_kept=its.get("kept", True)) for key, its in keys.items()}

    def row_keys(self, run: str) -> dict[str, Mapping[str, str]]:
        """The run's keys that hold rows, with the dtype words of their columns."""
        return {key: info.columns for key, info in self.keys(run).items() if info.kind == "rows"}

    def app_tail(self, app: str | None, *, after: str | None, wait_s: float) -> AppTail:
        """The newest run of the app, or of all apps, once that may have changed since `after`, or after `wait_s` seconds."""
        params = {"app": app, "after": after, "wait": wait_s if after else 0, "limit": 0}
        answer = json.loads(self._get(path("apps", "tail"), params=params, timeout_s=wait_s + _SLACK_S).body)
        return AppTail(answer["newest"], answer["cursor"])

    def runs(
        self, *, app: str | None, where: str, order: str, limit: int, with_config: bool = False, timeout_s: float = 10.0
    ) -> ChosenRuns:
        """The runs of an app, or of all, for which the filter `where` holds, in the order of `order`."""
        params = {"app": app, "where": where or None, "order": order, "limit": limit, "config": with_config or None}
        answer = json.loads(self._get(path("runs"), params=params, timeout_s=timeout_s).body)
        return ChosenRuns(answer["runs"], answer["matching"])

    def ask(
        self,
        method: str,
        where: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: bytes | None = None,
    ) -> Response:
        """What the endpoint answers, in JSON and as it came: also where it refuses what was asked for."""
        headers = {"Accept": "application/json"} | ({"Content-Type": "application/json"} if body is not None else {})
        response = self.transport.request(method, where, params=params, body=body, headers=headers, timeout_s=_ASK_S)
        return check(response, url=self.url, token_file=READ_TOKEN if method == "GET" else WRITE_TOKEN)

    def tail(
        self,
        run: str,
        *,
        after: str | None,
        until: str | None = None,
        wait_s: float = 0,
        max_bytes: int | None = None,
        exclude: Sequence[str] = (),
        only: Sequence[str] = (),
        kind: str | None = None,
    ) -> Piece:
        """The next piece of the run's log after `after`, not past `until`; waits up to `wait_s` seconds for news.

        Without the keys `exclude`; of the keys `only` alone, where some are named, and of those of a `kind` ("rows" or "value").
        """
        params = {"after": after, "until": until, "wait": wait_s, "max_bytes": max_bytes}
        params |= {"exclude": list(exclude), "only": list(only), "kind": kind, "at": self._at}
        response = self._get(path("runs", run, "tail"), run=run, params=params, accept=ARROW, timeout_s=wait_s + 2 * _SLACK_S)
        head, body = decode_head(response.body)
        return Piece(
            cursor=head["cursor"],
            more=head["more"],
            restart=head["restart"],
            name=head["run"]["name"],
            state=head["run"]["state"],
            dtypes={key: info["columns"] for key, info in head["keys"].items() if info["kind"] == "rows"},
            items=decode_tail_body(body),
            size_bytes=len(response.body),
            first_rows={key: info["first_row"] for key, info in head["keys"].items()},
            dropped=head["run"]["dropped"],
            heard=head["run"]["heard"],
            color=head["run"]["color"],
        )

    def history(self, run: str, key: str, query: HistoryQuery) -> HistoryAnswer | None:
        """Rows of one key for a screen, as of this reader's step; None while the run has no such key.

        Raises LiveSourceRefused when the key does not have such columns (yet), or holds a value.
        """
        response = self._ask_history(path("runs", run, "history"), run, key, query)
        return _histories_in(response)[0] if response.status != 404 else None

    def histories(self, run: str, key: str, query: HistoryQuery) -> Sequence[HistoryAnswer | None] | None:
        """As `history` of each of the columns by itself, with `having` it, in one question. None from an endpoint that is older
        than such questions."""
        response = self._ask_history(path("runs", run, "histories"), run, key, query)
        if response.status != 404:
            return _histories_in(response)
        return None if json.loads(response.body)["error"]["code"] == "no_such_route" else [None] * len(query.columns or ())

    def _ask_history(self, where: str, run: str, key: str, query: HistoryQuery) -> Response:
        asked = {"key": key, "x": query.x, "columns": query.columns, "from": query.start, "to": query.stop}
        asked |= {"window": query.window, "buckets": query.buckets, "scale": "log" if query.log else "linear"}
        asked |= {"having": query.having, "smooth": query.smooth or None, "at": self._at}
        response = self._get(where, run=run, params=asked, accept=ARROW, timeout_s=60.0, may_lack=True)
        if response.status not in (200, 404):
            raise LiveSourceRefused(json.loads(response.body)["error"]["message"])
        return response

    def band(
        self,
        runs: Sequence[str],
        key: str,
        *,
        x: str,
        columns: Sequence[str],
        stat: str,
        start: float | None = None,
        stop: float | None = None,
        buckets: int,
        log: bool = False,
        smooth: float = 0.0,
    ) -> BandAnswer | None:
        """The middle and the spread of columns over runs, by rising x; None while no run has such a key. With `smooth`, of each
        run's smoothed columns.

        Raises LiveSourceRefused when the key does not have such columns (yet), or holds a value.
        """
        params = {"run": list(runs), "key": key, "x": x, "column": list(columns), "stat": stat, "from": start, "to": stop}
        params |= {"buckets": buckets, "scale": "log" if log else "linear", "smooth": smooth or None, "at": self._at}
        response = self._get(path("band"), params=params, accept=ARROW, timeout_s=120.0, may_lack=True)
        if response.status == 404:
            return None
        if response.status != 200:
            raise LiveSourceRefused(json.loads(response.body)["error"]["message"])
        meta, table = table_of(response.body)
        found = {name: table.column(name).to_numpy() for name in table.column_names}
        return BandAnswer(found, tuple(its["x"] for its in meta["ends"] if not its["running"]), meta["last_x"])

    def value(self, run: str, key: str, *, step: int | None = None) -> Value | None:
        """The key's value at the step (None: the newest), or None where there is none, or the key holds rows."""
        params = {"key": key, "step": step, "at": self._at}
        response = self._get(path("runs", run, "value"), run=run, params=params, accept=ARROW, may_lack=True)
        return next(_values_in(response.body), None) if response.status == 200 else None

    def values(self, run: str, key: str, *, limit: int, after: int = -1, until: int | None = None) -> list[Value]:
        """At most `limit` values of the key, evenly spread over its steps (see `even_steps`): of those after the step `after`,
        and not after `until`."""
        last = min((step for step in (until, self._at) if step is not None), default=None)
        params = {"key": key, "limit": limit, "from_step": after + 1, "to_step": last}
        response = self._get(path("runs", run, "values"), run=run, params=params, accept=ARROW, timeout_s=60.0, may_lack=True)
        return list(_values_in(response.body)) if response.status == 200 else []

    def rows_of(self, run: str, key: str) -> Iterator[Rows]:
        """All rows of one key, in pieces, in log order."""
        cursor, more = None, True
        while more:
            piece = self.tail(run, after=cursor, only=[key])
            yield from (item for item in piece.items if isinstance(item, Rows))
            cursor, more = piece.cursor, piece.more

    def close(self) -> None:
        """Close the connections."""
        self.transport.close()

    def _get(
        self,
        where: str,
        *,
        run: str = "",
        params: Mapping[str, Any] | None = None,
        accept: str = "application/json",
        timeout_s: float = 10.0,
        may_lack: bool = False,
    ) -> Response:
        response = self.transport.request("GET", where, params=params, headers={"Accept": accept}, timeout_s=timeout_s)
        check(response, url=self.url, token_file=READ_TOKEN)
        if may_lack and (response.status in (404, 409, 422) or _is_damaged(response)):
            return response
        if response.status == 404:
            raise UnknownRun(run)
        if response.status == 410:
            raise DeletedRun(run)
        if response.status >= 500:
            raise EndpointUnreachable(f"The endpoint at {self.url} answers {response.status}.", url=self.url)
        if response.status != 200:
            raise EndpointRefused(response.status, response.body[:500].decode(errors="replace"), url=self.url)
        return response


def _is_damaged(response: Response) -> bool:
    """Whether the endpoint says that what was asked for is damaged, which asking again does not change."""
    return response.status == 500 and b'"damaged"' in response.body[:200]


def _histories_in(response: Response) -> list[HistoryAnswer]:
    return [_history_answer(*its) for its in decode_histories(response.body)]


def _values_in(body: bytes) -> Iterator[Value]:
    return (item for item in decode_tail_body(body) if isinstance(item, Value))


def _history_answer(meta: Mapping[str, Any], numbers: np.ndarray, rows: Rows) -> HistoryAnswer:
    return HistoryAnswer(
        rising=meta["rising"],
        complete=meta["complete"],
        count=meta["count"],
        first_x=meta["first_x"],
        last_x=meta["last_x"],
        start=meta["from"],
        numbers=numbers,
        rows=rows,
        means=meta["means"],
    )
