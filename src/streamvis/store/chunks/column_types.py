"""The columns that a key has had in a run, with their dtype words, as the text that stands in the key's row. Pure.

A key may have thousands, and every append and every tail asks for them: long texts that were read lately are not read again.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from types import MappingProxyType

from streamvis.wire.columns import unify_dtypes

__all__ = ["columns_with", "dtypes_of"]

_LONG_CHARS = 2**12
_REMEMBERED = 32


def dtypes_of(text: str) -> Mapping[str, str]:
    """The dtype word of each column."""
    return _remembered(text) if len(text) >= _LONG_CHARS else json.loads(text)


def columns_with(text: str, columns: Mapping[str, str]) -> str:
    """The text for a key that has these columns too; the same one where they are nothing new."""
    known = dtypes_of(text)
    changed = {}
    for name, word in columns.items():
        its = known.get(name)
        if its != word and (its is None or unify_dtypes(its, word) != its):
            changed[name] = word if its is None else unify_dtypes(its, word)
    return json.dumps({**known, **changed}) if changed else text


@functools.lru_cache(maxsize=_REMEMBERED)
def _remembered(text: str) -> Mapping[str, str]:
    return MappingProxyType(json.loads(text))
