"""The values that cross between modules: frozen, and without behaviour beyond their own fields.

A `Batch` is what a producer hands over in one request. Its chunks are in log order; within a batch the rows of one key
are gathered into one `RowsChunk`, and nothing is gathered across a control record (`Start`, `Clear`, `Finish`), so that
nothing overtakes anything. `body` of a chunk is its Arrow form (see `streamvis.wire`): the store keeps those bytes and gives
them back without looking inside.

This module knows nothing of bytes, files, or networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from streamvis.protocol import ARROW, PROTOCOL, Ack, Refusal

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "ARROW",
    "FAILED",
    "FINISHED",
    "INTERRUPTED",
    "PROTOCOL",
    "RUNNING",
    "STATES",
    "VANISHED",
    "Ack",
    "AppHead",
    "AppInfo",
    "AttemptInfo",
    "Band",
    "Batch",
    "Chunk",
    "Clear",
    "Cursor",
    "Description",
    "Finish",
    "History",
    "HistoryQuery",
    "KeyInfo",
    "Refusal",
    "Rows",
    "RowsChunk",
    "RunInfo",
    "Start",
    "Tail",
    "Value",
    "ValueChunk",
]

RUNNING, FINISHED, INTERRUPTED, FAILED = "running", "finished", "interrupted", "failed"
STATES = (RUNNING, FINISHED, INTERRUPTED, FAILED)
VANISHED = "vanished"
"""What a run that is running is shown as while nothing is heard of its producers. Never stored."""


@dataclass(frozen=True, slots=True)
class RowsChunk:
    """Rows of one key, as columns.

    `columns` maps each column to its dtype word (`streamvis.wire.columns`); `count` is the number of rows.
    """

    key: str
    columns: Mapping[str, str]
    count: int
    first_step: int
    last_step: int
    body: bytes


@dataclass(frozen=True, slots=True)
class ValueChunk:
    """One key's value at a step. `time` is in seconds since 1970 UTC. With `keep`, so many of the key's values are kept, those
    of the greatest steps."""

    key: str
    step: int
    time: float
    body: bytes
    keep: int | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """A producer began, or joined, the run. `config` is JSON text; `joins` tells that the run's id was given to `init`.

    The producer belongs to the attempt named `attempt`; where that is "", to one of its own. With `resume_at`, the attempt
    takes the place of all earlier ones from that step on.
    """

    config: str
    time: float
    name: str | None = None
    joins: bool = False
    attempt: str = ""
    resume_at: int | None = None


@dataclass(frozen=True, slots=True)
class Clear:
    """All rows and values of the run so far are taken back; its config and state stay."""

    time: float


@dataclass(frozen=True, slots=True)
class Finish:
    """The producer ended in `state`: finished, interrupted or failed.

    So did the producers among `others` that have not said how they ended: it descends from their processes, which are gone.
    """

    state: str
    time: float
    others: Sequence[str] = ()


Chunk = RowsChunk | ValueChunk | Start | Clear | Finish


@dataclass(frozen=True, slots=True)
class Batch:
    """What one request carries. `(producer, number)` makes it known; `live` is false when a spool is delivered late.

    `dropped` is how many records its producer had to drop so far. The alerts of an import are not posted.
    """

    run: str
    app: str
    producer: str
    number: int
    chunks: Sequence[Chunk]
    live: bool = True
    dropped: int = 0
    is_import: bool = False

    @property
    def resumes(self) -> bool:
        """Whether it may take back what the run has from some step on."""
        return any(isinstance(chunk, Start) and chunk.resume_at is not None for chunk in self.chunks)


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position in a run's log: after the batch `seq`, in `epoch`, in the store `store`. Text outside: `str(cursor)`."""

    store: str
    epoch: int
    seq: int

    def __str__(self) -> str:
        return f"{self.store}.{self.epoch}.{self.seq}"

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Read the text form. Raises ValueError when it is none."""
        store, epoch, seq = text.split(".")
        if not store or not epoch.isdecimal() or not seq.isdecimal():
            raise ValueError(f"not a cursor: {text!r}")
        return cls(store, int(epoch), int(seq))


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A key of a run: `kind` is "rows" or "value"; `columns` maps names to dtype words (empty for a value).

    In a tail, `first_row` is the number of the key's first row in that piece, counted from 0 in the run. As of a step, `is_kept`
    tells whether the value that the key had then is still there.
    """

    kind: str
    columns: Mapping[str, str] = field(default_factory=dict[str, str])
    first_row: int = 0
    is_kept: bool = True


@dataclass(frozen=True, slots=True)
class AttemptInfo:
    """An attempt of a run that resumed at a step, and when it began, in seconds since 1970 UTC."""

    resume_at: int
    began: float


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A run as others see it, without its config. Times are seconds since 1970 UTC, `newest` is within its app.

    `dropped` counts the records that its producers had to drop, `late` those that came too late, from an attempt that another had
    taken the place of. `color` is "#rrggbb"; `ended` is None while the run is running; `named` tells that somebody gave the name,
    which is made from the id otherwise.
    """

    id: str
    app: str
    name: str
    state: str
    created: float
    updated: float
    first_step: int | None
    last_step: int | None
    newest: bool
    cursor: Cursor
    color: str
    tags: Sequence[str] = ()
    note: str = ""
    archived: bool = False
    ended: float | None = None
    named: bool = False
    dropped: int = 0
    late: int = 0


@dataclass(frozen=True, slots=True)
class Description:
    """What is to be changed of how people describe runs; None and () change nothing.

    An empty name or color gives the run the one back that it had of its own. `add_tags` and `remove_tags` come after `tags`.
    """

    name: str | None = None
    tags: Sequence[str] | None = None
    note: str | None = None
    color: str | None = None
    archived: bool | None = None
    add_tags: Sequence[str] = ()
    remove_tags: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class AppInfo:
    """An app, how many runs it has, the id of its newest run, and when that began, in seconds since 1970 UTC.

    The last two are None while no run was started live.
    """

    name: str
    runs: int
    newest: str | None
    started: float | None = None


@dataclass(frozen=True, slots=True)
class AppHead:
    """The head of an app's list of runs, and the id of the run that is newest there (None while no run was started live)."""

    cursor: Cursor
    newest: str | None


@dataclass(frozen=True, slots=True)
class Tail:
    """One piece of a run's log, from after the cursor that was asked for up to `cursor`.

    `more` tells that another piece is there already; `restart` that the cursor asked for was of another epoch or store,
    or past the end, and that this piece starts over. `keys` describes the keys that `bodies` speak of: all the columns
    that each has had in this run. `bodies` are Arrow forms of rows in log order and of the newest values. `damaged` says of
    keys of which something is left out, since it was damaged in the store, what is wrong.
    """

    cursor: Cursor
    more: bool
    restart: bool
    run: RunInfo
    keys: Mapping[str, KeyInfo]
    bodies: Sequence[bytes]
    damaged: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryQuery:
    """Which rows of one key to give for a screen, see `History` and `streamvis.store.views.history.Axis`.

    Args:
        x: a column of numbers or times, else "step", "time" or "row"
        columns: by default all that are not arrays or nested
        start, stop: the range of x, by default all
        window: only the rows stored last that span no more than that in x
        buckets: how many pixels the range has; on a logarithmic axis with `log`
        having: only rows that have something in one of these columns
        smooth: above 0, each column of numbers has its debiased exponential mean of that weight beside it, over all rows
        at: only rows of that step and earlier ones
    """

    x: str
    columns: Sequence[str] | None = None
    start: float | None = None
    stop: float | None = None
    window: float | None = None
    buckets: int
    log: bool = False
    having: Sequence[str] = ()
    smooth: float = 0.0
    at: int | None = None


@dataclass(frozen=True, slots=True)
class History:
    """Some rows of one key over the range `start` to `stop` of `x`, which lose no lowest and no highest value of a bucket.

    `rising` tells whether x rises over all of the key's `count` rows; where it does not, buckets are of neighbouring rows.
    `complete` tells that the range has no other rows than these. `first_x` and `last_x` are of the whole key (of its rows with
    one of the columns `having`, where x rises and these are of numbers), None while it has no x. `table` is an Arrow table of
    `row` (the number of each row in the key's log), `step`, `time`, x, and the columns asked for; a column NAME of the key is
    called `.NAME` in it. `means` has, of columns that were smoothed, the uncorrected mean and the number of values at the end of
    the log, where the range reaches that.
    """

    x: str
    rising: bool
    complete: bool
    count: int
    first_x: float | None
    last_x: float | None
    start: float | None
    stop: float | None
    buckets: int
    table: Any
    means: Mapping[str, tuple[float, int]] = field(default_factory=dict[str, tuple[float, int]])


@dataclass(frozen=True, slots=True)
class Band:
    """The middle and the spread over `runs` runs at each x, over the range `start` to `stop`.

    `table` is an Arrow table of `x`, and of COLUMN.middle, COLUMN.low, COLUMN.high and COLUMN.runs for each column, by rising x;
    a number is missing where no run has one. `complete` tells that the range has no other x than these. `first_x` and `last_x`
    are of all rows of these runs, None where there are none; `ends` has each run's last x, and whether the run is running.
    """

    table: Any
    complete: bool
    runs: int
    ends: Sequence[tuple[str, float, bool]]
    first_x: float | None
    last_x: float | None
    start: float | None
    stop: float | None


@dataclass(frozen=True, slots=True)
class Rows:
    """Decoded rows of one key: `steps` int64 (n,), `times` float64 (n,) in seconds since 1970 UTC, columns of length n.

    A column is a NumPy array of shape (n,), or a list of n arrays when its cells are arrays. `missing` has, for each column in
    which cells are missing, which ones: a NaN that was sent is not missing.
    """

    key: str
    steps: np.ndarray
    times: np.ndarray
    columns: Mapping[str, Any]
    missing: Mapping[str, np.ndarray] = field(default_factory=dict[str, "np.ndarray"])


@dataclass(frozen=True, slots=True)
class Value:
    """A decoded value: `data` exactly as it was sent, arrays as NumPy arrays."""

    key: str
    step: int
    time: float
    data: Mapping[str, Any]
