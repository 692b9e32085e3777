"""Questions to one endpoint, and what its answers mean: tables and values, or an error that names the fix.

Knows the REST API and nothing of runs as users see them. Blocking, and usable from many threads.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from streamvis.addresses.access import READ_TOKEN, WRITE_TOKEN
from streamvis.errors import (
    DamagedData,
    DeletedRun,
    EndpointRefused,
    EndpointUnreachable,
    StreamvisError,
    UnknownKey,
    UnknownRun,
    UsageError,
)
from streamvis.records import Value
from streamvis.transport import Carrier, Response, Transport, check, path
from streamvis.wire.arrow import ARROW, decode_head, streams_of, value_of

__all__ = ["Connection", "LogPiece", "NoValue", "near"]

_ANSWER_S = 120.0
"""How long an answer may take: that of a long history is computed from all rows."""
_NEAR = 3


class NoValue(StreamvisError, LookupError):
    """The key has no value at the step that was asked for."""


@dataclass(frozen=True, slots=True)
class LogPiece:
    """A piece of a run's log up to `cursor`: tables of rows (step, time, columns) and values, each with its key, in log order.

    `dtypes` has all columns of each key of rows in it, with their dtype words.
    """

    cursor: str
    more: bool
    restart: bool
    state: str
    dtypes: Mapping[str, Mapping[str, str]]
    items: Sequence[tuple[str, pa.Table | Value]]


class Connection:
    """Asks the endpoint at `url`, over `transport` where one is given.

    Raises an EndpointError of the kind that fits when there is no good answer.
    """

    def __init__(self, url: str, *, token: str | None = None, transport: Carrier | None = None) -> None:
        self._transport: Carrier = transport or Transport(url, token=token)
        self.url = self._transport.url

    def json(self, *parts: str, run: str = "", params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What is at an address below /api/v1, as JSON."""
        return json.loads(self.ask("GET", path(*parts), run=run, params=params).body)

    def change(self, method: str, *parts: str, run: str = "", body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Change something, with a JSON body; what the endpoint answers."""
        content = None if body is None else json.dumps(body).encode()
        answer = self.ask(method, path(*parts), run=run, body=content, content_type="application/json").body
        return json.loads(answer) if answer else {}

    def arrow(self, *parts: str, run: str, key: str = "", params: Mapping[str, Any] | None = None, wait_s: float = 0.0) -> bytes:
        """What is at an address below /api/v1, in Arrow."""
        return self.ask("GET", path(*parts), run=run, key=key, params=params, accept=ARROW, wait_s=wait_s).body

    def tail(
        self,
        run: str,
        *,
        after: str | None,
        until: str | None = None,
        wait_s: float = 0.0,
        only: Sequence[str] = (),
        kind: str | None = None,
    ) -> LogPiece:
        """The next piece of the run's log after `after`, and not past `until`; waits up to `wait_s` seconds for news.

        Raises DamagedData where something of it cannot be read.
        """
        params = {"after": after, "until": until, "wait": wait_s, "only": list(only), "kind": kind}
        head, body = decode_head(self.arrow("runs", run, "tail", run=run, params=params, wait_s=wait_s))
        for key, problem in head["damaged"].items():
            raise DamagedData(problem, run=run, key=key)
        items = [(meta["key"], table if meta["kind"] == "rows" else value_of(meta, table)) for meta, table, _ in streams_of(body)]
        dtypes = {key: its["columns"] for key, its in head["keys"].items() if its["kind"] == "rows"}
        return LogPiece(head["cursor"], head["more"], head["restart"], head["run"]["state"], dtypes, items)

    def ask(
        self,
        method: str,
        where: str,
        *,
        run: str = "",
        key: str = "",
        params: Mapping[str, Any] | None = None,
        body: bytes | None = None,
        content_type: str = ARROW,
        accept: str = "application/json",
        wait_s: float = 0.0,
    ) -> Response:
        """One exchange, about a run and a key of it where they are named."""
        headers = {"Accept": accept} | ({} if body is None else {"Content-Type": content_type})
        answer = self._transport.request(method, where, params=params, body=body, headers=headers, timeout_s=_ANSWER_S + wait_s)
        check(answer, url=self.url, token_file=READ_TOKEN if method == "GET" else WRITE_TOKEN)
        if answer.status < 300:
            return answer
        raise self._error(answer, run, key)

    def near_runs(self, run: str) -> list[str]:
        """Ids and names of runs that are like this text."""
        known = self.json("runs", params={"limit": 1000, "archived": "any"})["runs"]
        return near(run, [text for one in known for text in (one["run"], one["name"])])

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def _error(self, answer: Response, run: str, key: str) -> Exception:
        try:
            told = json.loads(answer.body)["error"]
        except (ValueError, KeyError, TypeError):
            told = {}
        code, message = told.get("code", ""), told.get("message", answer.body[:500].decode(errors="replace"))
        if code == "unknown_run":
            return UnknownRun(run, near=self.near_runs(run), listing="`streamvis runs`")
        if code == "unknown_key":
            keys = self.json("runs", run, run=run)["keys"]
            return UnknownKey(run, key, near=near(key, keys), listing=f"`streamvis show {run}`")
        if code == "no_value":
            return NoValue(message)
        if code == "deleted_run":
            return DeletedRun(run)
        if answer.status in (400, 409, 422):
            return UsageError(message)
        if answer.status in (408, 429, 502, 503, 504):
            return EndpointUnreachable(f"The endpoint at {self.url} answers {answer.status}: {message}", url=self.url)
        return EndpointRefused(answer.status, message, url=self.url)


def near(name: str, names: Iterable[str]) -> list[str]:
    """The few of the names that are most like this one."""
    return difflib.get_close_matches(name, dict.fromkeys(names), n=_NEAR)
