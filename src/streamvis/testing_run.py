"""A run at an endpoint in this process, for tests of pages: what clients do with `init`, `send` and `sendl`, done at once."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from streamvis.client.encoding import encode, encode_begin
from streamvis.client.intake import Intake
from streamvis.client.outbox import CONTROL, Begin, Clear, End, fetched
from streamvis.client.values.describing import described
from streamvis.endpoint.in_process import InProcessEndpoint
from streamvis.errors import StreamvisError
from streamvis.page.feeds.reader import EndpointReader
from streamvis.transport import Response, path
from streamvis.wire.arrow import ARROW

__all__ = ["Record", "TrialRun", "rows", "value"]

_PRODUCER = "test"


@dataclass(frozen=True, slots=True)
class Record:
    """A record to send: one `sendl` where `is_rows`, else one `send`; at a `time` in seconds since 1970 UTC, by default now."""

    step: int
    key: str
    data: Mapping[str, Any]
    is_rows: bool
    keep: int | None = None
    time: float | None = None


def rows(step: int, key: str, data: Mapping[str, Any]) -> Record:
    """What `Client.sendl` would send, for `open_page(records=[...])`."""
    return Record(step, key, data, is_rows=True)


def value(step: int, key: str, data: Mapping[str, Any], *, keep: int | None = None) -> Record:
    """What `Client.send` would send, for `open_page(records=[...])`."""
    return Record(step, key, data, is_rows=False, keep=keep)


class TrialRun:
    """A new run, which began at the time `began` or now. `reader` reads it from the endpoint, and `records` are those of its past
    that nothing has taken back."""

    def __init__(self, endpoint: InProcessEndpoint, config: Any, *, began: float | None = None) -> None:
        self._endpoint, self._config, self.id = endpoint, config, f"test-{secrets.token_hex(6)}"
        self._numbers: dict[str, int] = {}
        self._attempt, self._state = 0, ""
        self._began = self._now = time.time() if began is None else began
        self.records: list[Record] = []
        self.reader = EndpointReader(endpoint.url, transport=endpoint)
        self._intake = Intake(now=lambda: self._now)
        self._begin(_PRODUCER)

    def store(self, records: Iterable[Record], *, producer: str = _PRODUCER) -> None:
        """Check and copy the records as a client does, and store them. A producer that is new joins the run."""
        records = [replace(record, time=time.time()) if record.time is None else record for record in records]
        self.records += records
        entries = [self._entry(record) for record in records]
        if entries:
            self._post_entries(entries, producer)

    def _entry(self, record: Record) -> Any:
        assert record.time is not None
        self._now = record.time
        if record.is_rows:
            return self._intake.rows(record.step, record.key, record.data)
        return self._intake.value(record.step, record.key, record.data, keep=record.keep)

    def clear(self) -> None:
        """Take back all rows and values."""
        self._intake.forget_keys()
        self.records.clear()
        self._post_entries([(CONTROL, None, time.time(), None, Clear(), 0)])

    def resume(self, at: int) -> None:
        """Another attempt begins at a step: what was there from that step on is taken back."""
        self.records[:] = [record for record in self.records if record.step < at]
        self._attempt += 1
        self._state = ""
        self._begin(_PRODUCER, resume_at=at)

    def until(self, step: int) -> TrialRun:
        """Another run, to which only the records of steps up to that were ever sent. How a run ended belongs to no step."""
        run = TrialRun(self._endpoint, self._config, began=self._began)
        run.store([record for record in self.records if record.step <= step])
        if self._state:
            run.finish(self._state)
        return run

    @property
    def middle_step(self) -> int | None:
        """A step with others before and after it; None where there is none."""
        steps = sorted({record.step for record in self.records})
        return steps[(len(steps) - 1) // 2] if len(steps) > 1 else None

    def finish(self, state: str) -> None:
        """End the run."""
        self._state = state
        self._post_entries([(CONTROL, None, time.time(), None, End(state), 0)])

    def _begin(self, producer: str, *, resume_at: int | None = None) -> None:
        config = described({} if self._config is None else self._config)
        begin = Begin(self.id, config, "test", bool(self._numbers), f"attempt {self._attempt}", resume_at)
        self._post(encode_begin(begin, self._began if not self._numbers else time.time()), self._named(producer))

    def _named(self, producer: str) -> str:
        """The producer in this attempt: one of an earlier attempt could add nothing from the step on at which this one began."""
        return f"{producer} {self._attempt}"

    def _post_entries(self, entries: Sequence[Any], producer: str = _PRODUCER) -> None:
        encoded = encode(map(fetched, entries))
        if encoded.left_out:
            raise StreamvisError(f"Not sent: {'; '.join(encoded.left_out)}")
        if self._named(producer) not in self._numbers:
            self._begin(producer)
        self._post(encoded.body, self._named(producer))

    def _post(self, body: bytes, producer: str) -> None:
        number = self._numbers[producer] = self._numbers.get(producer, 0) + 1
        about = {"app": self.id, "producer": producer, "number": number}
        where, headers = path("runs", self.id, "batches"), {"Content-Type": ARROW}
        response: Response = self._endpoint.request("POST", where, params=about, body=body, headers=headers)
        if response.status != 200:
            raise StreamvisError(response.body.decode(errors="replace"))
