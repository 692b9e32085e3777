"""What producers say of how their columns should be shown: `Client.describe` makes it, panels follow it. Pure.

A description is a value of the run, under a key of its own for each pattern, so it is stored, sent and read like any other value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import Any

__all__ = ["Description", "description_of", "key_of", "pattern_of"]

_PREFIX = "streamvis.describe/"
_SPECIAL = str.maketrans({"[": "[[]", "?": "[?]"})


@dataclass(frozen=True, slots=True)
class Description:
    """How to show some columns; None where nothing was said. See `Client.describe`."""

    title: str | None = None
    section: str | None = None
    x: str | None = None
    scale: str | None = None
    unit: str | None = None
    best: str | None = None

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Description:
        """From a stored value; what is not a text there is left out."""
        says = data.get("says")
        says = says if isinstance(says, Mapping) else {}
        return cls(**{one.name: says[one.name] for one in fields(cls) if isinstance(says.get(one.name), str)})


def key_of(pattern: str) -> str:
    """The key under which the description of a pattern is stored."""
    return _PREFIX + pattern


def pattern_of(key: str) -> str | None:
    """The pattern that the description under this key is for; None for any other key."""
    return key.removeprefix(_PREFIX) if key.startswith(_PREFIX) else None


def description_of(name: str, described: Mapping[str, Description]) -> Description:
    """What all patterns that fit the name KEY/COLUMN say together.

    The longer pattern wins; of two that are equally long, the later by name.
    """
    found: dict[str, str] = {}
    for pattern in sorted(described, key=lambda pattern: (len(pattern), pattern)):
        if fnmatchcase(name, pattern.translate(_SPECIAL)):
            said = described[pattern]
            found |= {one.name: text for one in fields(said) if (text := getattr(said, one.name)) is not None}
    return Description(**found)
