"""A session's document as its author sees it: with the author's own roots, though the link to the browser is one too.

Bokeh makes the document, and everything in a document hangs on its roots. Where an author has none yet, the link must be one, so
that the page can say anything at all; the author's code, which may ask whether there are roots, is shown only its own.

What Bokeh cannot write down for the browser would leave an empty page: `on_unsendable` puts something else into its place.

Bokeh looks for the models of a document again and again, and checks all of them for mistakes before a page is sent. Here the
first costs less (see `models`), and the second comes after the page.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any
from weakref import ref

from bokeh.core.validation.check import check_integrity, process_validation_issues
from bokeh.document import Document
from bokeh.document.models import DocumentModelManager
from bokeh.model import Model

from streamvis.page.documents.link import StreamvisLink
from streamvis.page.documents.models import reachable

__all__ = ["adopt", "as_author", "on_unsendable"]


def adopt(doc: Document) -> None:
    """Make a document that Bokeh made one of ours. It stays the same object, with all that is in it."""
    if not isinstance(doc, _PageDocument):
        doc.__class__, doc.models.__class__ = _PageDocument, _PageModels


@contextmanager
def as_author(doc: Document | None) -> Iterator[None]:
    """Within this, `doc.roots` are the author's."""
    if not isinstance(doc, _PageDocument):
        yield
        return
    doc.author_depth += 1
    try:
        yield
    finally:
        doc.author_depth -= 1


def on_unsendable(doc: Document, replace: Callable[[BaseException], None]) -> None:
    """Let `replace` change an adopted document that Bokeh could not write down, for which that raised its argument."""
    if isinstance(doc, _PageDocument):
        doc.replace = replace


_VALIDATE_AFTER_S = 2.0
"""When a page is checked for mistakes that Bokeh knows: the page itself comes first."""


@cache
def _can_attach() -> bool:
    """Whether this version of Bokeh has the private parts that `_PageModels` uses."""
    models = Document().models
    has_parts = all(
        hasattr(models, name) for name in ("_document", "_models", "_models_by_name", "_new_models", "_seen_model_ids")
    )
    return has_parts and hasattr(Model, "_attach_document") and hasattr(Model, "_detach_document")


class _PageModels(DocumentModelManager):
    """The models of a document. Bokeh searches all of them after each freeze; this class searches what may have changed.

    In a version of Bokeh that lacks the private parts for that, Bokeh's own search is used.
    """

    is_recomputing = False
    _is_stale = True
    _roots: Sequence[Model] = ()

    def invalidate(self) -> None:
        self._is_stale = True
        super().invalidate()

    def recompute(self) -> None:
        document = self._document() if _can_attach() else None
        self.is_recomputing = True
        try:
            if document is None:
                return super().recompute()
            roots, known = document.roots, len(self._roots)
            # Whoever goes through the models while they change goes through those of before.
            self._models = dict(self._models)
            if self._is_stale or roots[:known] != list(self._roots):
                found = reachable(roots)
                self._detach([model for model in self if model not in found])
            else:
                found = reachable(roots[known:])
            self._attach(document, [model for model in found if model.id not in self])
            self._is_stale, self._roots = False, tuple(roots)
        finally:
            self.is_recomputing = False

    def _detach(self, models: Sequence[Model]) -> None:
        for model in models:
            self._seen_model_ids.add(model.id)
            model._detach_document()
            del self._models[model.id]
            if model.name is not None:
                self._models_by_name.remove_value(model.name, model)

    def _attach(self, document: Document, models: Sequence[Model]) -> None:
        for model in models:
            model._attach_document(document)
            self._new_models.add(model)
            self._models[model.id] = model
            if model.name is not None:
                self._models_by_name.add_value(model.name, model)


class _PageDocument(Document):
    author_depth = 0
    replace: Callable[[BaseException], None] | None = None

    def validate(self) -> None:
        """Log the mistakes that Bokeh finds in the models. Bokeh asks for it before the page is sent; a server does it later."""
        document = ref(self)

        def look() -> None:
            if (its := document()) is not None:
                process_validation_issues(check_integrity(its.models))

        try:
            asyncio.get_running_loop().call_later(_VALIDATE_AFTER_S, look)
        except RuntimeError:  # there is none: nothing is served
            look()

    def to_json(self, **options: Any) -> Any:
        try:
            return super().to_json(**options)
        except BaseException as error:  # data of an author, which code of an author may write down
            if self.replace is None:
                raise
            self.replace(error)
            return super().to_json(**options)

    @property
    def roots(self) -> list[Model]:
        found = super().roots
        if self.author_depth and not getattr(self.models, "is_recomputing", False):
            return [root for root in found if not isinstance(root, StreamvisLink)]
        return found
