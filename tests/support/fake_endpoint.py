"""An endpoint in this process: a transport whose answers a test decides, and which keeps what it acknowledged."""

import json
import threading
from collections.abc import Callable
from typing import Any

from streamvis.errors import EndpointUnreachable
from streamvis.records import PROTOCOL, Chunk, Start
from streamvis.transport import Response
from streamvis.wire.arrow import decode_batch_body


class FakeEndpoint:
    """Takes batches as an endpoint does: whole or not at all, each (producer, number) once.

    `answer` is asked before a batch is looked at: it returns None to go on, a status (with a code) to answer, or raises.
    """

    url = "http://fake"

    def __init__(self, answer: Callable[[dict[str, Any], bytes], Any] = lambda params, body: None) -> None:
        self.answer = answer
        self.requests: list[tuple[dict[str, Any], bytes]] = []
        self.runs: dict[str, list[Chunk]] = {}
        self.numbers: dict[str, list[int]] = {}
        self.refused: list[dict[str, str]] = []
        self.warnings: list[str] = []
        self.pace_s = 0.0
        self.lock = threading.Lock()

    def request(self, method: str, path: str, *, params: dict[str, Any], body: bytes, **_: Any) -> Response:
        self.requests.append((dict(params), body))
        if (told := self.answer(params, body)) is not None:
            return _response(*told) if isinstance(told, tuple) else _response(told)
        run, numbers = path.split("/")[4], self.numbers.setdefault(params["producer"], [])
        with self.lock:
            if numbers and params["number"] <= numbers[-1]:
                return _response(200, {"seq": 1, "duplicate": True, "refused": [], "warnings": []})
            chunks = decode_batch_body(body)
            if run not in self.runs and not isinstance(chunks[0], Start):
                return _response(404, {"error": {"code": "unknown_run", "message": "there is no such run"}})
            self.runs.setdefault(run, []).extend(chunks)
            numbers.append(params["number"])
        told = {"seq": 1, "duplicate": False, "refused": self.refused, "warnings": self.warnings, "pace_s": self.pace_s}
        return _response(200, told)

    def close(self) -> None:
        pass


def _response(status: int, told: Any = None) -> Response:
    told = told or {"error": {"code": "a_code", "message": "a reason"}}
    return Response(status, {"streamvis-protocol": str(PROTOCOL)}, json.dumps(told).encode())


def away(params: dict[str, Any], body: bytes) -> None:
    """An answer of an endpoint that is not there."""
    raise EndpointUnreachable("No answer from http://fake (refused).", url="http://fake")
