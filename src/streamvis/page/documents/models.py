"""What Bokeh's models hold, found without reading all of their properties.

Bokeh reads every property of a model to find the few that were set, and does so each time that it looks for the models of a
document: half of the time that a page takes to make. What was set, and defaults that each model has one of its own, are kept in
private parts of its models. In a version of Bokeh that lacks those, Bokeh's own ways are used.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from functools import cache
from typing import TypeVar, cast

from bokeh.core.property.wrappers import PropertyValueContainer
from bokeh.document import Document
from bokeh.model import Model
from bokeh.model.util import visit_value_and_its_immediate_references

__all__ = ["all_of", "own_names", "reachable"]

M = TypeVar("M", bound=Model)

_SET, _THEMED, _DEFAULTS = "_property_values", "_unstable_themed_values", "_unstable_default_values"


@cache
def _has_private_parts() -> bool:
    """Whether this version of Bokeh keeps what models hold where it is looked for here."""
    model = Model()
    return all(isinstance(getattr(model, name, None), dict) for name in (_SET, _THEMED, _DEFAULTS))


def all_of(doc: Document, kind: type[M]) -> Iterable[M]:
    """The models of the document that are of this class."""
    return cast(Iterable[M], doc.select({"type": kind}))


def reachable(roots: Iterable[Model]) -> set[Model]:
    """The models to which the roots lead, the roots included: what `Model.references` gives.

    A property that was never set, and whose default is the same for all models, refers to none.
    """
    roots = list(roots)
    if not _has_private_parts():
        return set().union(*(root.references() for root in roots))
    found: set[Model] = set()
    while roots:
        model = roots.pop()
        if model in found:
            continue
        found.add(model)
        values = [getattr(model, name) for name in (_SET, _THEMED, _DEFAULTS)]
        for name in model.properties_with_refs():
            for its in values:
                if name in its:
                    visit_value_and_its_immediate_references(its[name], roots.append)
                    break
    return found


def own_names(model: Model) -> Set[str]:
    """The names of the properties that were set, by code or a theme, or whose default is the model's own and may have changed."""
    if not _has_private_parts():
        return model.properties_with_values(include_defaults=False, include_undefined=False).keys()
    defaults = getattr(model, _DEFAULTS)
    changed = {name for name, value in defaults.items() if not isinstance(value, PropertyValueContainer)}
    return getattr(model, _SET).keys() | (model.themed_values() or {}).keys() | changed
