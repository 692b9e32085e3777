"""The form of what comes in as JSON, for the OpenAPI document. These classes describe, and check nothing.

What comes in is checked by `streamvis.wire`, whose errors name the place. A test holds requests against these.
"""

from __future__ import annotations

from time import time as now
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from streamvis.wire.limits import (
    MAX_NAME_BYTES,
    MAX_NAME_CHARS,
    MAX_NOTE_CHARS,
    MAX_RECORDS,
    MAX_RUNS_AT_ONCE,
    MAX_TAG_CHARS,
    MAX_TAGS,
    RUN_ID,
)

__all__ = [
    "Count",
    "Description",
    "Dtype",
    "Ending",
    "JsonBatch",
    "ManyChanges",
    "Name",
    "Order",
    "RunId",
    "RunIds",
    "Step",
    "TypedCells",
]

_LENGTH = f"Of at most {MAX_NAME_BYTES:,} bytes in UTF-8."
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS, description=_LENGTH)]
RunId = Annotated[str, Field(pattern=f"^{RUN_ID}$", description="1 to 64 of A-Z a-z 0-9 . _ -, first a letter or digit.")]
Step = Annotated[int, Field(ge=0, lt=2**63)]
Count = Annotated[int, Field(ge=0)]
Time = Annotated[float, Field(gt=-1e12, lt=1e12, description="Seconds since 1970 UTC. By default, now.")]
Tags = Annotated[list[Annotated[str, Field(min_length=1, max_length=MAX_TAG_CHARS)]], Field(max_length=MAX_TAGS)]
EndState = Literal["finished", "interrupted", "failed"]
"""Those of `records.STATES` in which a run can end."""


class Description(BaseModel):
    """What to change of how people describe a run. An empty name or color gives it the one back that it had of its own."""

    name: Annotated[str, Field(max_length=MAX_NAME_CHARS, description=_LENGTH)] | None = None
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

    attempt: Annotated[str, Field(max_length=MAX_NAME_CHARS, description=f"A name of your choice. {_LENGTH}")] | None = None
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

    app: Annotated[str, Field(max_length=MAX_NAME_CHARS, description=_LENGTH)] = ""
    producer: Annotated[str, Field(max_length=MAX_NAME_CHARS, description=_LENGTH)] = ""
    number: Annotated[int, Field(ge=0, lt=2**63)] = 0
    records: Annotated[list[Record], Field(max_length=MAX_RECORDS)]
