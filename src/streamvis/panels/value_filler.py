"""What panels of values share: they show the newest value of a key, whenever they come onto a page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamvis.page.fillers import Filler, Page
from streamvis.page.new_data import NewData
from streamvis.records import Value

__all__ = ["ValueFiller"]


class ValueFiller(Filler):
    """Shows the newest value of `key` with `show(data, step)`."""

    def __init__(self, key: str) -> None:
        self.key = key
        self._step = -1

    def begin(self, page: Page) -> None:
        super().begin(page)
        if page.is_open:
            page.ask_value(self.key, self._take)

    def _take(self, value: Value | None) -> None:
        if value is not None and value.step > self._step:
            self._step = value.step
            self.show(value.data, value.step)

    def update(self, new_data: NewData) -> None:
        if self.key in new_data:
            self._step = int(new_data.steps(self.key)[0])
            self.show(new_data[self.key], self._step)

    def seek(self) -> None:
        self._step = -1
        self.page.ask_value(self.key, self._take)

    def show(self, data: Mapping[str, Any], step: int) -> None:
        """Show a value."""
        raise NotImplementedError
