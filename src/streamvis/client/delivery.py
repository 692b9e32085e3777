"""One batch, one request, and what the answer means. It imports the transport, so it is loaded in the sender's thread."""

from __future__ import annotations

import json
from typing import Any

from streamvis.client.encoding import encode_notes
from streamvis.client.frames import Outgoing
from streamvis.errors import DeletedRun, EndpointError, EndpointRefused, InvalidData, UnknownRun
from streamvis.records import Ack, Refusal
from streamvis.transport import Response, check, path
from streamvis.wire.arrow import ARROW

__all__ = ["NotNow", "deliver", "show_alive"]

_TIMEOUT_S = 10.0
_TRY_AGAIN = (408, 425, 429)


class NotNow(EndpointError):
    """The endpoint, or a proxy before it, answered that it cannot take anything now."""


def deliver(
    transport: Any,
    batch: Outgoing,
    before: bytes = b"",
    *,
    live: bool = True,
    dropped: int = 0,
    timeout_s: float = _TIMEOUT_S,
) -> Ack:
    """Send a batch; `before` goes in front of its body. Not `live` is one that comes late, from a spool that was left behind.

    `dropped` is how many records its producer had to drop so far. The answer may take `timeout_s` seconds.

    Raises UnknownRun, DeletedRun, EndpointRefused for what the endpoint does not take, and any other EndpointError for what is
    worth trying again with the same bytes and the same number.
    """
    try:
        body = encode_notes(batch.body) if batch.is_notes else batch.body
    except InvalidData as error:
        raise EndpointRefused(422, str(error), url=transport.url) from error
    response = transport.request(
        "POST",
        path("runs", batch.run, "batches"),
        params={
            "app": batch.app,
            "producer": batch.producer,
            "number": batch.number,
            "live": int(live),
            "dropped": dropped or None,
        },
        body=before + body if before else body,
        headers={"Content-Type": ARROW, "Accept": "application/json"},
        timeout_s=timeout_s,
    )
    if response.status in _TRY_AGAIN or response.status >= 500:
        raise NotNow(f"The endpoint at {transport.url} answered {response.status}: {_detail(response)}", url=transport.url)
    check(response, url=transport.url)
    if response.status == 404 and _code(response) == "unknown_run":
        raise UnknownRun(batch.run)
    if response.status == 410:
        raise DeletedRun(batch.run)
    if response.status != 200:
        raise EndpointRefused(response.status, _detail(response), url=transport.url)
    return _ack(response, url=transport.url)


def show_alive(transport: Any, run: str, producer: str) -> None:
    """Tell the endpoint that the producer lives. Raises EndpointUnreachable; what it answers does not matter."""
    transport.request("POST", path("runs", run, "alive"), params={"producer": producer}, timeout_s=_TIMEOUT_S)


def _ack(response: Response, *, url: str) -> Ack:
    try:
        told = json.loads(response.body)
        refused = tuple(Refusal(one["key"], one["reason"]) for one in told["refused"])
        warnings, pace_s = tuple(map(str, told["warnings"])), float(told.get("pace_s", 0.0))
        return Ack(int(told["seq"]), bool(told["duplicate"]), refused, warnings, pace_s, str(told.get("page", "")))
    except (ValueError, KeyError, TypeError) as error:
        raise NotNow(f"The endpoint at {url} answered something else than an acknowledgement.", url=url) from error


def _error(response: Response) -> dict[str, Any]:
    try:
        told = json.loads(response.body)["error"]
    except (ValueError, KeyError, TypeError):
        return {}
    return told if isinstance(told, dict) else {}


def _code(response: Response) -> str | None:
    return _error(response).get("code")


def _detail(response: Response) -> str:
    told = _error(response)
    if "message" in told:
        return " ".join(str(told[name]) for name in ("where", "message") if told.get(name))
    return response.body[:200].decode(errors="replace").strip() or "no reason given"
