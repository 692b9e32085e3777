"""Pieces of a run's log, folded into what `update_page` is given: rows concatenated, of values the last. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence, Set
from dataclasses import replace
from operator import is_

from streamvis.page.feeds.reader import Piece
from streamvis.page.new_data import NewData, merge_rows, own_copy
from streamvis.page.runs import PageRun
from streamvis.records import Rows, Value

__all__ = ["Folds", "fold"]

_FOLDS, _SHARED_BYTES = 8, 2**20


def fold(run: PageRun, pieces: Sequence[Piece], *, without: Set[str] = frozenset()) -> NewData:
    """The pieces, in log order, as what `update_page` is given, sharing nothing with them; the rows of some keys are left out."""
    rows: dict[str, list[Rows]] = {}
    values: dict[str, Value] = {}
    dtypes = {}
    reduced: dict[str, int] = {}
    for piece in pieces:
        dtypes.update(piece.dtypes)
        reduced.update(piece.reduced)
        for item in piece.items:
            if isinstance(item, Rows) and item.key in without:
                continue
            if isinstance(item, Rows):
                rows.setdefault(item.key, []).append(item)
            else:
                values[item.key] = item
    merged = {key: merge_rows(key, parts, dtypes[key]) for key, parts in rows.items()}
    own = {key: replace(value, data=own_copy(value.data)) for key, value in values.items()}
    return NewData(run, merged, own, reduced=reduced)


class Folds:
    """Folds pieces for the sessions of a run. Those that take the same pieces share the work; each gets data of its own."""

    def __init__(self) -> None:
        self._last: deque[tuple[Sequence[Piece], Set[str], NewData]] = deque(maxlen=_FOLDS)

    def fold(self, run: PageRun, pieces: Sequence[Piece], *, without: Set[str]) -> NewData:
        """As the function `fold`."""
        # Of much data it is copying that takes the time, and no one should hold them longer than they must.
        if sum(piece.size_bytes for piece in pieces) > _SHARED_BYTES:
            return fold(run, pieces, without=without)
        for its, left_out, folded in self._last:
            if left_out == without and len(its) == len(pieces) and all(map(is_, its, pieces)):
                return folded.copy(run)
        self._last.append((pieces, without, fold(run, pieces, without=without)))
        return self._last[-1][2].copy(run)
