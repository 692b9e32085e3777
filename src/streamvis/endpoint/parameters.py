"""Parameters that several routes have."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query
from pydantic.json_schema import SkipJsonSchema

from streamvis.wire.limits import RUN_ID

__all__ = ["STEP", "AnyApp", "App", "AsOf", "Key", "Left", "Run"]

STEP = Query(ge=0, lt=2**63)

Left = SkipJsonSchema[None]
"""A parameter that was left out. There is no way to send null as one, so the document does not speak of it."""
App = Annotated[str, Query(min_length=1, max_length=1000, description="Name of the app.")]
AnyApp = Annotated[str | Left, Query(min_length=1, max_length=1000, description="Name of the app; by default, all apps.")]
Run = Annotated[str, Path(description="Id of the run.", json_schema_extra={"pattern": f"^{RUN_ID}$"})]
Key = Annotated[str, Query(min_length=1, max_length=1000, description="Name of the key.")]
AsOf = Annotated[int | Left, Query(ge=0, lt=2**63, description="As of this step: nothing of later steps.")]
