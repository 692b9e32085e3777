"""A Bokeh document as a graph: its models by id, and each mention of one as a reference. Pure.

Bokeh writes a model where it is mentioned first, inside of others. Taken apart, two documents of one page can be compared model
by model (`pair`), although the ids of their models differ, and put together again with models of both (`Graph.written`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any, TypeGuard

__all__ = ["Graph", "Node", "Pairs", "is_reference", "pair"]


@dataclass(slots=True)
class Node:
    """One model: the name of its class, and its attributes that are not the default, with references in place of models."""

    kind: str
    attributes: dict[str, Any]


@dataclass(slots=True)
class Graph:
    """A document: `models` by id, the ids of its `roots`, and what else Bokeh writes of it in `rest`."""

    models: dict[str, Node] = field(default_factory=dict)
    roots: list[str] = field(default_factory=list)
    callbacks: Any = None
    rest: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, doc_json: Mapping[str, Any]) -> Graph:
        """Take apart what `Document.to_json(deferred=False)` gives."""
        graph = cls(rest={name: part for name, part in doc_json.items() if name not in ("roots", "callbacks")})
        graph.roots = [graph.take(root)["id"] for root in doc_json["roots"]]
        graph.callbacks = graph.take(doc_json.get("callbacks"))
        return graph

    def take(self, part: Any) -> Any:
        """Take in the models that are written in this part; the part with references in their places."""
        if isinstance(part, list | tuple):
            return [self.take(item) for item in part]
        if not isinstance(part, dict):
            return part
        if part.get("type") == "object" and "id" in part:
            # Noted before its attributes are: one of those may lead back to it.
            node = self.models[part["id"]] = Node(part["name"], {})
            node.attributes.update((name, self.take(its)) for name, its in part.get("attributes", {}).items())
            return {"id": part["id"]}
        return {name: self.take(its) for name, its in part.items()}

    def written(self, *, also: Sequence[str] = ()) -> dict[str, Any]:
        """The document in Bokeh's own form, with the models `also` kept in it, which nothing else mentions."""
        told: set[str] = set()
        roots = [self._write({"id": root}, told) for root in self.roots]
        if also:
            # A callback of a root keeps them. It comes last: all that they mention is there by then.
            last = roots[-1].setdefault("attributes", {})
            heard = dict((last.pop("js_property_callbacks", None) or {}).get("entries", []))
            kept = {"type": "map", "entries": [["kept", [self._write({"id": one}, told) for one in also]]]}
            keeper = {"type": "object", "name": "CustomJS", "id": "streamvis-keeper", "attributes": {"args": kept, "code": ""}}
            heard["change:name"] = [*heard.get("change:name", []), keeper]
            last["js_property_callbacks"] = {"type": "map", "entries": [list(item) for item in heard.items()]}
        found = {**self.rest, "roots": roots}
        return found | ({"callbacks": self._write(self.callbacks, told)} if self.callbacks is not None else {})

    def forget(self, kind: str) -> None:
        """Take out the models of a kind, and callbacks that have one as an argument."""
        gone = {its for its, node in self.models.items() if node.kind == kind}
        scripts = {its: node for its, node in self.models.items() if node.kind == "CustomJS"}
        gone |= {its for its, node in scripts.items() if not gone.isdisjoint(_references(node.attributes))}
        for its in gone:
            del self.models[its]
        for node in self.models.values():
            node.attributes = _without(node.attributes, gone)
        self.callbacks, self.roots = _without(self.callbacks, gone), [root for root in self.roots if root not in gone]

    def _write(self, part: Any, told: set[str]) -> Any:
        if isinstance(part, list):
            return [self._write(item, told) for item in part]
        if not isinstance(part, dict):
            return part
        if not is_reference(part):
            return {name: self._write(its, told) for name, its in part.items()}
        node = self.models.get(part["id"])
        if node is None or part["id"] in told:
            return part
        told.add(part["id"])
        attributes = {name: self._write(its, told) for name, its in node.attributes.items()}
        return {"type": "object", "name": node.kind, "id": part["id"], "attributes": attributes}


def is_reference(part: Any) -> TypeGuard[dict[str, str]]:
    """Whether the part mentions a model."""
    return isinstance(part, dict) and part.keys() == {"id"}


def _references(part: Any) -> Iterator[str]:
    if is_reference(part):
        yield part["id"]
    elif isinstance(part, dict):
        for its in part.values():
            yield from _references(its)
    elif isinstance(part, list):
        for item in part:
            yield from _references(item)


def _without(part: Any, gone: set[str]) -> Any:
    """The part, with what is gone taken out of all lists."""
    if isinstance(part, dict):
        return {name: _without(its, gone) for name, its in part.items()}
    if isinstance(part, list):
        return [_without(item, gone) for item in part if not (is_reference(item) and item["id"] in gone)]
    return part


class Pairs:
    """Which models of the document `other` stand for which of `base`, from their roots on: at most one for one."""

    def __init__(self, base: Graph, other: Graph) -> None:
        self._base, self._other = base, other
        self.of: dict[str, str] = {}
        """The id in `base` of each paired model, by its id in `other`."""
        self._taken: set[str] = set()
        self._waiting: list[tuple[str, str]] = []

    def add(self, one: str, other: str) -> None:
        """Pair two models that have the same place in their documents, and what they lead to."""
        self._pair(one, other)
        while self._waiting:
            first, second = self._waiting.pop()
            its, others = self._base.models[first].attributes, self._other.models[second].attributes
            for name in its.keys() & others.keys():
                self._walk(its[name], others[name])

    def _pair(self, one: str, other: str) -> None:
        if one in self._taken or other in self.of or one not in self._base.models or other not in self._other.models:
            return
        if self._base.models[one].kind == self._other.models[other].kind:
            self._taken.add(one)
            self.of[other] = one
            self._waiting.append((one, other))

    def _walk(self, one: Any, other: Any) -> None:
        if is_reference(one) and is_reference(other):
            self._pair(one["id"], other["id"])
        elif isinstance(one, dict) and isinstance(other, dict):
            for name in one.keys() & other.keys():
                self._walk(one[name], other[name])
        elif isinstance(one, list) and isinstance(other, list):
            self._walk_lists(one, other)

    def _walk_lists(self, one: list[Any], other: list[Any]) -> None:
        if len(one) == len(other):
            for pair_ in zip(one, other, strict=True):
                self._walk(*pair_)
            return
        # Where some are missing, those belong together that look alike.
        looks = [[_look(graph, item) for item in items] for graph, items in ((self._base, one), (self._other, other))]
        for first, second, count in SequenceMatcher(None, *looks, autojunk=False).get_matching_blocks():
            for i in range(count):
                self._walk(one[first + i], other[second + i])


def _look(graph: Graph, item: Any) -> str:
    """What tells an item of a list from others: the class, name and title of a model."""
    node = graph.models.get(item["id"]) if is_reference(item) else None
    if node is None:
        return repr(item)[:200]
    title = node.attributes.get("title")
    if is_reference(title) and title["id"] in graph.models:
        title = graph.models[title["id"]].attributes.get("text")
    return f"{node.kind} {node.attributes.get('name')} {title if isinstance(title, str) else ''}"


def pair(base: Graph, other: Graph, *, keep: Callable[[Node], bool]) -> Pairs:
    """Pair the models of two documents of one page. Of models for which `keep` holds, there is one in each document."""
    pairs = Pairs(base, other)
    for one, its in zip(base.roots, other.roots, strict=False):
        pairs.add(one, its)
    kept = [{node.kind: its for its, node in graph.models.items() if keep(node)} for graph in (base, other)]
    for kind in kept[0].keys() & kept[1].keys():
        pairs.add(kept[0][kind], kept[1][kind])
    return pairs
