"""`config`: what `Client.init` was given, and how the run is; `tree`: a value of any kind. Both nested and foldable."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from os.path import commonprefix
from typing import Any

import numpy as np
from bokeh.models import Div

from streamvis.page.fillers import Filler, Page, attach
from streamvis.page.new_data import NewData
from streamvis.page.runs import PageRun
from streamvis.panels.boxes import box, boxed, html_table, plain_number, title_of
from streamvis.panels.side_by_side import for_each_run
from streamvis.panels.value_filler import ValueFiller

__all__ = ["config", "tree", "tree_html"]

_MOST_ENTRIES = 200
_MOST_IN_LINE = 12
_MOST_BESIDE = 20
_LONG = 2_000
_BEFORE = 20
_MOST_WHOLE = 1e12
_MISSING = object()
_NOTHING = "–"
_CSS = """
  .state { font-weight: 600 } .running { color: #1a9a55 } .failed, .vanished { color: #d9541a } td { overflow-wrap: anywhere }
  p { margin: 10px 0 2px } .dot { display: inline-block; width: 10px; height: 10px; border-radius: 50%; margin-right: 6px }
"""


def config(*, title: str = "Config", **options: Any) -> Div:
    """Make a box with the run's name, its state and its config; what is nested folds.

    Of several runs it shows in what their configs differ, then what they have in common.

    Args:
        title: the title
        options: of Bokeh's `Div`, such as height=400
    """
    div = box(title, options, css=_CSS)
    attach(div, _Config(div, title))
    return div


class _Config(Filler):
    takes_all = True

    def __init__(self, div: Div, title: str) -> None:
        self._div, self._title = div, title
        self._shown: list[PageRun] = []

    def begin(self, page: Page) -> None:
        super().begin(page)
        self._show()

    def update(self, new_data: NewData) -> None:
        self._show()

    def _show(self) -> None:
        # Bound to a run, it is of that one.
        runs = [page.run for page in self.page.all if self.run in ("", page.run.id)]
        if runs != self._shown:
            self._shown = runs
            self._div.text = boxed(self._title, _about(runs[0]) + tree_html(runs[0].config) if len(runs) == 1 else _beside(runs))


def _about(run: PageRun) -> str:
    return html_table({"run": escape(run.name or run.id), "state": _state(run)})


def _state(run: PageRun) -> str:
    return f'<span class="state {escape(run.state)}">{escape(run.state)}</span>'


def _beside(runs: Sequence[PageRun]) -> str:
    """Several runs: of each what differs, then what all have."""
    configs = [flat(run.config) for run in runs]
    names = list(dict.fromkeys(name for config in configs for name in config))
    texts = {name: told_apart([config.get(name, _MISSING) for config in configs]) for name in names}
    differing = [name for name in names if len(set(texts[name])) > 1]
    same = {name: escape(texts[name][0]) for name in names if name not in differing}
    found = []
    for i, run in enumerate(runs[:_MOST_BESIDE]):
        own = {name: f"<b>{escape(texts[name][i])}</b>" for name in differing[:_MOST_ENTRIES]}
        dot = f'<i class="dot" style="background:{escape(run.color)}"></i>' if run.color else ""
        found.append(f"<p>{dot}<b>{escape(run.label)}</b> {_state(run)}</p>{html_table(own)}")
    if len(runs) > _MOST_BESIDE:
        found.append(f'<p class="muted">and {len(runs) - _MOST_BESIDE} more runs</p>')
    common = f"<details><summary class='muted'>The same in all: {len(same)}</summary>{html_table(same)}</details>" if same else ""
    return "".join(found) + common


def flat(config: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """A nested config as dotted names, each with its value."""
    found: dict[str, Any] = {}
    for name, node in config.items():
        if isinstance(node, Mapping) and node:
            found |= flat(node, f"{before}{name}.")
        else:
            found[f"{before}{name}"] = node
    return found


def told_apart(values: Sequence[Any]) -> list[str]:
    """What to show of each value: the same text of the same values, and different texts of those that differ in anything."""
    exact = [_exact(value) for value in values]
    whole = {its: _whole(value) for its, value in zip(exact, values, strict=True)}
    times = Counter(whole.values())
    whole = {its: text if times[text] == 1 else its for its, text in whole.items()}
    shown = _shortened(list(dict.fromkeys(whole.values())))
    return [shown[whole[its]] for its in exact]


def _exact(value: Any) -> str:
    if value is _MISSING:
        return _NOTHING
    with np.printoptions(threshold=sys.maxsize, floatmode="unique"):
        return repr(value)


def _shortened(texts: Sequence[str], start: int = 0) -> dict[str, str]:
    """Different texts as short ones that differ too: those that begin alike are shown from shortly before they differ."""
    found = {text: _short_from(text, start) for text in texts}
    parts = {text: text[start : start + _LONG] for text in texts}
    for part, many in Counter(parts.values()).items():
        if many > 1:
            alike = [text for text in texts if parts[text] == part]
            found |= _shortened(alike, max(0, len(commonprefix(alike)) - _BEFORE))
    return found


def _short_from(text: str, start: int) -> str:
    shown, is_cut = text[start : start + _LONG], len(text) > start + _LONG
    if not start and not is_cut:
        return text
    return f"{'… ' if start else ''}{shown}{'…' if is_cut else ''} ({len(text):,} characters)"


@for_each_run
def tree(key: str, *, title: str | None = None, **options: Any) -> Div:
    """Make a box with a value of any kind, nested and foldable.

    Args:
        key: the key whose value to show
        title: by default the key
        options: of Bokeh's `Div`, such as height=400
    """
    heading = title_of(title, key)
    div = box(heading, options, css=_CSS)
    attach(div, _Tree(div, key, heading))
    return div


class _Tree(ValueFiller):
    def __init__(self, div: Div, key: str, title: str) -> None:
        super().__init__(key)
        self._div, self._title = div, title

    def show(self, data: Mapping[str, Any], step: int) -> None:
        self._div.text = boxed(self._title, tree_html(data))


def tree_html(node: Any, *, depth: int = 0) -> str:
    """Nested data as HTML: tables of names, and what is nested in them folded from the third level on."""
    if isinstance(node, Mapping) and node:
        names = list(node)
        rows = {str(name): tree_html(node[name], depth=depth + 1) for name in names[:_MOST_ENTRIES]}
        if len(names) > _MOST_ENTRIES:
            rows["…"] = f"{len(names) - _MOST_ENTRIES:,} more"
        return _folded(html_table(rows), f"{len(names)} entries", depth)
    if isinstance(node, np.ndarray) and node.ndim == 0:
        node = node.item()
    elif isinstance(node, np.ndarray) and node.ndim == 1 and len(node) <= _MOST_IN_LINE:
        node = node.tolist()
    if isinstance(node, np.ndarray):
        return f'<span class="muted">{escape(f"array {node.shape} of {node.dtype}")}</span>'
    if isinstance(node, Sequence) and not isinstance(node, str) and node:
        if len(node) <= _MOST_IN_LINE and not any(isinstance(part, (Mapping, list, tuple, np.ndarray)) for part in node):
            return escape(", ".join(_plain(part) for part in node))
        rows = {str(i): tree_html(part, depth=depth + 1) for i, part in enumerate(node[:_MOST_ENTRIES])}
        if len(node) > _MOST_ENTRIES:
            rows["…"] = f"{len(node) - _MOST_ENTRIES:,} more"
        return _folded(html_table(rows), f"{len(node)} items", depth)
    return escape(_plain(node)) if not isinstance(node, (Mapping, Sequence)) or isinstance(node, str) else "–"


def _folded(content: str, summary: str, depth: int) -> str:
    if depth == 0:
        return content
    return f"<details{' open' if depth < 2 else ''}><summary class='muted'>{summary}</summary>{content}</details>"


def _plain(value: Any) -> str:
    return _short_from(_whole(value), 0)


def _whole(value: Any) -> str:
    if value is _MISSING:
        return _NOTHING
    if isinstance(value, float) and math.isfinite(value) and not (value.is_integer() and abs(value) < _MOST_WHOLE):
        # As it was written: a learning rate of 0.0005.
        return f"{value:.12g}"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return plain_number(value)
    return str(value)
