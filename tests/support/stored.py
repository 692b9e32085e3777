"""What an endpoint holds of a run, asked for by REST as any program would."""

import json
from collections.abc import Mapping
from typing import Any

from streamvis.transport import Transport, path
from streamvis.wire.arrow import ARROW, decode_head, decode_tail_body


class Stored:
    """Reads from the endpoint at `url`."""

    def __init__(self, url: str) -> None:
        self._transport = Transport(url)

    def runs(self, app: str) -> list[Mapping[str, Any]]:
        """The runs of an app, newest first."""
        return self._json("runs", app=app)["runs"]

    def run(self, run: str) -> Mapping[str, Any]:
        """One run: state, config, keys ..."""
        return self._json("runs", run)

    def items(self, run: str) -> list[Any]:
        """All rows and newest values of a run, decoded, in log order."""
        items, after = [], None
        while True:
            params = {"after": after, "wait": 0}
            answer = self._transport.request("GET", path("runs", run, "tail"), params=params, headers={"Accept": ARROW})
            assert answer.status == 200, answer
            head, body = decode_head(answer.body)
            items += decode_tail_body(body)
            if not head["more"]:
                return items
            after = head["cursor"]

    def rows(self, run: str, key: str, column: str) -> list[Any]:
        """All cells of a column, in log order."""
        return [cell for one in self.items(run) if one.key == key for cell in list(one.columns[column])]

    def values(self, run: str) -> dict[str, Any]:
        """The newest value of each key."""
        return {one.key: one.data for one in self.items(run) if hasattr(one, "data")}

    def value(self, run: str, key: str, step: int) -> Any:
        """One key's value at a step."""
        params = {"key": key, "step": step}
        answer = self._transport.request("GET", path("runs", run, "value"), params=params, headers={"Accept": ARROW})
        (one,) = decode_tail_body(answer.body)
        return one.data

    def _json(self, *parts: str, **params: Any) -> Any:
        answer = self._transport.request("GET", path(*parts), params=params)
        assert answer.status == 200, answer
        return json.loads(answer.body)
