"""What can be asked of runs: the names in their configs, the columns that have summaries, and tags.

A table offers these as columns, and a search box completes them. Of very many runs and names it knows the newest runs' alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from streamvis.filters import Path, format_path
from streamvis.store import statements as sql
from streamvis.store.database import Database
from streamvis.store.interface import ConfigName, RunNames
from streamvis.store.runs.finding import plain_config

__all__ = ["names_of_runs"]

_MOST_RUNS, _MOST_CONFIGS = 10_000, 2_000
_MOST_BYTES = 32 * 2**20
"""Of how many runs the tags and the configs are looked at, and how much of the configs."""
_MOST_DIGESTED = 1000
"""Of how many runs the columns that have summaries are looked at."""
_MOST_NAMES = 1000
_MOST_VALUES = 100
_MOST_DEPTH = 8

_RUNS = """
SELECT runs.no, tags FROM runs WHERE deleted = 0 AND (?1 IS NULL OR runs.app = (SELECT no FROM apps WHERE name = ?1))
ORDER BY created DESC LIMIT ?2
"""
_SUMMARIES = """
SELECT DISTINCT keys.name, digests."column" FROM (
    SELECT log FROM runs WHERE deleted = 0 AND (?1 IS NULL OR runs.app = (SELECT no FROM apps WHERE name = ?1))
    ORDER BY created DESC LIMIT ?2
) AS newest JOIN keys ON keys.log = newest.log JOIN digests ON digests.key = keys.no LIMIT ?3
"""


def names_of_runs(db: Database, app: str | None) -> RunNames:
    """The names that the runs of an app have, or of all apps."""
    configs, tags = _Configs(), set()
    for i, (no, its_tags) in enumerate(db.execute(_RUNS, (app, _MOST_RUNS)).fetchall()):
        if its_tags != "[]":
            tags.update(json.loads(its_tags))
        if i < _MOST_CONFIGS and configs.bytes <= _MOST_BYTES:
            configs.add((db.execute(sql.GET_CONFIG, (no,)).fetchone() or ("{}",))[0])
    columns = db.execute(_SUMMARIES, (app, _MOST_DIGESTED, _MOST_NAMES))
    summaries = sorted(format_path(("summary", key, column)) for key, column in columns)
    return RunNames(configs.names(), summaries, sorted(tags)[:_MOST_NAMES])


class _Configs:
    """The names of the configs that were added, and which values each has."""

    def __init__(self) -> None:
        self.bytes = self._runs = 0
        self._found: dict[Path, _Name] = {}

    def add(self, text: str) -> None:
        self.bytes, self._runs = self.bytes + len(text), self._runs + 1
        for path, value in _leaves(plain_config(text), ("config",)):
            known = self._found.get(path)
            if known is None:
                if len(self._found) >= _MOST_NAMES:
                    continue
                known = self._found[path] = _Name()
            known.add(value)

    def names(self) -> list[ConfigName]:
        return [
            ConfigName(format_path(path), len(one.values), len(one.values) > 1 or one.runs < self._runs, one.kind)
            for path, one in self._found.items()
        ]


class _Name:
    def __init__(self) -> None:
        self.values: set[object] = set()
        self.runs = 0
        self.kind = ""

    def add(self, value: Any) -> None:
        self.runs += 1
        if len(self.values) < _MOST_VALUES:
            # 1, 1.0 and True are one value in a set.
            is_plain = isinstance(value, (bool, int, float, str)) and value == value  # no NaN
            self.values.add((type(value), value) if is_plain else json.dumps(value, sort_keys=True))
        kind = _kind_of(value)
        self.kind = kind if self.kind in ("", kind) else "mixed"


def _leaves(node: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(node, dict) and node and len(path) <= _MOST_DEPTH:
        for name, part in node.items():
            yield from _leaves(part, (*path, name))
    elif len(path) > 1:
        yield path, node


def _kind_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    return "text" if isinstance(value, str) else "list"
