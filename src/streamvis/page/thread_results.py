"""What threads have worked out, told on the event loop."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from tornado.ioloop import IOLoop

__all__ = ["when_done"]

T = TypeVar("T")


def when_done(loop: IOLoop, future: Future[T], tell: Callable[[Future[T]], object]) -> None:
    """Call `tell` on the event loop with the future, once that has a result."""

    def told(_: object) -> None:
        tell(future)

    loop.add_future(future, told)
