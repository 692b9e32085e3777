"""The forms of what goes in and out in JSON, as the OpenAPI document gives them. They describe, and do no more.

What comes in is checked by `streamvis.wire`, whose errors name the place; what goes out is made by `responses` and `app`. A test
holds requests and answers against these.
"""

from __future__ import annotations

from time import time as now
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from streamvis.records import STATES, VANISHED
from streamvis.wire.limits import MAX_NAME_CHARS, MAX_NOTE_CHARS, MAX_RECORDS, MAX_RUNS_AT_ONCE, MAX_TAG_CHARS, MAX_TAGS, RUN_ID

__all__ = [
    "Ack",
    "AppTail",
    "Apps",
    "Band",
    "ChangedRuns",
    "DeletedRun",
    "DeletedRuns",
    "Description",
    "Ending",
    "Error",
    "Health",
    "Histories",
    "History",
    "JsonBatch",
    "ManyChanges",
    "Order",
    "Rows",
    "Run",
    "RunIds",
    "RunNames",
    "RunTail",
    "Runs",
    "StartedRun",
    "Value",
    "WholeRun",
]


Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS)]
RunId = Annotated[str, Field(pattern=f"^{RUN_ID}$", description="1 to 64 of A-Z a-z 0-9 . _ -, first a letter or digit.")]
Step = Annotated[int, Field(ge=0, lt=2**63)]
Count = Annotated[int, Field(ge=0)]
Time = Annotated[float, Field(gt=-1e12, lt=1e12, description="Seconds since 1970 UTC. By default, now.")]
CursorText = Annotated[str, Field(pattern=r"^[^.]+\.[0-9]+\.[0-9]+$", description="A place in a log. Opaque.")]
Tags = Annotated[list[Annotated[str, Field(min_length=1, max_length=MAX_TAG_CHARS)]], Field(max_length=MAX_TAGS)]
Color = Annotated[str, Field(pattern="^#[0-9a-f]{6}$")]
State = Literal[*STATES, VANISHED]
EndState = Literal[STATES[1:]]


# What comes in


class Description(BaseModel):
    """What to change of how people describe a run. An empty name or color gives it the one back that it had of its own."""

    name: Annotated[str, Field(max_length=MAX_NAME_CHARS)] | None = None
    tags: Tags | None = None
    note: Annotated[str, Field(max_length=MAX_NOTE_CHARS)] | None = None
    color: Annotated[str, Field(pattern="^(#[0-9a-fA-F]{6})?$")] | None = None
    archived: bool | None = None


class ManyChanges(BaseModel):
    """What to change of several runs, in one commit. `add_tags` and `remove_tags` come after `set`."""

    runs: Annotated[list[RunId], Field(max_length=MAX_RUNS_AT_ONCE)]
    set: Description = Description()
    add_tags: Tags = []
    remove_tags: Tags = []


class RunIds(BaseModel):
    """Runs, by their ids."""

    runs: Annotated[list[RunId], Field(max_length=MAX_RUNS_AT_ONCE)]


class Ending(BaseModel):
    """How a run ended."""

    state: EndState = "finished"


class Resuming(BaseModel):
    """From which step on an attempt takes the place of earlier ones, once for each `attempt`."""

    attempt: Annotated[str, Field(max_length=MAX_NAME_CHARS, description="A name of your choice.")] | None = None
    resume_at: Step | None = None


class Order(Resuming):
    """A run to start: of `app`, and with `run`, under that id, or to join. To resume, name the `run`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"app": "demo", "config": {"ycolumns": ["y"]}}]})

    app: Name
    run: RunId | None = None
    name: Name | None = None
    config: dict[str, Any] = {}


_NUMBER = r"bool|u?int(8|16|32|64)|float(16|32|64)"
_TIMES = r"datetime64\[(s|ms|us|ns)(, UTC)?\]|timedelta64\[(s|ms|us|ns)\]"
Dtype = Annotated[str, Field(pattern=rf"^({_NUMBER}|array<({_NUMBER}|json)>|{_TIMES}|string|json|null)$", examples=["float64"])]
"""The words of `streamvis.wire.columns`."""


class TypedCells(BaseModel):
    """Cells of one dtype, such as float64, array<float32> for arrays of any shape, or datetime64[us] for times as ISO texts."""

    dtype: Dtype
    data: list[Any]


class StartRecord(Resuming):
    """A producer begins, or joins, the run."""

    kind: Literal["start"]
    time: Time = Field(default_factory=now)
    name: Name | None = None
    config: dict[str, Any] = {}
    joins: bool = False


class RowsRecord(BaseModel):
    """Rows of a key, as columns of one length; a single cell is a column of one row."""

    kind: Literal["rows"]
    key: Name
    step: Step
    time: Time = Field(default_factory=now)
    data: Annotated[dict[Name, TypedCells | list[Any] | float | str | bool | None], Field(min_length=1)]


class ValueRecord(BaseModel):
    """A key's value at a step. In it, `{"dtype", "data"}` is an array."""

    kind: Literal["value"]
    key: Name
    step: Step
    time: Time = Field(default_factory=now)
    data: Annotated[dict[Name, Any], Field(min_length=1)]
    keep: Annotated[int | None, Field(ge=1, lt=2**31, description="Keep so many of the key's values, the newest.")] = None


class ClearRecord(BaseModel):
    """Take back the run's rows and values so far."""

    kind: Literal["clear"]
    time: Time = Field(default_factory=now)


class FinishRecord(Ending):
    """A producer ends."""

    kind: Literal["finish"]
    time: Time = Field(default_factory=now)


Record = Annotated[
    StartRecord | RowsRecord | ValueRecord | ClearRecord | FinishRecord,
    Field(discriminator="kind"),
]


_ROWS = {"kind": "rows", "key": "main_plot", "step": 0, "data": {"x": [0, 1], "y": [0.5, "NaN"]}}


class JsonBatch(BaseModel):
    """Records, stored all or none. `app`, `producer` and `number` may stand in the address too."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"producer": "me", "number": 1, "records": [_ROWS]}]})

    app: Annotated[str, Field(max_length=MAX_NAME_CHARS)] = ""
    producer: Annotated[str, Field(max_length=MAX_NAME_CHARS)] = ""
    number: Annotated[int, Field(ge=0, lt=2**63)] = 0
    records: Annotated[list[Record], Field(max_length=MAX_RECORDS)]


# What goes out


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
