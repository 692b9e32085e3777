"""How much one batch may hold, and how things may be named. The endpoint refuses what is beyond; producers keep below it, so that
all they make is taken.

Imports nothing: the client reads these numbers before it has loaded Arrow.
"""

from __future__ import annotations

__all__ = [
    "MAX_BODY_BYTES",
    "MAX_CELLS",
    "MAX_COLUMNS",
    "MAX_CONFIG_BYTES",
    "MAX_DEPTH",
    "MAX_JSON_BYTES",
    "MAX_MESSAGES",
    "MAX_NAME_BYTES",
    "MAX_NAME_CHARS",
    "MAX_NOTE_CHARS",
    "MAX_RECORDS",
    "MAX_RUNS_AT_ONCE",
    "MAX_TAGS",
    "MAX_TAG_CHARS",
    "MAX_TIME_S",
    "RUN_ID",
]

MAX_BODY_BYTES = 64 * 2**20
"""A producer takes 48 MiB a call, which may go onto some MiB that wait, and behind what makes its run known."""
MAX_JSON_BYTES = 16 * 2**20
"""JSON takes some twenty times its length while it is read."""

MAX_NAME_CHARS, MAX_NAME_BYTES = 1_000, 2_000
"""How long names of apps, runs, keys and columns may be, and in UTF-8: an index of PostgreSQL takes no more than 2,700 bytes."""
MAX_COLUMNS = 10_000
"""Columns of rows that are sent together."""
MAX_CELLS = 2**27
"""Rows times columns of a batch: a cell that is missing takes a bit there, and eight bytes where it is read."""
MAX_CONFIG_BYTES = 2 * 2**20
"""The JSON text of a config: every page and every list of runs may read it."""
MAX_DEPTH = 100
"""How deep lists and dicts may be nested: whatever is stored can be read again without running out of stack."""
RUN_ID = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""What the id of a run may be: it becomes a part of addresses and of names of files."""
MAX_TIME_S = 1e12
"""Seconds from 1970, to both sides, of the time of a record: to the year 33,658. Milliseconds since 2001 are beyond it."""
MAX_RECORDS = 100_000
"""Records of a batch in JSON."""
MAX_MESSAGES = 100_000
"""Messages of a batch in Arrow form: of rows and values there are two each."""
MAX_NOTE_CHARS = 10_000
"""A note to a run."""
MAX_TAGS, MAX_TAG_CHARS = 50, 100
"""Tags of a run, and how long each may be."""
MAX_RUNS_AT_ONCE = 10_000
"""Runs that one request changes."""
