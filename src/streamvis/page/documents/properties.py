"""Properties of Bokeh's data models, typed as what they hold: a type checker reads `link.sent` as a number."""

from __future__ import annotations

from typing import Any, cast

from bokeh.core.properties import AnyRef, Bool, Int, List, String

__all__ = ["boolean", "integer", "reference", "references", "string"]


def boolean(default: bool) -> bool:
    """A property that is true or false."""
    return cast(bool, Bool(default=default))


def integer(default: int) -> int:
    """A property that is a whole number."""
    return cast(int, Int(default=default))


def string(default: str) -> str:
    """A property that is a text."""
    return cast(str, String(default=default))


def reference() -> Any:
    """A property that is a model, or None."""
    return cast(Any, AnyRef(default=None))


def references() -> list[Any]:
    """A property that is a list of models."""
    return cast(list[Any], List(AnyRef, default=[]))
