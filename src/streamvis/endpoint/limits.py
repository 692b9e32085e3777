"""What the endpoint accepts at most. Each is answered with 413 or 422 and the limit itself."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one endpoint. `max_waiting_bytes` is for batches that wait to be stored; past it the answer is 503."""

    max_body_bytes: int = 64 * 2**20
    max_records: int = 100_000
    max_columns: int = 10_000
    max_name_chars: int = 1_000
    max_config_bytes: int = 4 * 2**20
    max_waiting_bytes: int = 256 * 2**20
    max_tail_bytes: int = 64 * 2**20
    max_rows: int = 1_000_000
    max_wait_s: float = 25.0
