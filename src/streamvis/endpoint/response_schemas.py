"""The form of what goes out as JSON, for the OpenAPI document. These classes describe, and make nothing.

What goes out is made by `responses` and the routes. A test holds answers against these.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from streamvis.endpoint.request_schemas import Count, Dtype, Name, RunId, Step, TypedCells

__all__ = [
    "Ack",
    "AppTail",
    "Apps",
    "Band",
    "ChangedRuns",
    "DeletedRun",
    "DeletedRuns",
    "Error",
    "Health",
    "Histories",
    "History",
    "Rows",
    "Run",
    "RunNames",
    "RunTail",
    "Runs",
    "StartedRun",
    "Value",
    "WholeRun",
]

CursorText = Annotated[str, Field(pattern=r"^[^.]+\.[0-9]+\.[0-9]+$", description="A place in a log. Opaque.")]
Color = Annotated[str, Field(pattern="^#[0-9a-f]{6}$")]
State = Literal["running", "finished", "interrupted", "failed", "vanished"]
"""Those of `records.STATES`, and VANISHED."""


class ErrorText(BaseModel):
    """What happened and what to do; where in the request it was, and what would be right, if that can be said."""

    code: str
    message: str
    where: str = ""
    allowed: str = ""
    position: Count = Field(0, description="The character of a filter at which it cannot be read, from 0.")
    length: Count = Field(0, description="So many characters of it.")


class Error(BaseModel):
    """The one form that all errors have."""

    error: ErrorText


class DamagedKey(BaseModel):
    """A key that was found to be damaged, and what was found first. Without names it is not known which key or run."""

    run: str
    key: str
    problem: str


class Health(BaseModel):
    """The endpoint, the id of its store, and what of it was found to be damaged so far."""

    status: Literal["ok", "damaged"]
    protocol: int
    version: str
    store: str
    pages: str = Field(description="Address of the page for any run, for those who may read; empty where it is not known.")
    damages: Count
    damaged: list[DamagedKey] = Field(description="The first hundred of them, for those who may read.")
    unmerged: Count = Field(description="Small pieces of rows that wait to be merged. From 50,000 on batches wait too.")


class App(BaseModel):
    """An app, how many runs it has, which is the newest, and when that began."""

    name: Name
    runs: Count
    newest: RunId | None
    started: float | None


class Apps(BaseModel):
    """The apps that have runs."""

    apps: list[App]


class Run(BaseModel):
    """A run. `heard` is when something was heard of its producers; `dropped` and `late` count records that are not in it."""

    run: RunId
    app: Name
    name: Name
    state: State
    created: float
    updated: float
    heard: float
    first_step: Step | None
    last_step: Step | None
    newest: bool
    dropped: Count
    late: Count
    cursor: CursorText
    color: Color
    tags: list[str]
    note: str
    archived: bool
    ended: float | None
    named: bool = Field(description="Whether somebody gave the name. It is made from the id otherwise.")


class StartedRun(Run):
    """A run that was started or joined, and what the producer should know."""

    warnings: list[str]


class FoundRun(Run):
    """A run that was found, with the columns and the config that were asked for."""

    columns: dict[str, Any] | None = None
    config: dict[str, Any] | None = None


class Runs(BaseModel):
    """Runs that fit, `matching` of them in all; `more` tells that `limit` left some out, which come `after` these."""

    runs: list[FoundRun]
    more: bool
    after: str | None
    matching: Count


class ChangedRuns(BaseModel):
    """The runs that were changed, as they are now."""

    runs: list[Run]


class DeletedRun(BaseModel):
    """A run that was deleted, and until when it can be restored, in seconds since 1970 UTC."""

    run: RunId
    restorable_until: float


class DeletedRuns(BaseModel):
    """Runs that were deleted, and until when they can be restored, in seconds since 1970 UTC."""

    runs: list[RunId]
    restorable_until: float


class ConfigName(BaseModel):
    """A name of configs: how many values it has (up to 100), and whether runs differ in it."""

    name: str
    values: Count
    differs: bool
    kind: Literal["number", "text", "bool", "list", "null", "mixed"]


class RunNames(BaseModel):
    """What filters, orders and columns can name. A summary is written with one of the statistics after it, as train.loss.last."""

    config: list[ConfigName]
    summaries: list[str]
    tags: list[str]


class Key(BaseModel):
    """What a key holds, and its columns with their dtypes."""

    kind: Literal["rows", "value"]
    columns: dict[str, Dtype]


class KeyThen(Key):
    """A key as of a step. `kept` is there, and false, where the value that it had then is not kept any more."""

    kept: bool = True


class Attempt(BaseModel):
    """An attempt that resumed at a step, and when it began, in seconds since 1970 UTC."""

    resume_at: Step
    began: float


class WholeRun(Run):
    """A run with its config and keys."""

    config: dict[str, Any]
    keys: dict[str, KeyThen]
    attempts: list[Attempt]


class AppTail(BaseModel):
    """The newest runs of an app, or of all. `cursor` is for the next `after`."""

    cursor: CursorText
    newest: RunId | None
    runs: list[Run]


class RowsData(BaseModel):
    """Rows, each with its step and time."""

    steps: list[Step]
    times: list[float]
    columns: dict[str, TypedCells]


class Rows(RowsData):
    """Rows of a key; `more` tells that `limit` left some out."""

    key: Name
    more: bool


class History(RowsData):
    """Rows of a key for a screen; `rows` has the number of each in the key's log."""

    key: Name
    x: Name
    rising: bool
    complete: bool
    count: Count
    first_x: float | None
    last_x: float | None
    start: Annotated[float | None, Field(alias="from")]
    stop: Annotated[float | None, Field(alias="to")]
    buckets: Count
    means: dict[str, tuple[float, int]]
    rows: list[Count]


class Histories(BaseModel):
    """The history of each column that was asked for, in that order."""

    histories: list[History]


class RunEnd(BaseModel):
    """Where the rows of a run end, and whether it is running, so that more may come."""

    run: RunId
    x: float
    running: bool


class Band(BaseModel):
    """Columns by rising x: `x`, and for each column COLUMN.middle, .low, .high, and in .runs how many runs have a number."""

    key: Name
    x: Name
    stat: str
    runs: Count
    ends: list[RunEnd]
    complete: bool
    first_x: float | None
    last_x: float | None
    start: Annotated[float | None, Field(alias="from")]
    stop: Annotated[float | None, Field(alias="to")]
    buckets: Count
    columns: dict[str, TypedCells]


class Value(BaseModel):
    """A key's value at a step."""

    kind: Literal["value"]
    key: Name
    step: Step
    time: float
    data: dict[str, Any]


class Values(BaseModel):
    """Values of a key, by step."""

    values: list[Value]


class TailRows(RowsData):
    """Rows of a key in a tail."""

    kind: Literal["rows"]
    key: Name


class TailKey(Key):
    """A key that a tail speaks of, and the number of the first of its rows there."""

    first_row: Count


class TailRun(BaseModel):
    """The run that is followed."""

    id: RunId
    name: Name
    state: State
    newest: bool
    epoch: Count
    dropped: Count
    heard: float
    color: Color
    tags: list[str]
    archived: bool


class RunTail(BaseModel):
    """A piece of a run's log. `cursor` is for the next `after`; with `restart`, forget what came before."""

    cursor: CursorText
    more: bool
    restart: bool
    run: TailRun
    keys: dict[str, TailKey]
    damaged: dict[str, str] = Field(description="Keys of which something was left out, since it is damaged, and what is wrong.")
    records: list[Annotated[TailRows | Value, Field(discriminator="kind")]]


class Refusal(BaseModel):
    """A key whose records were not stored, and why."""

    key: Name
    reason: str


class Ack(BaseModel):
    """A batch is stored: its place in the run's log, and whether it was stored before."""

    seq: Count
    duplicate: bool
    refused: list[Refusal]
    warnings: list[str]
    pace_s: float = Field(description="For how many seconds the producer should gather before its next batch.")
    page: str = Field("", description="The address of the run's page, in the answer to a start, where the endpoint knows it.")
