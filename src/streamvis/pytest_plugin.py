"""The fixture `streamvis_page` for tests of pages with pytest, which finds this by itself. Costs nothing where it is not used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

__all__ = ["streamvis_page"]


@pytest.fixture
def streamvis_page() -> Iterator[Callable[..., Any]]:
    """Opens pages as `streamvis.testing.open_page` does, and closes them at the end of the test."""
    from streamvis.testing import open_page

    opened: list[Any] = []

    def open_one(*args: Any, **options: Any) -> Any:
        opened.append(open_page(*args, **options))
        return opened[-1]

    yield open_one
    for page in opened:
        page.close()
